"""`dure ledger verify` and `dure ledger show`: what happened, and the proof of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from dure.cli.log_source import with_witnesses
from dure.cli.options import as_json, with_database

if TYPE_CHECKING:
    from dure.ledger.contract import StoredLog
    from dure.ledger.note import VerifierKey
    from dure.ledger.verify import Verdict
    from dure.reports.ledger import LedgerReport

KEY_FILE = "ledger.pub"
PAGE = 1_000
SHOW_HEADINGS = (">ENTRY", "TIME (UTC)", "EVENT", "WHAT")


@click.group()
def ledger() -> None:
    """Show what happened, and verify that nothing was changed."""


@ledger.command()
@click.option(
    "--state", metavar="FOLDER", envvar="DURE_STATE", default=".dure", show_default=True, help="State folder."
)
@with_database
@click.option("--key", "key_file", metavar="FILE", help="Public key file.  [default: ledger.pub in the state folder]")
@click.option(
    "--checkpoint", "held", metavar="FILE", multiple=True, help="Checkpoint you kept; the ledger must contain it."
)
@click.option(
    "--remote", is_flag=True, help="Fetch entries and checkpoint from the server instead of reading its files."
)
@click.option("--tiles", metavar="PLACE", help="Folder or address of a published log (C2SP tlog-tiles) to verify.")
@with_witnesses
@as_json
def verify(
    state: str,
    database: str | None,
    key_file: str | None,
    held: tuple[str, ...],
    remote: bool,
    tiles: str | None,
    witnesses_file: str | None,
    json_wanted: bool,
) -> None:
    """Recompute the ledger from its entries and compare it with every signed checkpoint.

    Nothing that is stored is believed but the public key. Needs no server, and works beside a running one. Exit code 1,
    and the first bad entry, if anything does not fit.
    """
    key = load_key(Path(key_file) if key_file else Path(state) / KEY_FILE)
    notes = [_held_note(name) for name in held]
    final = _final(witnesses_file, key, _published_note(Path(state), remote, tiles)) if witnesses_file else None
    if final and final.note:
        notes.append(final.note)
    if tiles:
        verdict, seconds = _verify_tiles(tiles, key, notes)
    else:
        verdict, seconds = _verify_remote(key, notes) if remote else _verify_stored(Path(state), database, key, notes)
    if json_wanted:
        _print_verdict_json(verdict, key, seconds, final)
    else:
        _print_verdict(verdict, key, seconds, final)
    sys.exit(0 if verdict.is_sound and (final is None or final.note) else 1)


class _Final(NamedTuple):
    """What witnesses say of a log: a checkpoint with enough cosignatures, or an empty one and why there is none."""

    note: str
    message: str
    size: int = 0
    cosigned_by: tuple[str, ...] = ()


def _published_note(state: Path, remote: bool, tiles: str | None) -> str | None:
    """The checkpoint that may have cosignatures."""
    from dure.cli.log_source import fetched_tiles, opened_tiles
    from dure.ledger.witnesses import cosigned_checkpoint

    if tiles:
        return opened_tiles(tiles).checkpoint
    return fetched_tiles().checkpoint if remote else cosigned_checkpoint(state)


def _final(witnesses_file: str, key: VerifierKey, note: str | None) -> _Final:
    from dure.cli.log_source import read_witnesses_file
    from dure.ledger.note import NoteError

    witnesses = read_witnesses_file(witnesses_file)
    if note is None:
        return _Final("", f"there is no cosigned checkpoint, and {witnesses.quorum} witnesses are needed")
    try:
        size, names = witnesses.final(note, key)
    except NoteError as error:
        return _Final("", str(error))
    return _Final(note, f"{size:,} entries, cosigned by {', '.join(names)} ({witnesses.quorum} needed)", size, names)


def load_key(path: Path) -> VerifierKey:
    """The public key of a log. Raises `BadInput`."""
    from dure.cli.errors import BadInput
    from dure.ledger.keys import KeyFileError, load_verifier_key

    try:
        return load_verifier_key(path)
    except FileNotFoundError:
        raise BadInput(
            f"{path}: no such key file\n  Name the ledger's public key with --key, or its folder with --state."
        ) from None
    except (KeyFileError, OSError) as error:
        raise BadInput(str(error)) from None


def _held_note(name: str) -> str:
    from dure.cli.documents import read_document

    return read_document(name).decode()


def _verify_stored(state: Path, database: str | None, key: VerifierKey, held: Sequence[str]) -> tuple[Verdict, float]:
    from dure.cli.errors import BadInput
    from dure.ledger.contract import LedgerError
    from dure.ledger.location import locate, read_stored

    try:
        location = locate(state, database)
        with read_stored(location) as log:
            return _timed(log, key, held)
    except FileNotFoundError as error:
        raise BadInput(f"{error}\n  Name the server's state folder with --state, or use --remote.") from None
    except LedgerError as error:
        raise BadInput(str(error)) from None


def _verify_remote(key: VerifierKey, held: Sequence[str]) -> tuple[Verdict, float]:
    return _timed(FetchedLog(), key, held)


def _verify_tiles(place: str, key: VerifierKey, held: Sequence[str]) -> tuple[Verdict, float]:
    from dure.cli.log_source import opened_tiles
    from dure.ledger.tiled import verify_tiles

    began = time.perf_counter()
    verdict = verify_tiles(opened_tiles(place), key, held)
    return verdict, time.perf_counter() - began


def _timed(log: StoredLog, key: VerifierKey, held: Sequence[str]) -> tuple[Verdict, float]:
    """The verdict, and the seconds it took with reading."""
    from dure.ledger.verify import verify as verify_log

    began = time.perf_counter()
    verdict = verify_log(log, key, held)
    return verdict, time.perf_counter() - began


class FetchedLog:
    """A server's ledger as it hands it out."""

    def __init__(self) -> None:
        from dure.cli.client import connect

        self._server = connect()

    def checkpoints(self) -> list[str]:
        """The server's newest checkpoint."""
        import msgspec

        from dure.reports.ledger import LedgerReport

        report = msgspec.json.decode(self._server.get("/v1/ledger/checkpoint"), type=LedgerReport)
        self._size, self._note = report.checkpoint_entries, report.note
        return [report.note] if report.note else []

    def entries(self, start: int = 0) -> Iterator[list[tuple[int, bytes]]]:
        """Entries up to the checkpoint's size: what comes after it is signed a moment later."""
        import msgspec

        from dure.reports.ledger import LedgerEntries

        position: int | None = start
        while position is not None and position < self._size:
            params = {"start": position, "limit": min(PAGE, self._size - position)}
            page = msgspec.json.decode(self._server.get("/v1/ledger/entries", params), type=LedgerEntries)
            yield [(entry.position, bytes(entry.body)) for entry in page.entries]
            position = page.next

    def leaf_hashes(self, stop: int, start: int = 0) -> Iterator[bytes]:
        """Those in the server's tiles; asked for only to point at an altered entry, or for one that is large."""
        from dure.cli.log_source import LOG
        from dure.ledger.tiled import TiledLog

        tiles = TiledLog(lambda path: self._server.find(f"{LOG}/{path}"), self._server.url + LOG, self._note)
        return tiles.leaf_hashes(stop, start)


def _print_verdict(verdict: Verdict, key: VerifierKey, seconds: float, final: _Final | None) -> None:
    rate = verdict.size / seconds if seconds > 0 else 0.0
    click.echo(f"entries      {verdict.size:,}")
    click.echo(f"root         {verdict.root.hex()}")
    click.echo(f"checkpoints  {verdict.checkpoints:,} fit, signed by {key.name}")
    for former in verdict.former_keys:
        click.echo(f"former key   {former}")
    if final is not None:
        click.echo(f"final        {final.message if final.note else 'no'}")
    click.echo(f"speed        {rate:,.0f} entries/s")
    if final is not None and not final.note:
        click.echo(f"The ledger is NOT final: {final.message}.")
    if verdict.is_sound:
        click.echo("The ledger is sound: every entry is under a valid checkpoint.")
        return
    first = verdict.first_bad
    where = f" The first bad entry is {_span(first.first_position, first.last_position)}." if first else ""
    click.echo(f"The ledger is NOT sound.{where}")
    for fault in verdict.faults:
        click.echo(f"  {fault.code}: {fault.message}")


def _span(first: int | None, last: int | None) -> str:
    return f"entry {first}" if first == last else f"between entries {first} and {last}"


def _print_verdict_json(verdict: Verdict, key: VerifierKey, seconds: float, final: _Final | None) -> None:
    import json

    import msgspec

    document = {
        "sound": verdict.is_sound,
        "entries": verdict.size,
        "root": verdict.root.hex(),
        "checkpoints": verdict.checkpoints,
        "key_name": key.name,
        "former_keys": [str(each) for each in verdict.former_keys],
        "entries_per_s": round(verdict.size / seconds) if seconds > 0 else 0,
        "faults": msgspec.to_builtins(verdict.faults),
    }
    if final is not None:
        document |= {"final_entries": final.size, "cosigned_by": final.cosigned_by}
    click.echo(json.dumps(document))


@ledger.command()
@click.option("--start", type=click.IntRange(min=0), help="First entry to show.  [default: the last 20]")
@click.option("--limit", type=click.IntRange(1, PAGE), default=20, show_default=True, help="Number of entries.")
@as_json
def show(start: int | None, limit: int, json_wanted: bool) -> None:
    """Show entries of the ledger.

    `--json` prints them whole, as they were hashed.
    """
    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json, print_table
    from dure.reports.ledger import LedgerEntries, LedgerReport

    server = connect()
    if start is None:
        size = msgspec.json.decode(server.get("/v1/ledger/checkpoint"), type=LedgerReport).entries
        start = max(0, size - limit)
    body = server.get("/v1/ledger/entries", {"start": start, "limit": limit})
    if json_wanted:
        print_json(body)
        return
    entries = msgspec.json.decode(body, type=LedgerEntries).entries
    print_table(SHOW_HEADINGS, [_entry_row(entry.position, bytes(entry.body)) for entry in entries])
    report = msgspec.json.decode(server.get("/v1/ledger/checkpoint"), type=LedgerReport)
    if report.quorum:
        click.echo(f"\n{_finality_line(report)}")


def _finality_line(report: LedgerReport) -> str:
    if not report.final_entries:
        return f"Nothing is final yet: {report.quorum} of {report.witnesses} witnesses must cosign."
    names = ", ".join(report.cosigned_by)
    who = f"{len(report.cosigned_by)} of {report.witnesses} witnesses ({report.quorum} needed)"
    return f"Final: {report.final_entries:,} entries, cosigned by {who}: {names}"


def _entry_row(position: int, body: bytes) -> tuple[str, ...]:
    import json
    from datetime import UTC, datetime

    event = json.loads(body)
    at = datetime.fromtimestamp(event["at_ms"] / 1000, UTC)
    return (str(position), f"{at:%Y-%m-%d %H:%M:%S}", event["event"], _what(event))


def _what(event: dict[str, object]) -> str:
    """The few fields that say whom or what an entry is about."""
    plan = event.get("plan")
    if isinstance(plan, dict):
        return ", ".join(f"{each['do']} {each['job']}" for each in plan["decisions"])
    named = ("job", "attempt", "outcome", "project", "node", "state", "token", "account", "role", "name", "by", "rules")
    return " ".join(f"{name}={_short(event[name])}" for name in named if event.get(name) not in (None, "", []))


def _short(value: object) -> str:
    return ",".join(str(each) for each in value) if isinstance(value, list) else str(value)
