"""Plays new stories for as long as it is let: `make soak`, for an hour unless told otherwise.

It tells how far it is, which faults struck how often, and the command that shows each story that came to grief.
Such a seed belongs into `seeds.toml` together with what was wrong.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from tempfile import TemporaryDirectory

from dure.bootstrap import compile_everything, make_policy_set, prepare_compilation
from tests.simulation.faults import RATES
from tests.simulation.outcome import Outcome

FIRST_NEW_SEED = 1_000_000
"""Smaller ones are played by `make test`."""
STORIES_AT_ONCE = 10
TELLS_EVERY_S = 30.0
MEMORY = Path("/dev/shm")


def play_some(first: int) -> list[Outcome]:
    """A few stories, one after the other, in a process of their own."""
    from tests.simulation.story import play

    policy_set = make_policy_set()
    outcomes = []
    for seed in range(first, first + STORIES_AT_ONCE):
        with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            outcomes.append(play(seed, Path(folder), policy_set))
    gc.collect()  # Worlds are large, and what is over hangs together in circles.
    return outcomes


class Tally:
    """What has been played so far."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.stories = self.events = self.entries = self.lives = self.guarantees = 0
        self.simulated_s = 0.0
        self.faults: Counter[str] = Counter()
        self.bad: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        """Count a story; one that came to grief is told at once."""
        self.stories += 1
        self.events += outcome.events
        self.entries += outcome.entries
        self.lives += outcome.lives
        self.guarantees += outcome.guarantees_kept
        self.simulated_s += outcome.simulated_s
        self.faults.update(outcome.faults)
        if outcome.problem:
            self.bad.append(outcome)
            print(f"{outcome}\n  to see it: python -m tests.simulation {outcome.seed}", flush=True)

    def __str__(self) -> str:
        return (
            f"{time.monotonic() - self.began:.0f} s: {self.stories} stories of {self.simulated_s / 3600:.0f} simulated"
            f" hours, {self.events} events, {self.entries} ledger entries, {self.lives} lives of the platform,"
            f" {self.faults.total()} faults, {self.guarantees} guarantees kept, {len(self.bad)} violations"
        )

    def by_kind(self) -> str:
        """How often each kind of fault struck; one that never did is shown, too."""
        return "\n".join(f"  {kind:<30} {self.faults[kind]:>8}" for kind in RATES)


def main() -> int:
    """Play new stories until the time is over; 1 when one of them came to grief."""
    parser = argparse.ArgumentParser(prog="make soak", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=3_600, help="how long (default: an hour)")
    parser.add_argument("--first", type=int, default=FIRST_NEW_SEED, help="the first seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many at once")
    arguments = parser.parse_args()
    prepare_compilation()
    compile_everything()
    tally = Tally()
    play_until(tally, tally.began + arguments.seconds, arguments.first, arguments.processes)
    print(f"{tally}\n{tally.by_kind()}")
    return 1 if tally.bad else 0


def play_until(tally: Tally, until: float, first: int, processes: int) -> None:
    """Keep all processes busy until the time has come, and tell now and then how it goes."""
    tells_at = tally.began + TELLS_EVERY_S
    with ProcessPoolExecutor(processes) as pool:
        running: set[Future[list[Outcome]]] = set()
        while running or time.monotonic() < until:
            while len(running) < processes and time.monotonic() < until:
                running.add(pool.submit(play_some, first))
                first += STORIES_AT_ONCE
            done, running = wait(running, TELLS_EVERY_S, return_when=FIRST_COMPLETED)
            for each in done:
                for outcome in each.result():
                    tally.add(outcome)
            if time.monotonic() >= tells_at:
                tells_at += TELLS_EVERY_S
                print(tally, flush=True)


if __name__ == "__main__":
    sys.exit(main())
