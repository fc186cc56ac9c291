"""Reservations ahead of time: who must be gone when one begins, and whose jobs start on its nodes while it lasts.

Nobody else's job starts on a booked node unless it is surely gone when the booking begins (`world.bookings`), so a node
empties by itself as its time limits pass. What was started before the reservation was declared and may be preempted is
warned so early that it is gone in time; what may not be preempted runs to its time limit. Neither the protected minimum
runtime nor a guarantee stands against a reservation.

Between its boundaries nothing about a booking changes, so all of them are looked at only then.
"""

from __future__ import annotations

from dure.kernel.calendar import kth_ready, not_before, slot_ms
from dure.kernel.plan_rows import add_row, is_full
from dure.world.bookings import booked_until, is_for
from dure.world.capacity import gpus_per_node
from dure.world.columns import ANEW, DO_WARN, NEVER, NODE_UP, NONE, NOT_READY, READY_NOW, WHOLE, Columns
from dure.world.compiled import compiled
from dure.world.running import may_be_preempted
from dure.world.transitions import warn_of_booking


@compiled
def turn_bookings(columns: Columns, now_ms: int) -> None:
    """A booking begins, ends, or is so near that whoever would still be there must be told: everyone is tried anew."""
    counters = columns.counters[0]
    counters.booking_wake_ms = NEVER
    counters.open_bookings = 0
    for booking in range(counters.bookings):
        record = columns.bookings[booking]
        if record.until_ms <= now_ms:
            continue
        notice_ms = record.from_ms - counters.warning_ms - counters.grace_ms
        if notice_ms <= now_ms and not _clear_node(columns, booking, now_ms):
            counters.booking_wake_ms = now_ms
            counters.plan_full = 1
            return
        if record.from_ms <= now_ms and record.share != NONE:
            counters.open_bookings += 1
        _wake_at(columns, notice_ms, now_ms)
        _wake_at(columns, record.from_ms, now_ms)
        _wake_at(columns, record.until_ms, now_ms)
    for gpu_class in range(counters.classes):
        columns.classes[gpu_class].dirty = ANEW
        columns.classes[gpu_class].hopeless = 0


@compiled
def _wake_at(columns: Columns, at_ms: int, now_ms: int) -> None:
    if at_ms > now_ms:
        columns.counters[0].booking_wake_ms = min(columns.counters[0].booking_wake_ms, at_ms)


@compiled
def _clear_node(columns: Columns, booking: int, now_ms: int) -> bool:
    """Warn the jobs of others that would still be on a booking's node when it begins; False when the plan is full."""
    counters = columns.counters[0]
    record = columns.bookings[booking]
    stop_at_ms = max(now_ms + counters.warning_ms, record.from_ms - counters.grace_ms)
    at = columns.nodes[record.node].first_allocation
    while at != NONE:
        job = columns.allocations[at].job
        at = columns.allocations[at].next_of_node
        gone_ms = columns.jobs[job].expected_end_ms + counters.grace_ms
        if gone_ms <= record.from_ms or not may_be_preempted(columns, job) or is_for(columns, booking, job):
            continue
        if is_full(columns):
            return False
        warn_of_booking(columns, job, stop_at_ms)
        add_row(columns, DO_WARN, job, NONE, stop_at_ms, record.reservation)
    return True


@compiled
def fits_on_bookings(columns: Columns, job: int, now_ms: int) -> bool:
    """True when enough nodes that are kept for the job's share now have enough idle GPUs for it."""
    record = columns.jobs[job]
    gpus = gpus_per_node(columns, job)
    found = 0
    booking = columns.counters[0].first_share_booking
    while booking != NONE and found < record.nodes:
        booked = columns.bookings[booking]
        place = columns.nodes[booked.node]
        is_now = booked.from_ms <= now_ms < booked.until_ms
        has_some = place.idle >= gpus or (record.gpus_milli < WHOLE and place.shared > 0)
        if is_now and place.state == NODE_UP and has_some and is_for(columns, booking, job):
            found += 1
        booking = booked.next_for_share
    return found == record.nodes


@compiled
def booked_shadow_ms(columns: Columns, job: int, pool: int, now_ms: int) -> int:
    """The time by which a pool with bookings has room for the whole job, all its time long; NEVER if it never has.

    Nodes that are ready by a time but booked within the job's time limit do not count at that time. Between a time at
    which too few are left and the next at which a node becomes ready or a booking ends, there are no more.
    """
    record = columns.jobs[job]
    gpus = gpus_per_node(columns, job)
    at_ms = now_ms
    while at_ms < NEVER:
        slot = kth_ready(columns, pool, gpus, record.nodes + kept_off(columns, job, pool, gpus, at_ms))
        ready_ms = not_before(columns, slot, now_ms)
        if ready_ms <= at_ms:
            return at_ms
        at_ms = min(ready_ms, next_booking_end_ms(columns, job, pool, at_ms))
    return NEVER


@compiled
def kept_off(columns: Columns, job: int, pool: int, gpus: int, at_ms: int) -> int:
    """Nodes of a pool that are ready by a time, but that bookings of others keep from a job that starts then."""
    area = columns.pools[pool]
    ends_ms = at_ms + columns.jobs[job].limit_ms
    count = 0
    for booking in range(area.first_booking, area.first_booking + area.bookings):
        node = columns.bookings[booking].node
        slot = columns.ready_slots[node, gpus]
        ready = slot == READY_NOW or (slot != NOT_READY and slot_ms(columns, slot) <= at_ms)
        is_first = columns.nodes[node].first_booking == booking
        if ready and is_first and booked_until(columns, job, node, at_ms, ends_ms) != NONE:
            count += 1
    return count


@compiled
def next_booking_end_ms(columns: Columns, job: int, pool: int, after_ms: int) -> int:
    """When the next booking of a pool ends that is not for the job's share."""
    area = columns.pools[pool]
    following_ms = NEVER
    for booking in range(area.first_booking, area.first_booking + area.bookings):
        until_ms = columns.bookings[booking].until_ms
        if after_ms < until_ms < following_ms and not is_for(columns, booking, job):
            following_ms = until_ms
    return following_ms
