"""What the world knows of one job, share or node, in the words people use."""

from __future__ import annotations

from msgspec import Struct

from dure.model.events import JobSubmitted
from dure.model.jobs import JobState
from dure.model.plan import Placement, StopReason

LONGEST_TIMELINE = 64


class Moment(Struct, frozen=True):
    """One step of a job's life. `note` is a short English phrase with no personal data."""

    at_ms: int
    state: JobState
    note: str


class JobCard(Struct, kw_only=True):
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
    """When a retry's backoff ends."""
    site: str = ""
    gpu_class: str = ""
    placements: tuple[Placement, ...] = ()
    """Where it runs, or what it claims, now."""
    borrowed: bool = False
    first_started_at_ms: int | None = None
    started_at_ms: int | None = None
    """Start of the latest attempt."""
    ended_at_ms: int | None = None
    claimant: str = ""
    """The job for whose sake this one was warned."""
    stop_at_ms: int | None = None
    stop_reason: StopReason | None = None
    cancel_requested: bool = False
    exit_code: int | None = None
    timeline: list[Moment] = []

    @property
    def gpus_milli(self) -> int:
        """Thousandths of a GPU it holds, claims or (when waiting) wants at its first choice, over all nodes."""
        if self.placements and not self.state.is_waiting:
            return sum(len(placement.gpus) * placement.milli for placement in self.placements)
        return self.submitted.nodes * (self.submitted.gpus[0][1] if self.submitted.gpus else 0)


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
    """One node. `state` is `up`, `drained` or `down`; free amounts are what a new job could have."""

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
