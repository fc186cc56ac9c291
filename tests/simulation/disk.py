"""The disk under the ledger: the real SQLite ledger on a real file, to which happens what happens to files.

A process that dies leaves what it wrote; a power cut inside an append leaves any part of the write-ahead log that was
not yet synced. Either way the next life of the platform finds the file as a fresh start would.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from dure.ledger.contract import LedgerError, LedgerWriteFailed, Row
from dure.ledger.note import Signer
from dure.ledger.sqlite import SqliteLedger, read_stored
from dure.ledger.verify import Verdict, verify
from tests.simulation.event_loop import ProcessDied
from tests.simulation.faults import Faults
from tests.simulation.scheduler import Scheduler

FILE = "ledger.sqlite"
LOG_FILE = "ledger.sqlite-wal"
MOST_STEPS_BEFORE_INTERRUPTION = 400
FULL_FOR_US = 20_000_000
SLOW_FOR_US = 10_000_000

Files = dict[str, bytes]


class SimulatedDisk:
    """Where the ledger lies. `on_durable` is told of every batch at the moment from which nothing can take it away."""

    def __init__(self, scheduler: Scheduler, faults: Faults, folder: Path) -> None:
        self.scheduler = scheduler
        self.faults = faults
        self.chance = scheduler.stream("disk")
        self.signer = _signer(scheduler.stream("signer"))
        self.on_durable: Callable[[Sequence[bytes], Sequence[Row]], None] = lambda entries, rows: None
        self.on_found: Callable[[Sequence[bytes]], None] = lambda entries: None
        self.given_out: dict[str, None] = {}
        """Every checkpoint that was ever signed and durable; each must hold for ever."""
        self.full_until_us = 0
        self.slow_until_us = 0
        self.after_power_cut: Files | None = None
        self._folder = folder
        self._starts = 0

    @property
    def path(self) -> Path:
        """The ledger's file, which is another one after every crash."""
        return self._folder / str(self._starts) / FILE

    def open(self) -> SimulatedLedger:
        """The ledger as a starting platform finds it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        ledger = SimulatedLedger.open(self.path, self.signer)
        assert isinstance(ledger, SimulatedLedger)
        ledger.disk = self
        self.on_found(list(ledger.entries()))
        return ledger

    def crash(self, ledger: SimulatedLedger) -> None:
        """The process that had the ledger is dead: keep what it leaves behind."""
        left = self.after_power_cut or self.files()
        self.after_power_cut = None
        ledger.close()
        self._starts += 1
        self.path.parent.mkdir(parents=True)
        for name, body in left.items():
            (self.path.parent / name).write_bytes(body)

    def files(self) -> Files:
        """What lies there now."""
        paths = [self.path.parent / name for name in (FILE, LOG_FILE)]
        return {path.name: path.read_bytes() for path in paths if path.exists()}

    def judge(self) -> Verdict:
        """What an auditor finds who trusts nothing stored."""
        with read_stored(self.path) as log:
            return verify(log, self.signer.verifier, list(self.given_out))

    def slowest_us(self) -> int:
        """How long an append may take just now."""
        return 2_000_000 if self.scheduler.now_us < self.slow_until_us else 3_000


class SimulatedLedger(SqliteLedger):
    """The real ledger; only the disk it writes to may fail."""

    disk: SimulatedDisk

    def append(self, expected_size: int, entries: Sequence[bytes], rows: Sequence[Row], at_ms: int) -> None:
        """As every ledger does, with the disk's faults on the way."""
        disk, now_us = self.disk, self.disk.scheduler.now_us
        if disk.faults.strikes("slow-disk"):
            disk.scheduler.fault("slow-disk", "disk", "every write takes up to two seconds")
            disk.slow_until_us = now_us + SLOW_FOR_US
        if disk.faults.strikes("disk-full"):
            disk.scheduler.fault("disk-full", "disk", "no more room")
            disk.full_until_us = now_us + FULL_FOR_US
        if now_us < disk.full_until_us and not disk.faults.are_over:
            raise LedgerWriteFailed("no space left on device")
        self._with_faults(lambda: super(SimulatedLedger, self).append(expected_size, entries, rows, at_ms))
        disk.on_durable(entries, rows)
        checkpoint = self.latest_checkpoint()
        disk.given_out.update({checkpoint.note: None} if checkpoint else {})
        if disk.faults.strikes("answer-lost-by-ledger"):
            disk.scheduler.fault("answer-lost-by-ledger", "disk", f"{len(entries)} entries are durable all the same")
            raise LedgerError("the connection was lost; whether this was recorded is not known")

    def _with_faults(self, append: Callable[[], None]) -> None:
        disk = self.disk
        if disk.faults.strikes("power-cut-in-append"):
            before = disk.files()
            append()
            disk.after_power_cut = _torn(before, disk.files(), disk.chance)
            disk.scheduler.fault("power-cut-in-append", "disk", "part of the write is lost")
            raise ProcessDied
        if not disk.faults.strikes("write-interrupted"):
            append()
            return
        # SQLite asks every few steps whether to go on, so the transaction fails at any point within it.
        once = iter([1])
        self._writer.set_progress_handler(lambda: next(once, 0), disk.chance.randint(1, MOST_STEPS_BEFORE_INTERRUPTION))
        try:
            append()
        except LedgerWriteFailed:
            disk.scheduler.fault("write-interrupted", "disk", "the transaction is rolled back")
            raise
        finally:
            self._writer.set_progress_handler(None, 0)


def _torn(before: Files, after: Files, chance: random.Random) -> Files:
    """What of a write a power cut leaves: the log up to any byte, with or without rubbish behind it."""
    old, new = before.get(LOG_FILE, b""), after.get(LOG_FILE, b"")
    if before[FILE] != after[FILE] or not new.startswith(old):
        return after if chance.random() < 0.5 else before
    kept = chance.randint(len(old), len(new))
    rubbish = chance.randbytes(len(new) - kept) if chance.random() < 0.5 else b""
    return {FILE: after[FILE], LOG_FILE: new[:kept] + rubbish}


def _signer(chance: random.Random) -> Signer:
    return Signer("dure.example/simulation", chance.randbytes(32))
