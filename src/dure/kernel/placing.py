"""Where a job goes: best fit by idle GPUs, whole gangs only, never at the cost of the job that holds the reservation.

A single node: the one with the fewest idle GPUs that still fits, lowest pool and node first. A gang: one pool, the one
with the fewest nodes that would do; in it, nodes by fewest idle GPUs. A part of a GPU: the GPU already shared with the
least left over, else a fresh one. The choice is left in `columns.chosen`, in rank order.
"""

from __future__ import annotations

from dure.kernel.backfill import spare_nodes, spend_spare, spoils_reservation
from dure.world.capacity import hold, lowest, next_node
from dure.world.columns import MOST_GPUS, MOST_LEVELS, NODE_UP, NONE, WHOLE, Columns
from dure.world.compiled import compiled, entry_point
from dure.world.node_sets import lowest_bit


@compiled
def place(columns: Columns, job: int, gpu_class: int, ends_ms: int) -> bool:
    """Choose nodes of a class for a job that would end at `ends_ms`; False when it does not fit as a whole."""
    record = columns.jobs[job]
    if 0 < record.gpus_milli < WHOLE:
        # A part of a GPU is for one rank: gangs want whole GPUs.
        return record.nodes == 1 and _place_part(columns, job, gpu_class, ends_ms)
    gpus = record.gpus_milli // WHOLE
    if columns.classes[gpu_class].idle < gpus * record.nodes or _is_hopeless(columns, job, gpu_class, ends_ms):
        return False
    if record.nodes == 1:
        placed = _place_on_one_node(columns, job, gpu_class, gpus, ends_ms)
    else:
        placed = _place_gang(columns, job, gpu_class, gpus, ends_ms)
    if not placed:
        _remember_hopeless(columns, job, gpu_class, ends_ms)
    return placed


@compiled
def _is_hopeless(columns: Columns, job: int, gpu_class: int, ends_ms: int) -> bool:
    """True when a job that asks for no more in any respect did not fit, and nothing was given back since."""
    record = columns.jobs[job]
    known = columns.classes[gpu_class]
    return (
        known.hopeless == 1
        and record.nodes >= known.hopeless_nodes
        and record.gpus_milli >= known.hopeless_gpus_milli
        and record.cpus_milli >= known.hopeless_cpus_milli
        and record.memory_mib >= known.hopeless_memory_mib
        and record.sites & ~known.hopeless_sites == 0
        and ends_ms >= known.hopeless_ends_ms
    )


@compiled
def _remember_hopeless(columns: Columns, job: int, gpu_class: int, ends_ms: int) -> None:
    record = columns.jobs[job]
    known = columns.classes[gpu_class]
    known.hopeless = 1
    known.hopeless_nodes = record.nodes
    known.hopeless_gpus_milli = record.gpus_milli
    known.hopeless_cpus_milli = record.cpus_milli
    known.hopeless_memory_mib = record.memory_mib
    known.hopeless_sites = record.sites
    known.hopeless_ends_ms = ends_ms


@compiled
def _allowed(columns: Columns, job: int, pool: int) -> bool:
    return columns.jobs[job].sites >> columns.pools[pool].site & 1 == 1


@entry_point
def has_room(columns: Columns, job: int, node: int) -> bool:
    """True when the node's free CPUs and memory are enough for one rank of the job."""
    record = columns.jobs[job]
    place = columns.nodes[node]
    return place.free_cpus_milli >= record.cpus_milli and place.free_memory_mib >= record.memory_mib


@compiled
def _place_on_one_node(columns: Columns, job: int, gpu_class: int, gpus: int, ends_ms: int) -> bool:
    first = columns.classes[gpu_class].first_pool
    last = first + columns.classes[gpu_class].pool_count
    for level in range(gpus, MOST_LEVELS):
        for pool in range(first, last):
            if columns.idle_counts[pool, level] == 0 or not _allowed(columns, job, pool):
                continue
            node = next_node(columns, pool, level, 0)
            while node != NONE:
                if has_room(columns, job, node):
                    spoils = spoils_reservation(columns, node, gpus, ends_ms)
                    if spoils <= spare_nodes(columns, pool):
                        spend_spare(columns, pool, spoils)
                        columns.chosen[0] = node
                        return True
                node = next_node(columns, pool, level, columns.nodes[node].position + 1)
    return False


@entry_point
def nodes_with(columns: Columns, pool: int, gpus: int) -> int:
    """How many nodes of a pool have at least so many idle GPUs."""
    count = 0
    for level in range(gpus, MOST_LEVELS):
        count += columns.idle_counts[pool, level]
    return count


@compiled
def _place_gang(columns: Columns, job: int, gpu_class: int, gpus: int, ends_ms: int) -> bool:
    first = columns.classes[gpu_class].first_pool
    last = first + columns.classes[gpu_class].pool_count
    wanted = columns.jobs[job].nodes
    tried_count = NONE
    tried_pool = NONE
    while True:
        best = NONE
        best_count = NONE
        for pool in range(first, last):
            count = nodes_with(columns, pool, gpus)
            if count < wanted or not _allowed(columns, job, pool):
                continue
            if count < tried_count or (count == tried_count and pool <= tried_pool):
                continue
            if best == NONE or count < best_count:
                best = pool
                best_count = count
        if best == NONE:
            return False
        if _fill_gang(columns, job, best, gpus, ends_ms):
            return True
        tried_count = best_count
        tried_pool = best


@compiled
def _fill_gang(columns: Columns, job: int, pool: int, gpus: int, ends_ms: int) -> bool:
    wanted = columns.jobs[job].nodes
    spare = spare_nodes(columns, pool)
    spoiled = 0
    found = 0
    for level in range(gpus, MOST_LEVELS):
        if columns.idle_counts[pool, level] == 0:
            continue
        node = next_node(columns, pool, level, 0)
        while node != NONE and found < wanted:
            if has_room(columns, job, node):
                spoils = spoils_reservation(columns, node, gpus, ends_ms)
                if spoiled + spoils <= spare:
                    spoiled += spoils
                    columns.chosen[found] = node
                    found += 1
            node = next_node(columns, pool, level, columns.nodes[node].position + 1)
        if found == wanted:
            spend_spare(columns, pool, spoiled)
            return True
    return False


@compiled
def _place_part(columns: Columns, job: int, gpu_class: int, ends_ms: int) -> bool:
    """Chooses a node and, in `chosen[1]`, the GPU."""
    first = columns.classes[gpu_class].first_pool
    last = first + columns.classes[gpu_class].pool_count
    milli = columns.jobs[job].gpus_milli
    best_left = WHOLE
    for pool in range(first, last):
        if columns.pools[pool].shared_nodes == 0 or not _allowed(columns, job, pool):
            continue
        start = columns.pools[pool].first_node
        for node in range(start, start + columns.pools[pool].node_count):
            place_record = columns.nodes[node]
            if place_record.shared == 0 or place_record.state != NODE_UP or not has_room(columns, job, node):
                continue
            for gpu in range(place_record.gpus):
                left = columns.gpu_free_milli[node, gpu] - milli
                if place_record.idle_mask >> gpu & 1 == 1 or left < 0 or left >= best_left:
                    continue
                if spoils_reservation(columns, node, 1, ends_ms) > 0:
                    continue
                best_left = left
                columns.chosen[0] = node
                columns.chosen[1] = gpu
    if best_left < WHOLE:
        return True
    if not _place_on_one_node(columns, job, gpu_class, 1, ends_ms):
        return False
    columns.chosen[1] = lowest_bit(columns.nodes[columns.chosen[0]].idle_mask)
    return True


@compiled
def occupy_chosen(columns: Columns, job: int) -> None:
    """Give the job its GPUs on the chosen nodes: the lowest-numbered idle ones, or the shared one that was chosen.

    Allocations are threaded last rank first, so walking them from the job gives rank order.
    """
    record = columns.jobs[job]
    if 0 < record.gpus_milli < WHOLE:
        hold(columns, job, columns.chosen[0], 1 << columns.chosen[1], record.gpus_milli, 1)
        return
    gpus = record.gpus_milli // WHOLE
    for rank in range(record.nodes - 1, -1, -1):
        node = columns.chosen[rank]
        hold(columns, job, node, lowest(columns.nodes[node].idle_mask, gpus), WHOLE, gpus)


@entry_point
def fits_empty_node(columns: Columns, job: int, node: int) -> bool:
    """True when one rank of the job would fit on the node with nothing else there."""
    record = columns.jobs[job]
    place_record = columns.nodes[node]
    gpus = (record.gpus_milli + WHOLE - 1) // WHOLE
    return (
        place_record.gpus >= gpus
        and gpus <= MOST_GPUS
        and place_record.cpus_milli >= record.cpus_milli
        and place_record.memory_mib >= record.memory_mib
    )
