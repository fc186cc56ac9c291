"""A durable ledger in a PostgreSQL database, which several servers may share: one of them leads and appends.

Entries, the rows that follow from them and a signed checkpoint are one statement (`postgres_append`) on the connection
whose session holds the lead (`leadership`), so whoever lost that connection cannot append. Everything that reads uses
other connections, from any thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from dure.ledger.contract import (
    TABLES,
    Checkpoint,
    LedgerError,
    LedgerFenced,
    LedgerInUse,
    LedgerUnreachable,
    LedgerUnreadable,
    LedgerWriteFailed,
    Row,
    StoredLog,
)
from dure.ledger.head import Head, StoredHead, packed, proven_head
from dure.ledger.large import entry_leaves
from dure.ledger.leadership import Heartbeat, current_term, leader_of, leave, next_term, try_to_lead
from dure.ledger.note import Signer, VerifierKey
from dure.ledger.postgres_append import (
    Fenced,
    Part,
    append,
    checkpoint_part,
    entries_part,
    fence,
    forget_checkpoint_part,
    leaves_part,
    rows_parts,
)
from dure.ledger.postgres_reading import Readers, read_stored
from dure.ledger.postgres_schema import format_of, prepare, refuse_other_log
from dure.ledger.postgres_server import Connection, answering, connect, connect_to_lead, described, first_line

log = logging.getLogger(__name__)

AFTER_EVERY_CHARACTER = "\U0010ffff"
"""Unicode promises never to assign this code point, so every key that starts with a prefix sorts before it."""
READ_BATCH = 1_000
KEYS_BATCH = 4_000

_ENTRIES = SQL(
    "INSERT INTO entries SELECT %s + n - 1, entry FROM unnest(%b::bytea[]) WITH ORDINALITY AS given (entry, n)"
)
_PUT_LEAVES = SQL(
    "INSERT INTO leaves SELECT %s + n - 1, hash FROM unnest(%b::bytea[]) WITH ORDINALITY AS given (hash, n)"
)
_FORGET_CHECKPOINT = SQL("DELETE FROM checkpoints WHERE size = %s")
_PUT_CHECKPOINT = SQL("INSERT INTO checkpoints VALUES (%s, %s, %s)")
_ENTRIES = SQL("SELECT entry FROM entries WHERE position >= %s AND position < %s ORDER BY position")
_LEAVES = SQL("SELECT hash FROM leaves WHERE position >= %s AND position < %s ORDER BY position")
_HEAD = SQL(
    "SELECT (SELECT coalesce(max(position) + 1, 0) FROM entries), frontier,"
    " (SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1),"
    " (SELECT at_ms FROM checkpoints ORDER BY size DESC LIMIT 1) FROM log"
)


def _for_each_table(text: str) -> dict[str, Composed]:
    return {table: SQL(text).format(Identifier(table)) for table in TABLES}


_GET_ROW = _for_each_table("SELECT body FROM {} WHERE key = %s")
_GET_SOME = _for_each_table("SELECT key, body FROM {} WHERE key = ANY(%s)")
_KEYS = _for_each_table("SELECT ordinal, key FROM {} WHERE ordinal > %s ORDER BY ordinal LIMIT %s")
_OLDEST_FIRST = _for_each_table(
    "SELECT key, body FROM {} WHERE key >= %s AND (%s OR key < %s) ORDER BY ordinal LIMIT %s"
)
_NEWEST_FIRST = _for_each_table(
    "SELECT key, body FROM {} WHERE key >= %s AND (%s OR key < %s) ORDER BY ordinal DESC LIMIT %s"
)


class Candidate:
    """A server that would lead a log as soon as nobody else does. Not thread-safe."""

    def __init__(
        self,
        url: str,
        signer: Signer,
        *,
        may_be_unsafe: bool = False,
        on_deposed: Callable[[str], None] = log.critical,
    ) -> None:
        self.where = described(url)
        self._on_deposed = on_deposed
        self._url = url
        self._signer = signer
        self._may_be_unsafe = may_be_unsafe
        self._connection: Connection | None = None

    def try_to_lead(self) -> PostgresLedger | None:
        """The ledger, if nobody else leads it. Raises `LedgerUnreachable` or `LedgerUnreadable`."""
        connection = self._connected()
        try:
            with answering(self.where):
                if not try_to_lead(connection, self._signer.name):
                    self._refuse_what_it_could_not_lead(connection)
                    return None
                prepare(connection, self._url, self.where, self._signer.name)
                head = _proven(connection, self._signer, self.where)
                ledger = PostgresLedger(
                    self._url, self._signer, connection, head, self._on_deposed, self._may_be_unsafe
                )
        except BaseException:
            self.close()
            raise
        self._connection = None
        return ledger

    def leader(self) -> str:
        """Who leads, as it names itself; empty when that cannot be told."""
        try:
            return leader_of(self._connected(), self._signer.name)
        except (LedgerError, psycopg.Error):
            return ""

    def size(self) -> int:
        """Number of entries that the leader has appended. Raises `LedgerUnreachable`."""
        with answering(self.where):
            found = self._connected().execute("SELECT coalesce(max(position) + 1, 0) FROM entries").fetchone()
        assert found is not None
        return int(found[0])

    def close(self) -> None:
        """Give up."""
        if self._connection is not None:
            leave(self._connection)
        self._connection = None

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect_to_lead(self._url, may_be_unsafe=self._may_be_unsafe)
        return self._connection

    def _refuse_what_it_could_not_lead(self, connection: Connection) -> None:
        """Better now than at the moment when it is needed."""
        if format_of(connection, self.where) > 0:
            refuse_other_log(connection, self.where, self._signer.name)


class PostgresLedger:
    """The log, its derived rows and its checkpoints in one database. Open it with `PostgresLedger.open`."""

    def __init__(
        self,
        url: str,
        signer: Signer,
        connection: Connection,
        head: Head,
        on_deposed: Callable[[str], None],
        may_be_unsafe: bool,
    ) -> None:
        self.where = described(url)
        self.on_deposed = on_deposed
        """Called once, from any thread, when another server has taken the lead: this one must go."""
        self._url = url
        self._signer = signer
        self._may_be_unsafe = may_be_unsafe
        self._connection = connection
        self._head = head
        self._term = next_term(connection)
        self._is_connected = True
        self._is_deposed = False
        self._is_closed = False
        self._writing = threading.RLock()
        self._readers = Readers(url)
        self._heartbeat = Heartbeat(self._beat)

    @classmethod
    def open(cls, url: str, signer: Signer, *, may_be_unsafe: bool = False) -> PostgresLedger:
        """Open or create the ledger in a database, whose origin is the signer's name.

        Raises `LedgerInUse` when another server leads it, `LedgerUnreachable`, and `LedgerUnreadable` when the database
        holds something else, is newer than this program, was signed by another key, or does not fit its own last
        checkpoint.
        """
        candidate = Candidate(url, signer, may_be_unsafe=may_be_unsafe)
        try:
            ledger = candidate.try_to_lead()
            if ledger is None:
                raise LedgerInUse(
                    f"The {candidate.where} is led by another server ({candidate.leader() or 'unknown'})."
                )
            return ledger
        finally:
            candidate.close()

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._head.frontier.size

    @property
    def verifier(self) -> VerifierKey:
        """The public key that its checkpoints are verified with."""
        return self._signer.verifier

    @property
    def is_leading(self) -> bool:
        """False from when the connection is lost until the lead is proven anew."""
        return self._is_connected and not self._is_deposed

    def append(self, expected_size: int, entries: Sequence[bytes], rows: Sequence[Row], at_ms: int) -> None:
        """Make entries and rows durable together under a new signed checkpoint, or raise and change nothing.

        Raises `LedgerFenced` when the log does not have `expected_size` entries or another server leads, and
        `LedgerWriteFailed` when the database refuses or is gone.
        """
        with self._writing:
            if expected_size != self.size:
                raise LedgerFenced(f"The {self.where} has {self.size} entries, not {expected_size}.")
            if not self.is_leading:
                raise LedgerWriteFailed(f"The {self.where} is not connected. Nothing was recorded.")
            leaves = entry_leaves(entries)
            head = self._head.extended(leaves, self._signer, at_ms)
            parts = [*self._log_parts(head, entries, leaves), *rows_parts(rows)]
            try:
                append(self._connection, fence(packed(head.frontier), self._term, self.size), parts)
            except psycopg.Error as error:
                raise self._failure(error) from error
            self._head = head

    def sign_with(self, signer: Signer) -> None:
        """Have what is appended from now on signed with another key of the same name."""
        self._signer = signer

    def resume(self) -> None:
        """Prove the lead anew if the connection was lost, and see what the log has now.

        Raises `LedgerInUse` when another server has taken over, and `LedgerUnreachable`.
        """
        with self._writing, answering(self.where):
            self._reconnect()
            if current_term(self._connection) != self._term:
                raise self._step_down(self._connection)
            self._head = _proven(self._connection, self._signer, self.where)

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Entries by position, oldest first; those that are there when the iteration begins."""
        end = self.size if stop is None else min(stop, self.size)
        for first in range(start, end, READ_BATCH):
            for (entry,) in self._readers.read(_ENTRIES, (first, min(first + READ_BATCH, end))):
                yield entry

    def leaf_hashes(self, start: int, stop: int) -> list[bytes]:
        """Leaf hashes of entries `start` to `stop - 1`, as they were recorded."""
        return [leaf for (leaf,) in self._readers.read(_LEAVES, (start, min(stop, self.size)))]

    def row(self, table: str, key: str) -> bytes | None:
        """One row."""
        found = self._readers.read(_GET_ROW[table], (key,))
        body: bytes | None = found[0][0] if found else None
        return body

    def rows_of(self, table: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Those of these rows that are there, by key."""
        return dict(self._readers.read(_GET_SOME[table], (list(keys),)))

    def keys(self, table: str) -> Iterator[list[str]]:
        """All keys of a table, some thousands at a time; those written after the iteration began may be missing."""
        last = 0
        while found := self._readers.read(_KEYS[table], (last, KEYS_BATCH)):
            yield [key for _, key in found]
            last = found[-1][0]

    def rows(
        self, table: str, prefix: str = "", limit: int | None = None, newest_first: bool = False
    ) -> list[tuple[str, bytes]]:
        """Rows of a table whose key starts with `prefix`, in the order in which their keys were first written."""
        statement = (_NEWEST_FIRST if newest_first else _OLDEST_FIRST)[table]
        return self._readers.read(statement, (prefix, not prefix, prefix + AFTER_EVERY_CHARACTER, limit))

    def latest_checkpoint(self) -> Checkpoint | None:
        """The newest signed checkpoint; None before the first entry."""
        return self._head.checkpoint

    def stored(self) -> AbstractContextManager[StoredLog]:
        """The log as of now, for verification; appends may go on meanwhile."""
        return read_stored(self._url)

    def scrub(self) -> None:
        """Write the tables of people anew without what was removed, and free its place in those of jobs.

        The database's own log and replicas keep it as long as they are set up to.
        """
        with answering(self.where), closing(connect(self._url)) as connection:
            connection.execute("VACUUM FULL accounts")
            connection.execute("VACUUM FULL tokens")
            connection.execute("VACUUM specs, requests")

    def close(self) -> None:
        """Let go of the lead and of all connections. Does nothing the second time."""
        self._heartbeat.close()
        with self._writing:
            self._is_connected, self._is_closed = False, True
            leave(self._connection)
            self._readers.close()

    def _log_parts(self, head: Head, entries: Sequence[bytes], leaves: Sequence[bytes]) -> list[Part]:
        if not entries or head.checkpoint is None:
            return []
        checkpoint, outdated = head.checkpoint, self._head.outdated_by(head)
        return [
            entries_part(self.size, entries),
            leaves_part(self.size, leaves),
            *([] if outdated is None else [forget_checkpoint_part(outdated)]),
            checkpoint_part(checkpoint.size, checkpoint.at_ms, checkpoint.note),
        ]

    def _failure(self, error: psycopg.Error) -> LedgerError:
        reason = first_line(error)
        if isinstance(error, Fenced):
            return LedgerFenced(f"The {self.where} was changed by another server, and is not as long as believed.")
        if isinstance(error, psycopg.errors.UniqueViolation):
            return LedgerFenced(f"The {self.where} was changed by another server ({reason}).")
        if not self._connection.closed:
            return LedgerWriteFailed(f"The {self.where} could not be written ({reason}). Nothing was recorded.")
        self._is_connected = False
        return LedgerWriteFailed(
            f"The connection to the {self.where} was lost ({reason}). What was recorded is seen when it answers again."
        )

    def _beat(self) -> None:
        """Say a word to the database, so that it keeps the session; once the connection is lost, try to get it back."""
        if not self._writing.acquire(blocking=False):
            return  # An append is speaking.
        try:
            if self._is_closed or self._is_deposed:
                return
            self._reconnect()
            self._connection.execute("SELECT 1")
        except (psycopg.Error, LedgerError) as error:
            if self._is_connected and self._connection.closed:
                self._is_connected = False
                log.error("the %s is lost: %s", self.where, error)
        finally:
            self._writing.release()

    def _reconnect(self) -> None:
        """Nothing when connected. Raises `LedgerInUse` when another server led meanwhile, else `LedgerUnreachable`."""
        if self._is_deposed:
            raise LedgerInUse(f"The {self.where} is led by another server.")
        if self._is_connected and not self._connection.closed:
            return
        self._is_connected = False
        connection = connect_to_lead(self._url, may_be_unsafe=self._may_be_unsafe)
        try:
            leads = try_to_lead(connection, self._signer.name)
            if current_term(connection) != self._term:
                raise self._step_down(connection)
            if not leads:
                # Either our own last session, which the server has not given up yet, or somebody who is about to lead.
                raise LedgerUnreachable(f"The lead of the {self.where} is still held by the session that was lost.")
        except BaseException:
            leave(connection)
            raise
        self._connection, self._is_connected = connection, True
        log.warning("the %s is back, and still led by this server", self.where)

    def _step_down(self, connection: Connection) -> LedgerInUse:
        self._is_deposed = True
        leader = leader_of(connection, self._signer.name) or "unknown"
        message = f"The {self.where} is led by another server now ({leader}); this one has stopped."
        self.on_deposed(message)
        return LedgerInUse(message)


def _proven(connection: Connection, signer: Signer, where: str) -> Head:
    found = connection.execute(_HEAD).fetchone()
    if found is None:
        raise LedgerUnreadable(f"The {where} holds no log.")
    size, frontier, note, at_ms = found
    return proven_head(StoredHead(size=size, frontier=frontier, note=note, at_ms=at_ms), signer, f"The {where}")
