"""The queue of a share: jobs in the order (order key, sequence of submission, number), threaded through the records.

A treap finds the place of a new job in a few steps; the neighbours it passes give the linked list that is walked in
order. Heap priorities are a hash of sequence and number, so the shape depends only on which jobs are queued. The number
tells tasks of one array apart; the array itself has that of the task it starts next, so it comes behind those that came
back, and stays there as it counts up.
"""

from __future__ import annotations

from dure.world.columns import NONE, Columns, Records
from dure.world.compiled import compiled


@compiled
def _before(jobs: Records, first: int, second: int) -> bool:
    a = jobs[first]
    b = jobs[second]
    if a.order_key != b.order_key:
        return a.order_key < b.order_key
    if a.sequence != b.sequence:
        return a.sequence < b.sequence
    return a.number < b.number


@compiled
def _height(jobs: Records, job: int) -> int:
    # An array counts up while it is queued, and its height must not change: it has that of a job of its own.
    number = jobs[job].number if jobs[job].template != NONE else 0
    return (((jobs[job].sequence + 40_503 * number) & 0x7FFFFFFF) * 2654435761 >> 7) & 0xFFFFFFFF


@compiled
def _set_child(columns: Columns, queue: int, parent: int, is_left: bool, child: int) -> None:
    if parent == NONE:
        columns.shares[queue].queue_root = child
    elif is_left:
        columns.jobs[parent].left = child
    else:
        columns.jobs[parent].right = child


@compiled
def enqueue(columns: Columns, queue: int, job: int) -> None:
    """Put a job into a queue at its place by order key and sequence."""
    jobs = columns.jobs
    share = columns.shares[queue]
    height = _height(jobs, job)
    parent = NONE
    is_left = False
    before = NONE
    after = NONE
    at = share.queue_root
    while at != NONE and _height(jobs, at) >= height:
        parent = at
        if _before(jobs, job, at):
            after = at
            is_left = True
            at = jobs[at].left
        else:
            before = at
            is_left = False
            at = jobs[at].right
    _set_child(columns, queue, parent, is_left, job)
    # Split what hung here into what comes before the job and what comes after it.
    jobs[job].left = NONE
    jobs[job].right = NONE
    left_parent = job
    left_is_left = True
    right_parent = job
    right_is_left = False
    while at != NONE:
        if _before(jobs, job, at):
            after = at
            _set_child(columns, queue, right_parent, right_is_left, at)
            right_parent = at
            right_is_left = True
            at = jobs[at].left
        else:
            before = at
            _set_child(columns, queue, left_parent, left_is_left, at)
            left_parent = at
            left_is_left = False
            at = jobs[at].right
    if left_parent != job:
        jobs[left_parent].right = NONE
    if right_parent != job:
        jobs[right_parent].left = NONE
    _link(columns, queue, before, job, after)


@compiled
def _link(columns: Columns, queue: int, before: int, job: int, after: int) -> None:
    jobs = columns.jobs
    share = columns.shares[queue]
    record = jobs[job]
    record.queue = queue
    record.previous = before
    record.next = after
    if before == NONE:
        share.queue_first = job
    else:
        jobs[before].next = job
    if after == NONE:
        share.queue_last = job
    else:
        jobs[after].previous = job
    share.queued += 1


@compiled
def dequeue(columns: Columns, job: int) -> None:
    """Take a job out of its queue."""
    jobs = columns.jobs
    record = jobs[job]
    queue = record.queue
    share = columns.shares[queue]
    parent = NONE
    is_left = False
    at = share.queue_root
    while at != job:
        parent = at
        is_left = _before(jobs, job, at)
        at = jobs[at].left if is_left else jobs[at].right
    low = record.left
    high = record.right
    while low != NONE and high != NONE:
        if _height(jobs, low) >= _height(jobs, high):
            _set_child(columns, queue, parent, is_left, low)
            parent = low
            is_left = False
            low = jobs[low].right
        else:
            _set_child(columns, queue, parent, is_left, high)
            parent = high
            is_left = True
            high = jobs[high].left
    _set_child(columns, queue, parent, is_left, low if low != NONE else high)
    if record.previous == NONE:
        share.queue_first = record.next
    else:
        jobs[record.previous].next = record.next
    if record.next == NONE:
        share.queue_last = record.previous
    else:
        jobs[record.next].previous = record.previous
    record.queue = NONE
    record.previous = NONE
    record.next = NONE
    share.queued -= 1
