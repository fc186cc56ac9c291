"""Train a small network on synthetic digits, in a way that can be interrupted at any step without losing one.

    python -m dure.demo.programs.train --steps 3000 --seed 7

It saves its weights, its step and its loss in DURE_CHECKPOINT_DIR now and then, and continues from there when it is
started again. When the platform warns it (DURE_NOTICE_FILE appears) or stops it (SIGTERM), it finishes its step, saves,
and ends with exit code 75: run me again.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from dure.demo.programs.digits import Weights, descend, digest, draw_batch, first_weights, gradients, judge

BATCH = 256
SAVES = 6
RUN_ME_AGAIN = os.EX_TEMPFAIL


class Training:
    """Weights and the number of steps that made them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.step = 0
        self.weights: Weights = first_weights(seed)

    def advance(self) -> None:
        """One step."""
        descend(self.weights, gradients(self.weights, draw_batch(self.seed, self.step, 0, BATCH)))
        self.step += 1

    def loss(self) -> float:
        """Loss on images the training never sees."""
        return judge(self.weights, self.seed)[0]

    def save(self, file: Path) -> None:
        """Keep everything, in one move: a reader finds the old checkpoint or the new one, never a part."""
        partial = file.with_suffix(".partial")
        with partial.open("wb") as body:
            np.savez(body, *self.weights, step=self.step, loss=self.loss())
            body.flush()
            os.fsync(body.fileno())
        partial.replace(file)

    def load(self, file: Path) -> None:
        """Go on where the checkpoint was saved."""
        with np.load(file) as saved:
            self.step = int(saved["step"])
            self.weights = [saved[f"arr_{index}"] for index in range(len(self.weights))]


class Interruption:
    """Knows whether the platform wants this program to end."""

    def __init__(self) -> None:
        self._terminated = False
        self._notice = os.environ.get("DURE_NOTICE_FILE", "")
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, *_: object) -> None:
        self._terminated = True

    @property
    def reason(self) -> str:
        """`stopped`, `warned`, or nothing."""
        if self._terminated:
            return "stopped"
        return "warned" if self._notice and os.path.exists(self._notice) else ""


def train(training: Training, steps: int, reports: int, file: Path) -> int:
    """Train up to `steps` steps, or until interrupted, and say `reports` times how far it is. Returns the exit code."""
    interruption = Interruption()
    if file.exists():
        training.load(file)
        say(f"resumed at step {training.step}, loss {training.loss():.6f}")
    while training.step < steps:
        if interruption.reason:
            training.save(file)
            say(f"{interruption.reason}: saved at step {training.step}, loss {training.loss():.6f}; yielding")
            return RUN_ME_AGAIN
        training.advance()
        if training.step % max(1, steps // SAVES) == 0:
            training.save(file)
        if training.step % max(1, steps // reports) == 0:
            say(f"step {training.step} of {steps}, loss {training.loss():.6f}")
    training.save(file)
    loss, accuracy = judge(training.weights, training.seed)
    known = digest(training.weights)
    say(f"finished at step {training.step}, loss {loss:.6f}, {accuracy:.1%} correct, weights {known}")
    return 0


def seconds_per_step(trials: int = 40) -> float:
    """How long one step takes on this machine while nothing else disturbs it: the shortest of several."""
    training = Training(seed=0)
    shortest_s = math.inf
    for _ in range(trials):
        began = time.perf_counter()
        training.advance()
        shortest_s = min(shortest_s, time.perf_counter() - began)
    return shortest_s


def say(text: str) -> None:
    """Write a line at once: somebody may be watching."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run as a job."""
    parser = argparse.ArgumentParser(description="Train a small network on synthetic digits.")
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reports", type=int, default=12, help="How often it says where it is.")
    parser.add_argument("--measure", action="store_true", help="Only say how many seconds a step takes.")
    options = parser.parse_args()
    if options.measure:
        say(f"{seconds_per_step():.6f}")
        return 0
    folder = Path(os.environ.get("DURE_CHECKPOINT_DIR", os.curdir))
    return train(Training(options.seed), options.steps, options.reports, folder / "training.npz")


if __name__ == "__main__":
    sys.exit(main())
