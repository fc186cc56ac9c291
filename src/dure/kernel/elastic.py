"""Elastic jobs: how many nodes one gets, who goes on with fewer, and when one gets more.

1. A job that starts gets as many nodes as quota and nodes allow now, between its least and its most. One whose least a
   guarantee covers gets no more than is covered while the next job of another share is covered, too. Where so many turn
   out not to do together, it is tried with a quarter of what is above the least fewer each time.
2. One whose attempt ended for no fault of its own (nodes were taken back or lost, or it is to grow) goes on after those
   whom a guarantee covers and before those who borrow, with what is there now. So it is until warning and grace have
   passed once more; then it waits for its turn like everybody.
3. One that has run for the protected time is warned, stopped and started anew with more nodes, if it saves its work
   when warned, if nobody waits for nodes of its class (who waits is held off by limits of its own share), and if it
   gets at least a quarter more. One per class at a time, the one that has run longest first. When the warning is over
   it is asked again, and spared for another protected time if anything has changed.
"""

from __future__ import annotations

from dure.kernel.backfill import give_spare_back, keeps_reservations, spend_spare
from dure.kernel.placing import place
from dure.kernel.plan_rows import add_row
from dure.kernel.room import has_room, is_allowed
from dure.kernel.winners import another_is_covered
from dure.world.bookings import is_open
from dure.world.capacity import next_node
from dure.world.columns import (
    CHOICE_MASK,
    CLEAN,
    DO_SPARE,
    DO_STOP,
    DO_WARN_OF_RESIZE,
    MOST_LEVELS,
    NEVER,
    NODE_UP,
    NONE,
    ORDER_PRIORITY,
    STOP_RESIZED,
    STOPPING,
    WARNED,
    WHOLE,
    Columns,
)
from dure.world.compiled import compiled
from dure.world.quota import ROOM, shortage, within_guarantee
from dure.world.transitions import share_row, spare, stop, warn_of_resize
from dure.world.units import free_in_pool, most_together, nodes_with, unit_nodes

MOST_ASKED = 16
"""Jobs of a class that are asked at each decision whether they would grow, those that have run longest first."""
LEAST_GAIN = 4
"""A job grows by at least the fourth part of what it has."""


@compiled
def place_at_size(columns: Columns, job: int, gpu_class: int, ends_ms: int) -> bool:
    """Choose nodes for a job, for an elastic one as many as fit: `jobs.nodes` says how many those are."""
    record = columns.jobs[job]
    if record.least_nodes == 0:
        return place(columns, job, gpu_class, ends_ms)
    least = record.least_nodes
    if columns.classes[gpu_class].idle * WHOLE < least * record.gpus_milli:
        return False
    size = _most_that_fit(columns, job, gpu_class, ends_ms)
    while size >= least:
        record.nodes = size
        if place(columns, job, gpu_class, ends_ms):
            return True
        if size == least:
            return False
        size = max(least, size - 1 - (size - least) // LEAST_GAIN)
    return False


@compiled
def _most_that_fit(columns: Columns, job: int, gpu_class: int, ends_ms: int) -> int:
    """No gang of an elastic job gets more nodes than this: what quota allows, and nodes that are open to one rank."""
    record = columns.jobs[job]
    gpus = record.gpus_milli // WHOLE
    most = _most_by_quota(columns, job, share_row(columns, job, gpu_class))
    found = 0
    first = columns.classes[gpu_class].first_pool
    for pool in range(first, first + columns.classes[gpu_class].pool_count):
        if found == most or not is_allowed(columns, job, pool):
            continue
        together = most_together(columns, pool, gpus, record.within) if gpus > 0 else nodes_with(columns, pool, 0)
        if together > found:
            found = max(found, _open_nodes(columns, job, pool, ends_ms, min(most, together)))
    return found


@compiled
def _most_by_quota(columns: Columns, job: int, share: int) -> int:
    """The most nodes whose GPUs the share may use. What it may not use of few, it may not use of more."""
    record = columns.jobs[job]
    if record.gpus_milli == 0 or columns.counters[0].order < ORDER_PRIORITY:
        return record.most_nodes
    least_milli = record.least_nodes * record.gpus_milli
    keeps_to_guarantee = within_guarantee(columns.shares, share, least_milli) and another_is_covered(columns, share)
    fits = record.least_nodes
    too_many = record.most_nodes + 1
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        amount = middle * record.gpus_milli
        covered = not keeps_to_guarantee or within_guarantee(columns.shares, share, amount)
        if covered and _quota_allows(columns, job, share, amount):
            fits = middle
        else:
            too_many = middle
    return fits


@compiled
def _quota_allows(columns: Columns, job: int, share: int, amount: int) -> bool:
    """True when a share may use so many more thousandths of a GPU for the job."""
    record = columns.shares[share]
    if columns.jobs[job].preemptible == 0 and record.used + amount > record.guarantee:
        return False
    return shortage(columns.shares, share, amount) == ROOM


@compiled
def _open_nodes(columns: Columns, job: int, pool: int, ends_ms: int, enough: int) -> int:
    """Nodes of a pool that are open to one rank of a job until it ends, counted up to `enough`."""
    gpus = columns.jobs[job].gpus_milli // WHOLE
    count = 0
    for level in range(gpus, MOST_LEVELS):
        if columns.idle_counts[pool, level] == 0:
            continue
        node = next_node(columns, pool, level, 0)
        while node != NONE and count < enough:
            is_open_to_it = has_room(columns, job, node) and is_open(columns, job, node, ends_ms)
            if is_open_to_it and keeps_reservations(columns, node, gpus, ends_ms):
                spend_spare(columns, node, gpus, ends_ms, 1)
                columns.chosen[count] = node
                count += 1
            node = next_node(columns, pool, level, columns.nodes[node].position + 1)
    give_spare_back(columns, 0, count, gpus, ends_ms)
    return count


@compiled
def nobody_waits_for_nodes(columns: Columns, gpu_class: int) -> bool:
    """True when all who wait for a class were tried, and limits of their own shares keep off every one of them."""
    for other in range(columns.counters[0].classes):
        record = columns.classes[other]
        if record.reach >> gpu_class & 1 == 0 or columns.shares[record.root].waiting == 0:
            continue
        if record.dirty != CLEAN or record.blocked != NONE or record.budget <= 0:
            return False
    return True


@compiled
def resize(columns: Columns, gpu_class: int, now_ms: int) -> None:
    """Stop or spare the job of a class that was warned to grow, and else warn the next that would."""
    record = columns.classes[gpu_class]
    if record.resizing != NONE and _settle(columns, gpu_class, now_ms):
        return
    if record.first_growing == NONE or record.idle == 0 or not nobody_waits_for_nodes(columns, gpu_class):
        return
    job = record.first_growing
    for _ in range(MOST_ASKED):
        if job == NONE:
            return
        if _is_past_protection(columns, job, now_ms) and _would_grow(columns, job, now_ms):
            _ask_to_grow(columns, job, now_ms)
            return
        job = columns.jobs[job].next_growing


@compiled
def _settle(columns: Columns, gpu_class: int, now_ms: int) -> bool:
    """See to the job that is being resized; False when there is none any more."""
    job = columns.classes[gpu_class].resizing
    record = columns.jobs[job]
    if record.stop_reason != STOP_RESIZED or (record.state != WARNED and record.state != STOPPING):
        columns.classes[gpu_class].resizing = NONE
        return False
    if record.state == STOPPING:
        return True
    if now_ms < record.resize_at_ms:
        _wake_at(columns, record.resize_at_ms)
        return True
    if nobody_waits_for_nodes(columns, gpu_class) and _would_grow(columns, job, now_ms):
        stop(columns, job, STOP_RESIZED, now_ms)
        add_row(columns, DO_STOP, job, NONE, now_ms, STOP_RESIZED)
    else:
        spare(columns, job, now_ms)
        add_row(columns, DO_SPARE, job, NONE, NEVER, 0)
    return True


@compiled
def _ask_to_grow(columns: Columns, job: int, now_ms: int) -> None:
    stop_at_ms = now_ms + columns.counters[0].warning_ms
    warn_of_resize(columns, job, stop_at_ms)
    _wake_at(columns, stop_at_ms)
    add_row(columns, DO_WARN_OF_RESIZE, job, NONE, stop_at_ms, 0)


@compiled
def _wake_at(columns: Columns, at_ms: int) -> None:
    columns.counters[0].resize_wake_ms = min(columns.counters[0].resize_wake_ms, at_ms)


@compiled
def _is_past_protection(columns: Columns, job: int, now_ms: int) -> bool:
    """True when a job has had its protected time at its size, and since it was spared; else the kernel wakes then."""
    record = columns.jobs[job]
    until_ms = max(record.started_ms, record.resize_at_ms) + columns.counters[0].protected_ms
    if now_ms < until_ms:
        _wake_at(columns, until_ms)
    return now_ms >= until_ms


@compiled
def _would_grow(columns: Columns, job: int, now_ms: int) -> bool:
    """True when quota and idle nodes near its own allow a quarter more nodes, and its time limit is not near.

    It has the class it likes best: anew, it might get fewer nodes of a class that it likes better.
    """
    record = columns.jobs[job]
    counters = columns.counters[0]
    gain = max(1, (record.nodes + LEAST_GAIN - 1) // LEAST_GAIN)
    if record.nodes + gain > record.most_nodes or record.gpu_class != (record.choices & CHOICE_MASK) - 1:
        return False
    if record.expected_end_ms <= now_ms + counters.warning_ms + counters.grace_ms:
        return False
    share = share_row(columns, job, record.gpu_class)
    if record.gpus_milli > 0 and not _quota_allows(columns, job, share, gain * record.gpus_milli):
        return False
    ends_ms = now_ms + counters.warning_ms + counters.grace_ms + record.limit_ms
    own = _own_nodes(columns, job, ends_ms)
    return own + _nodes_beside(columns, job, ends_ms, record.nodes + gain - own) >= record.nodes + gain


@compiled
def _own_nodes(columns: Columns, job: int, ends_ms: int) -> int:
    """Nodes of a running job on which it could start again."""
    count = 0
    at = columns.jobs[job].first_allocation
    while at != NONE:
        node = columns.allocations[at].node
        if columns.nodes[node].state == NODE_UP and is_open(columns, job, node, ends_ms):
            count += 1
        at = columns.allocations[at].next_of_job
    return count


@compiled
def _nodes_beside(columns: Columns, job: int, ends_ms: int, enough: int) -> int:
    """Other nodes that are near enough to a running job's own and open to one more rank, counted up to `enough`."""
    record = columns.jobs[job]
    gpus = record.gpus_milli // WHOLE
    together = unit_nodes(columns, record.pool, record.within)
    position = columns.nodes[columns.allocations[record.first_allocation].node].position
    first = position - position % together
    most = min(enough, free_in_pool(columns, record.pool, gpus)) if gpus > 0 else enough
    count = 0
    for level in range(gpus, MOST_LEVELS):
        node = next_node(columns, record.pool, level, first)
        while node != NONE and count < most and columns.nodes[node].position < first + together:
            if has_room(columns, job, node) and is_open(columns, job, node, ends_ms) and not _is_on(columns, job, node):
                count += 1
            node = next_node(columns, record.pool, level, columns.nodes[node].position + 1)
    return count


@compiled
def _is_on(columns: Columns, job: int, node: int) -> bool:
    at = columns.nodes[node].first_allocation
    while at != NONE:
        if columns.allocations[at].job == job:
            return True
        at = columns.allocations[at].next_of_node
    return False
