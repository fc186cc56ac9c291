"""The steps of a job's life, as changes of the columns. Live, replayed and simulated jobs all take exactly these."""

from __future__ import annotations

from dure.world.capacity import bits, let_go, note_other_end
from dure.world.columns import (
    ANEW,
    ARRIVALS,
    CHOICE_BITS,
    CHOICE_MASK,
    CLAIMED,
    GONE,
    HELD,
    NEVER,
    NONE,
    ORDER_PRIORITY,
    ORDER_SJF,
    PLACE_BEST_FIT,
    QUEUED,
    RUNNING,
    SPENT,
    STOP_NONE,
    STOP_RESERVED,
    STOP_RESIZED,
    STOPPING,
    WARNED,
    WHOLE,
    Columns,
    Integers,
)
from dure.world.compiled import compiled, entry_point
from dure.world.elastic import begin_waiting, end_waiting
from dure.world.mix import count_arrival
from dure.world.queues import dequeue, enqueue
from dure.world.quota import QUEUE_TOUCHED, charge, count_reclaimed, touch, within_guarantee
from dure.world.running import add_preemptible, drop_preemptible, may_be_preempted
from dure.world.timers import add_timer, drop_timer


@entry_point
def set_timer(columns: Columns, job: int, due_ms: int) -> None:
    """Have `decide` look at a job at `due_ms`."""
    counters = columns.counters[0]
    counters.timers = add_timer(
        columns.timer_due_ms, columns.timer_job, columns.timer_slot, counters.timers, job, due_ms
    )


@compiled
def clear_timer(columns: Columns, job: int) -> None:
    """Have `decide` look at a job no more."""
    counters = columns.counters[0]
    counters.timers = drop_timer(columns.timer_due_ms, columns.timer_job, columns.timer_slot, counters.timers, job)


@entry_point
def share_row(columns: Columns, job: int, gpu_class: int) -> int:
    """Row of a job's share in the tree of a class."""
    return gpu_class * columns.counters[0].shares + columns.jobs[job].share


@compiled
def demand_milli(columns: Columns, job: int) -> int:
    """Thousandths of a GPU a job wants over all its nodes."""
    record = columns.jobs[job]
    return record.nodes * record.gpus_milli


@entry_point
def mark_dirty(columns: Columns, gpu_class: int) -> None:
    """Have the next decision look again at everyone who could use GPUs of this class."""
    classes = columns.classes
    for other in range(columns.counters[0].classes):
        if classes[other].reach >> gpu_class & 1:
            classes[other].dirty = ANEW


@entry_point
def set_charged(columns: Columns, job: int, charged: int, now_ms: int) -> None:
    """Count a job's GPUs against its share (1), or no longer (0)."""
    record = columns.jobs[job]
    if record.charged != charged:
        amount = demand_milli(columns, job)
        share = share_row(columns, job, record.gpu_class)
        charge(columns, share, amount if charged == 1 else -amount, now_ms)
        record.charged = charged


@entry_point
def put_in_queue(columns: Columns, job: int) -> None:
    """Queue a job under its share, in the tree of its first choice; `fifo` and `sjf` have one queue for all."""
    record = columns.jobs[job]
    counters = columns.counters[0]
    first = (record.choices & CHOICE_MASK) - 1
    if record.least_nodes > 0:
        begin_waiting(columns, job)
    record.state = QUEUED
    if counters.order >= ORDER_PRIORITY:
        queue = first * counters.shares + record.share
        record.order_key = -record.priority
    else:
        queue = columns.classes[0].root
        record.order_key = record.limit_ms if counters.order == ORDER_SJF else 0
        first = 0
    enqueue(columns, queue, job)
    touch(columns, queue, QUEUE_TOUCHED)
    choices = record.choices
    while choices != 0:
        columns.classes[first].reach |= 1 << ((choices & CHOICE_MASK) - 1)
        choices >>= CHOICE_BITS
    _note_arrival(columns, job, first)
    if record.attempt == 0 and counters.placement != PLACE_BEST_FIT:
        count_arrival(columns, job)
    if record.gpus_milli < WHOLE:
        columns.classes[first].parts_waiting += 1
    _count_waiting(columns, queue, 1)
    if columns.shares[queue].queued == 1:
        _activate(columns, first, queue)


@entry_point
def put_all_in_queue(columns: Columns, jobs: Integers) -> None:
    """Queue several jobs, one after another."""
    for number in range(len(jobs)):
        put_in_queue(columns, jobs[number])


@compiled
def _note_arrival(columns: Columns, job: int, gpu_class: int) -> None:
    """The pass that is under way can go on with a new job at the end of its queue; else everyone must be tried anew.

    It cannot go on when the job overtakes others in its share, or when it comes from another share than the job that
    holds the reservation: it may be that share's turn first.
    """
    record = columns.classes[gpu_class]
    share = columns.shares[columns.jobs[job].queue]
    from_elsewhere = record.blocked != NONE and columns.jobs[record.blocked].queue != columns.jobs[job].queue
    is_booked = share.booked == 1 and columns.counters[0].open_bookings > 0
    if record.dirty == ANEW or is_booked or columns.jobs[job].next != NONE or from_elsewhere:
        record.dirty = ANEW
        # The share may be judged before that pass begins; then it must not look as if nothing were left to try there.
        share.cursor_pass = NONE
        return
    record.dirty = ARRIVALS
    if share.cursor_pass == record.pass_number and share.cursor == NONE and share.closed == 0:
        share.cursor = job


@compiled
def take_from_queue(columns: Columns, job: int) -> None:
    """Take a job out of its queue, because it starts, claims, is held or goes."""
    record = columns.jobs[job]
    queue = record.queue
    share = columns.shares[queue]
    if share.cursor == job:
        share.cursor = record.next
    gpu_class = queue // columns.counters[0].shares
    if record.gpus_milli < WHOLE:
        columns.classes[gpu_class].parts_waiting -= 1
    dequeue(columns, job)
    if record.least_nodes > 0:
        end_waiting(columns, job)
    touch(columns, queue, QUEUE_TOUCHED)
    _count_waiting(columns, queue, -1)
    if share.queued == 0:
        _deactivate(columns, gpu_class, queue)


@compiled
def _count_waiting(columns: Columns, share: int, change: int) -> None:
    at = share
    while at != NONE:
        columns.shares[at].waiting += change
        at = columns.shares[at].parent


@compiled
def _activate(columns: Columns, gpu_class: int, share: int) -> None:
    first = columns.classes[gpu_class].first_active
    columns.shares[share].previous_active = NONE
    columns.shares[share].next_active = first
    if first != NONE:
        columns.shares[first].previous_active = share
    columns.classes[gpu_class].first_active = share
    columns.classes[gpu_class].active += 1


@compiled
def _deactivate(columns: Columns, gpu_class: int, share: int) -> None:
    record = columns.shares[share]
    columns.classes[gpu_class].active -= 1
    if record.previous_active == NONE:
        columns.classes[gpu_class].first_active = record.next_active
    else:
        columns.shares[record.previous_active].next_active = record.next_active
    if record.next_active != NONE:
        columns.shares[record.next_active].previous_active = record.previous_active


@entry_point
def start(columns: Columns, job: int, gpu_class: int, now_ms: int) -> None:
    """A queued job (or a new copy of one) whose allocations are complete begins its next attempt."""
    if columns.jobs[job].queue != NONE:
        take_from_queue(columns, job)
    record = columns.jobs[job]
    share = share_row(columns, job, gpu_class)
    amount = demand_milli(columns, job)
    record.borrowed = 0 if within_guarantee(columns.shares, share, amount) else 1
    record.gpu_class = gpu_class
    set_charged(columns, job, 1, now_ms)
    _begin_attempt(columns, job, now_ms)


@compiled
def _begin_attempt(columns: Columns, job: int, now_ms: int) -> None:
    record = columns.jobs[job]
    record.state = RUNNING
    record.attempt += 1
    record.started_ms = now_ms
    record.expected_end_ms = now_ms + record.limit_ms
    record.stop_reason = STOP_NONE
    note_other_end(columns, job)
    if record.first_started_ms == NONE:
        record.first_started_ms = now_ms
        if record.template != NONE and columns.jobs[record.template].first_started_ms == NONE:
            columns.jobs[record.template].first_started_ms = now_ms
    record.pool = columns.nodes[columns.allocations[record.first_allocation].node].pool
    set_timer(columns, job, record.expected_end_ms)
    if record.preemptible == 1:
        add_preemptible(columns, job, share_row(columns, job, record.gpu_class))


@entry_point
def claim(columns: Columns, job: int, gpu_class: int, expected_start_ms: int, now_ms: int) -> None:
    """A queued job takes hold of GPUs that its guarantee gets back; it starts when the last victim has yielded."""
    if columns.jobs[job].queue != NONE:
        take_from_queue(columns, job)
    record = columns.jobs[job]
    counters = columns.counters[0]
    record.state = CLAIMED
    record.gpu_class = gpu_class
    record.borrowed = 0
    record.first_victim = NONE
    record.victims_left = 0
    record.expected_end_ms = expected_start_ms + record.limit_ms
    note_other_end(columns, job)
    set_charged(columns, job, 1, now_ms)
    record.next = NONE
    record.previous = counters.last_claim
    if counters.last_claim == NONE:
        counters.first_claim = job
    else:
        columns.jobs[counters.last_claim].next = job
    counters.last_claim = job


@compiled
def _leave_claims(columns: Columns, job: int) -> None:
    record = columns.jobs[job]
    counters = columns.counters[0]
    if record.previous == NONE:
        counters.first_claim = record.next
    else:
        columns.jobs[record.previous].next = record.next
    if record.next == NONE:
        counters.last_claim = record.previous
    else:
        columns.jobs[record.next].previous = record.previous
    record.next = NONE
    record.previous = NONE


@compiled
def claim_is_complete(columns: Columns, job: int) -> bool:
    """True when every victim has yielded and every GPU is held."""
    if columns.jobs[job].victims_left > 0:
        return False
    at = columns.jobs[job].first_allocation
    while at != NONE:
        record = columns.allocations[at]
        if bits(record.gpu_mask) < record.wanted:
            return False
        at = record.next_of_job
    return True


@entry_point
def start_claimed(columns: Columns, job: int, now_ms: int) -> None:
    """A claim is complete: the job begins its next attempt."""
    _leave_claims(columns, job)
    _begin_attempt(columns, job, now_ms)


@entry_point
def warn(columns: Columns, job: int, claimant: int, stop_at_ms: int, now_ms: int) -> None:
    """A borrower will be stopped at `stop_at_ms` for the claimant's sake.

    Quota changes hands now, GPUs when the borrower yields: what is promised is never promised twice.
    """
    record = columns.jobs[job]
    set_charged(columns, job, 0, now_ms)
    if may_be_preempted(columns, job):
        drop_preemptible(columns, job, share_row(columns, job, columns.jobs[job].gpu_class))
    record.state = WARNED
    record.claimant = claimant
    owner = columns.jobs[claimant]
    record.next_victim = owner.first_victim
    owner.first_victim = job
    owner.victims_left += 1
    count_reclaimed(columns, share_row(columns, claimant, record.gpu_class), demand_milli(columns, job), now_ms)
    set_timer(columns, job, min(record.expected_end_ms, stop_at_ms))
    record.expected_end_ms = min(record.expected_end_ms, stop_at_ms + columns.counters[0].grace_ms)
    note_other_end(columns, job)
    mark_dirty(columns, record.gpu_class)


@entry_point
def warn_of_booking(columns: Columns, job: int, stop_at_ms: int) -> None:
    """A job will be stopped at `stop_at_ms`, because its node is reserved. Nobody claims its quota: it keeps it."""
    record = columns.jobs[job]
    if may_be_preempted(columns, job):
        drop_preemptible(columns, job, share_row(columns, job, record.gpu_class))
    record.state = WARNED
    record.claimant = NONE
    record.stop_reason = STOP_RESERVED
    set_timer(columns, job, min(record.expected_end_ms, stop_at_ms))
    record.expected_end_ms = min(record.expected_end_ms, stop_at_ms + columns.counters[0].grace_ms)
    note_other_end(columns, job)


@entry_point
def warn_of_resize(columns: Columns, job: int, stop_at_ms: int) -> None:
    """An elastic job will be stopped at `stop_at_ms` to go on with more nodes. It keeps its quota until then."""
    record = columns.jobs[job]
    drop_preemptible(columns, job, share_row(columns, job, record.gpu_class))
    record.state = WARNED
    record.claimant = NONE
    record.stop_reason = STOP_RESIZED
    record.resize_at_ms = stop_at_ms
    columns.classes[record.gpu_class].resizing = job


@entry_point
def spare(columns: Columns, job: int, now_ms: int) -> None:
    """A warned job goes on undisturbed."""
    record = columns.jobs[job]
    set_charged(columns, job, 1, now_ms)
    record.state = RUNNING
    record.stop_reason = STOP_NONE
    record.claimant = NONE
    record.expected_end_ms = record.started_ms + record.limit_ms
    note_other_end(columns, job)
    set_timer(columns, job, record.expected_end_ms)
    if record.preemptible == 1:
        add_preemptible(columns, job, share_row(columns, job, record.gpu_class))


@entry_point
def stop(columns: Columns, job: int, reason: int, now_ms: int) -> None:
    """A running attempt was told to end; its GPUs stay its own until it has."""
    if may_be_preempted(columns, job):
        drop_preemptible(columns, job, share_row(columns, job, columns.jobs[job].gpu_class))
    record = columns.jobs[job]
    record.state = STOPPING
    record.stop_reason = reason
    record.expected_end_ms = now_ms + columns.counters[0].grace_ms
    note_other_end(columns, job)
    clear_timer(columns, job)


@entry_point
def ask_to_stop(columns: Columns, job: int, reason: int, now_ms: int) -> None:
    """Have the next decision stop a running attempt."""
    columns.jobs[job].stop_reason = reason
    set_timer(columns, job, now_ms)


@entry_point
def release(columns: Columns, job: int, now_ms: int) -> None:
    """An attempt (or a claim) is over: GPUs, quota and timer are let go. The caller says what comes next."""
    record = columns.jobs[job]
    if may_be_preempted(columns, job):
        drop_preemptible(columns, job, share_row(columns, job, columns.jobs[job].gpu_class))
    clear_timer(columns, job)
    gpu_class = record.gpu_class
    at = record.first_allocation
    record.first_allocation = NONE
    while at != NONE:
        following = columns.allocations[at].next_of_job
        let_go(columns, at)
        at = following
    set_charged(columns, job, 0, now_ms)
    if record.claimant != NONE:
        columns.jobs[record.claimant].victims_left -= 1
        _forget_victim(columns, record.claimant, job)
        record.claimant = NONE
    record.gpu_class = NONE
    record.pool = NONE
    mark_dirty(columns, gpu_class)


@compiled
def _forget_victim(columns: Columns, claimant: int, job: int) -> None:
    jobs = columns.jobs
    if jobs[claimant].first_victim == job:
        jobs[claimant].first_victim = jobs[job].next_victim
    else:
        at = jobs[claimant].first_victim
        while jobs[at].next_victim != job:
            at = jobs[at].next_victim
        jobs[at].next_victim = jobs[job].next_victim
    jobs[job].next_victim = NONE


@entry_point
def dissolve(columns: Columns, job: int, now_ms: int) -> None:
    """A claim is given up: what it held is let go, and the next decision spares victims that were not stopped yet."""
    record = columns.jobs[job]
    at = record.first_victim
    while at != NONE:
        victim = columns.jobs[at]
        following = victim.next_victim
        victim.claimant = NONE
        victim.next_victim = NONE
        if victim.state == WARNED:
            set_timer(columns, at, now_ms)
        at = following
    record.first_victim = NONE
    record.victims_left = 0
    _leave_claims(columns, job)
    release(columns, job, now_ms)


@compiled
def set_aside(columns: Columns, job: int, state: int) -> None:
    """A job that holds nothing leaves the queue for good (GONE) or for a while (HELD)."""
    queue = columns.jobs[job].queue
    if queue != NONE:
        take_from_queue(columns, job)
        columns.classes[queue // columns.counters[0].shares].dirty = ANEW
    columns.jobs[job].state = state


@entry_point
def withdraw(columns: Columns, job: int, now_ms: int, reason: int) -> int:
    """Someone wants a job gone: at once if it holds nothing, else by the next decision. Returns its state."""
    record = columns.jobs[job]
    if record.state == QUEUED or record.state == HELD or record.state == SPENT:
        set_aside(columns, job, GONE)
    elif record.state == CLAIMED:
        dissolve(columns, job, now_ms)
        record.state = GONE
    elif record.state != STOPPING and record.state != GONE:
        ask_to_stop(columns, job, reason, now_ms)
    return record.state


@entry_point
def next_due_ms(columns: Columns) -> int:
    """When `decide` has something to do by itself; NEVER if nothing is due."""
    counters = columns.counters[0]
    due = min(counters.wake_ms, counters.booking_wake_ms, counters.resize_wake_ms)
    if counters.timers > 0:
        due = min(due, columns.timer_due_ms[0])
    return min(due, NEVER)
