"""How amounts, times and reasons are written in English, the same wherever they are shown."""

from __future__ import annotations

from dure.model.blockers import Assumption, AssumptionCode, Blocker, BlockerCode, Eta, EtaMethod, NoEta, Why
from dure.model.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, WHOLE_GPU_MILLI, format_gpus
from dure.world.cards import Copies, Moment, MomentCode

_SHORT = {
    BlockerCode.HELD_BY_DEPENDENCY: "waits for another job",
    BlockerCode.HELD_BY_BACKOFF: "waits before it is tried again",
    BlockerCode.HELD_UNTIL_ITS_TIME: "waits for its time",
    BlockerCode.NO_SITE_ALLOWED: "no site may run it",
    BlockerCode.NO_NODE_LARGE_ENOUGH: "no node is large enough",
    BlockerCode.NODES_OUT_OF_SERVICE: "nodes are out of service",
    BlockerCode.SHARE_LIMIT: "share is at its limit",
    BlockerCode.NOT_LENT: "idle GPUs are not lent",
    BlockerCode.BORROWING_NEEDS_PREEMPTIBLE: "only preemptible jobs may borrow",
    BlockerCode.NOT_ENOUGH_GPUS: "not enough free GPUs",
    BlockerCode.SCATTERED: "free GPUs are scattered over nodes",
    BlockerCode.NOT_ENOUGH_CPU_OR_MEMORY: "not enough CPU or memory beside free GPUs",
    BlockerCode.WAITING_FOR_VICTIMS: "borrowers are giving GPUs back",
    BlockerCode.VICTIMS_PROTECTED: "borrowers are still protected",
    BlockerCode.RECLAIM_RATE: "its share took back enough for now",
    BlockerCode.RECLAIMED_BEFORE: "was itself reclaimed",
    BlockerCode.RESERVED_IN_ADVANCE: "idle nodes are reserved",
    BlockerCode.BACKFILL_NOT_DUE: "those behind the head wait for their next look",
    BlockerCode.RESERVED_FOR_HEAD: "would delay a job with a reserved start",
    BlockerCode.BEHIND_IN_QUEUE: "behind other jobs",
}

_UNBLOCK = {
    BlockerCode.HELD_BY_DEPENDENCY: "It may start when {holders} succeeded.",
    BlockerCode.HELD_BY_BACKOFF: "It is tried again when its backoff ends.",
    BlockerCode.HELD_UNTIL_ITS_TIME: "It asked not to start before this time.",
    BlockerCode.NO_SITE_ALLOWED: (
        "None of the sites where policy lets it run is part of the fleet: cancel it, or bring a site back."
    ),
    BlockerCode.NO_NODE_LARGE_ENOUGH: (
        "It needs {nodes} node(s) in service that hold its GPUs, CPUs and memory, where it may run."
    ),
    BlockerCode.NODES_OUT_OF_SERVICE: (
        "It needs {nodes} node(s), and fewer of those that could run it are in service: see `dure nodes`."
    ),
    BlockerCode.SHARE_LIMIT: "Share {share} is at its limit: {short} GPU(s) of its own jobs must end first.",
    BlockerCode.NOT_LENT: "All that others lend is in use: it starts when a borrower ends or an owner lends more.",
    BlockerCode.BORROWING_NEEDS_PREEMPTIBLE: (
        "Only preemptible jobs may borrow: set preemptible: true, or wait for the share's own GPUs."
    ),
    BlockerCode.NOT_ENOUGH_GPUS: "{short} more {gpu_class} GPU(s) must become idle.",
    BlockerCode.SCATTERED: "Enough GPUs are idle, but not {per_node} on each of {nodes} node(s) of one pool at once.",
    BlockerCode.NOT_ENOUGH_CPU_OR_MEMORY: "GPUs are idle, but the CPUs or the memory beside them are in use.",
    BlockerCode.WAITING_FOR_VICTIMS: (
        "Its guarantee takes GPUs back from {holders}; it starts when they have yielded."
    ),
    BlockerCode.VICTIMS_PROTECTED: "Borrowers run a protected minimum time before an owner may take its GPUs back.",
    BlockerCode.RECLAIM_RATE: (
        "Its share took back as many GPUs as its reclaim_per_hour allows: the next may be taken then."
    ),
    BlockerCode.RECLAIMED_BEFORE: "A job that gave GPUs back never takes any back: it waits until some are idle.",
    BlockerCode.RESERVED_IN_ADVANCE: (
        "Idle nodes are reserved for others: it starts there when that is over, or before with a shorter limit."
    ),
    BlockerCode.BACKFILL_NOT_DUE: (
        "Jobs behind the first that does not fit are looked at every so often: it is tried again then."
    ),
    BlockerCode.RESERVED_FOR_HEAD: (
        "It would delay a job whose turn is first; a shorter time limit might let it pass."
    ),
    BlockerCode.BEHIND_IN_QUEUE: (
        "Jobs of the same share that were submitted earlier, or have a higher priority, go first."
    ),
}
_UNBLOCK_GUARANTEED = "Its guarantee takes the GPUs back as soon as the rules allow it."

_METHODS = {
    EtaMethod.SIMULATED: "the platform's own decisions, run forward on a copy of its state",
}
_ASSUMED = {
    AssumptionCode.LATEST_WHOLE_LIMITS: "latest: every job uses its whole time limit",
    AssumptionCode.EARLIEST_LEARNT_PART: (
        "earliest: jobs take the part of their limit that their share's latest jobs took "
        "(here {percent}%, of {jobs} jobs)"
    ),
    AssumptionCode.EARLIEST_DEFAULT_PART: (
        "earliest: jobs take {percent}% of their limit, as too few have ended yet to learn from"
    ),
    AssumptionCode.NOTHING_NEW: "no new jobs, no failures",
    AssumptionCode.ROUNDED: "ends of jobs in steps of {step}",
}
_NO_ETA = {
    NoEta.NOT_ASKED: "not asked for",
    NoEta.NOT_WAITING: "it does not wait",
    NoEta.HELD: "not known while it waits for other jobs",
    NoEta.PREPARING: "not known yet: the simulation is still being compiled; ask again in a minute",
    NoEta.BUSY: "not known now: too many are asking; ask again in a moment",
    NoEta.HALTED: "never, until an operator has looked at the platform: it starts nothing",
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
    MomentCode.MAY_GROW: "will be stopped to go on with more nodes",
    MomentCode.MUST_LEAVE: "must leave: its node is reserved for {reservation}",
    MomentCode.SPARED: "may go on after all",
    MomentCode.STOPPED_RECLAIMED: "stopped: reclaimed",
    MomentCode.STOPPED_TIME_LIMIT: "stopped: time limit",
    MomentCode.STOPPED_CANCELLED: "stopped: cancelled",
    MomentCode.STOPPED_NODE_LOST: "stopped: node lost",
    MomentCode.STOPPED_RESERVED: "stopped: its node is reserved",
    MomentCode.STOPPED_RESIZED: "stopped to go on with more nodes",
    MomentCode.STOPPED_DRAINED: "stopped: its node is being emptied",
    MomentCode.ATTEMPT_PREEMPTED: "attempt {attempt} ended: preempted",
    MomentCode.ATTEMPT_NODE_LOST: "attempt {attempt} ended: node lost",
    MomentCode.ATTEMPT_RESIZED: "attempt {attempt} left its nodes to go on with more",
    MomentCode.ATTEMPT_DRAINED: "attempt {attempt} left its node, which is being emptied",
    MomentCode.ATTEMPT_NEVER_STARTED: "attempt {attempt} ended: never started",
    MomentCode.ATTEMPT_REFUSED: "{site} would not run attempt {attempt}: {detail}",
    MomentCode.REFUSED_EVERYWHERE: "no site that it may use would run it: {detail}",
    MomentCode.ATTEMPT_FAILED: "attempt {attempt} failed with exit code {exit_code}",
    MomentCode.ATTEMPT_FAILED_TRIES_AGAIN: "attempt {attempt} failed with exit code {exit_code}; will be tried again",
    MomentCode.SUCCEEDED: "succeeded",
    MomentCode.CANCELLED: "cancelled",
    MomentCode.NO_LONGER_ALLOWED: "stopped: it is no longer allowed ({detail})",
    MomentCode.TOO_LATE_TO_START: "given up: it had to start by now",
    MomentCode.TOO_LATE_FOR_DEADLINE: "given up: it could no longer end by its deadline",
    MomentCode.TIME_LIMIT_REACHED: "ran into its time limit",
    MomentCode.STOPPED_SCALED_DOWN: "stopped: its service wants fewer replicas now",
    MomentCode.SCALED_DOWN: "its service wants fewer replicas now",
    MomentCode.ATTEMPT_ENDED_STARTS_AGAIN: "attempt {attempt} ended with exit code {exit_code}; starts again",
    MomentCode.ALL_STARTED: "all that are wanted have started",
    MomentCode.TASKS_FAILED: "some of its tasks failed",
}


def gpus_text(gpu_class: str, milli: int, nodes: int = 1, profile: str = "", most_nodes: int = 0) -> str:
    """GPUs as people write them: `H100:8`, `0.5`, `2 × H100:8` on two nodes, `-` for none. `milli` is per node.

    A MIG slice goes by its profile: `H100:3g.40gb`; an elastic job by its range of nodes: `2–8 × H100:8`.
    """
    times = f"{nodes}–{most_nodes} × " if most_nodes > nodes else "" if nodes == 1 else f"{nodes} × "
    if milli == 0:
        return f"{times}-"
    count = profile or format_gpus(milli)
    amount = f"{gpu_class}:{count}" if gpu_class else count
    return f"{times}{amount}"


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


def unblock(blocker: Blocker) -> str:
    """What would end a blocker, as one sentence."""
    sentence = _UNBLOCK_GUARANTEED if blocker.guaranteed else _UNBLOCK[blocker.code]
    return sentence.format(
        holders=", ".join(blocker.holders),
        share=blocker.share,
        gpu_class=blocker.gpu_class,
        short=format_gpus(blocker.short_milli),
        nodes=blocker.nodes,
        per_node=format_gpus(blocker.per_node_milli),
    )


def expected_start(why: Why, now_ms: int) -> str:
    """When a job may start: `in 5m`, `in 5m to in 2h`, `later than in 3d`, or why that is not known."""
    eta = why.eta
    if eta is None:
        return _NO_ETA[why.no_eta or NoEta.NOT_ASKED]
    first = "" if eta.earliest_ms is None else ago(max(eta.earliest_ms, now_ms), now_ms)
    if eta.latest_ms is not None:
        last = ago(max(eta.latest_ms, now_ms), now_ms)
        return first if last == first else f"{first} to {last}"
    if eta.followed_until_ms is None:
        never = "never as things stand"
    else:
        never = f"later than {ago(eta.followed_until_ms, now_ms)}"
    return f"{first} at the earliest, or {never}" if first else never


def how_expected(eta: Eta) -> list[str]:
    """Method and assumptions of an expected start, a phrase each."""
    return [_METHODS[eta.method], *(_assumed(each) for each in eta.assumptions)]


def _assumed(assumption: Assumption) -> str:
    return _ASSUMED[assumption.code].format(
        percent=assumption.percent, jobs=assumption.jobs, step=rough_duration(assumption.step_ms or 0)
    )


def what_happened(moment: Moment) -> str:
    """One step of a job's life as a phrase for a timeline."""
    return _HAPPENED[moment.what].format(
        jobs=", ".join(moment.jobs),
        site=moment.site,
        attempt=moment.attempt,
        exit_code=moment.exit_code,
        reservation=moment.reservation,
        detail=moment.detail,
    )


def copies_text(copies: Copies, are_replicas: bool) -> str:
    """How an array's tasks or a service's replicas stand: `100 tasks: 96 waiting, 4 running`."""
    if are_replicas:
        waiting = f", {copies.waiting:,} wait" if copies.waiting else ""
        return f"{_counted(copies.running, 'replica')} run{'s' if copies.running == 1 else ''}{waiting}"
    stands = [(copies.waiting, "waiting"), (copies.running, "running"), (copies.succeeded, "succeeded")]
    stands += [(copies.failed, "failed"), (copies.cancelled, "cancelled")]
    parts = ", ".join(f"{count:,} {what}" for count, what in stands if count)
    return f"{_counted(copies.total, 'task')}: {parts}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


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
