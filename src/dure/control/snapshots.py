"""A snapshot: the history as of one position of the ledger, so that a start replays only what came after it.

It is no truth, only time saved. It is made by a process of its own from the ledger and the snapshot before, never from
the memory of a server; it counts only for the very program that made it and for a ledger that has the entry it ends
with; and whatever is wrong with it, everything is replayed.

It is sealed with the platform's key. Nobody without that key can make one, so it is safe to be unpickled.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from dure.control.history import History
from dure.control.ports import StoredLog
from dure.control.vault import Vault
from dure.world.array_struct import ArrayStruct

log = logging.getLogger(__name__)

DUE_AFTER = 15_000
"""Entries after the latest snapshot that make a new one due: a second or two of replaying."""


class Entries(Protocol):
    """What a snapshot needs of a ledger."""

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Entries by position, oldest first."""
        ...


class StoredEntries:
    """The entries of a ledger as it is stored, whoever else is using it."""

    def __init__(self, stored: StoredLog) -> None:
        self._stored = stored

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Entries by position, oldest first."""
        for batch in self._stored.entries(start):
            for position, entry in batch:
                if stop is not None and position >= stop:
                    return
                yield entry


class Snapshots:
    """The latest snapshot, in a file. `program` says exactly which program it is for."""

    def __init__(self, path: Path, vault: Vault, program: str, write: Callable[[Path, bytes], None]) -> None:
        self._path = path
        self._vault = vault
        self._program = program
        self._write = write

    def latest(self, ledger: Entries) -> History:
        """The history as the latest snapshot has it; one without entries when none fits this program and ledger."""
        with suppress(FileNotFoundError):
            history, last = self._open(self._path.read_bytes())
            if history is not None and history.position > 0:
                found = next(ledger.entries(history.position - 1, history.position), b"")
                if hashlib.sha256(found).digest() == last:
                    return history
                log.warning("the snapshot %s is of another ledger; everything is replayed", self._path)
        return History()

    def take(self, ledger: Entries) -> int:
        """Take in what came after the latest snapshot, and keep the result as the new one. Returns its position."""
        history = self.latest(ledger)
        last = b""
        for entry in ledger.entries(history.position):
            history.take_in(entry)
            last = entry
        if last:
            self._write(self._path, self._vault.seal(_pickled(history, hashlib.sha256(last).digest()), self._purpose))
        return history.position

    @property
    def _purpose(self) -> str:
        return f"snapshot of {self._program}"

    def _open(self, sealed: bytes) -> tuple[History | None, bytes]:
        body = self._vault.open(sealed, self._purpose)
        if body is None:
            # Another version of the program made it, or it is damaged: either way it is of no use.
            return None, b""
        history, last = pickle.loads(body)  # noqa: S301 (whoever has the key that sealed it needs no snapshot to harm us)
        return history, last


def _pickled(history: History, last: bytes) -> bytes:
    body = io.BytesIO()
    _Pickler(body, protocol=pickle.HIGHEST_PROTOCOL).dump((history, last))
    return body.getvalue()


class _Pickler(pickle.Pickler):
    """Leaves out where arrays lie in this process's memory."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, ArrayStruct):
            return type(value), tuple(value)
        return NotImplemented
