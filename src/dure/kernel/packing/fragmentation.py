"""FGD, fragmentation gradient descent: the node where the job makes the least of what is idle useless to others.

A node's *fragment* for a shape of the mix is all its idle GPU milli when the shape wants no GPU or does not fit, else
the idle milli of those GPUs that have too little for it. Its fragmentation is the mean over the mix. Score: 100 times
the sigmoid of how many GPUs' worth of fragmentation the job would take away, rounded down. The rounding matters:
without it FGD loses two points on its own trace.
"""

from __future__ import annotations

from math import ceil, log

import numpy as np

from dure.kernel.packing.room import NO_ROOM, is_first_alike, milli_wanted, wants_part, whole_gpus
from dure.world.capacity import bits
from dure.world.columns import NONE, WHOLE, Columns, Records
from dure.world.compiled import compiled

_MILLION = 1_000_000

# The score is s when the gradient, in millionths of a milli-GPU, is at least the s-th of these and below the next.
_STEPS = np.array([-(1 << 61)] + [ceil(_MILLION * WHOLE * log(s / (100 - s))) for s in range(1, 100)], dtype=np.int64)


@compiled
def fragmentation(
    mix: Records, shapes: int, columns: Columns, node: int, cpus_milli: int, mask: int, milli: int
) -> int:
    """The fragmentation of a node, times the arrivals in the mix, after CPUs and `milli` of each GPU in a mask went."""
    place = columns.nodes[node]
    gpu_class = columns.pools[place.pool].gpu_class
    free_cpus_milli = place.free_cpus_milli - cpus_milli
    total = 0
    for gpu in range(place.gpus):
        total += columns.gpu_free_milli[node, gpu]
    total -= bits(mask) * milli
    if total == 0:
        return 0
    amount = 0
    for row in range(shapes):
        shape = mix[row]
        useful = 0
        if shape.gpus > 0 and shape.cpus_milli <= free_cpus_milli and shape.accepts >> gpu_class & 1 == 1:
            useful = _useful_milli(columns, node, mask, milli, shape.gpus, shape.milli)
        amount += shape.count * (total - useful)
    return amount


@compiled
def _useful_milli(columns: Columns, node: int, mask: int, milli: int, gpus: int, wanted: int) -> int:
    """What is free on the GPUs that have `wanted` free, if there are at least `gpus` of them."""
    found = 0
    useful = 0
    for gpu in range(columns.nodes[node].gpus):
        free = columns.gpu_free_milli[node, gpu] - (mask >> gpu & 1) * milli
        if free >= wanted:
            found += 1
            useful += free
    return useful if found >= gpus else 0


@compiled
def _score(gradient: int, arrivals: int) -> int:
    """100 times the sigmoid of a gradient that is given times the arrivals in the mix, rounded down."""
    low = 0
    high = 99
    while low < high:
        middle = (low + high + 1) // 2
        if gradient * _MILLION >= _STEPS[middle] * arrivals:
            low = middle
        else:
            high = middle - 1
    return low


@compiled
def _arrivals(mix: Records, shapes: int) -> int:
    arrivals = 0
    for row in range(shapes):
        arrivals += mix[row].count
    return arrivals


@compiled
def fragmentation_cost(mix: Records, shapes: int, columns: Columns, job: int, node: int) -> int:
    """The score as a negative number; for a part of a GPU, that of the best GPU."""
    gpu = least_fragmenting_gpu(mix, shapes, columns, job, node) if wants_part(columns, job) else NONE
    mask = whole_gpus(columns, job, node) if gpu == NONE else 1 << gpu
    return fragmentation_cost_of_gpus(mix, shapes, columns, job, node, mask)


@compiled
def fragmentation_cost_of_gpus(mix: Records, shapes: int, columns: Columns, job: int, node: int, mask: int) -> int:
    """The score of taking these GPUs, or what the job wants of them, as a negative number."""
    before = fragmentation(mix, shapes, columns, node, 0, 0, 0)
    cpus_milli = columns.jobs[job].cpus_milli
    after = fragmentation(mix, shapes, columns, node, cpus_milli, mask, milli_wanted(columns, job))
    return -_score(before - after, _arrivals(mix, shapes))


@compiled
def least_fragmenting_gpu(mix: Records, shapes: int, columns: Columns, job: int, node: int) -> int:
    """The GPU for a part: best score, lowest number first; NONE if none has enough free."""
    milli = columns.jobs[job].gpus_milli
    best = NONE
    best_cost = NO_ROOM
    for gpu in range(columns.nodes[node].gpus):
        if columns.gpu_free_milli[node, gpu] >= milli and is_first_alike(columns, node, gpu):
            cost = fragmentation_cost_of_gpus(mix, shapes, columns, job, node, 1 << gpu)
            if cost < best_cost:
                best = gpu
                best_cost = cost
    return best
