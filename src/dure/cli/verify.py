"""`dure verify`: is this evidence bundle what the platform recorded? Needs no server and no network."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dure.cli.log_source import log_key, read_witnesses_file, with_key, with_witnesses
from dure.cli.options import as_json


@click.command()
@click.argument("bundle")
@click.option("--state", metavar="FOLDER", envvar="DURE_STATE", default=".dure", help="Folder with ledger.pub.")
@with_key
@with_witnesses
@as_json
def verify(bundle: str, state: str, key_file: str | None, witnesses_file: str | None, json_wanted: bool) -> None:
    """Check an evidence BUNDLE offline, with the operator's public key and those of witnesses only.

    Every file is the one that was recorded, none is missing or was added, the provenance is signed, and every entry of
    the ledger is proven. Exit code 1, and the name of each file that is not right, if anything is wrong.
    """
    import msgspec

    from dure.evidence.verify import Keys, verify_bundle

    key = log_key(key_file, state)
    witnesses = read_witnesses_file(witnesses_file) if witnesses_file else None
    keys = Keys(log=key, witnesses=witnesses.keys, quorum=witnesses.quorum) if witnesses else Keys(log=key)
    verdict = verify_bundle(_read(bundle), keys)
    if json_wanted:
        document = {"sound": verdict.is_sound} | msgspec.to_builtins(verdict)
        click.echo(msgspec.json.encode(document).decode())
    elif verdict.is_sound:
        seen = f", cosigned by {', '.join(verdict.witnesses)}" if verdict.witnesses else ""
        click.echo(f"{verdict.version}: {verdict.files} files, {verdict.entries} entries proven{seen}.")
        click.echo(f"The bundle is sound: it is what {key.name} recorded.")
    else:
        count = len(verdict.faults)
        click.echo(f"The bundle is NOT sound: {count} {'fault' if count == 1 else 'faults'}.")
        for fault in verdict.faults:
            click.echo(f"  {fault.file or bundle}: {fault.message}")
    sys.exit(0 if verdict.is_sound else 1)


def _read(bundle: str) -> bytes:
    from dure.cli.errors import BadInput
    from dure.evidence.crate import LARGEST_BUNDLE

    try:
        with Path(bundle).open("rb") as file:
            return file.read(LARGEST_BUNDLE + 1)
    except OSError as error:
        raise BadInput(f"{bundle}: cannot be read ({error.strerror})") from None
