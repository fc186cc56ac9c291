"""Small scenes: a generated workload on a small cluster."""

from __future__ import annotations

from dure.model.fleet import Timing
from dure.model.units import HOUR_MS, MINUTE_MS
from dure.sources.fleet import parse_fleet
from dure.sources.generator import generate
from dure.sources.share_tree import generate_nation
from dure.twin.scene import Scene

TIMING = Timing(protected_ms=5 * MINUTE_MS, warning_ms=MINUTE_MS, grace_ms=30_000, backfill_depth=6)


def small_scene(jobs: int = 400, *, seed: int = 6, policy: str = "dure", load: float = 1.3) -> Scene:
    """Busy enough that jobs queue, borrow and are reclaimed; backfill is shallow, so that passes end early."""
    fleet = parse_fleet("4x8:H100+3x4:B200")
    nation = generate_nation(seed, 3, 3, fleet)
    trace = generate(seed, jobs, fleet, load, 24 * HOUR_MS, nation)
    return Scene(
        trace=trace,
        fleet=fleet,
        shares=nation.shares,
        policy=policy,
        timing=TIMING,
        checkpoint_every_ms=30 * MINUTE_MS,
    )
