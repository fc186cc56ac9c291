"""Only one process may append to a ledger's file; this lock says which."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from dure.ledger.contract import LedgerInUse

_held_here: set[Path] = set()


class WriterLock:
    """A lock file beside the ledger, held until `release` or until the process dies, however it dies.

    A POSIX record lock, because children do not inherit it: a job supervisor that outlives a killed server must not
    keep the next server out. Such a lock does not exclude its own process, and opening the file a second time there
    would drop it; `_held_here` is asked first for both reasons.
    """

    def __init__(self, ledger_path: Path) -> None:
        self.path = ledger_path.resolve().with_name(f"{ledger_path.name}.lock")
        if self.path in _held_here:
            raise _in_use(ledger_path, str(os.getpid()))
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._descriptor, 20, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise _in_use(ledger_path, holder) from None
        _held_here.add(self.path)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process have the ledger. Does nothing the second time."""
        if self.path in _held_here and self._descriptor >= 0:
            _held_here.discard(self.path)
            os.close(self._descriptor)
            self._descriptor = -1


def _in_use(ledger_path: Path, holder: str) -> LedgerInUse:
    return LedgerInUse(
        f"{ledger_path} is in use by another server (process {holder or 'unknown'}). "
        "Stop that one first, or start this one with another state folder."
    )
