"""Backfill: jobs that fit nowhere get reservations (`dure.kernel.reserving`), and nobody may start who would delay one.

A reservation is a pool and a *shadow time*: the earliest moment at which enough of the pool's nodes have enough GPUs if
every running job uses its whole time limit. A later job is harmless if it ends by then, or runs in another pool, or
on a node that is not ready at the shadow time anyway or stays ready beside it, or if more nodes are ready than are
needed. Every test uses the same instant, the shadow time. (Lifka 1995, "The ANL/IBM SP scheduling system"; the form
that looks at nodes one by one is ours.)
"""

from __future__ import annotations

from dure.kernel.bookings import booked_shadow_ms
from dure.kernel.calendar import bring_up_to_date, idle_at, kth_ready, not_before
from dure.world.bookings import booked_until
from dure.world.capacity import gpus_per_node
from dure.world.columns import (
    CALENDAR_MINUTES,
    NEVER,
    NONE,
    NOT_READY,
    READY_NOW,
    WITHIN_SITE,
    Columns,
)
from dure.world.compiled import compiled, entry_point
from dure.world.units import unit_nodes


@entry_point
def shadow_ms(columns: Columns, job: int, pool: int, now_ms: int) -> int:
    """The time by which a pool surely has room for the whole job, rounded up to minutes; NEVER if it never has.

    What others were promised is left out of account.
    """
    record = columns.jobs[job]
    area = columns.pools[pool]
    gpus = gpus_per_node(columns, job)
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
    return not_before(columns, kth_ready(columns, pool, gpus, record.nodes), now_ms)


@compiled
def _near_shadow_ms(columns: Columns, job: int, pool: int, gpus: int, now_ms: int) -> int:
    """The time by which one unit of the level that a gang must stay within has room for it, and which unit that is."""
    record = columns.jobs[job]
    area = columns.pools[pool]
    together = unit_nodes(columns, pool, record.within)
    best = CALENDAR_MINUTES
    for first in range(area.first_node, area.first_node + area.node_count, together):
        slot = unit_slot(columns, first, together, gpus, record.nodes, best)
        if slot < best:
            best = slot
            columns.counters[0].unit_node = first
        if best == READY_NOW:
            break
    return NEVER if best == CALENDAR_MINUTES else not_before(columns, best, now_ms)


@compiled
def unit_slot(columns: Columns, first: int, together: int, gpus: int, wanted: int, before: int) -> int:
    """The first slot by which so many nodes of a unit have so many idle GPUs; `before` if there is none before it."""
    if ready_in_unit(columns, first, together, gpus, before - 1) < wanted:
        return before
    low = READY_NOW
    high = before - 1
    while low < high:
        middle = (low + high) >> 1
        if ready_in_unit(columns, first, together, gpus, middle) >= wanted:
            high = middle
        else:
            low = middle + 1
    return low


@compiled
def ready_in_unit(columns: Columns, first: int, together: int, gpus: int, slot: int) -> int:
    """Nodes of a unit that have so many idle GPUs by a slot; those booked for anybody do not count."""
    count = 0
    for node in range(first, first + together):
        ready = columns.ready_slots[node, gpus]
        if ready != NOT_READY and ready <= slot and columns.nodes[node].first_booking == NONE:
            count += 1
    return count


@compiled
def keeps_reservations(columns: Columns, node: int, gpus: int, ends_ms: int) -> bool:
    """True when every reservation of the pool can do without what `gpus` on a node until `ends_ms` would spoil for it.

    The job that asks has none itself: its own is taken back before it is tried.
    """
    at = columns.pools[columns.nodes[node].pool].first_reservation
    while at != NONE:
        if columns.reservations[at].spare <= 0 and _spoils(columns, at, node, gpus, ends_ms) == 1:
            return False
        at = columns.reservations[at].next_of_pool
    return True


@compiled
def spoils_nothing(columns: Columns, node: int, gpus: int, ends_ms: int) -> bool:
    """True when `gpus` on a node until `ends_ms` cost no reservation a node, spare or not."""
    at = columns.pools[columns.nodes[node].pool].first_reservation
    while at != NONE:
        if _spoils(columns, at, node, gpus, ends_ms) == 1:
            return False
        at = columns.reservations[at].next_of_pool
    return True


@compiled
def spend_spare(columns: Columns, node: int, gpus: int, ends_ms: int, sign: int) -> None:
    """A job gets `gpus` on a node until `ends_ms` (1), or not after all (-1): what it spoils is spare no more."""
    at = columns.pools[columns.nodes[node].pool].first_reservation
    while at != NONE:
        columns.reservations[at].spare -= sign * _spoils(columns, at, node, gpus, ends_ms)
        at = columns.reservations[at].next_of_pool


@compiled
def lacks_spare(columns: Columns, pool: int, nodes: int, gpus: int, ends_ms: int) -> bool:
    """True when any nodes of a pool that have so many idle GPUs are ready for a reservation, and no longer with the
    job on them, and more than it can spare: what a look at each node would find, at once."""
    area = columns.pools[pool]
    at = area.first_reservation
    while at != NONE:
        reservation = columns.reservations[at]
        spoils_every_node = ends_ms > reservation.shadow_ms and gpus >= reservation.gpus > area.gpus - gpus
        is_anywhere = reservation.last_node - reservation.first_node == area.node_count and area.bookings == 0
        if reservation.spare < nodes and spoils_every_node and is_anywhere:
            return True
        at = reservation.next_of_pool
    return False


@compiled
def give_spare_back(columns: Columns, first: int, last: int, gpus: int, ends_ms: int) -> None:
    """The chosen nodes of these ranks are not taken after all."""
    for rank in range(first, last):
        spend_spare(columns, columns.chosen[rank], gpus, ends_ms, -1)


@compiled
def _spoils(columns: Columns, row: int, node: int, gpus: int, ends_ms: int) -> int:
    """1 when `gpus` on a node until `ends_ms` would cost a reservation a node that is ready for it; else 0."""
    reservation = columns.reservations[row]
    if ends_ms <= reservation.shadow_ms or node < reservation.first_node or node >= reservation.last_node:
        return 0
    idle = idle_at(columns, node, reservation.shadow_ms)
    if not idle - gpus < reservation.gpus <= idle:
        return 0
    kept_until_ms = booked_until(columns, reservation.job, node, reservation.shadow_ms, reservation.ends_ms)
    return 1 if kept_until_ms == NONE else 0
