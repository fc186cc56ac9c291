"""What the world knows of one job, share or node, in the words people use."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from dure.model.events import JobSubmitted, TooLate
from dure.model.jobs import JobState, Outcome
from dure.model.plan import Placement, StopReason

LONGEST_TIMELINE = 64


class MomentCode(StrEnum):
    """What happened to a job. Stable codes: `reports` and `portal` have the words."""

    SUBMITTED = "submitted"
    WAITS_FOR_JOBS = "waits-for-jobs"
    WAITS_FOR_ITS_TIME = "waits-for-its-time"
    MAY_START = "may-start"
    TAKES_GUARANTEE_BACK = "takes-guarantee-back"
    LOST_CLAIM = "lost-claim"
    ATTEMPT_STARTED = "attempt-started"
    RUNNING = "running"
    MUST_YIELD = "must-yield"
    MUST_LEAVE = "must-leave"
    MAY_GROW = "may-grow"
    SPARED = "spared"
    STOPPED_RECLAIMED = "stopped-reclaimed"
    STOPPED_TIME_LIMIT = "stopped-time-limit"
    STOPPED_CANCELLED = "stopped-cancelled"
    STOPPED_NODE_LOST = "stopped-node-lost"
    STOPPED_RESERVED = "stopped-reserved"
    STOPPED_DRAINED = "stopped-drained"
    STOPPED_RESIZED = "stopped-resized"
    ATTEMPT_PREEMPTED = "attempt-preempted"
    ATTEMPT_NODE_LOST = "attempt-node-lost"
    ATTEMPT_DRAINED = "attempt-drained"
    ATTEMPT_RESIZED = "attempt-resized"
    ATTEMPT_NEVER_STARTED = "attempt-never-started"
    ATTEMPT_REFUSED = "attempt-refused"
    REFUSED_EVERYWHERE = "refused-everywhere"
    ATTEMPT_FAILED = "attempt-failed"
    ATTEMPT_FAILED_TRIES_AGAIN = "attempt-failed-tries-again"
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    NO_LONGER_ALLOWED = "no-longer-allowed"
    TOO_LATE_TO_START = "too-late-to-start"
    TOO_LATE_FOR_DEADLINE = "too-late-for-deadline"
    TIME_LIMIT_REACHED = "time-limit-reached"
    STOPPED_SCALED_DOWN = "stopped-scaled-down"
    SCALED_DOWN = "scaled-down"
    ATTEMPT_ENDED_STARTS_AGAIN = "attempt-ended-starts-again"
    ALL_STARTED = "all-started"
    TASKS_FAILED = "tasks-failed"


STOPPED = {
    StopReason.RECLAIMED: MomentCode.STOPPED_RECLAIMED,
    StopReason.TIME_LIMIT: MomentCode.STOPPED_TIME_LIMIT,
    StopReason.CANCELLED: MomentCode.STOPPED_CANCELLED,
    StopReason.NODE_LOST: MomentCode.STOPPED_NODE_LOST,
    StopReason.RESERVED: MomentCode.STOPPED_RESERVED,
    StopReason.SCALED_DOWN: MomentCode.STOPPED_SCALED_DOWN,
    StopReason.DRAINED: MomentCode.STOPPED_DRAINED,
    StopReason.RESIZED: MomentCode.STOPPED_RESIZED,
}
"""What a job's timeline says when it is told to stop."""

REQUEUED = {
    Outcome.PREEMPTED: MomentCode.ATTEMPT_PREEMPTED,
    Outcome.NODE_LOST: MomentCode.ATTEMPT_NODE_LOST,
    Outcome.DRAINED: MomentCode.ATTEMPT_DRAINED,
    Outcome.RESIZED: MomentCode.ATTEMPT_RESIZED,
    Outcome.NEVER_STARTED: MomentCode.ATTEMPT_NEVER_STARTED,
    Outcome.REFUSED: MomentCode.ATTEMPT_REFUSED,
}
"""What it says when an attempt ended for no fault of the job's, which goes back to the queue."""


CANCELLED_AS = {
    None: MomentCode.CANCELLED,
    TooLate.TO_START: MomentCode.TOO_LATE_TO_START,
    TooLate.FOR_DEADLINE: MomentCode.TOO_LATE_FOR_DEADLINE,
}
"""What it says when a job that held nothing is gone, by the date it could not keep."""


class Moment(Struct, frozen=True, omit_defaults=True, gc=False):
    """One step of a job's life, without words. What a code is not about keeps its default."""

    at_ms: int
    state: JobState
    what: MomentCode
    jobs: tuple[str, ...] = ()
    """The jobs it waits for, or the one it must yield to."""
    site: str = ""
    attempt: int = 0
    exit_code: int | None = None
    reservation: str = ""
    """The reservation for whose sake it must leave its node."""
    detail: str = ""
    """Why its engine did not run it, in the engine's words."""


class Copies(Struct, frozen=True, kw_only=True):
    """How the tasks of an array, or the replicas of a service, stand.

    `begun` counts those that have a card of their own. Replicas that were scaled down count as succeeded.
    """

    total: int
    begun: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def ended(self) -> int:
        """Copies that are over."""
        return self.succeeded + self.failed + self.cancelled

    @property
    def active(self) -> int:
        """Copies that have begun and are not over."""
        return self.begun - self.ended

    @property
    def waiting(self) -> int:
        """Copies that wait: those that have not begun, and those that came back."""
        return self.total - self.ended - self.running


# There is one for every job that was ever submitted, and none is part of a cycle: the garbage collector need not look.
class JobCard(Struct, kw_only=True, gc=False):
    """A job's state and history. Mutable: `World.apply` keeps it up to date; everyone else only reads it."""

    job: str
    submitted: JobSubmitted
    row: int
    """Its row in the columns; -1 once it is final and the row was given back."""
    state: JobState
    attempt: int = 0
    """Number of the latest attempt; 0 before the first."""
    failures: int = 0
    preemptions: int = 0
    release_at_ms: int | None = None
    """When the backoff of a retry ends, or the time before which it must not start comes."""
    site: str = ""
    gpu_class: str = ""
    placements: tuple[Placement, ...] = ()
    """Where it runs, or what it claims, now."""
    engine_nodes: tuple[str, ...] = ()
    """Where its latest attempt ran by rank, when its engine chose the nodes; `placements` then only says how many."""
    borrowed: bool = False
    first_started_at_ms: int | None = None
    started_at_ms: int | None = None
    """Start of the latest attempt."""
    ended_at_ms: int | None = None
    claimant: str = ""
    """The job for whose sake this one was warned."""
    reservation: str = ""
    """The reservation for whose sake it was warned."""
    resizes: bool = False
    """It was warned to go on with more nodes."""
    stop_at_ms: int | None = None
    stop_reason: StopReason | None = None
    cancel_requested: bool = False
    forbidden_by: tuple[str, ...] = ()
    """Rules and stop orders for whose sake it is cancelled."""
    gone_within_ms: int = 0
    """How soon a stop order wants it gone; 0 for no such order."""
    exit_code: int | None = None
    refused_at: tuple[str, ...] = ()
    """Sites whose engines will not run it."""
    timeline: list[Moment] = []
    template: str = ""
    """The array or service of which this is a task or replica."""
    copies: Copies | None = None
    """Of an array or service: how its tasks or replicas stand."""

    @property
    def sites(self) -> list[str]:
        """Where it may run: where policy lets it, and no engine has refused it."""
        return [site for site in self.submitted.sites if site not in self.refused_at]

    @property
    def must_start_by_ms(self) -> int | None:
        """The last moment at which it may still start; None when there is none."""
        asked = self.submitted
        bounds = [asked.deadline_ms - asked.time_ms] if asked.deadline_ms else []
        if asked.not_after_ms and self.first_started_at_ms is None:
            bounds.append(asked.not_after_ms)
        return min(bounds, default=None)

    @property
    def too_late(self) -> TooLate:
        """Which of its dates passes first."""
        asked = self.submitted
        for_deadline = asked.deadline_ms and self.must_start_by_ms == asked.deadline_ms - asked.time_ms
        return TooLate.FOR_DEADLINE if for_deadline else TooLate.TO_START

    @property
    def gpus_milli(self) -> int:
        """Thousandths of a GPU it holds, claims or (when waiting) wants at its first choice, over all nodes."""
        if self.placements and not self.state.is_waiting:
            return sum(len(placement.gpus) * placement.milli for placement in self.placements)
        return self.nodes * (self.submitted.gpus[0][1] if self.submitted.gpus else 0)

    @property
    def nodes(self) -> int:
        """Nodes it has or claims; while it waits, those it cannot do without."""
        return len(self.placements) or self.submitted.min_nodes or self.submitted.nodes


class ShareCard(Struct, frozen=True, kw_only=True):
    """One share of the tree for one GPU class; amounts in thousandths of a GPU, children included."""

    name: str
    parent: str
    gpu_class: str
    depth: int
    weight: int
    guarantee_milli: int
    limit_milli: int
    lend_milli: int
    used_milli: int
    borrowed_milli: int
    lent_milli: int
    waiting_jobs: int


class NodeCard(Struct, frozen=True, kw_only=True):
    """One node. `state` is `up`, `cordoned`, `drained`, `down`, `suspect` or `unreachable`.

    Free amounts are not used by any job.
    """

    name: str
    site: str
    gpu_class: str
    gpus: int
    free_gpus_milli: int
    cpus: int
    free_cpus: int
    memory_mib: int
    free_memory_mib: int
    state: str
    jobs: tuple[str, ...]
    until_ms: int | None = None
    """When a suspect node's probation is over."""
