"""The SQLite file of a ledger: its tables, how it is opened, and how one transaction is all or nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from msgspec import Struct

from dure.ledger.contract import TABLES, LedgerUnreadable, LedgerWriteFailed
from dure.ledger.schema import SCHEMA_VERSION, VERSION_TABLE, newer, revision

APPLICATION_ID = int.from_bytes(b"Dure", "big")
"""SQLite keeps this number in the file's header, so that `file` and we can tell what it is."""
BUSY_TIMEOUT_S = 5.0
ROWS_AT_ONCE = 50

_LOG_TABLES = (
    "CREATE TABLE log (one INTEGER PRIMARY KEY CHECK (one = 1), origin TEXT NOT NULL, frontier BLOB NOT NULL,"
    " term BIGINT NOT NULL DEFAULT 0)",
    "CREATE TABLE entries (position INTEGER PRIMARY KEY, entry BLOB NOT NULL CHECK (typeof(entry) = 'blob'))",
    "CREATE TABLE leaves (position INTEGER PRIMARY KEY, hash BLOB NOT NULL CHECK (length(hash) = 32))",
    "CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, note TEXT NOT NULL)",
)


class TableStatements(Struct, frozen=True):
    """The statements for one table of rows. `ordinal` remembers in which order keys were first written."""

    create: str = (
        "CREATE TABLE TABLE_NAME (ordinal INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,"
        " body BLOB NOT NULL CHECK (typeof(body) = 'blob'))"
    )
    put: str = "INSERT INTO TABLE_NAME (key, body) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET body = excluded.body"
    remove: str = "DELETE FROM TABLE_NAME WHERE key = ?"
    get: str = "SELECT body FROM TABLE_NAME WHERE key = ?"
    get_some: str = "SELECT key, body FROM TABLE_NAME WHERE key IN (SELECT value FROM json_each(?))"
    keys: str = "SELECT ordinal, key FROM TABLE_NAME WHERE ordinal > ? ORDER BY ordinal LIMIT ?"
    oldest_first: str = "SELECT key, body FROM TABLE_NAME ORDER BY ordinal LIMIT ?"
    newest_first: str = "SELECT key, body FROM TABLE_NAME ORDER BY ordinal DESC LIMIT ?"
    prefix_oldest_first: str = "SELECT key, body FROM TABLE_NAME WHERE key >= ? AND key < ? ORDER BY ordinal LIMIT ?"
    prefix_newest_first: str = (
        "SELECT key, body FROM TABLE_NAME WHERE key >= ? AND key < ? ORDER BY ordinal DESC LIMIT ?"
    )

    @classmethod
    def for_table(cls, name: str) -> TableStatements:
        """SQL cannot bind a table's name as a parameter; `name` is one of `TABLES`, never a user's text."""
        texts = cls()
        return cls(*(getattr(texts, field).replace("TABLE_NAME", name) for field in cls.__struct_fields__))


STATEMENTS = {name: TableStatements.for_table(name) for name in TABLES}


def open_for_writing(path: Path, origin: str) -> sqlite3.Connection:
    """The connection that appends; makes the file, readable by its owner only, if there is none.

    One of an older version is brought up to date. Raises `LedgerUnreadable` for a file that is no ledger, is of a newer
    version or belongs to another log.
    """
    # Tokens' and secrets' rows lie here too. SQLite gives its side files the mode of the main one.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = _connect(f"{path.absolute().as_uri()}?mode=rw", path)
    try:
        _prepare(connection, path, origin)
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot change anything. Raises `FileNotFoundError` or `LedgerUnreadable`."""
    if not path.exists():
        raise FileNotFoundError(f"there is no ledger at {path}")
    connection = _connect(f"{path.absolute().as_uri()}?mode=ro", path)
    try:
        with reading(path):
            _refuse_foreign(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


def insert_all(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, object]]) -> None:
    """Insert rows of two columns in their order, with a statement that says `VALUES (?, ?)`.

    Many rows go into one statement, because after each the interpreter's lock is given away and waited for again.
    """
    in_groups = len(rows) - len(rows) % ROWS_AT_ONCE
    of_many = statement.replace("VALUES (?, ?)", "VALUES " + ", ".join(["(?, ?)"] * ROWS_AT_ONCE))
    for first in range(0, in_groups, ROWS_AT_ONCE):
        connection.execute(of_many, list(chain.from_iterable(rows[first : first + ROWS_AT_ONCE])))
    connection.executemany(statement, rows[in_groups:])


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Commit everything done inside, or nothing. Raises `LedgerWriteFailed` when the database refuses."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException as error:
        # After a full disk SQLite has sometimes rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.DatabaseError):
            raise LedgerWriteFailed(
                f"{path} could not be written ({error}). Nothing was recorded. "
                "Check free space and permissions there, then try again."
            ) from error
        raise


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what SQLite says about a damaged file into `LedgerUnreadable`."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise LedgerUnreadable(
            f"{path} cannot be read ({error}). Restore it from a backup if the file is damaged; "
            "if it lies in a folder you may not write to, copy it to one where you may."
        ) from error


def _connect(uri: str, path: Path) -> sqlite3.Connection:
    # Autocommit here means that transactions begin and end only where `transaction` says so.
    with reading(path):
        return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def _prepare(connection: sqlite3.Connection, path: Path, origin: str) -> None:
    with reading(path):
        is_new = _identity(connection) == (0, 0) and not connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
        if not is_new:
            _refuse_foreign(path, connection)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise LedgerUnreadable(f"{path} lies on a file system without shared memory; keep it on a local disk")
        connection.execute("PRAGMA synchronous = FULL")
        # A removed secret must not linger in a free page.
        connection.execute("PRAGMA secure_delete = ON")
    if is_new:
        _create(connection, path, origin)
    elif (version := _identity(connection)[1]) < SCHEMA_VERSION:
        from dure.ledger.migrating import migrate_file

        migrate_file(path, version)
    owner = connection.execute("SELECT origin FROM log").fetchone()[0]
    if owner != origin:
        raise LedgerUnreadable(f"{path} is the ledger {owner!r}, but the key given signs for {origin!r}")


def _create(connection: sqlite3.Connection, path: Path, origin: str) -> None:
    with transaction(connection, path):
        for statement in _LOG_TABLES:
            connection.execute(statement)
        for statements in STATEMENTS.values():
            connection.execute(statements.create)
        connection.execute(VERSION_TABLE)
        connection.execute("INSERT INTO alembic_version VALUES (?)", (revision(SCHEMA_VERSION),))
        connection.execute("INSERT INTO log (one, origin, frontier) VALUES (1, ?, x'')", (origin,))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _identity(connection: sqlite3.Connection) -> tuple[int, int]:
    application_id: int = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return application_id, version


def _refuse_foreign(path: Path, connection: sqlite3.Connection) -> None:
    application_id, version = _identity(connection)
    if application_id != APPLICATION_ID or version < 1:
        raise LedgerUnreadable(f"{path} is not a Dure ledger. Nothing was changed in it; give another path.")
    if version > SCHEMA_VERSION:
        raise newer(str(path), version)
