"""What is free on a node, and what would be left of it: the words that all placement rules share."""

from __future__ import annotations

from dure.world.capacity import bits, lowest
from dure.world.columns import NEVER, NONE, WHOLE, Columns
from dure.world.compiled import compiled

NO_ROOM = NEVER
"""Cost of a node that the job does not fit on."""


@compiled
def wants_part(columns: Columns, job: int) -> bool:
    """True for a job that wants a part of one GPU."""
    return 0 < columns.jobs[job].gpus_milli < WHOLE


@compiled
def milli_wanted(columns: Columns, job: int) -> int:
    """Thousandths that a job wants of each GPU it touches."""
    return min(columns.jobs[job].gpus_milli, WHOLE)


@compiled
def free_milli(columns: Columns, node: int) -> int:
    """Thousandths of GPUs that nobody uses on a node."""
    total = 0
    for gpu in range(columns.nodes[node].gpus):
        total += columns.gpu_free_milli[node, gpu]
    return total


@compiled
def least_free_gpu(columns: Columns, node: int, milli: int) -> int:
    """The GPU with the least free that still has `milli`, lowest number first; NONE if there is none."""
    best = NONE
    best_free = WHOLE + 1
    for gpu in range(columns.nodes[node].gpus):
        free = columns.gpu_free_milli[node, gpu]
        if milli <= free < best_free:
            best = gpu
            best_free = free
    return best


@compiled
def is_first_alike(columns: Columns, node: int, gpu: int) -> bool:
    """False when a GPU with a lower number has as much free: a rule need not look at both."""
    other = 0
    while columns.gpu_free_milli[node, other] != columns.gpu_free_milli[node, gpu]:
        other += 1
    return other == gpu


@compiled
def fits(columns: Columns, job: int, node: int) -> bool:
    """True when CPUs, memory and GPUs of a node are enough for one rank of a job. Classes are the caller's business."""
    record = columns.jobs[job]
    place = columns.nodes[node]
    if place.free_cpus_milli < record.cpus_milli or place.free_memory_mib < record.memory_mib:
        return False
    if wants_part(columns, job):
        return least_free_gpu(columns, node, record.gpus_milli) != NONE
    return bits(place.idle_mask) * WHOLE >= record.gpus_milli


@compiled
def whole_gpus(columns: Columns, job: int, node: int) -> int:
    """The GPUs that a job of whole GPUs takes: the idle ones with the lowest numbers."""
    return lowest(columns.nodes[node].idle_mask, columns.jobs[job].gpus_milli // WHOLE)
