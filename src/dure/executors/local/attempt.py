"""One attempt as its files prove it: what the server may conclude after anything was killed at any moment."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from enum import StrEnum

from dure.executors.contract import Ended, Launch, Started
from dure.executors.environment import PLAIN_NAME, split_attempt_id
from dure.executors.local import folders, processes, records, shim
from dure.executors.local.environment import marker
from dure.executors.local.folders import open_up_and_retry

LOST_EXIT_CODE = -9
"""What an attempt counts as when its processes were killed, or lost with the machine, and nobody saw how they ended."""
_GIVEN_UP = ".given-up-"


class Fate(StrEnum):
    """What the files of an attempt prove."""

    ABSENT = "absent"
    """No folder: it was never ordered, or was given up."""
    UNCLAIMED = "unclaimed"
    """No shim has taken it, though one may be about to."""
    STARTING = "starting"
    """A living shim has it, and has not released the ranks."""
    RUNNING = "running"
    """A living shim has it, and its ranks run."""
    NEVER_RAN = "never-ran"
    """Its shim died before the ranks were released: they ended without a single instruction of the job."""
    ORPHANED = "orphaned"
    """Its shim died after that: its processes may live on, with nobody to see them end."""
    ENDED = "ended"
    """Its end is on record."""


class AttemptFolder:
    """The folder of one attempt, as the server sees it."""

    def __init__(self, root: str, attempt_id: str) -> None:
        split_attempt_id(attempt_id)
        self.attempt_id = attempt_id
        self.path = os.path.join(root, records.ATTEMPTS, attempt_id)

    def prepare(self, launch: Launch) -> None:
        """Make the folder and put in what the ranks will run; harmless when it is there already."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        for name, text in ((records.SCRIPT, launch.script), (records.SETUP, launch.setup)):
            path = os.path.join(self.path, name)
            if text and not os.path.exists(path):
                self._write_program(path, text)

    def _write_program(self, path: str, text: str) -> None:
        with open(path + ".new", "w", encoding="utf-8", errors="surrogateescape", opener=_private_program) as file:
            file.write(text)
        os.rename(path + ".new", path)

    def fate(self) -> Fate:
        """What the files prove now."""
        if self._has(records.EXIT):
            return Fate.ENDED
        if not self._has(records.CLAIM):
            return Fate.UNCLAIMED if os.path.isdir(self.path) else Fate.ABSENT
        # Only now: probing the lock takes it for an instant, and before the claim that could turn a shim away.
        lock = self._try_lock()
        if lock is None:
            return Fate.RUNNING if self._has(records.START) else Fate.STARTING
        os.close(lock)
        # The shim is gone and can add nothing any more: what is missing now will always be.
        if self._has(records.EXIT):
            return Fate.ENDED
        return Fate.ORPHANED if self._has(records.START) else Fate.NEVER_RAN

    def started(self) -> Started | None:
        """When its ranks were released, if they were."""
        record = records.read(self.path, records.START)
        return None if record is None else Started(attempt_id=self.attempt_id, at_ms=_integer(record, "at_ms"))

    def ended(self) -> Ended | None:
        """When and how it ended, if it did."""
        record = records.read(self.path, records.EXIT)
        if record is None:
            return None
        return Ended(
            attempt_id=self.attempt_id, at_ms=_integer(record, "at_ms"), exit_code=_integer(record, "exit_code")
        )

    def is_stop_ordered(self) -> bool:
        """True once somebody wants it gone."""
        return self._has(records.STOP)

    def give_up(self) -> bool:
        """Make sure that it never runs, by taking its folder away; False when a shim holds it or has run it.

        A shim that comes late either finds no folder or stands in one that is no longer there, and runs nothing.
        """
        try:
            lock = records.try_lock(os.path.join(self.path, records.LOCK))
        except FileNotFoundError:
            return True
        if lock is None:
            return False
        try:
            if self._has(records.START) or self._has(records.EXIT):
                return False  # a shim came and went since its fate was looked up
            self.remove()
            return True
        finally:
            os.close(lock)

    def end_unrun(self) -> bool:
        """Record that it was stopped before it ran; False when a shim holds it or has run it."""
        lock = self._try_lock()
        if lock is None:
            return False
        try:
            if self._has(records.START) or self._has(records.EXIT):
                return False
            stopped: dict[str, object] = {"at_ms": shim.now_ms(), "exit_code": shim.STOPPED_EXIT_CODE}
            records.replace(self.path, records.EXIT, stopped, durable=True)
            return True
        finally:
            os.close(lock)

    def remove(self) -> None:
        """Delete the folder; its name is free at once."""
        parent, name = os.path.split(self.path)
        aside = os.path.join(parent, f"{_GIVEN_UP}{name}-{os.stat(self.path).st_ino}")
        os.rename(self.path, aside)
        with suppress(OSError):
            shutil.rmtree(aside, onerror=open_up_and_retry)

    def end_orphans(self, patience_s: float) -> bool:
        """Kill what a dead shim left behind, and record the end; False while it is not proven gone."""
        record = records.read(self.path, records.START) or {}
        # After a restart of the machine nothing is left, and the numbers on record are other people's.
        if record.get("boot_id") == processes.boot_id() and not processes.kill_all(
            _ranks(record), marker(self.path), patience_s
        ):
            return False
        loss = "ended here, because the process that watched over this attempt was killed"
        records.say_in_logs(self.path, len(_ranks(record)), loss)
        try:
            folders.wipe(self.path)
        except OSError:
            return False  # tried again: its end is told when nothing is left of it
        lost: dict[str, object] = {"at_ms": shim.now_ms(), "exit_code": LOST_EXIT_CODE}
        records.replace(self.path, records.EXIT, lost, durable=True)
        return True

    def nudge(self) -> None:
        """Tell the shim, if one lives, to look for orders in the folder."""
        claim = records.read(self.path, records.CLAIM)
        if claim is None or claim.get("boot_id") != processes.boot_id():
            return
        for each in _processes(claim, "shim"):
            processes.send_signal(each, shim.LOOK)

    def _has(self, name: str) -> bool:
        return records.exists(self.path, name)

    def _try_lock(self) -> int | None:
        return records.try_lock(os.path.join(self.path, records.LOCK))


def remove_remains(root: str) -> None:
    """Delete what an interrupted `remove` left."""
    attempts = os.path.join(root, records.ATTEMPTS)
    for name in os.listdir(attempts):
        if name.startswith(_GIVEN_UP):
            shutil.rmtree(os.path.join(attempts, name), ignore_errors=True)


def open_attempt_ids(root: str) -> list[str]:
    """Every attempt that has a folder and no end on record."""
    return [name for name, has_ended in _attempts(root) if not has_ended]


def ended_attempt_ids(root: str) -> list[str]:
    """Every attempt that has a folder with its end on record."""
    return [name for name, has_ended in _attempts(root) if has_ended]


def _attempts(root: str) -> list[tuple[str, bool]]:
    """Every attempt that has a folder, and whether its end is on record, by name."""
    attempts = os.path.join(root, records.ATTEMPTS)
    names = sorted(name for name in os.listdir(attempts) if PLAIN_NAME.fullmatch(name))
    return [(name, os.path.exists(os.path.join(attempts, name, records.EXIT))) for name in names]


def _private_program(path: str, flags: int) -> int:
    return os.open(path, flags, 0o700)


def _integer(record: dict[str, object], name: str) -> int:
    value = record.get(name)
    return value if isinstance(value, int) else 0


def _ranks(record: dict[str, object]) -> list[processes.Process]:
    found = record.get("ranks")
    return [processes.Process(pid, ticks) for pid, ticks in found] if isinstance(found, list) else []


def _processes(record: dict[str, object], name: str) -> list[processes.Process]:
    found = record.get(name)
    return [processes.Process(*found)] if isinstance(found, list) and len(found) == 2 else []
