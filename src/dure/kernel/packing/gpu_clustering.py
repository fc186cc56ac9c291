"""GpuClustering: jobs of one size beside each other, as in Gandiva (Xiao et al., OSDI 2018).

Sizes are a part of a GPU, and 1, 2, 3, ... whole GPUs. From best to worst: a node where only jobs of this size run, one
where this size runs among others, an empty one, one where only other sizes run. Among equals, the fullest.
"""

from __future__ import annotations

from dure.kernel.packing.best_fit import MOST_GPUS_MILLI
from dure.kernel.packing.room import free_milli, wants_part
from dure.world.capacity import gpus_per_node
from dure.world.columns import NONE, WHOLE, Columns
from dure.world.compiled import compiled

_QUARTER = 25


@compiled
def gpu_clustering_cost(columns: Columns, job: int, node: int) -> int:
    """0 for a job without GPUs; else less than 0 by up to 25 for how full the node is and by 75 to 0 for who runs."""
    if columns.jobs[job].gpus_milli == 0:
        return 0
    fullness = _QUARTER * (MOST_GPUS_MILLI - free_milli(columns, node)) // MOST_GPUS_MILLI
    size = 0 if wants_part(columns, job) else gpus_per_node(columns, job)
    sizes = _sizes_on(columns, node)
    if sizes == 1 << size:
        return -(fullness + 3 * _QUARTER)
    if sizes >> size & 1 == 1:
        return -(fullness + 2 * _QUARTER)
    if sizes == 0:
        return -(fullness + _QUARTER)
    return -fullness


@compiled
def _sizes_on(columns: Columns, node: int) -> int:
    """The sizes that run on a node, as bits: 0 is a part, n is n whole GPUs."""
    sizes = 0
    at = columns.nodes[node].first_allocation
    while at != NONE:
        allocation = columns.allocations[at]
        if allocation.wanted > 0:
            sizes |= 1 << (0 if allocation.milli < WHOLE else allocation.wanted)
        at = allocation.next_of_node
    return sizes
