"""`dure ledger export`, `prove`, `check` and `consistent`: proofs for people who do not trust the ledger's keeper."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

from dure.cli.log_source import (
    log_key,
    opened_source,
    opened_stored,
    read_witnesses_file,
    with_key,
    with_log_source,
    with_witnesses,
)
from dure.cli.options import as_json, with_database


@click.command()
@click.argument("folder")
@click.option(
    "--state", metavar="FOLDER", envvar="DURE_STATE", default=".dure", show_default=True, help="State folder."
)
@with_database
@with_key
@as_json
def export(folder: str, state: str, database: str | None, key_file: str | None, json_wanted: bool) -> None:
    """Write the ledger into FOLDER as static files (C2SP tlog-tiles), for a web server or to hand over.

    Everything is verified first. Run again, it writes what is new; a folder with another history is refused. Works
    beside a running server.
    """
    from dure.cli.errors import BadInput
    from dure.cli.tables import print_json
    from dure.ledger.contract import LedgerError
    from dure.ledger.publishing import publish
    from dure.ledger.witnesses import cosigned_checkpoint

    key = log_key(key_file, state)
    try:
        with opened_stored(Path(state), database) as log:
            published = publish(log, key, Path(folder), cosigned_checkpoint(Path(state)))
    except LedgerError as error:
        raise BadInput(str(error)) from None
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written ({error.strerror})") from None
    if json_wanted:
        import json

        document = {"entries": published.size, "root": published.root.hex(), "files": published.files}
        print_json(json.dumps(document).encode())
        return
    click.echo(f"{folder}: {published.size:,} entries, {published.files:,} files written")


@click.command()
@click.argument("entry", type=click.IntRange(min=0))
@click.option("-o", "--output", metavar="FILE", default="-", help="File to write.  [default: standard output]")
@with_log_source
def prove(
    entry: int, output: str, state: str, database: str | None, remote: bool, tiles: str | None, key_file: str | None
) -> None:
    """Write a proof that ENTRY is in the ledger, as one file (C2SP tlog-proof) that anybody checks offline."""
    from dure.cli.errors import BadInput
    from dure.ledger.large import logged
    from dure.ledger.note import NoteError, open_checkpoint
    from dure.ledger.proof import ProofError, TlogProof, verify_proof
    from dure.ledger.tree import prove_inclusion

    key = log_key(key_file, state)
    try:
        with opened_source(state, database, remote, tiles, entry + 1) as source:
            size = open_checkpoint(source.note, key).size
            if entry >= size:
                raise BadInput(f"entry {entry} is not under the last checkpoint, which is of {size} entries")
            path = tuple(prove_inclusion(entry, size, source.rows))
            body = source.entry(entry)
        text = str(TlogProof(index=entry, path=path, checkpoint=source.note, extra=logged(body)))
        verify_proof(text, body, key)
    except NoteError as error:
        raise BadInput(f"the checkpoint is refused: {error}") from None
    except ProofError as error:
        raise BadInput(f"{error}\n  Run `dure ledger verify` to see what is wrong.") from None
    _write(output, text)


@click.command()
@click.argument("proof")
@click.option("--entry", "entry_file", metavar="FILE", help="The entry itself.  [default: what the proof has in it]")
@click.option("--state", metavar="FOLDER", envvar="DURE_STATE", default=".dure", help="Folder with ledger.pub.")
@with_key
@with_witnesses
def check(proof: str, entry_file: str | None, state: str, key_file: str | None, witnesses_file: str | None) -> None:
    """Check a PROOF file offline: is its entry in the ledger that this key signs for?

    Prints the entry. Exit code 1, and the entry's number, if it is not proven.
    """
    from dure.cli.documents import read_document
    from dure.ledger.proof import ProofError, TlogProof, verify_proof

    key = log_key(key_file, state)
    text = read_document(proof).decode()
    witnesses = read_witnesses_file(witnesses_file) if witnesses_file else None
    demanded = (witnesses.keys, witnesses.quorum) if witnesses else ()
    try:
        body = Path(entry_file).read_bytes() if entry_file else TlogProof.parse(text).extra
        if body is None:
            raise ProofError("the proof holds no entry; name the entry's file with --entry")
        proven = verify_proof(text, body, key, *demanded)
    except (ProofError, OSError) as error:
        click.echo(f"NOT proven: {error}")
        sys.exit(1)
    click.echo(body.decode(errors="replace"))
    seen = f", cosigned by {', '.join(proven.witnesses)}" if proven.witnesses else ""
    click.echo(
        f"Entry {proven.index} is in the ledger {proven.head.origin} of {proven.head.size:,} entries{seen}.", err=True
    )


@click.command()
@click.argument("checkpoint")
@with_log_source
def consistent(
    checkpoint: str, state: str, database: str | None, remote: bool, tiles: str | None, key_file: str | None
) -> None:
    """Is the ledger a continuation of the CHECKPOINT that you kept? Needs a few hashes, and not the entries.

    Exit code 1 if the checkpoint is forged, or if the ledger was cut off or written anew since.
    """
    from dure.cli.documents import read_document
    from dure.ledger.merkle import verify_consistency
    from dure.ledger.note import NoteError, open_checkpoint
    from dure.ledger.tree import prove_consistency

    key = log_key(key_file, state)
    try:
        old = open_checkpoint(read_document(checkpoint).decode(), key)
        with opened_source(state, database, remote, tiles, old.size) as source:
            new = open_checkpoint(source.note, key)
            if old.size > new.size:
                _not_consistent(f"the ledger has {new.size} entries, and the checkpoint was signed for {old.size}")
            path = prove_consistency(old.size, new.size, source.rows)
    except NoteError as error:
        _not_consistent(f"a checkpoint is refused: {error}")
    if not verify_consistency(old.size, old.root, new.size, new.root, path):
        _not_consistent(f"the first {old.size} entries are not those that the checkpoint was signed for")
    click.echo(f"The ledger of {new.size:,} entries goes on from the checkpoint of {old.size:,}.")


def _not_consistent(why: str) -> NoReturn:
    click.echo(f"NOT consistent: {why}.")
    sys.exit(1)


def _write(output: str, text: str) -> None:
    from dure.cli.errors import BadInput

    if output == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{output}: cannot be written ({error.strerror})") from None
