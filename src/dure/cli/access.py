"""`dure token` and `dure secret`: who may ask, and what jobs are given in confidence."""

from __future__ import annotations

import sys

import click

from dure.cli.options import as_json, quoted

ROLES = ("operator", "auditor", "member")


@click.group()
def token() -> None:
    """Create, list and revoke access tokens."""


@token.command()
@click.option("--role", type=click.Choice(ROLES), required=True, help="What the token may do.")
@click.option("--organisation", metavar="NAME", default="", help="Whose token it is; needed for members.")
@as_json
def create(role: str, organisation: str, json_wanted: bool) -> None:
    """Create a token and print it. It is shown this once and kept nowhere."""
    import msgspec

    from dure.cli.client import connect
    from dure.cli.errors import BadInput
    from dure.cli.tables import print_json
    from dure.control.requests import TokenIssuedOnce

    if role == "member" and not organisation:
        raise BadInput("--organisation: a member's token is for one organisation; name it")
    wanted = msgspec.json.encode({"role": role, "organisation": organisation})
    answer = connect().send("POST", "/v1/tokens", body=wanted)
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
    rows = [(c["id"], c["role"], c["organisation"] or "-", ago(c["issued_at_ms"], now_ms), c["by"]) for c in cards]
    print_table(("ID", "ROLE", "ORGANISATION", "~ISSUED", "BY"), rows)


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
