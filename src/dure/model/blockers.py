"""Why a job waits: one typed object, shown alike by command line, API and portal."""

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
    SHARE_LIMIT = "share-limit"
    NOT_LENT = "not-lent"
    BORROWING_NEEDS_PREEMPTIBLE = "borrowing-needs-preemptible"
    NOT_ENOUGH_GPUS = "not-enough-gpus"
    SCATTERED = "scattered"
    NOT_ENOUGH_CPU_OR_MEMORY = "not-enough-cpu-or-memory"
    WAITING_FOR_VICTIMS = "waiting-for-victims"
    VICTIMS_PROTECTED = "victims-protected"
    RECLAIM_RATE = "reclaim-rate"
    RESERVED_FOR_HEAD = "reserved-for-head"
    BEHIND_IN_QUEUE = "behind-in-queue"


class Blocker(Struct, frozen=True, kw_only=True):
    """One reason. Amounts are in thousandths of a GPU; `until_ms` is the earliest time it may end, if known."""

    code: BlockerCode
    gpu_class: str = ""
    share: str = ""
    short_milli: int = 0
    holders: tuple[str, ...] = ()
    """Shares or jobs that hold what is missing, largest first."""
    until_ms: int | None = None
    unblock: str = ""
    """What would unblock it, as one sentence in English."""


class Why(Struct, frozen=True, kw_only=True):
    """All the blockers of one job, its place in its own queue (1 is next), and an estimate of its start."""

    job: str
    state: str
    position: int
    blockers: tuple[Blocker, ...]
    earliest_start_ms: int | None = None
    latest_start_ms: int | None = None
    method: str = ""
