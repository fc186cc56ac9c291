"""DotProd: the node whose free resources point least in the direction of what the job wants.

Score: 100 less the mean of (free x wanted) over CPUs (of 128 cores) and GPUs (of 8), in per cent, rounded down. It is
the packing heuristic of Tetris (Grandl et al., SIGCOMM 2014) as the FGD simulator has it, where less is better.
"""

from __future__ import annotations

from dure.kernel.packing.best_fit import MOST_CPUS_MILLI, MOST_GPUS_MILLI
from dure.kernel.packing.room import free_milli
from dure.world.columns import Columns
from dure.world.compiled import compiled

_CPUS_PER_GPU = MOST_CPUS_MILLI // MOST_GPUS_MILLI


@compiled
def dot_product_cost(columns: Columns, job: int, node: int) -> int:
    """The dot product in per cent, rounded up; less 100."""
    record = columns.jobs[job]
    cpus = columns.nodes[node].free_cpus_milli * record.cpus_milli
    gpus = free_milli(columns, node) * record.gpus_milli
    product = cpus + gpus * _CPUS_PER_GPU * _CPUS_PER_GPU
    whole = 2 * MOST_CPUS_MILLI * MOST_CPUS_MILLI
    return (100 * product + whole - 1) // whole - 100
