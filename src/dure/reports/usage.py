"""GPU-hours by organisation, project and GPU class, added up from attempts.

Counted is the time for which an attempt held its GPUs, whether or not they were busy. Sums are kept as integers
(thousandths of a GPU times milliseconds) and become hours once, at the end, so the order of attempts never matters.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from dure.model.jobs import Outcome
from dure.model.nation import Nation
from dure.model.units import HOUR_MS, WHOLE_GPU_MILLI
from dure.reports.viewer import Viewer

_GPU_HOUR = WHOLE_GPU_MILLI * HOUR_MS


class Attempt(Struct, frozen=True, kw_only=True):
    """One run of a job. `gpus_milli` is over all its nodes; `ended_at_ms` is None and `outcome` empty while it runs."""

    job: str
    attempt: int
    project: str
    organisation: str
    gpu_class: str
    gpus_milli: int
    started_at_ms: int
    ended_at_ms: int | None
    borrowed: bool
    outcome: str


class UsageLine(Struct, frozen=True, kw_only=True):
    """What one project (or, where the viewer may not see projects, one organisation) used of one GPU class."""

    organisation: str
    project: str | None
    """None for all projects together of an organisation that is not the viewer's."""
    gpu_class: str
    attempts: int
    running: int
    """Attempts among them that still run."""
    used_gpu_hours: float
    borrowed_gpu_hours: float
    """The part of it that went above every guarantee."""
    preempted_gpu_hours: float
    """The part of it in attempts that were preempted, from their start. How much of it checkpoints saved is not known
    here, so this is the most that may have been lost."""
    reference_gpu_hours: float
    """All of it, times the exchange factor of the class."""


class UsageReport(Struct, frozen=True, kw_only=True):
    """Usage from `from_ms` up to `until_ms`, by organisation, project and class in alphabetical order, and in all."""

    from_ms: int
    until_ms: int
    lines: tuple[UsageLine, ...]
    used_gpu_hours: float
    borrowed_gpu_hours: float
    preempted_gpu_hours: float
    reference_gpu_hours: float


class _Sum(Struct):
    """A line while it is being added up; GPU time in thousandths of a GPU times milliseconds."""

    attempts: int = 0
    running: int = 0
    used: int = 0
    borrowed: int = 0
    preempted: int = 0
    reference: int = 0
    """`used` times the exchange factor in thousandths."""


_Key = tuple[str, str | None, str]


def usage_report(
    nation: Nation, attempts: Iterable[Attempt], from_ms: int, until_ms: int, now_ms: int, viewer: Viewer
) -> UsageReport:
    """What was used between two times, as far as it has happened by `now_ms`. Attempts outside leave no line."""
    until_ms = min(until_ms, now_ms)
    exchange_milli = {each.name: each.exchange_milli for each in nation.gpu_classes}
    sums: dict[_Key, _Sum] = {}
    everything = _Sum()
    for attempt in attempts:
        if (held_ms := _held_ms(attempt, from_ms, until_ms)) is not None:
            factor_milli = exchange_milli.get(attempt.gpu_class, WHOLE_GPU_MILLI)
            for total in (sums.setdefault(_key(nation, attempt, viewer), _Sum()), everything):
                _add(total, attempt, held_ms, factor_milli)
    lines = [_line(key, total) for key, total in sums.items()]
    lines.sort(key=lambda line: (line.organisation, line.project or "", line.gpu_class))
    return UsageReport(
        from_ms=from_ms,
        until_ms=until_ms,
        lines=tuple(lines),
        used_gpu_hours=_hours(everything.used),
        borrowed_gpu_hours=_hours(everything.borrowed),
        preempted_gpu_hours=_hours(everything.preempted),
        reference_gpu_hours=_hours(everything.reference / WHOLE_GPU_MILLI),
    )


def _held_ms(attempt: Attempt, from_ms: int, until_ms: int) -> int | None:
    """For how long the attempt held its GPUs between the two times; None when it ended before or began after."""
    ended_at_ms = until_ms if attempt.ended_at_ms is None else attempt.ended_at_ms
    if ended_at_ms < from_ms or attempt.started_at_ms >= until_ms:
        return None
    return max(0, min(ended_at_ms, until_ms) - max(attempt.started_at_ms, from_ms))


def _key(nation: Nation, attempt: Attempt, viewer: Viewer) -> _Key:
    visible = viewer.may_see(nation, attempt.project)
    return attempt.organisation, attempt.project if visible else None, attempt.gpu_class


def _add(total: _Sum, attempt: Attempt, held_ms: int, factor_milli: int) -> None:
    used = attempt.gpus_milli * held_ms
    total.attempts += 1
    total.running += attempt.ended_at_ms is None
    total.used += used
    total.borrowed += used if attempt.borrowed else 0
    total.preempted += used if attempt.outcome == Outcome.PREEMPTED else 0
    total.reference += used * factor_milli


def _line(key: _Key, total: _Sum) -> UsageLine:
    organisation, project, gpu_class = key
    return UsageLine(
        organisation=organisation,
        project=project,
        gpu_class=gpu_class,
        attempts=total.attempts,
        running=total.running,
        used_gpu_hours=_hours(total.used),
        borrowed_gpu_hours=_hours(total.borrowed),
        preempted_gpu_hours=_hours(total.preempted),
        reference_gpu_hours=_hours(total.reference / WHOLE_GPU_MILLI),
    )


def _hours(gpu_milli_ms: float) -> float:
    """GPU-hours to the millionth: finer than a GPU-second, coarse enough to print and compare."""
    return round(gpu_milli_ms / _GPU_HOUR, 6)
