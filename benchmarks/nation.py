"""How fast the twin runs a nation's month, and in how much memory; each scene in a process of its own.

`python -m benchmarks.nation mixed` (or `small`) runs one scene here and prints its report as JSON, for a profiler.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.measurement import Figure, Measurement
from dure.bootstrap import compile_twin, prepare_compilation

SEED = 0
SCENES = ("mixed", "small")
"""Jobs of 1 to 1,024 GPUs; and of 1 to 8, so that over 100,000 run at once."""
MOST_MIB = 1_024


def measure() -> Sequence[Figure]:
    """One run of each scene: it takes long enough to vary little."""
    # The memory that compiling takes is not the scenes'.
    compile_twin()
    return [figure for scene in SCENES for figure in _figures(scene)]


def _figures(scene: str) -> Sequence[Figure]:
    command = [sys.executable, "-m", "benchmarks.nation", scene]
    report = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    name = f"the nation's month, {scene} jobs"
    compared = (
        f"{report['events'] / report['wall_s']:,.0f} events/s, at most {report['most_running']:,} jobs at once, "
        f"{report['node_failures']:,} node failures, {report['reclaimed']:,} reclaimed, "
        f"goodput {report['goodput_pct']} %"
    )
    return [
        Measurement(f"{name}, event loop", report["wall_s"], "s", 15, 8, "less", compared),
        Measurement(f"{name}, peak memory of the process", report["peak_rss_mb"], "MiB", MOST_MIB, None, "less", ""),
    ]


def main(arguments: Sequence[str]) -> int:
    """Run one scene and print its report."""
    prepare_compilation()
    # Where compiled code is kept must be known before anything imports the kernel.
    import msgspec

    from dure.twin.nation_month import LARGEST_JOB, LARGEST_SMALL_JOB, nation_month
    from dure.twin.run import run_scene

    most_gpus = {"mixed": LARGEST_JOB, "small": LARGEST_SMALL_JOB}[arguments[0]]
    scene = nation_month(SEED, most_gpus=most_gpus)
    compile_twin()
    sys.stdout.buffer.write(msgspec.json.encode(run_scene(scene, seed=SEED)) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
