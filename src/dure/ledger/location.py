"""Where a platform's ledger lies: in its state folder (SQLite), or in a database that its address names (PostgreSQL).

A state folder remembers its database, so that no command needs to be told again, and so that nobody by mistake begins a
second ledger beside the first, under the same key.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from msgspec import Struct

from dure.ledger.contract import LedgerUnreadable, StoredLog

LEDGER_FILE = "ledger.sqlite"
DATABASE_FILE = "database"
SCHEMES = ("postgresql", "postgres")


class Location(Struct, frozen=True):
    """The ledger's file, or the database instead of it, as it was named: a URL, or `@FILE` with a URL in it."""

    file: Path
    database: str = ""

    def url(self) -> str:
        """The database's URL, with its password if it has one there. Raises `LedgerUnreadable`."""
        return _url_in(Path(self.database[1:])) if self.database.startswith("@") else _checked(self.database)


def locate(state: Path, database: str | None) -> Location:
    """The ledger of a state folder: in the database given, else in the one it remembers, else in its own file.

    Raises `LedgerUnreadable` when that would leave a ledger behind that is there already.
    """
    file = state / LEDGER_FILE
    remembered = _remembered(state)
    if not database:
        return Location(file, remembered)
    if file.exists():
        raise LedgerUnreadable(
            f"{state} has its ledger in {LEDGER_FILE}. Move it into a database with `dure backup` and `dure restore`, "
            "or name another state folder with --state."
        )
    location = Location(file, f"@{Path(database[1:]).absolute()}" if database.startswith("@") else database)
    location.url()
    return location


def remember(state: Path, location: Location) -> None:
    """Have the state folder know its database from now on, without the password."""
    known = without_password(location.database)
    if not known or known == _remembered(state):
        return
    partial = state / f".{DATABASE_FILE}.{os.getpid()}"
    partial.write_text(f"{known}\n", encoding="utf-8")
    partial.replace(state / DATABASE_FILE)


def moved_from(state: Path, location: Location) -> str:
    """The other database that the state folder remembers its ledger in; empty when it remembers none or this one."""
    remembered = _remembered(state)
    return "" if remembered == without_password(location.database) else remembered


def has_password(database: str) -> bool:
    """True when a password can be read from a database's URL."""
    parts = urlsplit(database)
    return bool(parts.password) or "password" in dict(parse_qsl(parts.query))


def without_password(database: str) -> str:
    """A database's URL as it may be shown and kept."""
    if not database or database.startswith("@"):
        return database
    parts = urlsplit(database)
    login, at, host = parts.netloc.rpartition("@")
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "password"]
    netloc = login.partition(":")[0] + at + host
    return urlunsplit(parts._replace(netloc=netloc, query=urlencode(query, quote_via=quote, safe="/")))


@contextmanager
def read_stored(location: Location) -> Iterator[StoredLog]:
    """The log as of now, for verification, whether or not a server is using it.

    Raises `FileNotFoundError` when there is none, or `LedgerError`.
    """
    if not location.database:
        from dure.ledger import sqlite

        with sqlite.read_stored(location.file) as log:
            yield log
        return
    from dure.ledger import postgres_reading

    with postgres_reading.read_stored(location.url()) as log:
        yield log


def _remembered(state: Path) -> str:
    try:
        return (state / DATABASE_FILE).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _url_in(path: Path) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        url = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerUnreadable(f"{path}: the database's URL cannot be read from it ({error}).") from None
    if mode & 0o077:
        raise LedgerUnreadable(f"{path} can be read by other users (mode {mode:o}). Run: chmod 600 {path}")
    return _checked(url)


def _checked(url: str) -> str:
    if urlsplit(url).scheme not in SCHEMES:
        raise LedgerUnreadable(
            "A database is named as postgresql://USER@HOST/DATABASE, or as @FILE with that in the file; without one "
            "the ledger is SQLite, in the state folder."
        )
    return url
