"""`dure doctor`: find the usual mis-set-ups."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dure.cli.options import as_json, with_database

if TYPE_CHECKING:
    from dure.cli.client import Server
    from dure.doctor.findings import Finding
    from dure.model.nation import Nation

_MARKS = {"ok": "ok     ", "warning": "warning", "failure": "FAILURE"}


@click.command()
@click.option(
    "--state", metavar="FOLDER", envvar="DURE_STATE", default=".dure", show_default=True, help="State folder."
)
@with_database
@click.option("--engines", metavar="FILE", envvar="DURE_ENGINES", help="Engines file: look at every site it names.")
@as_json
def doctor(state: str, database: str | None, engines: str | None, json_wanted: bool) -> None:
    """Find what is set up wrong: this machine, the state folder, the engines, and the server that DURE_URL names.

    Only looks, so it may run beside a server. Exits with 1 when something does not work as it is.
    """
    from dure.cli.tables import print_json
    from dure.doctor.findings import Level

    found = []
    for finding in _examine(Path(state), database, Path(engines) if engines else None):
        found.append(finding)
        if not json_wanted:
            click.echo(f"{_MARKS[finding.level]}  {finding.about}: {finding.message}")
            if finding.advice:
                click.echo(f"         {finding.advice}")
    if json_wanted:
        import msgspec

        print_json(msgspec.json.encode(found))
    sys.exit(any(each.level is Level.FAILURE for each in found))


def _examine(state: Path, database: str | None, engines: Path | None) -> Iterator[Finding]:
    import time

    from dure.cli.client import connect
    from dure.doctor.engines import examine_engines
    from dure.doctor.machine import examine_machine
    from dure.doctor.server import examine_server
    from dure.doctor.state_folder import examine_state

    yield from examine_machine()
    yield from examine_state(state, database)
    server = connect()
    get = partial(_get, server)
    yield from examine_server(server.url, get, time.time_ns() // 1_000_000)
    if engines is not None:
        yield from examine_engines(engines, _nation(get))


def _get(server: Server, path: str) -> bytes:
    from dure.cli.errors import NotAccepted, Refused
    from dure.doctor.server import NoAnswer, NotSignedIn

    try:
        return server.get(path)
    except NotAccepted as error:
        raise NotSignedIn(error.message) from None
    except Refused as error:
        raise NoAnswer(error.message) from None


def _nation(get: Callable[[str], bytes]) -> Nation | None:
    """What the server says is declared, if it says so."""
    import msgspec

    from dure.doctor.server import NoAnswer, NotSignedIn
    from dure.model.nation import Nation

    try:
        return msgspec.json.decode(get("/v1/nation"), type=Nation)
    except (NoAnswer, NotSignedIn):
        return None
