"""Reading a ledger in PostgreSQL: from any thread while it is appended to, and whole as of one moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from typing import Any

import psycopg
from psycopg.sql import SQL, Composed

from dure.ledger.contract import LedgerUnreadable, StoredLog
from dure.ledger.postgres_schema import format_of
from dure.ledger.postgres_server import Connection, answering, connect, described

MOST_IDLE = 4
"""Connections kept for the next reader; more are made when more threads read at once."""
VERIFY_BATCH = 4_096

Statement = SQL | Composed


class Readers:
    """Connections for reading. One that broke while nobody used it is replaced without anybody noticing."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._where = described(url)
        self._idle: list[Connection] = []
        self._guard = threading.Lock()

    def read(self, statement: Statement, parameters: tuple[object, ...]) -> list[Any]:
        """All rows that a statement finds. Raises `LedgerUnreachable` or `LedgerUnreadable`."""
        with self._guard:
            connection = self._idle.pop() if self._idle else None
        if connection is not None:
            try:
                return self._read(connection, statement, parameters)
            except psycopg.OperationalError:
                # The server was restarted, most likely; the other idle connections are as old.
                self.close()
        with answering(self._where):
            return self._read(connect(self._url), statement, parameters)

    def close(self) -> None:
        """Let go of the idle connections."""
        with self._guard:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _read(self, connection: Connection, statement: Statement, parameters: tuple[object, ...]) -> list[Any]:
        try:
            found = connection.execute(statement, parameters, binary=True).fetchall()
        except BaseException:
            connection.close()
            raise
        with self._guard:
            if len(self._idle) < MOST_IDLE:
                self._idle.append(connection)
                return found
        connection.close()
        return found


@contextmanager
def read_stored(url: str) -> Iterator[StoredLog]:
    """The log in a database as of now, for verification, whether or not a server is using it.

    Raises `FileNotFoundError` when there is none, `LedgerUnreachable` or `LedgerUnreadable`.
    """
    with snapshot(url) as connection:
        yield StoredDatabase(url, connection)


@contextmanager
def snapshot(url: str) -> Iterator[Connection]:
    """A connection that sees everything as of one moment, and can change nothing. Raises as `read_stored`."""
    where = described(url)
    with closing(connect(url)) as connection, answering(where):
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            if format_of(connection, where) == 0:
                raise FileNotFoundError(f"there is no ledger in the {where}")
            yield connection


class StoredDatabase:
    """What lies in a ledger's tables, to be judged."""

    def __init__(self, url: str, connection: Connection) -> None:
        self._where = described(url)
        self._connection = connection
        self._numbers = count()

    def checkpoints(self) -> list[str]:
        """The signed notes that were kept, oldest first."""
        return [note for batch in self.batches(SQL("SELECT note FROM checkpoints ORDER BY size")) for (note,) in batch]

    def entries(self, start: int = 0) -> Iterator[list[tuple[int, bytes]]]:
        """Batches of entries with their positions, in order of position."""
        return self.batches(
            SQL("SELECT position, entry FROM entries WHERE position >= %s OR %s = 0 ORDER BY position"), (start, start)
        )

    def leaf_hashes(self, stop: int, start: int = 0) -> Iterator[bytes]:
        """Recorded hashes of the entries from `start` to before `stop`, in order."""
        found = self.batches(
            SQL("SELECT hash FROM leaves WHERE position >= %s AND position < %s ORDER BY position"), (start, stop)
        )
        return (leaf for batch in found for (leaf,) in batch)

    def batches(self, statement: Statement, parameters: tuple[object, ...] = ()) -> Iterator[list[Any]]:
        """What a statement finds, a few thousand rows at a time. Raises `LedgerUnreadable`."""
        name = f"stored_{next(self._numbers)}"
        try:
            with self._connection.cursor(name, scrollable=False) as cursor:
                cursor.execute(statement, parameters, binary=True)
                while batch := cursor.fetchmany(VERIFY_BATCH):
                    yield batch
        except psycopg.Error as error:
            raise LedgerUnreadable(f"The {self._where} could not be read to its end ({error}).") from error
