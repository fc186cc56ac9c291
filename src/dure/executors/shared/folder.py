"""An attempt's folder in the shared work folder, as the server sees it: what its files prove, and orders to agents."""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import suppress
from enum import StrEnum

from dure.executors.contract import Ended, Launch, Started
from dure.executors.environment import PLAIN_NAME, command_line, identity, split_attempt_id
from dure.executors.local import records
from dure.executors.local.folders import open_up_and_retry
from dure.executors.shared.agent import files

STOPPED_EXIT_CODE = -15
"""What an attempt counts as that was stopped before it ran."""
_GIVEN_UP = ".given-up-"
_SERVER: dict[str, object] = {"by": "server"}


class Fate(StrEnum):
    """What the files of an attempt prove."""

    ABSENT = "absent"
    """No folder: it was never ordered, or was given up."""
    ORDERED = "ordered"
    """No job has claimed it, though one may be about to."""
    GIVEN_UP = "given-up"
    """The server claimed it: no job ever will."""
    CLAIMED = "claimed"
    """A job has it; no rank has started."""
    RUNNING = "running"
    """A rank has started, and the end is not on record."""
    ENDED = "ended"
    """Its end is on record."""


class SharedFolder:
    """The folder of one attempt. Raises `ExecutorError` for an id that cannot name one."""

    def __init__(self, root: str, attempt_id: str) -> None:
        split_attempt_id(attempt_id)
        self.attempt_id = attempt_id
        self.path = os.path.join(root, records.ATTEMPTS, attempt_id)

    def prepare(self, launch: Launch, path: str, nodes: list[str]) -> None:
        """Put in all that the agents need; harmless when it is there already. Secrets are no part of it."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        os.makedirs(os.path.join(self.path, records.OUTPUTS), mode=0o700, exist_ok=True)
        for rank in range(len(launch.placements)):
            os.makedirs(files.rank_folder(self.path, rank), mode=0o700, exist_ok=True)
        for name, text in ((records.SCRIPT, launch.script), (records.SETUP, launch.setup)):
            if text:
                self._write_private(name, text, mode=0o700)
        order = {
            "attempt_id": launch.attempt_id,
            "argv": command_line(launch, self.path),
            "workdir": os.path.normpath(os.path.join(self.path, records.SCRATCH, launch.workdir)),
            "checkpoint_dir": launch.checkpoint_dir,
            "cpus": launch.cpus,
            "env": launch.env,
            "nodes": nodes,
            "path": path,
            "ranks": [identity(launch, rank, self.path) for rank in range(len(launch.placements))],
        }
        self._write_private(files.ORDER, json.dumps(order), mode=0o600)

    def note_submission(self) -> None:
        """Make durable that the engine may have heard of it from now on."""
        records.replace(self.path, files.SUBMITTED, {"at_ms": now_ms()}, durable=True)
        records.sync_folder(os.path.dirname(self.path))

    def was_submitted(self) -> bool:
        """True when the engine may have heard of it."""
        return records.exists(self.path, files.SUBMITTED)

    def fate(self) -> Fate:
        """What the files prove now."""
        if records.exists(self.path, records.EXIT):
            return Fate.ENDED
        claim = records.read(self.path, records.CLAIM)
        if claim is None:
            return Fate.ORDERED if os.path.isdir(self.path) else Fate.ABSENT
        if claim == _SERVER:
            return Fate.GIVEN_UP
        return Fate.RUNNING if any(records.exists(rank, records.START) for rank in self._ranks()) else Fate.CLAIMED

    def job_id(self) -> int | None:
        """The engine's job that has claimed it, where jobs have numbers."""
        return _whole(records.read(self.path, records.CLAIM) or {}, "job_id") or None

    def started(self, *, even_in_part: bool = False) -> Started | None:
        """When and where its ranks started, once all have; `even_in_part`, as soon as any has."""
        starts = [records.read(rank, records.START) for rank in self._ranks()]
        moments = [_whole(start, "at_ms") for start in starts if start is not None]
        if not moments or (len(moments) < len(starts) and not even_in_part):
            return None
        nodes = tuple(str((records.read(rank, files.NODE) or {}).get("name", "")) for rank in self._ranks())
        return Started(attempt_id=self.attempt_id, at_ms=min(moments), nodes=nodes)

    def ended(self) -> Ended | None:
        """When and how it ended, if it did."""
        record = records.read(self.path, records.EXIT)
        if record is None:
            return None
        return Ended(
            attempt_id=self.attempt_id,
            at_ms=_whole(record, "at_ms"),
            exit_code=_whole(record, "exit_code"),
            was_lost=record.get("was_lost") is True,
        )

    def was_cut(self) -> bool:
        """True when the job itself was told to end, by the engine or somebody at the site; the engine knows which."""
        return (records.read(self.path, records.EXIT) or {}).get("was_cut") is True

    def is_stop_ordered(self) -> bool:
        """True once somebody wants it gone."""
        return files.has_order_to_stop(self.path)

    def order_stop(self, grace_ms: int) -> None:
        """Leave the order to stop for every agent."""
        for folder in (self.path, *self._ranks()):
            records.replace(folder, records.STOP, {"grace_ms": grace_ms}, durable=False)

    def order_signal(self, number: int) -> None:
        """Leave the order to pass a signal on for every agent."""
        for rank in self._ranks():
            records.replace(rank, records.SIGNAL, {"number": number}, durable=False)

    def give_up(self) -> bool:
        """Make sure that no job ever runs it, and take its folder away; False when a job has claimed it."""
        try:
            if not records.create_once(self.path, records.CLAIM, _SERVER) and self.fate() is not Fate.GIVEN_UP:
                return False
        except FileNotFoundError:
            return True
        self.remove()
        return True

    def end_unrun(self) -> bool:
        """Make sure that no job ever runs it, and record that it was stopped; False when a job has claimed it."""
        if not records.create_once(self.path, records.CLAIM, _SERVER) and self.fate() is not Fate.GIVEN_UP:
            return False
        self.record_exit(STOPPED_EXIT_CODE, was_lost=False)
        return True

    def abandon(self) -> bool:
        """Take away what no job runs; False when one has run it, or claims it just now."""
        match self.fate():
            case Fate.ABSENT:
                return True
            case Fate.ORDERED:
                return self.give_up()
            case Fate.GIVEN_UP | Fate.CLAIMED:
                self.remove()
                return True
            case Fate.RUNNING | Fate.ENDED:
                return False

    def end_unstarted(self) -> None:
        """Record that it was stopped before it ran, whether or not a job that is over had claimed it."""
        if not self.end_unrun() and self.fate() is Fate.CLAIMED:
            self.record_exit(STOPPED_EXIT_CODE, was_lost=False)

    def record_exit(self, exit_code: int, *, was_lost: bool) -> None:
        """Record an end that no agent recorded, or what the engine said of one."""
        started = self.started(even_in_part=True)
        known = self.ended()
        at_ms = known.at_ms if known is not None else max(now_ms(), started.at_ms if started else 0)
        record: dict[str, object] = {"at_ms": at_ms, "exit_code": exit_code, "was_lost": was_lost}
        records.replace(self.path, records.EXIT, record, durable=True)
        self.forget_secrets()

    def forget_secrets(self) -> None:
        """Remove this side's share of the job's secrets."""
        if records.exists(self.path, files.SECRETS):
            os.unlink(os.path.join(self.path, files.SECRETS))

    def remove(self) -> None:
        """Delete the folder; its name is free at once."""
        parent, name = os.path.split(self.path)
        aside = os.path.join(parent, f"{_GIVEN_UP}{name}-{os.stat(self.path).st_ino}")
        os.rename(self.path, aside)
        with suppress(OSError):
            shutil.rmtree(aside, onerror=open_up_and_retry)

    def complaint(self) -> str:
        """The last line that the agents or the engine left, for somebody who asks why nothing runs."""
        try:
            with open(os.path.join(self.path, files.OUTPUT), encoding="utf-8", errors="replace") as file:
                lines = [line.strip() for line in file if line.strip()]
        except OSError:
            return ""
        return lines[-1][:300] if lines else ""

    def _ranks(self) -> list[str]:
        """The ranks' folders, in rank order."""
        found: list[str] = []
        while os.path.isdir(folder := files.rank_folder(self.path, len(found))):
            found.append(folder)
        return found

    def _write_private(self, name: str, text: str, mode: int) -> None:
        path = os.path.join(self.path, name)
        handle = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with open(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(f"{path}.new", path)


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def attempt_ids(root: str) -> list[str]:
    """Every attempt that has a folder, by name."""
    return sorted(name for name in os.listdir(os.path.join(root, records.ATTEMPTS)) if PLAIN_NAME.fullmatch(name))


def remove_remains(root: str) -> None:
    """Delete what an interrupted `remove` left."""
    attempts = os.path.join(root, records.ATTEMPTS)
    for name in os.listdir(attempts):
        if name.startswith(_GIVEN_UP):
            shutil.rmtree(os.path.join(attempts, name), ignore_errors=True)


def _whole(record: dict[str, object], name: str) -> int:
    value = record.get(name)
    return value if isinstance(value, int) else 0
