"""`dure token`, `dure account` and `dure secret`: who may ask, and what jobs are given in confidence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from dure.cli.options import DURATION, as_json, quoted

ROLES = ("operator", "auditor", "steward", "administrator", "member")
PERMISSIONS = ("read", "audit", "submit", "administer", "govern", "agree", "operate")


@click.group()
def token() -> None:
    """Create, list and revoke access tokens."""


@token.command()
@click.option("--role", type=click.Choice(ROLES), help="What the token may do; needed unless --account is given.")
@click.option("--organisation", metavar="NAME", default="", help="Whose token it is; for members and administrators.")
@click.option("--account", metavar="ID", default="", help="Account that the token is for, with the account's role.")
@click.option(
    "--scope", type=click.Choice(PERMISSIONS), multiple=True, help="Leave the token only this of its role; repeatable."
)
@click.option("--project", metavar="NAME", default="", help="Only project whose jobs the token touches.")
@click.option("--expires", metavar="AFTER", type=DURATION, help="How long it is accepted, like 30d; 90d unless given.")
@as_json
def create(
    role: str | None,
    organisation: str,
    account: str,
    scope: tuple[str, ...],
    project: str,
    expires: int | None,
    json_wanted: bool,
) -> None:
    """Create a token and print it. It is shown this once and kept nowhere.

    Operators create any; an organisation's administrators those of their own members.
    """
    import msgspec

    from dure.cli.client import connect
    from dure.cli.errors import BadInput
    from dure.cli.tables import print_json
    from dure.control.requests import TokenIssuedOnce

    if not role and not account:
        raise BadInput("--role: say what the token may do, or name an account that has a role already")
    if role in ("member", "administrator") and not organisation:
        raise BadInput(
            f"--organisation: {'an' if role[0] == 'a' else 'a'} {role}'s token is for one organisation; name it"
        )
    wanted = {
        "organisation": organisation,
        "account": account,
        "scope": scope,
        "project": project,
        "lifetime_ms": expires or 0,
    }
    answer = connect().send("POST", "/v1/tokens", body=msgspec.json.encode(wanted | ({"role": role} if role else {})))
    if json_wanted:
        print_json(answer)
        return
    issued = msgspec.json.decode(answer, type=TokenIssuedOnce)
    click.echo(issued.text)
    click.echo(f"id {issued.card.id}; keep the token now, it is not shown again", err=True)


@token.command("list")
@as_json
def list_tokens(json_wanted: bool) -> None:
    """List tokens by id."""
    import time

    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json, print_table
    from dure.reports.wording import ago

    body = connect().get("/v1/tokens")
    if json_wanted:
        print_json(body)
        return
    cards = msgspec.json.decode(body)["tokens"]
    now_ms = time.time_ns() // 1_000_000
    headings = ("ID", "KIND", "ROLE", "ORGANISATION", "SCOPE", "~ISSUED", "~USED", "~EXPIRES", "BY")
    print_table(headings, [_token_row(card, now_ms, ago) for card in cards])


def _token_row(card: dict[str, Any], now_ms: int, ago: Callable[[int | None, int], str]) -> tuple[str, ...]:
    scope = ",".join(card["scope"]) or "all"
    return (
        card["id"],
        card["kind"],
        card["role"],
        card["organisation"] or "-",
        f"{scope} {card['project']}".strip(),
        ago(card["issued_at_ms"], now_ms),
        ago(card["used_at_ms"] or None, now_ms),
        _expiry(card["expires_at_ms"], now_ms),
        card["account"] or card["by"],
    )


def _expiry(at_ms: int, now_ms: int) -> str:
    from dure.reports.wording import rough_duration

    if not at_ms:
        return "never"
    return f"in {rough_duration(at_ms - now_ms)}" if at_ms > now_ms else "expired"


@token.command()
@click.argument("token_id", metavar="ID")
def revoke(token_id: str) -> None:
    """Stop accepting the token with this ID, at once."""
    from dure.cli.client import connect

    connect().send("DELETE", f"/v1/tokens/{quoted(token_id)}")
    click.echo(f"{token_id}: no longer accepted")


@token.command()
def link() -> None:
    """Print a link that signs a browser in to the portal as you. It works once, for ten minutes."""
    import msgspec

    from dure.cli.client import connect

    server = connect()
    answer = msgspec.json.decode(server.send("POST", "/v1/sign-in-links"))
    click.echo(server.url + answer["path"])


@click.group()
def account() -> None:
    """Add, list and remove accounts of services, and local ones for emergencies."""


@account.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it may do.")
@click.option(
    "--organisation", metavar="NAME", default="", help="For members and administrators: of which organisation."
)
@click.option("--service", is_flag=True, help="A program, which has tokens and no password.")
@as_json
def add(name: str, role: str, organisation: str, service: bool, json_wanted: bool) -> None:
    """Add the account NAME.

    A local account is the way in when the identity provider is down; the server has them off unless its identity file
    says otherwise. Its password is read from standard input; on a terminal it is asked for and not shown.
    """
    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json

    wanted = {"kind": "service" if service else "local", "name": name, "role": role, "organisation": organisation}
    if not service:
        wanted["password"] = read_password(f"Password of {name}", confirm=True)
    answer = connect().send("POST", "/v1/accounts", body=msgspec.json.encode(wanted))
    if json_wanted:
        print_json(answer)
        return
    click.echo(msgspec.json.decode(answer)["id"])


@account.command("list")
@as_json
def list_accounts(json_wanted: bool) -> None:
    """List accounts, and what each may do."""
    import time

    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json, print_table
    from dure.reports.wording import ago

    body = connect().get("/v1/accounts")
    if json_wanted:
        print_json(body)
        return
    now_ms = time.time_ns() // 1_000_000
    lines = msgspec.json.decode(body)["accounts"]
    rows = [
        (each["id"], each["kind"], each["name"], ago(each["added_at_ms"], now_ms), granted(each["grants"]))
        for each in lines
    ]
    print_table(("ID", "KIND", "NAME", "~ADDED", "ROLES"), rows)


@account.command("remove")
@click.argument("account_id", metavar="ID")
def remove_account(account_id: str) -> None:
    """Remove the account with this ID; none of its tokens is accepted any more."""
    from dure.cli.client import connect

    connect().send("DELETE", f"/v1/accounts/{quoted(account_id)}")
    click.echo(f"{account_id}: removed")


def granted(grants: list[dict[str, str]]) -> str:
    """Roles as people read them."""
    return ", ".join(
        f"{each['role']} of {each['organisation']}" if each.get("organisation") else each["role"] for each in grants
    )


def read_password(question: str, *, confirm: bool = False) -> str:
    """A password from standard input, or asked for on a terminal and not shown. Raises `BadInput` for none."""
    from dure.cli.errors import BadInput

    if sys.stdin.isatty():
        password = str(click.prompt(question, hide_input=True, confirmation_prompt=confirm))
    else:
        password = sys.stdin.buffer.read().decode(errors="replace").removesuffix("\n")
    if not password:
        raise BadInput("the password is empty; write it to standard input")
    return password


@click.group()
def secret() -> None:
    """Store secrets for a project's jobs."""


@secret.command("set")
@click.argument("project")
@click.argument("name")
def set_secret(project: str, name: str) -> None:
    """Store the secret NAME of PROJECT, read from standard input.

    On a terminal it is asked for and not shown. Jobs that name it under `secrets:` see it as an environment variable.
    """
    from dure.cli.client import connect
    from dure.cli.errors import BadInput

    if sys.stdin.isatty():
        value = str(click.prompt("Value", hide_input=True)).encode()
    else:
        value = sys.stdin.buffer.read().removesuffix(b"\n")
    if not value:
        raise BadInput(f"{name}: the value is empty; write it to standard input")
    path = f"/v1/projects/{quoted(project)}/secrets/{quoted(name)}"
    connect().send("PUT", path, body=value, content_type="application/octet-stream")
    click.echo(f"{project}/{name}: stored")
