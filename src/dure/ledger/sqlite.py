"""A durable ledger in one SQLite file.

Entries, the rows that follow from them and a signed checkpoint are committed in one transaction (write-ahead log, full
sync), so that a crash at any instant leaves either all of an append or nothing. One process writes, under `WriterLock`;
`append` has a connection of its own, and everything that reads uses another, from any thread.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from dure.ledger.contract import (
    Checkpoint,
    LedgerFenced,
    LedgerInUse,
    LedgerUnreadable,
    LedgerWriteFailed,
    Row,
    StoredLog,
)
from dure.ledger.head import Head, StoredHead, packed, proven_head
from dure.ledger.large import entry_leaves
from dure.ledger.lock import WriterLock
from dure.ledger.note import Signer, VerifierKey
from dure.ledger.sqlite_file import STATEMENTS, insert_all, open_for_reading, open_for_writing, reading, transaction

AFTER_EVERY_CHARACTER = "\U0010ffff"
"""Unicode promises never to assign this code point, so every key that starts with a prefix sorts before it."""
READ_BATCH = 1_000
KEYS_BATCH = 4_000
VERIFY_BATCH = 256
"""Few enough entries to stay in the processor's cache while they are read, hashed and judged."""


class SqliteLedger:
    """The log, its derived rows and its checkpoints in one file. Open it with `SqliteLedger.open`."""

    def __init__(self, path: Path, signer: Signer, lock: WriterLock, writer: sqlite3.Connection) -> None:
        self.path = path
        self._signer = signer
        self._lock = lock
        self._writer = writer
        self._writing = threading.Lock()
        self._head = proven_head(_stored_head(writer, path), signer, str(path))
        self._term = _next_term(writer, path)
        self._is_overtaken = False
        self._reader = open_for_reading(path)
        self._reading = threading.Lock()

    @classmethod
    def open(cls, path: Path, signer: Signer) -> SqliteLedger:
        """Open or create the ledger at `path`, whose origin is the signer's name.

        Raises `LedgerInUse` when another server has it, and `LedgerUnreadable` when the file is no ledger, is newer
        than this program, was signed by another key, or does not fit its own last checkpoint.
        """
        with ExitStack() as on_failure:
            try:
                lock = WriterLock(path)
                on_failure.callback(lock.release)
                writer = open_for_writing(path, signer.name)
            except OSError as error:
                raise LedgerUnreadable(f"{path} cannot be opened: {error.strerror}") from error
            on_failure.callback(writer.close)
            ledger = cls(path, signer, lock, writer)
            on_failure.pop_all()
            return ledger

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._head.frontier.size

    @property
    def verifier(self) -> VerifierKey:
        """The public key that its checkpoints are verified with."""
        return self._signer.verifier

    def append(self, expected_size: int, entries: Sequence[bytes], rows: Sequence[Row], at_ms: int) -> None:
        """Make entries and rows durable together under a new signed checkpoint, or raise and change nothing.

        Raises `LedgerFenced` when the log does not have `expected_size` entries, `LedgerWriteFailed` when the disk
        refuses; the ledger can be used on after either.
        """
        with self._writing:
            if expected_size != self.size:
                raise LedgerFenced(f"{self.path} has {self.size} entries, not {expected_size}")
            leaves = entry_leaves(entries)
            head = self._head.extended(leaves, self._signer, at_ms)
            try:
                with transaction(self._writer, self.path):
                    self._refuse_when_overtaken()
                    _insert_entries(self._writer, expected_size, entries, leaves)
                    self._write_head(head)
                    _write_rows(self._writer, rows)
            except LedgerWriteFailed:
                # SQLite may report a failure of something that it did after the commit.
                if not entries or not self._has(head):
                    raise
            # In one step, so that a reader on another thread never sees a size without its checkpoint.
            self._head = head

    @property
    def is_leading(self) -> bool:
        """True until another process was found to have appended."""
        return not self._is_overtaken

    def sign_with(self, signer: Signer) -> None:
        """Have what is appended from now on signed with another key of the same name."""
        self._signer = signer

    def resume(self) -> None:
        """Nothing needs to be made ready. Raises `LedgerInUse` when another process has appended."""
        if self._is_overtaken:
            raise LedgerInUse(f"{self.path} was taken over by another server. Stop this one.")

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Entries by position, oldest first; those that are there when the iteration begins.

        Read in batches, so that a slow consumer does not keep SQLite from reusing its write-ahead log.
        """
        end = self.size if stop is None else min(stop, self.size)
        for first in range(start, end, READ_BATCH):
            batch = self._read(
                "SELECT entry FROM entries WHERE position >= ? AND position < ? ORDER BY position",
                (first, min(first + READ_BATCH, end)),
            )
            for (entry,) in batch:
                yield entry

    def leaf_hashes(self, start: int, stop: int) -> list[bytes]:
        """Leaf hashes of entries `start` to `stop - 1`, as they were recorded."""
        statement = "SELECT hash FROM leaves WHERE position >= ? AND position < ? ORDER BY position"
        return [leaf for (leaf,) in self._read(statement, (start, min(stop, self.size)))]

    def row(self, table: str, key: str) -> bytes | None:
        """One row."""
        found = self._read(STATEMENTS[table].get, (key,))
        body: bytes | None = found[0][0] if found else None
        return body

    def rows_of(self, table: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Those of these rows that are there, by key."""
        return dict(self._read(STATEMENTS[table].get_some, (json.dumps(keys),)))

    def keys(self, table: str) -> Iterator[list[str]]:
        """All keys of a table, some thousands at a time; those written after the iteration began may be missing."""
        last = 0
        while found := self._read(STATEMENTS[table].keys, (last, KEYS_BATCH)):
            yield [key for _, key in found]
            last = found[-1][0]

    def rows(
        self, table: str, prefix: str = "", limit: int | None = None, newest_first: bool = False
    ) -> list[tuple[str, bytes]]:
        """Rows of a table whose key starts with `prefix`, in the order in which their keys were first written."""
        statements = STATEMENTS[table]
        most = -1 if limit is None else limit
        if not prefix:
            return self._read(statements.newest_first if newest_first else statements.oldest_first, (most,))
        statement = statements.prefix_newest_first if newest_first else statements.prefix_oldest_first
        return self._read(statement, (prefix, prefix + AFTER_EVERY_CHARACTER, most))

    def latest_checkpoint(self) -> Checkpoint | None:
        """The newest signed checkpoint; None before the first entry."""
        return self._head.checkpoint

    def stored(self) -> AbstractContextManager[StoredLog]:
        """The log as of now, for verification; appends may go on meanwhile."""
        return read_stored(self.path)

    def scrub(self) -> None:
        """Empty the write-ahead log, which still holds what was removed; pages of the file itself are overwritten."""
        with self._writing, reading(self.path):
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def close(self) -> None:
        """Let go of the file. Does nothing the second time."""
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()
            self._lock.release()

    def _read(self, statement: str, parameters: tuple[object, ...]) -> list[Any]:
        with self._reading, reading(self.path):
            return self._reader.execute(statement, parameters).fetchall()

    def _refuse_when_overtaken(self) -> None:
        """The lock should keep other writers out; if somebody removed it, nothing is appended to what they wrote."""
        size, note = _position(self._writer)
        term = self._writer.execute("SELECT term FROM log").fetchone()[0]
        if (size, note, term) != (self.size, self._head.note, self._term):
            self._is_overtaken = True
            raise LedgerFenced(f"{self.path} was changed by another process and has {size} entries, not {self.size}")

    def _has(self, head: Head) -> bool:
        """True when this is what lies in the file."""
        try:
            return _position(self._writer) == (head.frontier.size, head.note)
        except sqlite3.DatabaseError:
            return False

    def _write_head(self, head: Head) -> None:
        if head.checkpoint is None or head is self._head:
            return
        checkpoint = head.checkpoint
        self._writer.execute("DELETE FROM checkpoints WHERE size = ?", (self._head.outdated_by(head),))
        self._writer.execute(
            "INSERT INTO checkpoints VALUES (?, ?, ?)", (checkpoint.size, checkpoint.at_ms, checkpoint.note)
        )
        self._writer.execute("UPDATE log SET frontier = ?", (packed(head.frontier),))


@contextmanager
def read_stored(path: Path) -> Iterator[StoredLog]:
    """A ledger's file as of now, for verification, whether or not a server is using it.

    Raises `FileNotFoundError` or `LedgerUnreadable`.
    """
    with closing(open_for_reading(path)) as connection:
        # One read transaction: everything is seen as of one commit.
        connection.execute("BEGIN")
        yield _StoredFile(path, connection)


class _StoredFile:
    """What lies in a ledger's file. Texts are decoded leniently: they are to be judged, not to end the reading."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        connection.text_factory = lambda raw: raw.decode(errors="replace")

    def checkpoints(self) -> list[str]:
        with reading(self._path):
            return [note for (note,) in self._connection.execute("SELECT note FROM checkpoints ORDER BY size")]

    def entries(self, start: int = 0) -> Iterator[list[tuple[int, bytes]]]:
        with reading(self._path):
            found = self._connection.execute(
                "SELECT position, entry FROM entries WHERE position >= ? OR ? = 0 ORDER BY position", (start, start)
            )
            while batch := found.fetchmany(VERIFY_BATCH):
                yield batch

    def leaf_hashes(self, stop: int, start: int = 0) -> Iterator[bytes]:
        with reading(self._path):
            found = self._connection.execute(
                "SELECT hash FROM leaves WHERE position >= ? AND position < ? ORDER BY position", (start, stop)
            )
            yield from (leaf for (leaf,) in found)


def _stored_head(connection: sqlite3.Connection, path: Path) -> StoredHead:
    with reading(path):
        size, note = _position(connection)
        frontier, at_ms = connection.execute(
            "SELECT frontier, (SELECT at_ms FROM checkpoints ORDER BY size DESC LIMIT 1) FROM log"
        ).fetchone()
    return StoredHead(size=size, frontier=frontier, note=note, at_ms=at_ms)


def _next_term(connection: sqlite3.Connection, path: Path) -> int:
    with transaction(connection, path):
        term: int = connection.execute("UPDATE log SET term = term + 1 RETURNING term").fetchone()[0]
    return term


def _position(connection: sqlite3.Connection) -> tuple[int, str | None]:
    """Number of entries and latest checkpoint, as they lie in the file."""
    size, note = connection.execute(
        "SELECT (SELECT coalesce(max(position) + 1, 0) FROM entries),"
        " (SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1)"
    ).fetchone()
    return size, note


def _insert_entries(
    connection: sqlite3.Connection, start: int, entries: Sequence[bytes], leaves: Sequence[bytes]
) -> None:
    insert_all(connection, "INSERT INTO entries VALUES (?, ?)", list(enumerate(entries, start)))
    insert_all(connection, "INSERT INTO leaves VALUES (?, ?)", list(enumerate(leaves, start)))


def _write_rows(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Table by table, and within a table in the order given: a key may be written and removed in one batch."""
    by_table: dict[str, list[Row]] = {}
    for row in rows:
        by_table.setdefault(row.table, []).append(row)
    for table, its_rows in by_table.items():
        statements = STATEMENTS[table]
        for is_removal, run in groupby(its_rows, key=_removes):
            if is_removal:
                connection.executemany(statements.remove, [(row.key,) for row in run])
            else:
                insert_all(connection, statements.put, [(row.key, row.body) for row in run])


def _removes(row: Row) -> bool:
    return row.body is None
