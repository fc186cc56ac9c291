"""Small scenes: a generated workload on a small cluster, and a few jobs told one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dure.model.fleet import Timing
from dure.model.organisations import Share, ShareAmount
from dure.model.units import HOUR_MS, MINUTE_MS
from dure.sources.fleet import parse_fleet
from dure.sources.generator import generate
from dure.sources.share_tree import generate_nation
from dure.sources.trace import arranged, pack_choices
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


class Told(NamedTuple):
    """A job as a story tells it, in minutes; `gpus` on each of `nodes`."""

    share: str
    at_min: int
    minutes: int
    gpus: int = 8
    nodes: int = 1
    limit_min: int = 0
    """As long as it runs unless said."""


def told_scene(policy: str, fleet: str, guarantees: dict[str, int], jobs: Sequence[Told], every_min: int = 0) -> Scene:
    """Jobs, in order of submission, of owners who are guaranteed so many GPUs."""
    names = tuple(guarantees)
    numbers = np.array(
        [
            (job.at_min, job.minutes, job.limit_min or job.minutes, job.nodes, job.gpus, names.index(job.share))
            for job in jobs
        ],
        dtype=np.int64,
    )
    at_min, minutes, limit_min, nodes, gpus, share = numbers.T
    trace = arranged(
        name="told",
        origin="told",
        gpu_classes=("GPU",),
        shares=names,
        submit_ms=at_min * MINUTE_MS,
        duration_ms=minutes * MINUTE_MS,
        limit_ms=limit_min * MINUTE_MS,
        nodes=nodes,
        gpus_milli=gpus * 1000,
        choices=np.full(len(jobs), pack_choices((0,)), dtype=np.int64),
        share=share,
    )
    shares = tuple(
        Share(name=name, parent=None, amounts=(ShareAmount(gpu_class="GPU", guarantee_milli=gpus * 1000),))
        for name, gpus in guarantees.items()
    )
    return Scene(
        trace=trace,
        fleet=parse_fleet(fleet),
        shares=shares,
        policy=policy,
        timing=TIMING,
        checkpoint_every_ms=every_min * MINUTE_MS,
    )
