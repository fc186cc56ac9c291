"""`dure forget`: erase what is personal about somebody."""

from __future__ import annotations

import sys

import click

from dure.cli.options import as_json, quoted


@click.command()
@click.argument("person")
@click.option("--yes", is_flag=True, help="Do not ask; it cannot be taken back.")
@as_json
def forget(person: str, yes: bool, json_wanted: bool) -> None:
    """Erase all that is personal about PERSON, an account's id or name. For operators; it cannot be taken back.

    Name, roles, sign-ins, tokens and what their jobs ran are gone afterwards. The ledger keeps its entries, which have
    opaque ids only, and still verifies. Jobs of theirs that wait or run must be cancelled first.
    """
    import msgspec

    from dure.cli.client import connect
    from dure.cli.errors import BadInput
    from dure.cli.tables import print_json

    if not yes:
        if not sys.stdin.isatty():
            raise BadInput("this cannot be taken back; say --yes")
        click.confirm(f"Erase all that is personal about {person}, for good?", abort=True)
    body = connect().send("POST", f"/v1/people/{quoted(person)}/forget")
    if json_wanted:
        print_json(body)
        return
    answer = msgspec.json.decode(body)
    click.echo(f"{answer['account']}: forgotten, with what {answer['jobs']} jobs ran")
    click.echo("Backups made before still hold it; forget again after restoring one.", err=True)
