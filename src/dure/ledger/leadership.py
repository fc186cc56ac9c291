"""Which of several servers on one database may append: the one whose session holds the log's advisory lock.

PostgreSQL lets the lock go when that session ends, however it ends; a session that fell silent is ended by the server.
The holder says a word every second for that reason. A term, counted in the log itself, fences off whoever still
believes to lead: an append names its term, and is refused when another has begun.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress

import psycopg

from dure.ledger.postgres_server import Connection

BEAT_S = 1.0
"""How often the leader speaks to the database when it has nothing to append."""


def lock_key(origin: str) -> int:
    """The number of the advisory lock of a log."""
    return int.from_bytes(hashlib.sha256(b"dure leads " + origin.encode()).digest()[:8], "big", signed=True)


def try_to_lead(connection: Connection, origin: str) -> bool:
    """Take the lead if nobody has it, for as long as the connection lives."""
    found = connection.execute("SELECT pg_try_advisory_lock(%s)", (lock_key(origin),)).fetchone()
    return bool(found and found[0])


def leave(connection: Connection) -> None:
    """Close a connection; whoever comes next need not wait until the server has noticed."""
    with suppress(psycopg.Error):
        connection.execute("SELECT pg_advisory_unlock_all()")
    connection.close()


def leader_of(connection: Connection, origin: str) -> str:
    """Who leads a log, as its connection names itself: `dure HOST PROCESS`; empty when nobody does."""
    key = lock_key(origin) & 0xFFFF_FFFF_FFFF_FFFF
    found = connection.execute(
        "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE locktype = 'advisory' AND granted"
        " AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND classid::bigint = %s AND objid::bigint = %s AND objsubid = 1",
        (key >> 32, key & 0xFFFF_FFFF),
    ).fetchone()
    return str(found[0]) if found else ""


def current_term(connection: Connection) -> int:
    """The term that appends must name now."""
    found = connection.execute("SELECT term FROM log").fetchone()
    assert found is not None
    return int(found[0])


def next_term(connection: Connection) -> int:
    """Begin a term of one's own; only for the holder of the lock."""
    found = connection.execute("UPDATE log SET term = term + 1 RETURNING term").fetchone()
    assert found is not None
    return int(found[0])


class Heartbeat:
    """Calls `beat` every second on a thread of its own, until it is closed."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="database-heartbeat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; waits for a beat on its way, unless it is the beat itself that closes."""
        self._closing.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(BEAT_S):
            self._beat()
