"""Who gets a reservation, for when, and how long it stands.

1. Of each GPU class, the first `backfill_reservations` jobs of a pass that do not fit get one each, in the order in
   which they are tried; one behind the first for which nodes are ready now waits for quota, and holds none. With one
   that is EASY backfill; with one for every job that is tried it is conservative backfill (Mu'alem and Feitelson
   2001).
2. A reservation holds as many whole nodes as the job has ranks, from its shadow time for the job's whole limit,
   whichever nodes these will be. So a later one counts on a node only if it is ready beyond those that others hold at
   its shadow time, and begins only when all that begin while it lasts can spare its nodes. Whole nodes are more than a
   job may need, never less: what is promised so can be kept.
3. A reservation stands from pass to pass. When its job is tried again it starts, or is given an earlier time beside all
   the others, never a later one. It is void when a job without one is tried on nodes before it, because that job's turn
   has come first; when limits of its job's own share hold it off; and when nodes that were counted on are gone.

A single reservation is made anew in every pass: there is no other that it could delay. So are all of them while nodes
are kept for a share ahead of time, because its jobs start there before their turn.
"""

from __future__ import annotations

from dure.kernel.backfill import ready_in_unit, shadow_ms, unit_slot
from dure.kernel.bookings import kept_off, next_booking_end_ms
from dure.kernel.calendar import MINUTE_MS, bring_up_to_date, kth_ready, not_before, ready_count, slot_of
from dure.world.capacity import gpus_per_node
from dure.world.columns import (
    CALENDAR_MINUTES,
    CHOICE_BITS,
    CHOICE_MASK,
    NEVER,
    NONE,
    QUEUED,
    UNLIMITED,
    WITHIN_SITE,
    Columns,
)
from dure.world.compiled import compiled
from dure.world.units import unit_nodes


@compiled
def begin_reservations(columns: Columns, gpu_class: int, now_ms: int) -> None:
    """A pass begins: let a class's reservations stand until the jobs that hold them are tried, or take them back."""
    counters = columns.counters[0]
    columns.classes[gpu_class].renewed = 0
    if columns.classes[gpu_class].reserved == 0:
        return
    first = gpu_class * counters.backfill_reservations
    for row in range(first, first + counters.backfill_reservations):
        columns.reservations[row].renewed = 0
    if counters.backfill_reservations == 1 or counters.open_bookings > 0:
        _drop_old(columns, gpu_class)
        return
    bring_up_to_date(columns, now_ms)
    for row in range(first, first + counters.backfill_reservations):
        if columns.reservations[row].job != NONE:
            _carry_over(columns, row, now_ms)
    # Those of other classes, too: some pools have reservations of several.
    for row in range(counters.classes * counters.backfill_reservations):
        if columns.reservations[row].pool != NONE:
            columns.reservations[row].spare = _spare_nodes(columns, row)


@compiled
def _carry_over(columns: Columns, row: int, now_ms: int) -> None:
    """Drop a reservation whose job no longer waits; one whose time has passed is due now."""
    reservation = columns.reservations[row]
    job = columns.jobs[reservation.job]
    if job.state != QUEUED or job.sequence != reservation.sequence:
        _take_back(columns, row)
        return
    if reservation.shadow_ms < now_ms:
        reservation.shadow_ms = now_ms
        reservation.ends_ms = now_ms + job.limit_ms
    if reservation.shadow_ms == now_ms:
        # Its job is behind the first, but this pass must come to it.
        columns.classes[row // columns.counters[0].backfill_reservations].brief = 0
    _wake_at(columns, reservation.shadow_ms, now_ms)


@compiled
def make_way_for(columns: Columns, gpu_class: int, job: int, has_its_turn: bool) -> None:
    """A job is about to be tried: take its own reservation back, or, if it has none and its turn, all it is before."""
    counters = columns.counters[0]
    first = gpu_class * counters.backfill_reservations
    for row in range(first, first + counters.backfill_reservations):
        if columns.reservations[row].job == job:
            _take_back(columns, row)
            return
    if has_its_turn:
        _drop_old(columns, gpu_class)


@compiled
def has_reservation(columns: Columns, gpu_class: int, job: int) -> bool:
    """True when a class keeps a start for a job: it has its turn in the pass."""
    counters = columns.counters[0]
    row = gpu_class * counters.backfill_reservations
    last = row + counters.backfill_reservations
    while row < last and columns.reservations[row].job != job:
        row += 1
    return bool(row < last)


@compiled
def _drop_old(columns: Columns, gpu_class: int) -> None:
    """Take back every reservation of a class that the pass under way has not made itself."""
    counters = columns.counters[0]
    first = gpu_class * counters.backfill_reservations
    for row in range(first, first + counters.backfill_reservations):
        if columns.reservations[row].job != NONE and columns.reservations[row].renewed == 0:
            _take_back(columns, row)


@compiled
def reserve_unreserved(columns: Columns, gpu_class: int, now_ms: int) -> None:
    """Give the job that was last tried in vain its reservation, in the pool that is ready first; ties: its choices in
    order, then fleet order."""
    job = columns.classes[gpu_class].unreserved
    if job == NONE:
        return
    columns.classes[gpu_class].unreserved = NONE
    record = columns.jobs[job]
    row = _free_row(columns, gpu_class)
    reservation = columns.reservations[row]
    reservation.job = job
    reservation.sequence = record.sequence
    reservation.pool = NONE
    reservation.shadow_ms = NEVER
    reservation.gpus = gpus_per_node(columns, job)
    reservation.nodes = record.nodes
    reservation.renewed = 1
    columns.classes[gpu_class].reserved += 1
    columns.classes[gpu_class].renewed += 1
    choices = record.choices
    while choices != 0:
        choice = (choices & CHOICE_MASK) - 1
        choices >>= CHOICE_BITS
        first = columns.classes[choice].first_pool
        for pool in range(first, first + columns.classes[choice].pool_count):
            if record.sites >> columns.pools[pool].site & 1 == 1:
                _prefer(columns, row, pool, now_ms)
    if reservation.shadow_ms == now_ms and columns.classes[gpu_class].blocked != job:
        reservation.pool = NONE
    if reservation.pool != NONE:
        reservation.ends_ms = reservation.shadow_ms + record.limit_ms
        _enter(columns, row)
        _wake_at(columns, reservation.shadow_ms, now_ms)


@compiled
def _free_row(columns: Columns, gpu_class: int) -> int:
    row = gpu_class * columns.counters[0].backfill_reservations
    while columns.reservations[row].job != NONE:
        row += 1
    return row


@compiled
def _prefer(columns: Columns, row: int, pool: int, now_ms: int) -> None:
    """Note a pool for a reservation if it is ready earlier than the one noted; a full one takes no more of them."""
    reservation = columns.reservations[row]
    if columns.pools[pool].reservations == columns.counters[0].backfill_reservations:
        return
    start_ms = _earliest_ms(columns, reservation.job, pool, now_ms)
    if start_ms < reservation.shadow_ms:
        reservation.shadow_ms = start_ms
        reservation.pool = pool
        reservation.first_node = columns.counters[0].unit_node
        together = unit_nodes(columns, pool, columns.jobs[reservation.job].within)
        reservation.last_node = reservation.first_node + together


@compiled
def _enter(columns: Columns, row: int) -> None:
    """Put a reservation into the list of its pool; those that begin while it lasts have fewer nodes to spare."""
    reservation = columns.reservations[row]
    area = columns.pools[reservation.pool]
    reservation.spare = _spare_nodes(columns, row)
    _charge_others(columns, row, 1)
    reservation.next_of_pool = area.first_reservation
    area.first_reservation = row
    area.reservations += 1


@compiled
def _take_back(columns: Columns, row: int) -> None:
    """Free a row, and what its reservation held."""
    reservation = columns.reservations[row]
    gpu_class = row // columns.counters[0].backfill_reservations
    columns.classes[gpu_class].reserved -= 1
    reservation.job = NONE
    if reservation.pool == NONE:
        return
    area = columns.pools[reservation.pool]
    if area.first_reservation == row:
        area.first_reservation = reservation.next_of_pool
    else:
        at = area.first_reservation
        while columns.reservations[at].next_of_pool != row:
            at = columns.reservations[at].next_of_pool
        columns.reservations[at].next_of_pool = reservation.next_of_pool
    area.reservations -= 1
    _charge_others(columns, row, -1)
    columns.classes[area.gpu_class].hopeless = 0
    reservation.pool = NONE


@compiled
def _charge_others(columns: Columns, row: int, sign: int) -> None:
    """Take a reservation's nodes from what others of its pool can spare (1), or give them back (-1)."""
    reservation = columns.reservations[row]
    at = columns.pools[reservation.pool].first_reservation
    while at != NONE:
        other = columns.reservations[at]
        if at != row and _meets(columns, row, at) and reservation.shadow_ms <= other.shadow_ms < reservation.ends_ms:
            other.spare -= sign * reservation.nodes
        at = other.next_of_pool


@compiled
def _meets(columns: Columns, row: int, other: int) -> bool:
    """True when two reservations of a pool could want the same node; what needs no GPU takes none away."""
    first = columns.reservations[row]
    second = columns.reservations[other]
    return first.gpus > 0 and first.first_node < second.last_node and second.first_node < first.last_node


@compiled
def _spare_nodes(columns: Columns, row: int) -> int:
    """Nodes that are ready for a reservation by its shadow time beyond those that it and others hold then."""
    reservation = columns.reservations[row]
    if reservation.gpus == 0:
        return UNLIMITED
    first = reservation.first_node
    last = reservation.last_node
    ready = _ready(columns, reservation.job, reservation.pool, first, last, reservation.shadow_ms)
    held = _held(columns, reservation.pool, first, last, row, reservation.shadow_ms)
    return ready - held - reservation.nodes


@compiled
def _earliest_ms(columns: Columns, job: int, pool: int, now_ms: int) -> int:
    """The time by which a pool surely has room for the whole job beside all that is reserved in it; NEVER if never.

    The first node of the pool, or of the unit that a gang must stay within, is left in `counters.unit_node`.
    """
    start_ms = shadow_ms(columns, job, pool, now_ms)
    area = columns.pools[pool]
    if area.first_reservation == NONE or start_ms == NEVER or columns.jobs[job].gpus_milli == 0:
        return start_ms
    together = unit_nodes(columns, pool, columns.jobs[job].within)
    best_ms = NEVER
    for first in range(area.first_node, area.first_node + area.node_count, together):
        found_ms = _earliest_in(columns, job, pool, first, first + together, start_ms, now_ms)
        if found_ms < best_ms:
            best_ms = found_ms
            columns.counters[0].unit_node = first
        if best_ms == start_ms:
            break
    return best_ms


@compiled
def _earliest_in(columns: Columns, job: int, pool: int, first: int, last: int, from_ms: int, now_ms: int) -> int:
    """The first time from `from_ms` on at which the nodes from `first` up to `last` have room for the whole job.

    Between a time at which too few are left and the next at which a node becomes ready, or a reservation or booking
    ends, there are no more. A reservation that cannot spare the job's nodes must have begun before the job does.
    """
    record = columns.jobs[job]
    at_ms = from_ms
    while at_ms < NEVER:
        ready = _ready(columns, job, pool, first, last, at_ms)
        held = _held(columns, pool, first, last, NONE, at_ms)
        if ready - held < record.nodes:
            at_ms = _next_room_ms(columns, job, pool, first, last, held, at_ms, now_ms)
            continue
        delayed_ms = _last_delayed_ms(columns, job, pool, first, last, at_ms)
        if delayed_ms == NONE:
            return at_ms
        at_ms = (delayed_ms // MINUTE_MS + 1) * MINUTE_MS
    return NEVER


@compiled
def _ready(columns: Columns, job: int, pool: int, first: int, last: int, at_ms: int) -> int:
    """Nodes from `first` up to `last`, a pool or a unit of it, that are ready for a rank of the job by a time."""
    gpus = gpus_per_node(columns, job)
    slot = slot_of(columns, at_ms)
    if columns.jobs[job].within != WITHIN_SITE:
        return ready_in_unit(columns, first, last - first, gpus, slot)
    return ready_count(columns, pool, gpus, slot) - kept_off(columns, job, pool, gpus, at_ms)


@compiled
def _held(columns: Columns, pool: int, first: int, last: int, but: int, at_ms: int) -> int:
    """The most nodes from `first` up to `last` that reservations, but for one, hold at a time."""
    held = 0
    at = columns.pools[pool].first_reservation
    while at != NONE:
        other = columns.reservations[at]
        if _holds(columns, at, first, last, at_ms) and at != but:
            held += other.nodes
        at = other.next_of_pool
    return held


@compiled
def _holds(columns: Columns, row: int, first: int, last: int, at_ms: int) -> bool:
    other = columns.reservations[row]
    meets = other.gpus > 0 and other.first_node < last and first < other.last_node
    return meets and other.shadow_ms <= at_ms < other.ends_ms


@compiled
def _next_room_ms(
    columns: Columns, job: int, pool: int, first: int, last: int, held: int, at_ms: int, now_ms: int
) -> int:
    """When there may be more nodes for a job than there are at a time: one becomes ready, or is held no longer."""
    wanted = columns.jobs[job].nodes + held
    gpus = gpus_per_node(columns, job)
    if columns.jobs[job].within != WITHIN_SITE:
        slot = unit_slot(columns, first, last - first, gpus, wanted, CALENDAR_MINUTES)
        following_ms = NEVER if slot == CALENDAR_MINUTES else not_before(columns, slot, now_ms)
    else:
        slot = kth_ready(columns, pool, gpus, wanted + kept_off(columns, job, pool, gpus, at_ms))
        following_ms = min(not_before(columns, slot, now_ms), next_booking_end_ms(columns, job, pool, at_ms))
    at = columns.pools[pool].first_reservation
    while at != NONE:
        other = columns.reservations[at]
        if _holds(columns, at, first, last, at_ms):
            following_ms = min(following_ms, other.ends_ms)
        at = other.next_of_pool
    return following_ms


@compiled
def _last_delayed_ms(columns: Columns, job: int, pool: int, first: int, last: int, at_ms: int) -> int:
    """The latest shadow time of those that a job would delay if it ran from a time for its whole limit; NONE if none.

    Whoever begins while it runs must be able to spare as many nodes as the job has.
    """
    record = columns.jobs[job]
    latest_ms = NONE
    at = columns.pools[pool].first_reservation
    while at != NONE:
        other = columns.reservations[at]
        meets = other.first_node < last and first < other.last_node
        if meets and at_ms <= other.shadow_ms < at_ms + record.limit_ms and other.spare < record.nodes:
            latest_ms = max(latest_ms, other.shadow_ms)
        at = other.next_of_pool
    return latest_ms


@compiled
def _wake_at(columns: Columns, at_ms: int, now_ms: int) -> None:
    """Have everyone tried when one of several reservations is due: it may have waited only for the start of another.

    A single one waits for ends of jobs alone, and these have everyone tried anyhow.
    """
    counters = columns.counters[0]
    if counters.backfill_reservations > 1 and at_ms > now_ms:
        counters.wake_ms = min(counters.wake_ms, at_ms)
