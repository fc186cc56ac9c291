"""The waiting jobs of all queues in the order in which they will be tried, as far as that can be said beforehand."""

from __future__ import annotations

import numpy as np

from dure.world.columns import CHOICE_MASK, CLAIMED, HELD, NONE, QUEUED, Columns, Integers

_STAGES = np.full(8, NONE, dtype=np.int64)
_STAGES[[CLAIMED, QUEUED, HELD]] = 0, 1, 2


def queue_order(columns: Columns, rows: int) -> Integers:
    """Rows of the jobs that wait: claims first, then queued, then held ones.

    Within each: those within a guarantee first, then by what their share used lately for its weight, share by share; in
    a share by priority, then in the order of submission. Whole columns at a time, because the queue may be long.
    """
    stages = _STAGES[columns.jobs["state"][:rows]]
    waiting = np.flatnonzero(stages != NONE)
    jobs = {name: columns.jobs[name][waiting] for name in ("share", "choices", "nodes", "gpus_milli", "priority")}
    shares = np.maximum((jobs["choices"] & CHOICE_MASK) - 1, 0) * int(columns.counters[0].shares) + jobs["share"]
    borrows = ~_within_guarantee(columns, shares, jobs["nodes"] * jobs["gpus_milli"])
    usage = columns.shares["usage"][shares] // columns.shares["weight"][shares]
    numbers, sequences = columns.jobs["number"][waiting], columns.jobs["sequence"][waiting]
    keys = (numbers, sequences, -jobs["priority"], shares, usage, borrows, stages[waiting])
    return waiting[np.lexsort(keys)]


def _within_guarantee(
    columns: Columns, shares: Integers, amounts: Integers
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """`quota.within_guarantee` for many jobs at once."""
    found = np.zeros(len(shares), dtype=np.bool_)
    parents, used, guarantee = (columns.shares[name] for name in ("parent", "used", "guarantee"))
    at = shares
    while (below := parents[at] != NONE).any():
        found |= below & (used[at] + amounts <= guarantee[at])
        at = np.where(below, parents[at], at)
    return found
