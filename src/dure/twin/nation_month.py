"""The nation's month: what is promised at national size is promised for this scene.

312,000 GPUs of two classes (2,600 NVL72 racks of 18 trays with 4 GPUs, and 15,600 HGX nodes with 8), a million jobs in
30 days at a load of 1, five owners with 400 organisations each, hourly checkpoints, and about 7,000 failures of nodes
in that time. Those behind the first that does not fit are looked at every 30 seconds, as Slurm does unless it is told
otherwise (`bf_interval`).
"""

from __future__ import annotations

from dure.model.fleet import Timing
from dure.model.units import DAY_MS, HOUR_MS
from dure.sources.faults import drawn_faults, horizon_ms
from dure.sources.fleet import parse_fleet
from dure.sources.generator import generate
from dure.sources.share_tree import generate_nation
from dure.twin.scene import Scene

RACKS, TRAYS_PER_RACK = 2_600, 18
FLEET = f"{RACKS}x{TRAYS_PER_RACK}x4:GB200+15600x8:B200"
JOBS = 1_000_000
SPAN_MS = 30 * DAY_MS
OWNERS, ORGANISATIONS_PER_OWNER = 5, 400
NODE_MTBF_MS = 6_400 * HOUR_MS
REPAIR_MS = 4 * HOUR_MS
TIMING = Timing(backfill_interval_ms=30_000)
LARGEST_JOB, LARGEST_SMALL_JOB = 1_024, 8


def nation_month(seed: int, *, most_gpus: int = LARGEST_JOB) -> Scene:
    """The month with jobs of up to so many GPUs. With `LARGEST_SMALL_JOB`, more than 100,000 of them run at once."""
    fleet = parse_fleet(FLEET)
    nation = generate_nation(seed, OWNERS, ORGANISATIONS_PER_OWNER, fleet)
    trace = generate(seed, JOBS, fleet, 1.0, SPAN_MS, nation, most_gpus=most_gpus)
    return Scene(
        trace=trace,
        fleet=fleet,
        shares=nation.shares,
        policy="dure",
        timing=TIMING,
        checkpoint_every_ms=HOUR_MS,
        faults=drawn_faults(seed, fleet, NODE_MTBF_MS, REPAIR_MS, horizon_ms(trace, fleet)),
    )
