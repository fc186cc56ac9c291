"""What is there to share: sites, the nodes in them, and the GPU classes they hold."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from dure.model.mig import MigProfile

MOST_GPUS_PER_NODE = 16
MOST_SITES = 60


class Engine(StrEnum):
    """What starts processes at a site."""

    LOCAL = "local"
    SLURM = "slurm"
    RAY = "ray"


class PartsOffered(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which parts of a GPU jobs may ask for, in thousandths: multiples of a step, and sizes listed one by one."""

    step_milli: int = 1
    """0 when only the listed sizes are offered."""
    sizes_milli: tuple[int, ...] = ()

    def include(self, milli: int) -> bool:
        """True when a part of this size is offered."""
        return milli in self.sizes_milli or (self.step_milli > 0 and milli % self.step_milli == 0)


ANY_PART = PartsOffered()
"""What a class offers that does not say: one object, because fields that are at their default are not written."""


class GpuClass(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A kind of GPU. `exchange_milli`: what one GPU-hour of it is worth in reference GPU-hours, in thousandths.

    Every class has a share tree of its own, in which usage counts half after `half_life_ms`; 0 is the nation's timing.
    """

    name: str
    exchange_milli: int = 1000
    half_life_ms: int = 0
    parts: PartsOffered = ANY_PART
    mig: tuple[MigProfile, ...] = ()
    """The MIG profiles that jobs may ask for, smallest first. They say all that replaying a ledger needs to know."""

    def mig_profile(self, name: str) -> MigProfile | None:
        """The profile of this name, if jobs may ask for it."""
        return next((each for each in self.mig if each.name == name), None)


class Topology(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How many nodes of a group, counted from its first, make an NVLink domain, a rack and a block.

    Each is a multiple of the one before. `spare`: nodes per domain that are left idle to replace failed ones.
    """

    domain: int = 1
    rack: int = 1
    block: int = 1
    spare: int = 0


class NodeGroup(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`count` equal nodes, `{name}-0000` onwards. `gpus` is per node; `gpu_class` is empty where there are none."""

    name: str
    count: int
    gpu_class: str
    gpus: int
    cpus: int
    memory_mib: int
    topology: Topology = Topology()

    @property
    def shared_gpus(self) -> int:
        """GPUs of the group that are not kept as spares."""
        spares = self.count // self.topology.domain * self.topology.spare
        return (self.count - spares) * self.gpus

    def node_names(self) -> list[str]:
        """Names of the group's nodes, in placement order."""
        return [f"{self.name}-{index:04d}" for index in range(self.count)]


class Assurance(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody certified about a site, from one moment until before another (since the epoch; 0 is no end).

    A fact with dates, not one of a fixed set of grades: schemes are reformed while a platform lives.
    """

    scheme: str
    grade: str
    valid_from_ms: int = 0
    valid_to_ms: int = 0

    def is_valid(self, at_ms: int) -> bool:
        """True when it holds at this moment."""
        return self.valid_from_ms <= at_ms and (self.valid_to_ms == 0 or at_ms < self.valid_to_ms)


class AssuranceScheme(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A scheme under which sites are assured, and its grades, lowest first."""

    name: str
    grades: tuple[str, ...]
    title_ko: str = ""
    title_en: str = ""

    def grades_to(self, highest: str) -> tuple[str, ...]:
        """This grade and those below it; none for a grade that the scheme does not have."""
        return self.grades[: self.grades.index(highest) + 1] if highest in self.grades else ()


class Site(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A data centre with its own jurisdiction, owner and engine. `country` is ISO 3166-1 alpha-2."""

    name: str
    country: str
    owner: str
    nodes: tuple[NodeGroup, ...]
    engine: Engine = Engine.LOCAL
    title_ko: str = ""
    title_en: str = ""
    assurances: tuple[Assurance, ...] = ()


MOST_RESERVATIONS = 64
"""Waiting jobs per GPU class that backfill can keep a start for."""


class Timing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How reclaim treats a borrower, how long usage is remembered, how deep backfill looks, and when a node is suspect.

    A borrower is left alone for `protected_ms`, then may be warned; it is stopped `warning_ms` later, and killed if it
    is still there `grace_ms` after that. Usage counts half after `half_life_ms`.

    Behind the first job that does not fit, up to `backfill_depth` others are looked at, no sooner than
    `backfill_interval_ms` after the last time.

    Of each GPU class, the first `backfill_reservations` jobs that do not fit have a reservation which nobody behind
    them may delay: 1 is EASY backfill, as many as are looked at is conservative backfill.

    A node that went down `suspect_after` times, or on which as many attempts in a row ended badly, each within
    `suspect_window_ms` of the one before, is set aside for `probation_ms`; 0 sets none aside.
    """

    protected_ms: int = 60_000
    warning_ms: int = 60_000
    grace_ms: int = 30_000
    half_life_ms: int = 7 * 24 * 3_600_000
    backfill_depth: int = 100
    backfill_interval_ms: int = 0
    backfill_reservations: int = 1
    suspect_after: int = 3
    suspect_window_ms: int = 24 * 3_600_000
    probation_ms: int = 4 * 3_600_000
