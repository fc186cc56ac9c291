"""EASY backfill: the first job that fits nowhere gets a reservation, and nobody may start who would delay it.

The reservation is a pool and a *shadow time*: the earliest moment at which enough of the pool's nodes have enough GPUs
if every running job uses its whole time limit. A later job is harmless if it ends by then, or runs in another pool, or
on a node that is not ready at the shadow time anyway or stays ready beside it, or if more nodes are ready than the head
needs. Every test uses the same instant, the shadow time. (Lifka 1995, "The ANL/IBM SP scheduling system"; the form that
looks at nodes one by one is ours.)
"""

from __future__ import annotations

from dure.world.capacity import bits
from dure.world.columns import (
    CHOICE_BITS,
    CHOICE_MASK,
    NEVER,
    NODE_UP,
    NONE,
    UNLIMITED,
    WHOLE,
    Columns,
    Integers,
)
from dure.world.compiled import compiled, entry_point


@compiled
def clear_reservation(columns: Columns, gpu_class: int) -> None:
    """Take back what this class's first blocked job was promised in an earlier pass."""
    reservation = columns.reservations[gpu_class]
    if reservation.pool != NONE:
        columns.pools[reservation.pool].reserved_by = NONE
        columns.classes[columns.pools[reservation.pool].gpu_class].hopeless = 0
    reservation.job = NONE
    reservation.pool = NONE


@compiled
def idle_at(columns: Columns, node: int, at_ms: int) -> int:
    """GPUs of a node that would be idle at `at_ms` if nothing more started and everything ran to its limit."""
    place = columns.nodes[node]
    idle = place.idle - place.owed
    shared = 0
    still_shared = 0
    at = place.first_allocation
    while at != NONE:
        allocation = columns.allocations[at]
        ends = columns.jobs[allocation.job].expected_end_ms <= at_ms
        if allocation.milli < WHOLE:
            shared |= allocation.gpu_mask
            if not ends:
                still_shared |= allocation.gpu_mask
        elif ends:
            idle += allocation.wanted
        at = allocation.next_of_node
    return idle + bits(shared & ~still_shared)


@compiled
def ready_ms(columns: Columns, node: int, gpus: int, now_ms: int) -> int:
    """When a node will have so many idle GPUs, at the latest; NEVER if it never will."""
    place = columns.nodes[node]
    if place.ready_gpus != gpus:
        place.ready_gpus = gpus
        place.ready_at_ms = _find_ready_ms(columns, node, gpus)
    return max(place.ready_at_ms, now_ms)


@compiled
def _find_ready_ms(columns: Columns, node: int, gpus: int) -> int:
    place = columns.nodes[node]
    if place.state != NODE_UP or place.gpus < gpus:
        return NEVER
    if place.idle - place.owed >= gpus:
        return -NEVER
    at_ms = -NEVER
    while True:
        following = NEVER
        at = place.first_allocation
        while at != NONE:
            end = columns.jobs[columns.allocations[at].job].expected_end_ms
            if at_ms < end < following:
                following = end
            at = columns.allocations[at].next_of_node
        if following == NEVER:
            return NEVER
        at_ms = following
        if idle_at(columns, node, at_ms) >= gpus:
            return at_ms


@compiled
def kth_smallest(values: Integers, count: int, k: int) -> int:
    """The k-th smallest (from 0) of the first `count` values, which are reordered (Hoare's quickselect)."""
    low = 0
    high = count - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        left = low
        right = high
        while left <= right:
            while values[left] < pivot:
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                swap = values[left]
                values[left] = values[right]
                values[right] = swap
                left += 1
                right -= 1
        if k <= right:
            high = right
        elif k >= left:
            low = left
        else:
            break
    return values[k]


@entry_point
def shadow_ms(columns: Columns, job: int, pool: int, now_ms: int) -> int:
    """The earliest time at which a pool surely has room for the whole job; NEVER if it never has."""
    record = columns.jobs[job]
    area = columns.pools[pool]
    gpus = (record.gpus_milli + WHOLE - 1) // WHOLE
    if area.gpus < gpus or area.cpus_milli < record.cpus_milli or area.memory_mib < record.memory_mib:
        return NEVER
    if area.node_count < record.nodes:
        return NEVER
    for index in range(area.node_count):
        columns.ready_ms[index] = ready_ms(columns, area.first_node + index, gpus, now_ms)
    return kth_smallest(columns.ready_ms, area.node_count, record.nodes - 1)


@compiled
def reserve(columns: Columns, job: int, gpu_class: int, now_ms: int) -> None:
    """Give a class's first blocked job its reservation, in the pool that is ready first among its choices and sites."""
    record = columns.jobs[job]
    reservation = columns.reservations[gpu_class]
    reservation.job = job
    reservation.shadow_ms = NEVER
    reservation.gpus = (record.gpus_milli + WHOLE - 1) // WHOLE
    reservation.nodes = record.nodes
    choices = record.choices
    while choices != 0:
        choice = (choices & CHOICE_MASK) - 1
        choices >>= CHOICE_BITS
        first = columns.classes[choice].first_pool
        for pool in range(first, first + columns.classes[choice].pool_count):
            if record.sites >> columns.pools[pool].site & 1 == 0 or columns.pools[pool].reserved_by != NONE:
                continue
            shadow = shadow_ms(columns, job, pool, now_ms)
            if shadow < reservation.shadow_ms:
                reservation.shadow_ms = shadow
                reservation.pool = pool
    if reservation.pool != NONE:
        columns.pools[reservation.pool].reserved_by = gpu_class
        reservation.spare = _spare_nodes(columns, gpu_class, now_ms)


@compiled
def _spare_nodes(columns: Columns, gpu_class: int, now_ms: int) -> int:
    reservation = columns.reservations[gpu_class]
    area = columns.pools[reservation.pool]
    ready = 0
    for node in range(area.first_node, area.first_node + area.node_count):
        if ready_ms(columns, node, reservation.gpus, now_ms) <= reservation.shadow_ms:
            ready += 1
    return ready - reservation.nodes


@compiled
def spare_nodes(columns: Columns, pool: int) -> int:
    """How many nodes that will be ready for a pool's reservation may still be spoiled."""
    reserved_by = columns.pools[pool].reserved_by
    return UNLIMITED if reserved_by == NONE else columns.reservations[reserved_by].spare


@compiled
def spend_spare(columns: Columns, pool: int, count: int) -> None:
    """A job was placed that spoils `count` nodes for a pool's reservation."""
    if count > 0:
        columns.reservations[columns.pools[pool].reserved_by].spare -= count


@compiled
def spoils_reservation(columns: Columns, node: int, gpus: int, ends_ms: int) -> int:
    """1 when `gpus` on a node until `ends_ms` would cost the pool's reservation a node that is ready for it; else 0."""
    reserved_by = columns.pools[columns.nodes[node].pool].reserved_by
    if reserved_by == NONE:
        return 0
    reservation = columns.reservations[reserved_by]
    if ends_ms <= reservation.shadow_ms:
        return 0
    idle = idle_at(columns, node, reservation.shadow_ms)
    return 1 if idle - gpus < reservation.gpus <= idle else 0
