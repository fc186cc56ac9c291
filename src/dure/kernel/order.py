"""Whose turn it is.

Within a share, jobs are tried by priority, then in the order of submission. Among shares, first those whose next job is
within a guarantee, then everybody else. Both walk down the share tree; at each step the child goes first that has a
job within a guarantee, then one below its guarantee, then the one that used least lately for its weight. All ties go to
the share that comes first in the document. Where only what is left of an inner share's guarantee covers a job, and the
next job of the child whose turn it is asks for more, the child with the smallest next job goes.

Under a policy that orders by priority, guarantees count for nothing: among the shares' next jobs, the one with the
highest priority goes first, as in one queue that is sorted anew at every step.

A pass tries each job at most once, and goes on when jobs arrive; it begins anew when something was given back.
"""

from __future__ import annotations

from dure.kernel.priority import priority
from dure.kernel.winners import (
    COVERED,
    FAIREST,
    SMALLEST,
    begin_period,
    covers_smallest,
    judge_touched,
    next_job,
    winner,
)
from dure.world.columns import NONE, ORDER_PRIORITY, Columns
from dure.world.compiled import compiled, entry_point
from dure.world.quota import QUEUE_TOUCHED, touch


@compiled
def begin_pass(columns: Columns, gpu_class: int) -> None:
    """Forget what the previous pass of this class tried."""
    record = columns.classes[gpu_class]
    columns.counters[0].passes += 1
    record.pass_number = columns.counters[0].passes
    record.budget = columns.counters[0].backfill_depth
    record.blocked = NONE
    record.unreserved = NONE
    while record.first_passed != NONE:
        share = record.first_passed
        record.first_passed = columns.shares[share].next_passed
        columns.shares[share].passed = 0
        touch(columns, share, QUEUE_TOUCHED)


@compiled
def skip_job(columns: Columns, share: int, deepest: int) -> None:
    """The share's next job cannot start: go on with the one behind it, unless `deepest` have failed already."""
    record = columns.shares[share]
    record.cursor = columns.jobs[record.cursor].next
    record.failures += 1
    _note_passed(columns, share)
    if record.failures >= deepest:
        skip_share(columns, share)


@compiled
def skip_share(columns: Columns, share: int) -> None:
    """Try nothing more of this share's queue in this pass."""
    columns.shares[share].cursor = NONE
    columns.shares[share].closed = 1
    _note_passed(columns, share)


@compiled
def _note_passed(columns: Columns, share: int) -> None:
    """The pass is no longer at the beginning of a share's queue; the next one will be."""
    record = columns.shares[share]
    touch(columns, share, QUEUE_TOUCHED)
    if record.passed == 0:
        gpu_class = columns.classes[share // columns.counters[0].shares]
        record.passed = 1
        record.next_passed = gpu_class.first_passed
        gpu_class.first_passed = share


@compiled
def next_guaranteed_share(columns: Columns, gpu_class: int, now_ms: int) -> int:
    """The share whose turn it is among those whose next job is within a guarantee; NONE if there is none."""
    if columns.counters[0].order == ORDER_PRIORITY:
        return NONE
    begin_period(columns, gpu_class, now_ms)
    judge_touched(columns, now_ms)
    shares = columns.shares
    at = winner(columns, FAIREST, columns.classes[gpu_class].root)
    if at == NONE or shares[at].standing != COVERED:
        return NONE
    while not covers_smallest(shares, at):
        at = winner(columns, FAIREST, at)
    left = shares[at].guarantee - shares[at].used
    while shares[at].children > 0:
        child = winner(columns, FAIREST, at)
        at = child if shares[child].smallest <= left else winner(columns, SMALLEST, at)
    return at


@entry_point
def next_share(columns: Columns, gpu_class: int, now_ms: int) -> int:
    """The share whose turn it is, walking down from the root; NONE when every waiting job was tried."""
    if columns.counters[0].order == ORDER_PRIORITY:
        return _share_of_highest_priority(columns, gpu_class, now_ms)
    begin_period(columns, gpu_class, now_ms)
    judge_touched(columns, now_ms)
    at = columns.classes[gpu_class].root
    while columns.shares[at].children > 0:
        at = winner(columns, FAIREST, at)
        if at == NONE:
            return NONE
    return at if next_job(columns, at) != NONE else NONE


@compiled
def _share_of_highest_priority(columns: Columns, gpu_class: int, now_ms: int) -> int:
    """Of the shares with a job to try, the one whose next job has the highest priority; ties: submitted first."""
    best = NONE
    best_job = NONE
    best_priority = 0
    at = columns.classes[gpu_class].first_active
    while at != NONE:
        job = next_job(columns, at)
        if job != NONE:
            own = priority(columns, at, job, now_ms)
            earlier = best != NONE and columns.jobs[job].sequence < columns.jobs[best_job].sequence
            if best == NONE or own > best_priority or (own == best_priority and earlier):
                best = at
                best_job = job
                best_priority = own
        at = columns.shares[at].next_active
    return best
