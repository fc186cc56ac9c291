"""The event loop's speed and memory from 1,000 to 312,000 GPUs, with load in proportion: how flat is the curve?

Each fleet gets the generated workload of two weeks at a load of 1: as many jobs for each GPU, of the same sizes, from
five owners with their organisations, under the full policy, with those behind a blocked head looked at every 30 s.
Small fleets run it again and again, so that there is something to measure. Each has a process of its own:
`python -m benchmarks.scale 39000` runs the largest (in 8-GPU nodes) and prints what it found as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.measurement import Figure, Measurement
from dure.bootstrap import compile_twin, prepare_compilation
from dure.model.units import DAY_MS, SECOND_MS

GPUS_PER_NODE = 8
NODES = (125, 375, 1_250, 3_875, 12_500, 39_000)
JOBS_PER_GPU = 1.6
LARGEST_JOB = 64
SPAN_MS = 14 * DAY_MS
LONG_ENOUGH_S = 0.5
OWNERS, ORGANISATIONS_PER_OWNER = 5, 40
SEED = 0


def measure() -> Sequence[Figure]:
    """Events a second and peak memory at each size, and how much slower the slowest is than the fastest."""
    compile_twin()
    figures: list[Figure] = []
    speeds = []
    for nodes in NODES:
        command = [sys.executable, "-m", "benchmarks.scale", str(nodes)]
        report = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        speeds.append(report["events_per_s"])
        figures += _figures(nodes * GPUS_PER_NODE, report, speeds[-1])
    name = "twin from 1,000 to 312,000 GPUs: fastest over slowest"
    return [*figures, Measurement(name, max(speeds) / min(speeds), "x", None, None, "less", "1 is a flat curve")]


def _figures(gpus: int, report: dict[str, float], events_per_s: float) -> Sequence[Figure]:
    compared = (
        f"{report['jobs']:,} jobs, at most {report['most_running']:,} at once, {report['reclaimed']:,} reclaimed, "
        f"{report['runs']} runs"
    )
    name = f"twin at {gpus:,} GPUs"
    return [
        Measurement(f"{name}, full policy", events_per_s, "events/s", None, None, "more", compared),
        Measurement(f"{name}, peak memory of the process", report["peak_rss_mb"], "MiB", None, None, "less", ""),
    ]


def main(arguments: Sequence[str]) -> int:
    """Run one size and print what it found."""
    prepare_compilation()
    # Where compiled code is kept must be known before anything imports the kernel.
    import msgspec

    from dure.model.fleet import Timing
    from dure.sources.fleet import parse_fleet
    from dure.sources.generator import generate
    from dure.sources.share_tree import generate_nation
    from dure.twin.making import CHECKPOINT_EVERY_MS
    from dure.twin.run import run_scene
    from dure.twin.scene import Scene

    fleet = parse_fleet(f"{int(arguments[0])}x{GPUS_PER_NODE}")
    nation = generate_nation(SEED, OWNERS, ORGANISATIONS_PER_OWNER, fleet)
    scene = Scene(
        trace=generate(SEED, round(fleet.gpus * JOBS_PER_GPU), fleet, 1.0, SPAN_MS, nation, most_gpus=LARGEST_JOB),
        fleet=fleet,
        shares=nation.shares,
        policy="dure",
        checkpoint_every_ms=CHECKPOINT_EVERY_MS,
        timing=Timing(backfill_interval_ms=30 * SECOND_MS),
    )
    compile_twin()
    reports = [run_scene(scene, seed=SEED)]
    while sum(each.wall_s for each in reports) < LONG_ENOUGH_S:
        reports.append(run_scene(scene, seed=SEED))
    events_per_s = sum(each.events for each in reports) / sum(each.wall_s for each in reports)
    found = msgspec.to_builtins(reports[-1]) | {"events_per_s": events_per_s, "runs": len(reports)}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
