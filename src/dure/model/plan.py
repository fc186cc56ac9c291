"""A plan: everything one decision changes, complete enough that nobody who carries it out has a choice to make."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Placement(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """GPUs on one node for one rank. `milli` is 1000 for whole GPUs, less for a part of the one GPU named."""

    node: str
    gpus: tuple[int, ...]
    milli: int
    profile: str = ""
    """The MIG profile of the slice it gets of that GPU; empty without MIG."""
    slices: tuple[int, ...] = ()
    """The memory slices of that GPU which are its own."""


class StopReason(StrEnum):
    """Why a running attempt is stopped."""

    RECLAIMED = "reclaimed"
    TIME_LIMIT = "time-limit"
    CANCELLED = "cancelled"
    NODE_LOST = "node-lost"
    RESERVED = "reserved"
    SCALED_DOWN = "scaled-down"
    DRAINED = "drained"
    RESIZED = "resized"


class Start(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="start", tag_field="do"):
    """Run attempt `attempt` of `job` here, now. `borrowed` says its share went above every guarantee that covers it."""

    job: str
    attempt: int
    site: str
    gpu_class: str
    placements: tuple[Placement, ...]
    """One per rank, in rank order."""
    borrowed: bool


class Claim(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="claim", tag_field="do"):
    """Hold these nodes for `job`: its share's guarantee takes the GPUs back from the jobs warned for it."""

    job: str
    site: str
    gpu_class: str
    placements: tuple[Placement, ...]
    """The nodes, and the GPUs on them that it holds at once."""


class Warn(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="warn", tag_field="do"):
    """Tell a borrower that it will be stopped at `stop_at_ms`, for `claimant`'s sake.

    Where there is no claimant, a node it runs on is kept for `reservation`, or it shall go on with more nodes.
    """

    job: str
    attempt: int
    claimant: str
    stop_at_ms: int
    reservation: str = ""
    resizes: bool = False
    """It is stopped so that it can go on with more nodes; there is neither claimant nor reservation."""


class Spare(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="spare", tag_field="do"):
    """Take a warning back: its claimant no longer needs the GPUs."""

    job: str
    attempt: int


class Stop(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="stop", tag_field="do"):
    """Stop an attempt: terminate, and kill what is left after `grace_ms`.

    With the reason `scaled-down`, a replica that waits is gone at once: there is nothing to terminate.
    """

    job: str
    attempt: int
    reason: StopReason
    grace_ms: int


Decision = Start | Claim | Warn | Spare | Stop


class Reserved(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`job` starts at `at_ms` at the latest if time limits hold: its nodes are of those from the first to the last.

    These follow each other in one group. It keeps as many of them as it needs, whichever they are.
    """

    job: str
    at_ms: int
    first_node: str
    last_node: str


class Plan(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was decided at `at_ms`, in order. Jobs that do not start keep their blockers: see `dure.kernel.explain`."""

    at_ms: int
    decisions: tuple[Decision, ...]
    reserved: tuple[Reserved, ...] | None = None
    """Every start that is reserved for a waiting job from now on; None where that is as before.

    Only told in a nation with several `backfill_reservations`.
    """
