"""Dure's account of GPU time against Slurm's: two books of the same jobs, kept by different people."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from dure.executors.local import records
from dure.executors.slurm.commands import Commands
from dure.executors.slurm.site import SlurmSite
from dure.model.events import AnyEvent, AttemptEnded, AttemptStarted, Planned
from dure.model.plan import Start

_MARGIN_MS = 3_600_000
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


class Comparison(Struct, frozen=True, kw_only=True):
    """What came of holding the two books against each other."""

    compared: int
    """Attempts that ended in the time asked about."""
    differences: tuple[Difference, ...]


def compare_books(events: Iterable[AnyEvent], site_name: str, site: SlurmSite, since_ms: int) -> Comparison:
    """The ledger's GPU time of a site's attempts that ended since then against Slurm's. Raises `ExecutorError`."""
    ended = list(ended_attempts(events, site_name))
    # Their clocks differ, and so the books' margins: Slurm is asked for a little more than is compared.
    theirs = read_gpu_times(site, since_ms - _MARGIN_MS)
    ours = [each for at_ms, each in ended if at_ms >= since_ms]
    older = {each.attempt_id for at_ms, each in ended if at_ms < since_ms}
    slurms = {name: each for name, each in theirs.items() if name not in older}
    return Comparison(compared=len(ours), differences=tuple(differences(ours, slurms)))


def ended_attempts(events: Iterable[AnyEvent], site_name: str) -> Iterator[tuple[int, GpuTime]]:
    """When each attempt that ran at a site ended, and the GPU time it took, from what happened."""
    gpus: dict[str, int] = {}
    started: dict[str, int] = {}
    for event in events:
        match event:
            case Planned():
                for decision in event.plan.decisions:
                    if isinstance(decision, Start) and decision.site == site_name:
                        held = sum(len(each.gpus) for each in decision.placements)
                        gpus[f"{decision.job}.{decision.attempt}"] = held
            case AttemptStarted():
                started[f"{event.job}.{event.attempt}"] = event.at_ms
            case AttemptEnded():
                name = f"{event.job}.{event.attempt}"
                if name in gpus and name in started:
                    taken, began_ms = gpus.pop(name), started.pop(name)
                    yield event.at_ms, GpuTime(attempt_id=name, gpus=taken, gpu_ms=taken * (event.at_ms - began_ms))
            case _:
                continue


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
