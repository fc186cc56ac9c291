"""Carries a whole ledger, as of one moment, from one storage to another: SQLite or PostgreSQL, either way."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from dure.ledger.contract import TABLES, LedgerInUse, LedgerUnreadable
from dure.ledger.location import Location
from dure.ledger.sqlite_file import open_for_reading, open_for_writing, reading, transaction

BATCH = 4_096
_COLUMNS = {
    "entries": ("position", "entry"),
    "leaves": ("position", "hash"),
    "checkpoints": ("size", "at_ms", "note"),
} | dict.fromkeys(TABLES, ("key", "body"))
_TYPES = {"position": "int8", "size": "int8", "at_ms": "int8", "note": "text", "key": "text"}

Progress = Callable[[int], None]
"""Told how many more entries were carried."""


class Head(msgspec.Struct, frozen=True):
    """Whose log it is, the peaks of its tree, and how many entries it has."""

    origin: str
    frontier: bytes
    entries: int


class Whole(Protocol):
    """A ledger as of one moment."""

    @property
    def head(self) -> Head:
        """Whose log it is, and how far it goes."""
        ...

    def batches(self, table: str) -> Iterator[list[Any]]:
        """A table's rows in order, without what the storage adds; nothing for a table that an older ledger lacks."""
        ...


@contextmanager
def read_whole(location: Location) -> Iterator[Whole]:
    """Everything in a ledger, while a server may go on appending. Raises as `location.read_stored`."""
    if not location.database:
        with closing(open_for_reading(location.file)) as file:
            file.execute("BEGIN")
            yield _WholeFile(file, location.file)
        return
    from dure.ledger.postgres_reading import StoredDatabase, snapshot

    with snapshot(location.url()) as database:
        yield _WholeDatabase(StoredDatabase(location.url(), database))


def write_file(whole: Whole, path: Path, progress: Progress) -> None:
    """Make a new SQLite ledger of it, durably. Raises `LedgerWriteFailed`, and leaves a part of it then."""
    with closing(open_for_writing(path, whole.head.origin)) as file:
        with transaction(file, path):
            file.execute("UPDATE log SET frontier = ?", (whole.head.frontier,))
            for table, columns in _COLUMNS.items():
                places = ", ".join("?" * len(columns))
                insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 (our own names)
                for batch in whole.batches(table):
                    file.executemany(insert, batch)
                    progress(len(batch) if table == "entries" else 0)
        # One file without others beside it, which can be read from where nothing may be written.
        file.execute("PRAGMA journal_mode = DELETE")


def write_database(whole: Whole, url: str, progress: Progress) -> None:
    """Fill an empty database with it, in one transaction. Raises `LedgerInUse`, `LedgerUnreadable` when not empty."""
    from dure.ledger import postgres_schema as schema
    from dure.ledger.leadership import try_to_lead
    from dure.ledger.postgres_server import answering, connect, described

    where, origin = described(url), whole.head.origin
    with answering(where), closing(connect(url)) as database, database.transaction():
        if not try_to_lead(database, origin):
            raise LedgerInUse(f"The {where} is led by a server; nothing was changed.")
        if schema.format_of(database, where):
            raise LedgerUnreadable(f"The {where} holds a ledger already; nothing was changed. Use an empty database.")
        schema.prepare(database, url, where, origin)
        database.execute("UPDATE log SET frontier = %s", (whole.head.frontier,))
        for table, columns in _COLUMNS.items():
            _copy(database, table, columns, whole, progress)


def _copy(database: Any, table: str, columns: tuple[str, ...], whole: Whole, progress: Progress) -> None:
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    with database.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types([_TYPES.get(column, "bytea") for column in columns])
        for batch in whole.batches(table):
            for row in batch:
                copy.write_row(row)
            progress(len(batch) if table == "entries" else 0)


class _WholeFile:
    def __init__(self, file: sqlite3.Connection, path: Path) -> None:
        self._file = file
        self._path = path
        with reading(path):
            self.head = Head(*file.execute(_HEAD).fetchone())
            self._tables = {name for (name,) in file.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}

    def batches(self, table: str) -> Iterator[list[Any]]:
        if table not in self._tables:
            return
        with reading(self._path):
            found = self._file.execute(_select(table))
            while batch := found.fetchmany(BATCH):
                yield batch


class _WholeDatabase:
    def __init__(self, stored: Any) -> None:
        self._stored = stored
        self.head = Head(*next(iter(stored.batches(_sql(_HEAD))))[0])
        tables = stored.batches(_sql("SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()"))
        self._tables = {name for batch in tables for (name,) in batch}

    def batches(self, table: str) -> Iterator[list[Any]]:
        if table in self._tables:
            yield from self._stored.batches(_sql(_select(table)))


_HEAD = "SELECT origin, frontier, (SELECT count(*) FROM entries) FROM log"


def _select(table: str) -> str:
    columns = _COLUMNS[table]
    order = "ordinal" if table in TABLES else columns[0]
    return f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}"  # noqa: S608 (our own names)


def _sql(text: str) -> Any:
    from psycopg.sql import SQL

    return SQL(text)
