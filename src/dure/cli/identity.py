"""`dure login`, `dure logout`, `dure whoami`: say who you are, stop being it, and ask who you are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dure.cli.access import ROLES, granted, read_password
from dure.cli.options import as_json

if TYPE_CHECKING:
    from dure.cli.client import Server


@click.command()
@click.option("--role", type=click.Choice(ROLES), help="Which of your roles; the first unless given.")
@click.option("--organisation", metavar="NAME", default="", help="In which organisation; the first unless given.")
@click.option("--account", metavar="NAME", help="Local account to sign in to with its password, without the provider.")
def login(role: str | None, organisation: str, account: str | None) -> None:
    """Sign in at the identity provider, and keep the token for this server.

    Open the address that is printed, in any browser on any machine, and confirm the code. The token is stored for this
    user alone; DURE_TOKEN, when set, is used instead of it.
    """
    from dure.cli.client import connect_without_token
    from dure.cli.credentials import store_token

    server = connect_without_token()
    issued = _by_password(server, account) if account else _by_device(server, role, organisation)
    path = store_token(server.url, issued["text"])
    card = issued["card"]
    who = f"{card['role']} of {card['organisation']}" if card["organisation"] else card["role"]
    click.echo(f"Signed in to {server.url} as {who}.")
    click.echo(f"The token is in {path}.", err=True)


@click.command()
def logout() -> None:
    """Give up the token that `dure login` stored for this server; it is not accepted any more."""
    from dure.cli.client import Server, server_url
    from dure.cli.credentials import forget_token, stored_token
    from dure.cli.errors import NotAccepted

    url = server_url()
    token = stored_token(url)
    if not token:
        click.echo(f"Nobody is signed in to {url} here.")
        return
    try:
        Server(url, token).send("POST", "/v1/sign-out")
    except NotAccepted:
        # It had expired, or an administrator was faster.
        click.echo("The token was not accepted any more.", err=True)
    forget_token(url)
    click.echo(f"Signed out of {url}.")


@click.command()
@as_json
def whoami(json_wanted: bool) -> None:
    """Say who the server takes you for, and what you may do."""
    import time

    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json
    from dure.reports.wording import ago

    server = connect()
    body = server.get("/v1/whoami")
    if json_wanted:
        print_json(body)
        return
    me = msgspec.json.decode(body)
    click.echo(f"{me['name'] or me['account'] or me['token']} at {server.url}")
    click.echo(f"  as {granted([me])}{' for project ' + me['project'] if me['project'] else ''}")
    click.echo(f"  may {', '.join(me['permissions'])}")
    if len(me["grants"]) > 1:
        click.echo(f"  has the roles {granted(me['grants'])}; choose with dure login --role and --organisation")
    if me["expires_at_ms"]:
        click.echo(f"  until the token {me['token']} expires, {ago(me['expires_at_ms'], time.time_ns() // 1_000_000)}")


def _by_password(server: Server, account: str) -> Any:
    import msgspec

    given = {"name": account, "password": read_password(f"Password of {account}")}
    return msgspec.json.decode(server.send("POST", "/v1/sign-in/password", body=msgspec.json.encode(given)))


def _by_device(server: Server, role: str | None, organisation: str) -> Any:
    """Show address and code, and ask until their owner has decided, no faster than the provider wants."""
    import time

    import msgspec

    begun = msgspec.json.decode(server.send("POST", "/v1/sign-in/device"))
    click.echo(f"Open {begun['verification_uri']} and confirm the code {begun['user_code']}", err=True)
    if begun["verification_uri_complete"]:
        click.echo(f"  or open {begun['verification_uri_complete']}", err=True)
    question = {"handle": begun["handle"], "organisation": organisation} | ({"role": role} if role else {})
    interval_s = begun["interval_s"]
    while True:
        time.sleep(interval_s)
        answer = server.send("POST", "/v1/sign-in/device/token", body=msgspec.json.encode(question))
        asked = msgspec.json.decode(answer)
        if asked["issued"]:
            return asked["issued"]
        interval_s += asked["wait_longer_s"]
