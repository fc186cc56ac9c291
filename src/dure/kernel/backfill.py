"""EASY backfill: the first job that fits nowhere gets a reservation, and nobody may start who would delay it.

The reservation is a pool and a *shadow time*: the earliest moment at which enough of the pool's nodes have enough GPUs
if every running job uses its whole time limit. A later job is harmless if it ends by then, or runs in another pool, or
on a node that is not ready at the shadow time anyway or stays ready beside it, or if more nodes are ready than the head
needs. Every test uses the same instant, the shadow time. (Lifka 1995, "The ANL/IBM SP scheduling system"; the form that
looks at nodes one by one is ours.)
"""

from __future__ import annotations

from dure.kernel.bookings import booked_shadow_ms, booked_spare
from dure.kernel.calendar import bring_up_to_date, idle_at, kth_ready, ready_count, slot_ms, slot_of
from dure.world.bookings import booked_until
from dure.world.columns import (
    CALENDAR_MINUTES,
    CHOICE_BITS,
    CHOICE_MASK,
    NEVER,
    NONE,
    NOT_READY,
    READY_NOW,
    UNLIMITED,
    WHOLE,
    WITHIN_SITE,
    Columns,
)
from dure.world.compiled import compiled, entry_point
from dure.world.units import unit_nodes


@compiled
def clear_reservation(columns: Columns, gpu_class: int) -> None:
    """Take back what this class's first blocked job was promised in an earlier pass."""
    reservation = columns.reservations[gpu_class]
    if reservation.pool != NONE:
        columns.pools[reservation.pool].reserved_by = NONE
        columns.classes[columns.pools[reservation.pool].gpu_class].hopeless = 0
    reservation.job = NONE
    reservation.pool = NONE


@entry_point
def shadow_ms(columns: Columns, job: int, pool: int, now_ms: int) -> int:
    """The time by which a pool surely has room for the whole job, rounded up to minutes; NEVER if it never has."""
    record = columns.jobs[job]
    area = columns.pools[pool]
    gpus = (record.gpus_milli + WHOLE - 1) // WHOLE
    if area.gpus < gpus or area.cpus_milli < record.cpus_milli or area.memory_mib < record.memory_mib:
        return NEVER
    if gpus == 0:
        return now_ms if area.node_count >= record.nodes else NEVER
    bring_up_to_date(columns, now_ms)
    columns.counters[0].unit_node = area.first_node
    if record.within != WITHIN_SITE:
        return _near_shadow_ms(columns, job, pool, gpus, now_ms)
    if area.bookings > 0:
        return booked_shadow_ms(columns, job, pool, now_ms)
    slot = kth_ready(columns, pool, gpus, record.nodes)
    if slot == NOT_READY:
        return NEVER
    return now_ms if slot == READY_NOW else max(slot_ms(columns, slot), now_ms)


@compiled
def _near_shadow_ms(columns: Columns, job: int, pool: int, gpus: int, now_ms: int) -> int:
    """The time by which one unit of the level that a gang must stay within has room for it, and which unit that is."""
    record = columns.jobs[job]
    area = columns.pools[pool]
    together = unit_nodes(columns, pool, record.within)
    best = CALENDAR_MINUTES
    for first in range(area.first_node, area.first_node + area.node_count, together):
        if _ready_in_unit(columns, first, together, gpus, best - 1) < record.nodes:
            continue
        low = READY_NOW
        while low < best - 1:
            middle = (low + best - 1) >> 1
            if _ready_in_unit(columns, first, together, gpus, middle) >= record.nodes:
                best = middle + 1
            else:
                low = middle + 1
        best = low
        columns.counters[0].unit_node = first
        if best == READY_NOW:
            return now_ms
    return NEVER if best == CALENDAR_MINUTES else max(slot_ms(columns, best), now_ms)


@compiled
def _ready_in_unit(columns: Columns, first: int, together: int, gpus: int, slot: int) -> int:
    """Nodes of a unit that have so many idle GPUs by a slot; those booked for anybody do not count."""
    count = 0
    for node in range(first, first + together):
        ready = columns.ready_slots[node, gpus]
        if ready != NOT_READY and ready <= slot and columns.nodes[node].first_booking == NONE:
            count += 1
    return count


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
                reservation.first_node = columns.counters[0].unit_node
                together = unit_nodes(columns, pool, record.within)
                reservation.last_node = reservation.first_node + together
    if reservation.pool != NONE:
        columns.pools[reservation.pool].reserved_by = gpu_class
        reservation.spare = _spare_nodes(columns, gpu_class)


@compiled
def _spare_nodes(columns: Columns, gpu_class: int) -> int:
    """Nodes that are ready by the shadow time beyond those the head needs."""
    reservation = columns.reservations[gpu_class]
    if reservation.gpus == 0:
        return UNLIMITED
    if columns.jobs[reservation.job].within != WITHIN_SITE:
        together = reservation.last_node - reservation.first_node
        slot = slot_of(columns, reservation.shadow_ms)
        return _ready_in_unit(columns, reservation.first_node, together, reservation.gpus, slot) - reservation.nodes
    if columns.pools[reservation.pool].bookings > 0:
        return booked_spare(columns, reservation.job, reservation.pool, reservation.gpus, reservation.shadow_ms)
    slot = kth_ready(columns, reservation.pool, reservation.gpus, reservation.nodes)
    return ready_count(columns, reservation.pool, reservation.gpus, slot) - reservation.nodes


@compiled
def spare_nodes(columns: Columns, pool: int) -> int:
    """How many nodes that will be ready for a pool's reservation may still be spoiled."""
    reserved_by = columns.pools[pool].reserved_by
    return UNLIMITED if reserved_by == NONE else columns.reservations[reserved_by].spare


@compiled
def lacks_spare(columns: Columns, pool: int, nodes: int, gpus: int, ends_ms: int) -> bool:
    """True when any nodes of a pool that have so many idle GPUs are ready for its reservation, and no longer with the
    job on them, and more than it can spare: what a look at each node would find, at once."""
    reserved_by = columns.pools[pool].reserved_by
    if reserved_by == NONE or columns.reservations[reserved_by].spare >= nodes:
        return False
    area = columns.pools[pool]
    reservation = columns.reservations[reserved_by]
    return (
        ends_ms > reservation.shadow_ms
        and gpus >= reservation.gpus > area.gpus - gpus
        and reservation.last_node - reservation.first_node == area.node_count
        and area.bookings == 0
    )


@compiled
def spend_spare(columns: Columns, pool: int, count: int) -> None:
    """A job was placed that spoils `count` nodes for a pool's reservation."""
    if count > 0:
        columns.reservations[columns.pools[pool].reserved_by].spare -= count


@compiled
def restore_spare(columns: Columns, pool: int, spare: int) -> None:
    """Nothing was placed after all: a pool's reservation has its spare nodes again."""
    if columns.pools[pool].reserved_by != NONE:
        columns.reservations[columns.pools[pool].reserved_by].spare = spare


@compiled
def spoils_reservation(columns: Columns, node: int, gpus: int, ends_ms: int) -> int:
    """1 when `gpus` on a node until `ends_ms` would cost the pool's reservation a node that is ready for it; else 0."""
    reserved_by = columns.pools[columns.nodes[node].pool].reserved_by
    if reserved_by == NONE:
        return 0
    reservation = columns.reservations[reserved_by]
    if ends_ms <= reservation.shadow_ms or node < reservation.first_node or node >= reservation.last_node:
        return 0
    idle = idle_at(columns, node, reservation.shadow_ms)
    if not idle - gpus < reservation.gpus <= idle:
        return 0
    head_ends_ms = reservation.shadow_ms + columns.jobs[reservation.job].limit_ms
    return 1 if booked_until(columns, reservation.job, node, reservation.shadow_ms, head_ends_ms) == NONE else 0
