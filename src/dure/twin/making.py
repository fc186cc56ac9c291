"""Making the scene of a run: a trace file or a generated workload, a fleet, and what fails in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dure.model.units import DAY_MS, HOUR_MS
from dure.sources.faults import Faults, drawn_faults, horizon_ms, no_faults, read_faults
from dure.sources.fleet import TwinFleet
from dure.sources.generator import generate
from dure.sources.readers import read_trace
from dure.sources.share_tree import generate_nation, shares_by_demand
from dure.sources.trace import Trace
from dure.twin.scene import Scene

CHECKPOINT_EVERY_MS = HOUR_MS // 2
OWNERS = 5


@dataclass(frozen=True, kw_only=True)
class TraceFile:
    """A trace to play, and how it is written."""

    path: Path
    layout: str = "equal"


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A national workload to generate: five owners with so many organisations each. `load` 1 fills the fleet."""

    jobs: int = 20_000
    span_ms: int = 7 * DAY_MS
    load: float = 1.0
    organisations: int = 8
    parts: float = 0.0
    """Of the jobs of one GPU, how many want less."""


@dataclass(frozen=True, kw_only=True)
class NodeFailures:
    """Which nodes fail: each once in `mtbf_ms` on average (0: never), or as a file says."""

    mtbf_ms: int = 0
    repair_ms: int = 4 * HOUR_MS
    file: Path | None = None


def make_scene(
    source: TraceFile | Workload,
    fleet: TwinFleet,
    *,
    policy: str,
    seed: int,
    failures: NodeFailures = NodeFailures(),
) -> Scene:
    """The scene of `dure twin run`.

    Raises `BadSource` for what is wrong with the trace, the fleet, the failures, or with all of them together.
    """
    if isinstance(source, TraceFile):
        trace = read_trace(source.path, source.layout, fleet)
        shares = shares_by_demand(trace, fleet)
    else:
        nation = generate_nation(seed, OWNERS, source.organisations, fleet)
        trace = generate(seed, source.jobs, fleet, source.load, source.span_ms, nation, parts=source.parts)
        shares = nation.shares
    return Scene(
        trace=trace,
        fleet=fleet,
        shares=shares,
        policy=policy,
        checkpoint_every_ms=CHECKPOINT_EVERY_MS,
        faults=_faults(failures, seed, trace, fleet),
    )


def _faults(failures: NodeFailures, seed: int, trace: Trace, fleet: TwinFleet) -> Faults:
    if failures.file is not None:
        return read_faults(failures.file, fleet)
    if failures.mtbf_ms == 0:
        return no_faults()
    return drawn_faults(seed, fleet, failures.mtbf_ms, failures.repair_ms, horizon_ms(trace, fleet))
