"""Play seeds again, and tell what happens: `python -m tests.simulation SEED`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from dure.bootstrap import compile_everything, make_policy_set, prepare_compilation


def main() -> int:
    """Play one seed and print its trace, or several and print a line for each; 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=main.__doc__)
    parser.add_argument("seed", type=int, help="the (first) seed to play")
    parser.add_argument("--count", type=int, default=0, help="play so many seeds, and print no traces")
    arguments = parser.parse_args()
    prepare_compilation()
    compile_everything()
    from tests.simulation.story import play

    policy_set = make_policy_set()
    memory = Path("/dev/shm")
    bad = 0
    for seed in range(arguments.seed, arguments.seed + max(arguments.count, 1)):
        with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            outcome = play(seed, Path(folder), policy_set, None if arguments.count else print)
        print(outcome)
        bad += bool(outcome.problem)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
