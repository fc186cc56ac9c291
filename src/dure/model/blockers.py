"""Why a job waits and when it may start: one typed object, shown alike by command line, API and portal.

Codes and amounts only. `dure.reports.wording` says them in English, the portal in Korean and English.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class BlockerCode(StrEnum):
    """Stable codes; the order is the order in which they are listed."""

    HELD_BY_DEPENDENCY = "held-by-dependency"
    HELD_BY_BACKOFF = "held-by-backoff"
    HELD_UNTIL_ITS_TIME = "held-until-its-time"
    NO_SITE_ALLOWED = "no-site-allowed"
    NO_NODE_LARGE_ENOUGH = "no-node-large-enough"
    NODES_OUT_OF_SERVICE = "nodes-out-of-service"
    SHARE_LIMIT = "share-limit"
    NOT_LENT = "not-lent"
    BORROWING_NEEDS_PREEMPTIBLE = "borrowing-needs-preemptible"
    NOT_ENOUGH_GPUS = "not-enough-gpus"
    SCATTERED = "scattered"
    NOT_ENOUGH_CPU_OR_MEMORY = "not-enough-cpu-or-memory"
    WAITING_FOR_VICTIMS = "waiting-for-victims"
    VICTIMS_PROTECTED = "victims-protected"
    RECLAIM_RATE = "reclaim-rate"
    RECLAIMED_BEFORE = "reclaimed-before"
    RESERVED_IN_ADVANCE = "reserved-in-advance"
    BACKFILL_NOT_DUE = "backfill-not-due"
    RESERVED_FOR_HEAD = "reserved-for-head"
    BEHIND_IN_QUEUE = "behind-in-queue"


class Blocker(Struct, frozen=True, kw_only=True):
    """One reason. Amounts are in thousandths of a GPU."""

    code: BlockerCode
    gpu_class: str = ""
    share: str = ""
    short_milli: int = 0
    nodes: int = 0
    """On how many nodes at once the job needs `per_node_milli`, where the reason is about nodes."""
    per_node_milli: int = 0
    guaranteed: bool = False
    """The share's guarantee covers the job, so GPUs are taken back for it as soon as the rules allow."""
    holders: tuple[str, ...] = ()
    """Shares or jobs that hold what is missing, largest first; or the jobs that go first, nearest first."""
    until_ms: int | None = None
    """When it ends by itself at the latest, if that is known."""


class EtaMethod(StrEnum):
    """How an expected start was found."""

    SIMULATED = "simulated"
    """The platform's own decisions, run forward on a copy of its state: once with long jobs, once with short ones."""


class AssumptionCode(StrEnum):
    """What a simulated future takes for granted."""

    LATEST_WHOLE_LIMITS = "latest-whole-limits"
    """For the latest start, every job uses its whole time limit."""
    EARLIEST_LEARNT_PART = "earliest-learnt-part"
    """For the earliest, it ends after the part of its limit that its share's latest jobs took: `percent`, of `jobs`."""
    EARLIEST_DEFAULT_PART = "earliest-default-part"
    """As above, with a fixed `percent`, because too few jobs have ended yet to learn from."""
    NOTHING_NEW = "nothing-new"
    """No job comes, no node fails, nothing is declared anew; held jobs stay held."""
    ROUNDED = "rounded"
    """Ends of jobs are rounded to whole steps of `step_ms`: up for the latest start, down for the earliest."""


class Assumption(Struct, frozen=True, kw_only=True):
    """One assumption, with the amounts it is about."""

    code: AssumptionCode
    percent: int | None = None
    jobs: int | None = None
    step_ms: int | None = None


class Eta(Struct, frozen=True, kw_only=True):
    """When a job is expected to start: between its starts in two simulated futures."""

    at_ms: int
    """The moment whose state was run forward."""
    earliest_ms: int | None
    """None when it starts in neither future, as far as they were followed."""
    latest_ms: int | None
    """None when it does not start in both."""
    followed_until_ms: int | None = None
    """How far a future in which it does not start was followed; None when to its end: as things stand, never."""
    starts_first: int
    """Jobs that wait now and start before it in the later future."""
    method: EtaMethod
    assumptions: tuple[Assumption, ...]


class NoEta(StrEnum):
    """Why there is no expected start."""

    NOT_ASKED = "not-asked"
    NOT_WAITING = "not-waiting"
    HELD = "held"
    """It waits for other jobs, which the futures do not follow."""
    PREPARING = "preparing"
    """The platform has just started and still compiles the simulation."""
    BUSY = "busy"
    """Too many expectations are being worked out; ask again."""
    HALTED = "halted"
    """The platform starts nothing until an operator has looked at it."""


class Why(Struct, frozen=True, kw_only=True):
    """All the blockers of one job, its place in its own queue (1 is next), and when it is expected to start."""

    job: str
    state: str
    position: int
    blockers: tuple[Blocker, ...]
    tasks_waiting: int = 0
    """Of an array or service: how many tasks or replicas wait, of which this is about the next."""
    eta: Eta | None = None
    no_eta: NoEta | None = NoEta.NOT_ASKED
    """Why `eta` is null."""
