"""Connections to the PostgreSQL server that holds a ledger: how they are made, and plain words for what goes wrong.

Everything that libpq understands may stand in the URL (several hosts, TLS, a password file); what is set here are only
defaults. A password is never part of a message.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from dure.ledger.contract import LedgerUnreachable, LedgerUnreadable

Connection = psycopg.Connection[tuple[Any, ...]]

OLDEST_SERVER = 14
"""Its sessions can be ended when they fall silent, which failover needs."""
SILENCE_MS = 4_000
"""After so long without a word, a connection is taken for dead: by the server, and by us."""

_DEFAULTS = {
    "connect_timeout": "3",
    "keepalives_idle": "1",
    "keepalives_interval": "1",
    "keepalives_count": "2",
    "tcp_user_timeout": str(SILENCE_MS),
    # After a failover of PostgreSQL itself, an old primary must not be taken for the database.
    "target_session_attrs": "read-write",
}

_HINTS = (
    ("password authentication failed", "check the password in your password file (PGPASSFILE, usually ~/.pgpass)"),
    ("no password supplied", "put the password in a password file (PGPASSFILE, usually ~/.pgpass)"),
    ("certificate", "check sslmode and sslrootcert in the URL, and the server's certificate"),
    ("ssl", "check sslmode in the URL, and whether the server offers TLS"),
    ("does not exist", "create it first: createuser NAME, createdb --owner NAME DATABASE"),
    ("no pg_hba.conf entry", "allow this user and address in the server's pg_hba.conf"),
    ("too many", "raise max_connections of the server, or close what else uses it"),
    ("refused", "see that PostgreSQL runs there and listens"),
    ("no such file", "see that PostgreSQL runs there and listens"),
    ("resolve host", "check the host in the URL"),
    ("timeout", "see that PostgreSQL runs there and that nothing keeps it from being reached"),
)


def described(url: str) -> str:
    """A database without its password, for people: `dure on db.example:5432`. Raises `LedgerUnreadable`."""
    parts = _parsed(url)
    host = str(parts.get("host") or os.environ.get("PGHOST") or "the local server")
    port = parts.get("port") or os.environ.get("PGPORT")
    name = parts.get("dbname") or os.environ.get("PGDATABASE") or parts.get("user") or "its default database"
    return f"database {name} on {host}" + (f":{port}" if port else "")


def connect(url: str) -> Connection:
    """A connection for reading; it never sees half an append. Raises `LedgerUnreachable` or `LedgerUnreadable`."""
    where = described(url)
    given = {name: value for name, value in _parsed(url).items() if value is not None}
    named = {"application_name": f"dure {socket.gethostname()} {os.getpid()}", "client_encoding": "UTF8"}
    try:
        return psycopg.connect(**_DEFAULTS | given | named, autocommit=True)
    except psycopg.Error as error:
        raise unreachable(where, error) from None


def connect_to_lead(url: str, *, may_be_unsafe: bool = False) -> Connection:
    """A connection for appending, whose session ends soon when this process stops or is cut off.

    Raises `LedgerUnreachable`, or `LedgerUnreadable` when what the server acknowledges would not be durable; tests may
    say `may_be_unsafe`.
    """
    connection = connect(url)
    where = described(url)
    try:
        with answering(where):
            _refuse_unfit(connection, where)
            if not may_be_unsafe:
                _refuse_unsafe(connection, where)
            for name in ("idle_session_timeout", "idle_in_transaction_session_timeout", "tcp_user_timeout"):
                connection.execute(f"SET {name} = {SILENCE_MS}")
            if _setting(connection, "synchronous_commit") == "off":
                connection.execute("SET synchronous_commit = on")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def answering(where: str) -> Iterator[None]:
    """Turn what goes wrong with the server into `LedgerUnreachable`, and what is wrong with the data into its kin."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise unreachable(where, error) from error
    except psycopg.Error as error:
        raise LedgerUnreadable(f"The {where} cannot be used ({first_line(error)}).") from error


def unreachable(where: str, error: psycopg.Error) -> LedgerUnreachable:
    """What went wrong with a connection, in one line with what to do."""
    reason = first_line(error)
    hint = next((hint for sign, hint in _HINTS if sign in str(error).lower()), "")
    return LedgerUnreachable(f"The {where} cannot be reached: {reason}" + (f"; {hint}." if hint else "."))


def first_line(error: psycopg.Error) -> str:
    """The server's own words without its position and hints."""
    lines = str(error).strip().splitlines()
    # With several hosts, or several addresses of one, libpq says the same of each; the last is the freshest.
    said = lines[-1] if lines and "failed:" in lines[-1] else lines[0] if lines else type(error).__name__
    return said.removeprefix("connection failed: ").rpartition(" failed: ")[2].removeprefix("FATAL:  ").strip()


def _parsed(url: str) -> dict[str, Any]:
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.Error:
        # What libpq says about it may repeat a password.
        raise LedgerUnreadable(
            "The database's address cannot be read; write it as postgresql://USER@HOST/DATABASE?sslmode=verify-full"
        ) from None


def _refuse_unfit(connection: Connection, where: str) -> None:
    if connection.info.server_version < OLDEST_SERVER * 10_000:
        raise LedgerUnreadable(f"The {where} is older than PostgreSQL {OLDEST_SERVER}; upgrade the server.")
    encoding = _setting(connection, "server_encoding")
    if encoding != "UTF8":
        raise LedgerUnreadable(f"The {where} keeps text as {encoding}; make one with --encoding=UTF8.")


def _refuse_unsafe(connection: Connection, where: str) -> None:
    for name in ("fsync", "full_page_writes"):
        if _setting(connection, name) != "on":
            raise LedgerUnreadable(
                f"The server of {where} runs with {name} off, so it may lose what it acknowledged; set {name} = on in "
                "its postgresql.conf, and reload."
            )


def _setting(connection: Connection, name: str) -> str:
    found = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert found is not None
    value: str = found[0]
    return value
