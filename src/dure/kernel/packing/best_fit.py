"""BestFit: the node with the least left after the job, CPUs and GPUs weighing the same.

Score: 100 less the mean of what would be left of CPUs (of 128 cores) and of GPUs (of 8), in per cent, rounded down.
"""

from __future__ import annotations

from dure.kernel.packing.room import free_milli
from dure.world.columns import Columns
from dure.world.compiled import compiled

# Cores and GPUs of the largest node of the published fleet, by which the score is normalised.
MOST_CPUS_MILLI = 128_000
MOST_GPUS_MILLI = 8_000


@compiled
def best_fit_cost(columns: Columns, job: int, node: int) -> int:
    """What would be left, in per cent of two largest nodes, rounded up; less 100."""
    record = columns.jobs[job]
    cpus_left = columns.nodes[node].free_cpus_milli - record.cpus_milli
    gpus_left = free_milli(columns, node) - record.gpus_milli
    left = cpus_left * MOST_GPUS_MILLI + gpus_left * MOST_CPUS_MILLI
    whole = 2 * MOST_CPUS_MILLI * MOST_GPUS_MILLI
    return (100 * left + whole - 1) // whole - 100
