"""How long the kernel takes to place a part of a GPU on a nation's fleet: 39,000 nodes of eight GPUs, 100,000 parts.

Seven GPUs of every node are one job's, so that parts spread over as many nodes as there are; three parts in four are
in thousandths, the fourth is a MIG slice. From the 70,000th on, the oldest part ends before each new one comes, which
leaves GPUs with all sorts of remainders. Timed is the whole decision about one part that has just been queued.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from benchmarks.measurement import Measurement
from dure.kernel.decide import decide_columns
from dure.model.mig import profiles_of
from dure.model.units import HOUR_MS
from dure.world import building
from dure.world.building import PoolShape, Shape
from dure.world.columns import RUNNING, Columns
from dure.world.transitions import put_in_queue, release

NODES, GPUS = 39_000, 8
PARTS, STAYING = 100_000, 70_000
SIZES = (100, 250, 333, 500, 700, 125, 200, 800)


def measure() -> Sequence[Measurement]:
    """Microseconds per part, with the call from Python."""
    columns = _fleet()
    times_us = np.array([_timed_us(columns, number) for number in range(PARTS)])
    assert (columns.jobs["state"][NODES + PARTS - STAYING : NODES + PARTS] == RUNNING).all()
    shared = int((columns.nodes["shared"] > 0).sum())
    return [
        _figure("placing a part of a GPU on 39,000 nodes, mean", float(times_us.mean()), None, None, shared),
        _figure("placing a part of a GPU on 39,000 nodes, p99", float(np.percentile(times_us, 99)), 1_000, 100, shared),
    ]


def _figure(name: str, value: float, must: float | None, aim: float | None, shared: int) -> Measurement:
    compared_to = f"{PARTS:,} parts, {shared:,} nodes shared at the end; seed none, ties as in policies.md"
    return Measurement(name, value, "us", must, aim, "less", compared_to)


def _fleet() -> Columns:
    pool = PoolShape(gpu_class=0, site=0, gpus=GPUS, cpus_milli=128_000, memory_mib=1 << 21, nodes=NODES)
    columns = building.build(Shape(classes=1, pools=[pool]), NODES + PARTS)
    jobs = columns.jobs
    jobs["choices"], jobs["nodes"], jobs["limit_ms"], jobs["preemptible"] = 1, 1, 1_000 * HOUR_MS, 1
    jobs["gpus_milli"][:NODES] = (GPUS - 1) * 1000
    _wish(columns)
    for number in range(NODES):
        put_in_queue(columns, number)
    _decide(columns, 0)
    return columns


def _wish(columns: Columns) -> None:
    """Sizes by turns, in an order that keeps no company: the multiplier has no factor in common with either count."""
    profiles = profiles_of("H100")[:5]
    for number in range(PARTS):
        job = columns.jobs[NODES + number]
        turn = number * 7_919
        if turn % 4 == 3:
            profile = profiles[turn // 4 % len(profiles)]
            job.gpus_milli, job.slices = profile.milli, profile.memory_slices
            job.slice_starts = sum(1 << start for start in profile.starts)
        else:
            job.gpus_milli = SIZES[turn // 4 % len(SIZES)]


def _timed_us(columns: Columns, number: int) -> float:
    now_ms = 1 + number
    if number >= STAYING:
        release(columns, NODES + number - STAYING, now_ms)
    put_in_queue(columns, NODES + number)
    began = time.perf_counter()
    _decide(columns, now_ms)
    return (time.perf_counter() - began) * 1_000_000


def _decide(columns: Columns, now_ms: int) -> None:
    decide_columns(columns, now_ms)
    while columns.counters[0].plan_full == 1:
        decide_columns(columns, now_ms)
