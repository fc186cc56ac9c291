"""What a member asks for, and the states a job and its attempts go through."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from dure.model.datasets import Purpose
from dure.model.model_versions import Precision

DEFAULT_TIME_MS = 3_600_000
HIGHEST_PRIORITY = 100
LARGEST_ARRAY = 100_000
MOST_REPLICAS = 10_000
MOST_ALTERNATIVES = 8


class Within(StrEnum):
    """How close together a gang must be."""

    NODE = "node"
    DOMAIN = "domain"
    RACK = "rack"
    BLOCK = "block"
    SITE = "site"


class GpuRequest(Struct, frozen=True, kw_only=True):
    """GPUs per node of one class. An empty `gpu_class` means any; `milli` below 1000 is a part of one GPU.

    With a MIG `profile`, it is one slice of that size, and `milli` is 0 until the class says what it counts.
    """

    gpu_class: str
    milli: int
    profile: str = ""


class Checkpoint(Struct, frozen=True, kw_only=True):
    """How a job saves its work: by itself each `every_ms`, or at a warning when sent `signal` (such as `USR1`)."""

    every_ms: int = 0
    signal: str = ""


class Retry(Struct, frozen=True, kw_only=True):
    """How often a failed job is tried again, and how long it waits first (doubled each time)."""

    limit: int = 0
    backoff_ms: int = 1_000


class ArrayRange(Struct, frozen=True, kw_only=True):
    """Task numbers `first..last` of an array, both included."""

    first: int
    last: int


class Replicas(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How many copies of a service run at which time of the day, every day.

    Each step is a time of the day in milliseconds, UTC, and the replicas from then on, in the order of the day. One
    step is a fixed number.
    """

    steps: tuple[tuple[int, int], ...]

    @property
    def most(self) -> int:
        """The most that ever run at once."""
        return max(replicas for _, replicas in self.steps)


class JobSpec(Struct, frozen=True, kw_only=True):
    """A job as its member wrote it, checked and with units resolved. GPUs, CPUs and memory are per node."""

    name: str
    project: str
    purpose: Purpose = Purpose.RESEARCH
    command: tuple[str, ...] = ()
    script: str = ""
    setup: str = ""
    workdir: str = ""
    env: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    nodes: int = 1
    min_nodes: int = 0
    """An elastic job runs with so many nodes at least, and `nodes` at most; 0 for one that always wants `nodes`."""
    gpus: tuple[GpuRequest, ...] = ()
    """In order of preference; empty for a job without GPUs."""
    cpus: int = 0
    memory_mib: int = 0
    time_ms: int = DEFAULT_TIME_MS
    within: Within = Within.SITE
    priority: int = 0
    preemptible: bool = True
    checkpoint: Checkpoint = Checkpoint()
    retry: Retry = Retry()
    array: ArrayRange | None = None
    replicas: Replicas | None = None
    """A service: it has no time limit, and its replicas are started again when they end. `time_ms` is 0."""
    depends: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    sandbox: bool = False
    """It runs without network and sees only its data and its own folders, as jobs on restricted data always do."""
    trains: str = ""
    """The model of its organisation that it trains."""
    precision: Precision | None = None
    """The number format of most of the training's operations."""
    not_before_ms: int = 0
    """It starts at this moment (since the epoch) or later; 0 for no such bound, as below."""
    not_after_ms: int = 0
    """It starts, for the first time, at this moment or earlier; or not at all."""
    deadline_ms: int = 0
    """It starts only where its time limit ends by this moment; or not at all."""


class JobState(StrEnum):
    """Where a job is. `held` waits for a dependency or a retry's backoff; `claimed` waits for victims to yield."""

    HELD = "held"
    QUEUED = "queued"
    CLAIMED = "claimed"
    STARTING = "starting"
    RUNNING = "running"
    WARNED = "warned"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True when nothing more will happen to the job."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}

    @property
    def is_waiting(self) -> bool:
        """True when the job holds no GPUs but wants some."""
        return self in {JobState.HELD, JobState.QUEUED, JobState.CLAIMED}


NEXT_STATES: dict[JobState, frozenset[JobState]] = {
    JobState.HELD: frozenset({JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED, JobState.CANCELLED}),
    JobState.QUEUED: frozenset(
        {
            JobState.CLAIMED,
            JobState.STARTING,
            JobState.RUNNING,
            JobState.STOPPING,
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.CANCELLED,
        }
    ),
    JobState.CLAIMED: frozenset({JobState.STARTING, JobState.QUEUED, JobState.SUCCEEDED, JobState.CANCELLED}),
    JobState.STARTING: frozenset(
        {
            JobState.RUNNING,
            JobState.WARNED,
            JobState.STOPPING,
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.QUEUED,
            JobState.HELD,
            JobState.CANCELLED,
        }
    ),
    JobState.RUNNING: frozenset(
        {
            JobState.WARNED,
            JobState.STOPPING,
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.QUEUED,
            JobState.HELD,
            JobState.CANCELLED,
        }
    ),
    JobState.WARNED: frozenset(
        {
            JobState.RUNNING,
            JobState.STOPPING,
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.QUEUED,
            JobState.HELD,
            JobState.CANCELLED,
        }
    ),
    JobState.STOPPING: frozenset(
        {JobState.QUEUED, JobState.HELD, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
    ),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
"""The job's state machine. An attempt that ends sends its job to a final state, or back to the queue.

An array is queued while tasks of it are to start, runs when all have, and ends with its last. A service runs from the
time it may until it is cancelled, however many replicas it has. A replica has succeeded when its service wants it no
more, wherever it then is.
"""


class GpuUse(Struct, frozen=True, kw_only=True):
    """What the real GPUs of an attempt used so far, by their own counters."""

    energy_j: int
    busy_percent: int
    """On average over its GPUs, while somebody measured."""
    measured_ms: int


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PREEMPTED = "preempted"
    TIME_LIMIT = "time-limit"
    CANCELLED = "cancelled"
    NODE_LOST = "node-lost"
    DRAINED = "drained"
    NEVER_STARTED = "never-started"
    SCALED_DOWN = "scaled-down"
    RESIZED = "resized"
    REFUSED = "refused"
    """The site's engine will not run it as it was planned; the job is not sent there again."""
