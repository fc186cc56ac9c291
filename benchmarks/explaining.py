"""How long it takes to say why a job waits, and when it starts, at a nation's size.

The world of `benchmarks.kernel`: 300,000 GPUs, 100,000 jobs running, 100,000 waiting. Asked is about the job in the
middle of the queue, whose start lies behind some fifty thousand others. An answer with its expected start is the first
of its moment: it includes the copy of the world, and both futures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.kernel import RUNNING, WAITING, fill
from benchmarks.measurement import Measurement
from dure.audit import Books
from dure.kernel import explain, explain_all
from dure.twin.forecast import forecast, moment_of, warm_up
from dure.world.world import World

REPEATS = 5
NOW_MS = 60_000
ASKED = f"j{RUNNING + WAITING // 2}"


def measure() -> Sequence[Measurement]:
    """Medians, each after one that is not counted."""
    warm_up()
    world = World()
    fill(world, Books())
    eta_ms = _median_ms(lambda: forecast(world, ASKED, NOW_MS))
    return [
        _figure("why one job waits, without its expected start", _median_ms(lambda: explain(world, ASKED, NOW_MS)), 10),
        _figure("when one job starts: the loop's part, a copy", _median_ms(lambda: moment_of(world, NOW_MS)), None),
        _figure("why one job waits, with its expected start", eta_ms, 1_000, _said(world)),
        _figure("the first reason of each of 100,000 waiting jobs", _median_ms(lambda: explain_all(world, NOW_MS)), 50),
    ]


def _median_ms(ask: Callable[[], object]) -> float:
    ask()
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - began) * 1000)
    return median(taken)


def _said(world: World) -> str:
    eta = forecast(world, ASKED, NOW_MS)
    return f"{eta.starts_first:,} jobs start before it"


def _figure(name: str, value: float, must: float | None, compared_to: str = "") -> Measurement:
    return Measurement(name, value, "ms", must, None, "less", compared_to or "100,000 jobs running, 100,000 waiting")
