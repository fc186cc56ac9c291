"""Has snapshots taken by a process of its own, so that nobody waits for one."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from dure.bootstrap.compiling import no_garbage_collection, prepare_compilation
from dure.bootstrap.state import locate_ledger, secrets_key, write_private

if TYPE_CHECKING:
    from dure.control.snapshots import Snapshots

SNAPSHOT_FILE = "snapshot"


DATABASE_VARIABLE = "DURE_DATABASE"


REST = 4
"""After a snapshot none is begun for so many times as long as it took: making one keeps a processor busy."""

_TAKE_SNAPSHOT = "from dure import bootstrap; bootstrap.take_snapshot()"


def make_snapshots(state: Path) -> Snapshots:
    """The snapshot file of a state folder."""
    from dure.control.snapshots import Snapshots
    from dure.control.vault import Vault

    return Snapshots(state / SNAPSHOT_FILE, Vault(secrets_key(state), os.urandom), _program_digest(), write_private)


def take_snapshot() -> None:
    """What the snapshot process does, for the state folder that it is told: take one, and write its position."""
    os.nice(19)
    prepare_compilation()
    from dure.control.snapshots import StoredEntries
    from dure.ledger.location import read_stored

    state = Path(sys.argv[1])
    location = locate_ledger(state, os.environ.get(DATABASE_VARIABLE) or None)
    with no_garbage_collection(), read_stored(location) as stored:
        position = make_snapshots(state).take(StoredEntries(stored))
    sys.stdout.write(f"{position}\n")


class SnapshotTaker:
    """Has a snapshot taken by a process of its own whenever one is due, so that nobody waits for it."""

    def __init__(
        self, state: Path, database: str | None, position: int, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._command = [sys.executable, "-c", _TAKE_SNAPSHOT, str(state)]
        # A database's address may hold a password, so it does not go on a command line.
        self._environment = os.environ | ({DATABASE_VARIABLE: database} if database else {})
        self._latest = position
        self._clock_s = clock_s
        self._taking: subprocess.Popen[str] | None = None
        self._began_s = self._rests_until_s = 0.0

    def consider(self, position: int) -> None:
        """Begin a new one if it is due, none is on its way, and the last is long enough ago. Returns at once."""
        from dure.control.snapshots import DUE_AFTER

        if self.is_taking or self._rests(self._clock_s()) or position - self._latest < DUE_AFTER:
            return
        self._latest, self._began_s = position, self._clock_s()
        self._taking = subprocess.Popen(  # noqa: S603 (our own program)
            self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, text=True
        )

    @property
    def is_taking(self) -> bool:
        """True while one is on its way."""
        return self._taking is not None and self._taking.poll() is None

    def _rests(self, now_s: float) -> bool:
        """True for a while after one that was on its way."""
        if self._taking is not None:
            self._taking = None
            self._rests_until_s = now_s + REST * (now_s - self._began_s)
        return now_s < self._rests_until_s

    def close(self) -> None:
        """Give up the one that is on its way."""
        if self._taking is not None:
            self._taking.terminate()
            self._taking.wait()


def _program_digest() -> str:
    """Tells this very program from every other: a snapshot means nothing to another version."""
    digest = hashlib.sha256(sys.version.encode())
    for name in ("msgspec", "numpy"):
        digest.update(version(name).encode())
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()
