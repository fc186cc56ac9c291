"""GpuPacking: shared GPUs first, then idle GPUs of nodes in use, then empty nodes, as in Salus and AntMan.

(Yu and Chowdhury, MLSys 2020; Xiao et al., OSDI 2020.) A part of a GPU goes to the GPU with the least free. Score: on a
shared GPU 100 to 50, less for what was free on it; on an idle GPU of a node in use 50 to 33, less for each GPU taken;
on an empty node 33 to 0, less for each GPU the node has.
"""

from __future__ import annotations

from dure.kernel.packing.room import least_free_gpu, wants_part
from dure.world.capacity import bits, gpus_per_node
from dure.world.columns import WHOLE, Columns
from dure.world.compiled import compiled

_HALF, _THIRD = 50, 33


@compiled
def gpu_packing_cost(columns: Columns, job: int, node: int) -> int:
    """0 for a job without GPUs; else the score as a negative number."""
    record = columns.jobs[job]
    place = columns.nodes[node]
    idle = bits(place.idle_mask)
    if record.gpus_milli == 0:
        return 0
    if idle == place.gpus:
        return -max(_THIRD - idle, idle)
    if not wants_part(columns, job):
        return -max(_HALF - gpus_per_node(columns, job), _THIRD)
    free = columns.gpu_free_milli[node, least_free_gpu(columns, node, record.gpus_milli)]
    if free == WHOLE:
        return -(_HALF - 1)
    return -max(100 - free * 100 // WHOLE // 10, _HALF)
