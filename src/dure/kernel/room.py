"""Whether a node is open to a job at all: the site it may run at, and CPUs and memory beside the GPUs."""

from __future__ import annotations

from dure.world.columns import Columns
from dure.world.compiled import compiled, entry_point


@compiled
def is_allowed(columns: Columns, job: int, pool: int) -> bool:
    """True when policy lets the job run at the pool's site."""
    return columns.jobs[job].sites >> columns.pools[pool].site & 1 == 1


@entry_point
def has_room(columns: Columns, job: int, node: int) -> bool:
    """True when the node's free CPUs and memory are enough for one rank of the job."""
    record = columns.jobs[job]
    place = columns.nodes[node]
    return place.free_cpus_milli >= record.cpus_milli and place.free_memory_mib >= record.memory_mib
