"""How amounts, times and reasons are written in English, the same wherever they are shown."""

from __future__ import annotations

from dure.model.blockers import Blocker, BlockerCode
from dure.model.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, WHOLE_GPU_MILLI, format_gpus
from dure.world.cards import Moment, MomentCode

_SHORT = {
    BlockerCode.HELD_BY_DEPENDENCY: "waits for another job",
    BlockerCode.HELD_BY_BACKOFF: "waits before it is tried again",
    BlockerCode.HELD_UNTIL_ITS_TIME: "waits for its time",
    BlockerCode.NO_SITE_ALLOWED: "no site may run it",
    BlockerCode.NO_NODE_LARGE_ENOUGH: "no node is large enough",
    BlockerCode.SHARE_LIMIT: "share is at its limit",
    BlockerCode.NOT_LENT: "idle GPUs are not lent",
    BlockerCode.BORROWING_NEEDS_PREEMPTIBLE: "only preemptible jobs may borrow",
    BlockerCode.NOT_ENOUGH_GPUS: "not enough free GPUs",
    BlockerCode.SCATTERED: "free GPUs are scattered over nodes",
    BlockerCode.NOT_ENOUGH_CPU_OR_MEMORY: "not enough CPU or memory beside free GPUs",
    BlockerCode.WAITING_FOR_VICTIMS: "borrowers are giving GPUs back",
    BlockerCode.VICTIMS_PROTECTED: "borrowers are still protected",
    BlockerCode.RECLAIM_RATE: "its share took back enough for now",
    BlockerCode.RESERVED_FOR_HEAD: "would delay the job at the head",
    BlockerCode.BEHIND_IN_QUEUE: "behind other jobs",
}

_HAPPENED = {
    MomentCode.SUBMITTED: "submitted",
    MomentCode.WAITS_FOR_JOBS: "waits for {jobs}",
    MomentCode.WAITS_FOR_ITS_TIME: "waits for the time it named",
    MomentCode.MAY_START: "may start now",
    MomentCode.TAKES_GUARANTEE_BACK: "takes its guarantee back",
    MomentCode.LOST_CLAIM: "lost its claim",
    MomentCode.ATTEMPT_STARTED: "attempt {attempt} at {site}",
    MomentCode.RUNNING: "running",
    MomentCode.MUST_YIELD: "must yield to {jobs}",
    MomentCode.SPARED: "may go on after all",
    MomentCode.STOPPED_RECLAIMED: "stopped: reclaimed",
    MomentCode.STOPPED_TIME_LIMIT: "stopped: time limit",
    MomentCode.STOPPED_CANCELLED: "stopped: cancelled",
    MomentCode.STOPPED_NODE_LOST: "stopped: node lost",
    MomentCode.ATTEMPT_PREEMPTED: "attempt {attempt} ended: preempted",
    MomentCode.ATTEMPT_NODE_LOST: "attempt {attempt} ended: node lost",
    MomentCode.ATTEMPT_NEVER_STARTED: "attempt {attempt} ended: never started",
    MomentCode.ATTEMPT_FAILED: "attempt {attempt} failed with exit code {exit_code}",
    MomentCode.ATTEMPT_FAILED_TRIES_AGAIN: "attempt {attempt} failed with exit code {exit_code}; will be tried again",
    MomentCode.SUCCEEDED: "succeeded",
    MomentCode.CANCELLED: "cancelled",
    MomentCode.TOO_LATE_TO_START: "given up: it had to start by now",
    MomentCode.TOO_LATE_FOR_DEADLINE: "given up: it could no longer end by its deadline",
    MomentCode.TIME_LIMIT_REACHED: "ran into its time limit",
}


def gpus_text(gpu_class: str, milli: int, nodes: int = 1) -> str:
    """GPUs as people write them: `H100:8`, `0.5`, `2 × H100:8` on two nodes, `-` for none. `milli` is per node."""
    if milli == 0:
        return "-" if nodes == 1 else f"{nodes} × -"
    amount = f"{gpu_class}:{format_gpus(milli)}" if gpu_class else format_gpus(milli)
    return amount if nodes == 1 else f"{nodes} × {amount}"


def rounded_gpus(milli: int) -> str:
    """GPUs to two decimals: `8`, `0.5`, `2.57`."""
    return f"{round(milli / WHOLE_GPU_MILLI, 2):g}" if milli < 1_000_000 * WHOLE_GPU_MILLI else format_gpus(milli)


def rounded_hours(hours: float) -> str:
    """GPU-hours as precise as they are small: `0.04`, `12.5`, `1,234`."""
    return f"{hours:,.2f}" if hours < 10 else f"{hours:,.1f}" if hours < 1_000 else f"{hours:,.0f}"


def short_reason(blocker: Blocker) -> str:
    """One blocker as a phrase for a table, with the amount short where there is one."""
    phrase = _SHORT[blocker.code]
    if blocker.short_milli <= 0:
        return phrase
    return f"{phrase}: {format_gpus(blocker.short_milli)} {blocker.gpu_class or 'GPUs'} short"


def what_happened(moment: Moment) -> str:
    """One step of a job's life as a phrase for a timeline."""
    return _HAPPENED[moment.what].format(
        jobs=", ".join(moment.jobs), site=moment.site, attempt=moment.attempt, exit_code=moment.exit_code
    )


def rough_duration(milliseconds: int) -> str:
    """A duration to two figures, as people say it: `45s`, `12m`, `3h20m`, `2d4h`."""
    left = max(0, milliseconds)
    if left < MINUTE_MS:
        return f"{left // SECOND_MS}s"
    if left < HOUR_MS:
        minutes, seconds = left // MINUTE_MS, left % MINUTE_MS // SECOND_MS
        return f"{minutes}m{seconds:02d}s" if minutes < 10 and seconds else f"{minutes}m"
    if left < DAY_MS:
        hours, minutes = left // HOUR_MS, left % HOUR_MS // MINUTE_MS
        return f"{hours}h{minutes:02d}m" if minutes else f"{hours}h"
    days, hours = left // DAY_MS, left % DAY_MS // HOUR_MS
    return f"{days}d{hours}h" if hours else f"{days}d"


def ago(at_ms: int | None, now_ms: int) -> str:
    """`2m ago`, `in 5m`, `now`, or `-` when there is no such time."""
    if at_ms is None:
        return "-"
    if abs(now_ms - at_ms) < SECOND_MS:
        return "now"
    return f"{rough_duration(now_ms - at_ms)} ago" if at_ms < now_ms else f"in {rough_duration(at_ms - now_ms)}"
