"""Dure's account of GPU time against Slurm's: two books of the same jobs, kept by different people."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from dure.executors.local import records
from dure.executors.slurm.commands import Commands
from dure.executors.slurm.site import SlurmSite

_FIELDS = "JobIDRaw,State,ElapsedRaw,AllocTRES,WorkDir"
_ALL_GPUS = re.compile(r"(?:^|,)gres/gpu=(\d+)")
_TYPED_GPUS = re.compile(r"(?:^|,)gres/gpu:[^=,]+=(\d+)")
USUAL_TOLERANCE_MS = 10_000
"""Slurm counts whole seconds, from before an attempt's processes start until after its nodes are cleared."""


class GpuTime(Struct, frozen=True, kw_only=True):
    """GPUs that an attempt held, and for how long. Slurm may have had several jobs of it: `gpu_ms` is their sum."""

    attempt_id: str
    gpus: int
    gpu_ms: int


class Difference(Struct, frozen=True, kw_only=True):
    """An attempt whose GPU time the books do not agree on; 0 where one of them does not know it."""

    attempt_id: str
    ours_gpu_ms: int
    slurms_gpu_ms: int
    reason: str


def differences(
    ours: Iterable[GpuTime], slurms: Mapping[str, GpuTime], tolerance_ms: int = USUAL_TOLERANCE_MS
) -> list[Difference]:
    """Where the books differ by more than `tolerance_ms` for each GPU, by attempt."""
    found: list[Difference] = []
    known = {each.attempt_id: each for each in ours}
    for attempt_id in sorted(known.keys() | slurms.keys()):
        mine, theirs = known.get(attempt_id), slurms.get(attempt_id)
        reason = _reason(mine, theirs, tolerance_ms)
        if reason:
            found.append(
                Difference(
                    attempt_id=attempt_id,
                    ours_gpu_ms=mine.gpu_ms if mine else 0,
                    slurms_gpu_ms=theirs.gpu_ms if theirs else 0,
                    reason=reason,
                )
            )
    return found


def read_gpu_times(site: SlurmSite, since_ms: int) -> dict[str, GpuTime]:
    """What Slurm's database says of the attempts of this site that ended since then. Raises `ExecutorError`."""
    since = ("--starttime", f"uts{since_ms // 1000}", "--endtime", "now")
    states = "--state=CD,CA,F,TO,NF,PR,OOM,DL,BF"
    listing = Commands(site).run(
        "sacct", "--noheader", "--parsable2", "--allocations", *since, states, f"--format={_FIELDS}"
    )
    attempts = os.path.join(os.path.abspath(site.work_folder), records.ATTEMPTS)
    found: dict[str, GpuTime] = {}
    for line in listing.splitlines():
        _, _, elapsed_s, tres, folder = line.split("|", 4)
        parent, attempt_id = os.path.split(folder)
        if parent != attempts:
            continue
        gpus, earlier = _gpus(tres), found.get(attempt_id)
        gpu_ms = gpus * int(elapsed_s or 0) * 1000 + (earlier.gpu_ms if earlier else 0)
        found[attempt_id] = GpuTime(attempt_id=attempt_id, gpus=gpus, gpu_ms=gpu_ms)
    return found


def _reason(mine: GpuTime | None, theirs: GpuTime | None, tolerance_ms: int) -> str:
    if theirs is None:
        return "Slurm's database has no job of it"
    if mine is None:
        # A job that was cancelled before it ran, or found that its attempt was taken, held next to nothing.
        return "Dure's ledger has no end of it" if theirs.gpu_ms > theirs.gpus * tolerance_ms else ""
    if mine.gpus != theirs.gpus and theirs.gpus:
        return f"it was placed on {mine.gpus} GPUs and Slurm gave it {theirs.gpus}"
    if abs(mine.gpu_ms - theirs.gpu_ms) > max(mine.gpus, 1) * tolerance_ms:
        return "the times differ"
    return ""


def _gpus(tres: str) -> int:
    total = _ALL_GPUS.search(tres)
    return int(total[1]) if total else sum(map(int, _TYPED_GPUS.findall(tres)))
