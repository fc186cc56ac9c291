"""Sees to an attempt's own limits on time and disk, for which the kernel has no word, also while no server runs."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from dure.executors.local import records
from dure.executors.local.limits import Limits

_LOOK_AT_DISK_S = 2.0
_LOOKING_SHARE = 50
"""Looking at many files takes time; at most one part in so many of it is spent on that."""


class Guard:
    """Watches one attempt. Times are monotonic seconds."""

    def __init__(self, limits: Limits, checkpoint_dir: str) -> None:
        self._limits = limits
        self._end_at = time.monotonic() + limits.time_ms / 1000 if limits.time_ms else None
        self._look_at = time.monotonic() + _LOOK_AT_DISK_S
        self._folders = [records.SCRATCH, records.PRIVATE, records.OUTPUTS]
        if checkpoint_dir and os.stat(checkpoint_dir).st_dev == os.stat(os.curdir).st_dev:
            self._folders.append(checkpoint_dir)

    def objection(self) -> str:
        """Why the attempt must end now; empty while it may run on."""
        if self._end_at is not None and time.monotonic() >= self._end_at:
            return "its time limit has passed, and no server said so"
        if time.monotonic() < self._look_at:
            return ""
        began = time.monotonic()
        objection = self._objection_to_files()
        ended = time.monotonic()
        self._look_at = ended + max(_LOOK_AT_DISK_S, _LOOKING_SHARE * (ended - began))
        return objection

    def next_look_s(self) -> float:
        """How long until there is something to look at."""
        wanted_at = self._look_at if self._end_at is None else min(self._look_at, self._end_at)
        return max(0.0, wanted_at - time.monotonic())

    def _objection_to_files(self) -> str:
        """An attempt may use as much disk as it leaves free, so that no number of them ever fills it."""
        sizes = {folder: _size_of(folder) for folder in self._folders}
        used = sum(size.bytes for size in sizes.values())
        disk = os.statvfs(os.curdir)
        free = disk.f_bavail * disk.f_frsize
        if 0 < self._limits.disk_bytes < used:
            return f"its files take {used:,} bytes, and the limit of this engine is {self._limits.disk_bytes:,}"
        if used > free:
            return f"its files take {used:,} bytes, which is more than the {free:,} that they leave free on this disk"
        return self._objection_to_outputs(sizes[records.OUTPUTS])

    def _objection_to_outputs(self, outputs: _Size) -> str:
        if 0 < self._limits.output_bytes < outputs.bytes:
            return f"its outputs take {outputs.bytes:,} bytes, and the limit is {self._limits.output_bytes:,}"
        if 0 < self._limits.output_files < outputs.files:
            return f"its outputs are {outputs.files:,} files, and the limit is {self._limits.output_files:,}"
        return ""


class _Size(NamedTuple):
    bytes: int
    files: int


def _size_of(folder: str) -> _Size:
    """Bytes on disk of all files in a folder; links are not followed, and what disappears meanwhile counts nothing."""
    total = files = 0
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    files += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue
    return _Size(total, files)
