"""Which log a command is about: that of a state folder, a server's, or one that was published as tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from dure.cli.options import with_database

if TYPE_CHECKING:
    from dure.ledger.contract import StoredLog
    from dure.ledger.note import VerifierKey
    from dure.ledger.tiled import TiledLog
    from dure.ledger.tree import HashRows
    from dure.ledger.witnesses import Witnesses

LOG = "/v1/ledger/log"
KEY_FILE = "ledger.pub"

Command = TypeVar("Command", bound=Callable[..., Any])


class Source(NamedTuple):
    """A log to make proofs from: its checkpoint, hashes of its tree, and its entries by position. None is believed."""

    note: str
    rows: HashRows
    entry: Callable[[int], bytes]


def with_log_source(command: Command) -> Command:
    """Add the options that say which log is meant, and which public key it has."""
    options = (
        click.option(
            "--state", metavar="FOLDER", envvar="DURE_STATE", default=".dure", show_default=True, help="State folder."
        ),
        with_database,
        click.option("--remote", is_flag=True, help="Ask the server instead of reading its files."),
        click.option("--tiles", metavar="PLACE", help="Folder or address of a published log to read instead."),
        with_key,
    )
    for option in reversed(options):
        command = option(command)
    return command


def with_key(command: Command) -> Command:
    """Add `--key`, the public key of the log."""
    text = "Public key file of the log.  [default: ledger.pub in the state folder]"
    return click.option("--key", "key_file", metavar="FILE", help=text)(command)


def with_witnesses(command: Command) -> Command:
    """Add `--witnesses`, which demands their cosignatures."""
    text = "Witnesses file: demand a checkpoint that enough of them cosigned."
    return click.option("--witnesses", "witnesses_file", metavar="FILE", help=text)(command)


def read_witnesses_file(file: str) -> Witnesses:
    """The witnesses in a file. Raises `BadInput`."""
    from dure.cli.errors import BadInput
    from dure.ledger.witnesses import WitnessesError, read_witnesses

    try:
        return read_witnesses(Path(file))
    except WitnessesError as error:
        raise BadInput(str(error)) from None
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({error.strerror})") from None


def log_key(key_file: str | None, state: str) -> VerifierKey:
    """The log's public key. Raises `BadInput`."""
    from dure.cli.ledger import load_key

    return load_key(Path(key_file) if key_file else Path(state) / KEY_FILE)


@contextmanager
def opened_source(state: str, database: str | None, remote: bool, tiles: str | None, at_least: int) -> Iterator[Source]:
    """The log that the options mean, under its last final checkpoint, or its newest if that has too few entries.

    Raises `BadInput`.
    """
    from dure.cli.errors import BadInput
    from dure.ledger.contract import LedgerError

    try:
        if tiles or remote:
            log = opened_tiles(tiles) if tiles else fetched_tiles(at_least)
            yield Source(log.checkpoint, log, log.entry)
            return
        with opened_stored(Path(state), database) as stored:
            yield _stored_source(stored, Path(state), at_least)
    except LedgerError as error:
        raise BadInput(str(error)) from None


@contextmanager
def opened_stored(state: Path, database: str | None) -> Iterator[StoredLog]:
    """The log of a state folder or database. Raises `BadInput`."""
    from dure.cli.errors import BadInput
    from dure.ledger.contract import LedgerError
    from dure.ledger.location import locate, read_stored

    try:
        with read_stored(locate(state, database)) as log:
            yield log
    except FileNotFoundError as error:
        raise BadInput(f"{error}\n  Name the server's state folder with --state, or use --remote.") from None
    except LedgerError as error:
        raise BadInput(str(error)) from None


def opened_tiles(place: str) -> TiledLog:
    """A published log. Raises `BadInput`."""
    from dure.cli.errors import BadInput
    from dure.ledger.contract import LedgerError
    from dure.ledger.tiled import open_tiles

    try:
        return open_tiles(place)
    except (FileNotFoundError, LedgerError) as error:
        raise BadInput(str(error)) from None


def fetched_tiles(at_least: int = 0) -> TiledLog:
    """The server's log, as the tiles that it hands out, with at least so many entries if it has them.

    Raises `BadInput`.
    """
    import msgspec

    from dure.cli.client import connect
    from dure.cli.errors import BadInput
    from dure.ledger.contract import LedgerError
    from dure.ledger.tiled import TiledLog
    from dure.reports.ledger import LedgerReport

    server = connect()
    try:
        log = TiledLog(lambda path: server.find(f"{LOG}/{path}"), server.url + LOG)
        if log.size >= at_least:
            return log
        newest = msgspec.json.decode(server.get("/v1/ledger/checkpoint"), type=LedgerReport).note
        return TiledLog(lambda path: server.find(f"{LOG}/{path}"), server.url + LOG, newest)
    except (FileNotFoundError, LedgerError) as error:
        raise BadInput(str(error)) from None


def _stored_source(log: StoredLog, state: Path, at_least: int) -> Source:
    from dure.cli.errors import BadInput
    from dure.ledger.note import parse_tree_head, split_note
    from dure.ledger.tree import LeafRows
    from dure.ledger.witnesses import cosigned_checkpoint

    newest = log.checkpoints()[-1:]
    if not newest:
        raise BadInput(f"the ledger of {state} has no entries yet, so there is nothing to prove")
    note = cosigned_checkpoint(state) or newest[0]
    size = parse_tree_head(split_note(note)[0]).size
    if size < at_least:
        note = newest[0]
        size = parse_tree_head(split_note(note)[0]).size

    def entry(position: int) -> bytes:
        return next((body for batch in log.entries(position) for _, body in batch), b"")

    return Source(note, LeafRows(list(log.leaf_hashes(size))), entry)
