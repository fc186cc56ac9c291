"""When a pool's nodes will be ready: for each number of GPUs, nodes counted by the minute they first have so many idle.

"Ready" supposes that nothing more starts and that every running job uses its whole time limit. The count is kept in
three levels of buckets (minute; 64 minutes; 4,096 minutes), so that the k-th node to become ready is found in at most
144 steps, however many nodes there are. Minutes are rounded up, as Slurm's backfill rounds to its resolution: a promise
is never earlier than what it promises.

Only nodes that changed are counted anew, and only when somebody asks: `capacity.note_change` lists them.
"""

from __future__ import annotations

from dure.world.capacity import bits, note_change
from dure.world.columns import (
    CALENDAR_LARGE_BUCKETS,
    CALENDAR_MINUTES,
    CALENDAR_ROW,
    CALENDAR_SHIFT,
    NEVER,
    NODE_UP,
    NONE,
    NOT_READY,
    READY_NOW,
    WHOLE,
    Columns,
)
from dure.world.compiled import compiled

MINUTE_MS = 60_000
_MOST_MINUTES_BEHIND = CALENDAR_MINUTES // 4
_BUCKET_SHIFT = CALENDAR_SHIFT
_LARGE_SHIFT = 2 * CALENDAR_SHIFT
# A row is the number of nodes that are ready now, and then the buckets from large to small.
_FIRST_LARGE = 1
_FIRST_BUCKET = _FIRST_LARGE + CALENDAR_LARGE_BUCKETS
_FIRST_MINUTE = _FIRST_BUCKET + (CALENDAR_MINUTES >> _BUCKET_SHIFT)


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
def ready_count(columns: Columns, pool: int, gpus: int, until: int) -> int:
    """How many nodes of a pool have so many idle GPUs by a slot that `kth_ready` returned."""
    calendar = columns.calendar
    row = _row(columns, pool, gpus)
    count = calendar[row]
    if until == READY_NOW:
        return count
    for large in range(until >> _LARGE_SHIFT):
        count += calendar[row + _FIRST_LARGE + large]
    for bucket in range(until >> _LARGE_SHIFT << _LARGE_SHIFT - _BUCKET_SHIFT, until >> _BUCKET_SHIFT):
        count += calendar[row + _FIRST_BUCKET + bucket]
    for minute in range(until >> _BUCKET_SHIFT << _BUCKET_SHIFT, until + 1):
        count += calendar[row + _FIRST_MINUTE + minute]
    return count


@compiled
def kth_ready(columns: Columns, pool: int, gpus: int, k: int) -> int:
    """The slot by which `k` nodes of a pool have so many idle GPUs: READY_NOW, a minute, or NOT_READY for never."""
    calendar = columns.calendar
    row = _row(columns, pool, gpus)
    left = k - calendar[row]
    if left <= 0:
        return READY_NOW
    at = 0
    while at < CALENDAR_LARGE_BUCKETS and calendar[row + _FIRST_LARGE + at] < left:
        left -= calendar[row + _FIRST_LARGE + at]
        at += 1
    if at == CALENDAR_LARGE_BUCKETS:
        return NOT_READY
    at <<= _LARGE_SHIFT - _BUCKET_SHIFT
    while calendar[row + _FIRST_BUCKET + at] < left:
        left -= calendar[row + _FIRST_BUCKET + at]
        at += 1
    at <<= _BUCKET_SHIFT
    while calendar[row + _FIRST_MINUTE + at] < left:
        left -= calendar[row + _FIRST_MINUTE + at]
        at += 1
    return at


@compiled
def slot_ms(columns: Columns, slot: int) -> int:
    """The time a minute of the calendar stands for."""
    return (columns.counters[0].calendar_origin + slot) * MINUTE_MS


@compiled
def slot_of(columns: Columns, at_ms: int) -> int:
    """The last slot of the calendar whose nodes are all ready by a time."""
    slot = at_ms // MINUTE_MS - columns.counters[0].calendar_origin
    return READY_NOW if slot < 0 else min(slot, CALENDAR_MINUTES - 1)


@compiled
def bring_up_to_date(columns: Columns, now_ms: int) -> None:
    """Count the nodes anew that changed since the last time."""
    counters = columns.counters[0]
    if now_ms // MINUTE_MS - counters.calendar_origin > _MOST_MINUTES_BEHIND:
        _begin_anew(columns, now_ms // MINUTE_MS)
    while counters.first_changed != NONE:
        node = counters.first_changed
        counters.first_changed = columns.nodes[node].next_changed
        columns.nodes[node].changed = 0
        _count_node(columns, node)


@compiled
def _begin_anew(columns: Columns, origin: int) -> None:
    columns.counters[0].calendar_origin = origin
    for index in range(len(columns.calendar)):
        columns.calendar[index] = 0
    for node in range(columns.counters[0].nodes):
        for gpus in range(columns.nodes[node].gpus + 1):
            columns.ready_slots[node, gpus] = NOT_READY
        note_change(columns, node)


@compiled
def _row(columns: Columns, pool: int, gpus: int) -> int:
    return (columns.pools[pool].first_calendar_row + gpus - 1) * CALENDAR_ROW


@compiled
def _count_node(columns: Columns, node: int) -> None:
    """Find when a node first has 1, 2, ... idle GPUs, walking from one end of a job to the next."""
    place = columns.nodes[node]
    if place.state != NODE_UP:
        _set_slots(columns, node, 0, place.gpus, NOT_READY)
        return
    known = max(0, place.idle - place.owed)
    _set_slots(columns, node, 0, known, READY_NOW)
    at_ms = -NEVER
    while known < place.gpus:
        at_ms = _next_end_ms(columns, node, at_ms)
        if at_ms == NEVER:
            break
        idle = idle_at(columns, node, at_ms)
        if idle > known:
            minute = (at_ms + MINUTE_MS - 1) // MINUTE_MS - columns.counters[0].calendar_origin
            _set_slots(columns, node, known, idle, min(max(minute, 0), CALENDAR_MINUTES - 1))
            known = idle
    _set_slots(columns, node, known, place.gpus, NOT_READY)


@compiled
def _next_end_ms(columns: Columns, node: int, after_ms: int) -> int:
    following = NEVER
    at = columns.nodes[node].first_allocation
    while at != NONE:
        end = columns.jobs[columns.allocations[at].job].expected_end_ms
        if after_ms < end < following:
            following = end
        at = columns.allocations[at].next_of_node
    return following


@compiled
def _set_slots(columns: Columns, node: int, above: int, most: int, slot: int) -> None:
    """The node has `above + 1` to `most` idle GPUs from `slot` on."""
    pool = columns.nodes[node].pool
    for gpus in range(above + 1, most + 1):
        before = columns.ready_slots[node, gpus]
        if before != slot:
            columns.ready_slots[node, gpus] = slot
            row = _row(columns, pool, gpus)
            _add(columns, row, before, -1)
            _add(columns, row, slot, 1)


@compiled
def _add(columns: Columns, row: int, slot: int, change: int) -> None:
    calendar = columns.calendar
    if slot == READY_NOW:
        calendar[row] += change
    elif slot != NOT_READY:
        calendar[row + _FIRST_LARGE + (slot >> _LARGE_SHIFT)] += change
        calendar[row + _FIRST_BUCKET + (slot >> _BUCKET_SHIFT)] += change
        calendar[row + _FIRST_MINUTE + slot] += change


@compiled
def not_before(columns: Columns, slot: int, now_ms: int) -> int:
    """The time a slot stands for, or now if that is past; NEVER for NOT_READY."""
    if slot == NOT_READY:
        return NEVER
    return now_ms if slot == READY_NOW else max(slot_ms(columns, slot), now_ms)
