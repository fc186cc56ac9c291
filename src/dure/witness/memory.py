"""What a witness must never forget: the latest checkpoint it cosigned of each log, in one SQLite file."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from dure.ledger.merkle import EMPTY_ROOT

_TABLE = "CREATE TABLE IF NOT EXISTS logs (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL)"


class Latest(Struct, frozen=True):
    """Size and root of the last checkpoint that was cosigned."""

    size: int
    root: bytes


NOTHING_YET = Latest(0, EMPTY_ROOT)


class WitnessMemory:
    """The latest checkpoints, durable before anybody is told. May be used from any thread and by several processes."""

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._file.execute("PRAGMA synchronous = FULL")
        self._file.execute(_TABLE)
        self._guard = threading.Lock()

    @contextmanager
    def deciding(self) -> Iterator[WitnessMemory]:
        """One decision at a time: what is read and what is kept inside is one transaction."""
        with self._guard:
            self._file.execute("BEGIN IMMEDIATE")
            try:
                yield self
                self._file.execute("COMMIT")
            finally:
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")

    def latest(self, origin: str) -> Latest:
        """The last checkpoint of a log; that of an empty log before the first."""
        found = self._file.execute("SELECT size, root FROM logs WHERE origin = ?", (origin,)).fetchone()
        return Latest(*found) if found else NOTHING_YET

    def keep(self, origin: str, latest: Latest) -> None:
        """Remember this one from now on."""
        self._file.execute("INSERT OR REPLACE INTO logs VALUES (?, ?, ?)", (origin, latest.size, latest.root))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
