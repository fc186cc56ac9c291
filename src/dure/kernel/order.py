"""Whose turn it is.

Within a share, jobs are tried by priority, then in the order of submission. Among shares, first those whose next job is
within a guarantee, then everybody else walking down the tree; at each step the child below its guarantee goes first,
then the one that used least lately for its weight. All ties go to the share that comes first in the document.

Under a policy that orders by priority, guarantees count for nothing: among the shares' next jobs, the one with the
highest priority goes first, as in one queue that is sorted anew at every step.

A pass tries each job at most once, and goes on when jobs arrive; it begins anew when something was given back. `tried`
counts, for each share, how many of its waiting jobs this pass gave up.
"""

from __future__ import annotations

from dure.kernel.priority import priority
from dure.world.columns import NEVER, NONE, ORDER_PRIORITY, Columns
from dure.world.compiled import compiled
from dure.world.quota import remember, within_guarantee
from dure.world.transitions import demand_milli, give_up


@compiled
def begin_pass(columns: Columns, gpu_class: int) -> None:
    """Forget what the previous pass of this class tried."""
    record = columns.classes[gpu_class]
    columns.counters[0].passes += 1
    record.pass_number = columns.counters[0].passes
    record.budget = columns.counters[0].backfill_depth
    record.blocked = NONE


@compiled
def _pass_number(columns: Columns, share: int) -> int:
    return columns.classes[share // columns.counters[0].shares].pass_number


@compiled
def next_job(columns: Columns, share: int) -> int:
    """The job of a share's own queue that this pass tries next; NONE when it has tried enough of them."""
    record = columns.shares[share]
    this_pass = _pass_number(columns, share)
    if record.cursor_pass != this_pass:
        record.cursor_pass = this_pass
        record.cursor = record.queue_first
        record.closed = 0
        record.failures = 0
    return record.cursor


@compiled
def tried(columns: Columns, share: int) -> int:
    """How many waiting jobs below a share this pass gave up."""
    record = columns.shares[share]
    return record.tried if record.tried_pass == _pass_number(columns, share) else 0


@compiled
def skip_job(columns: Columns, share: int, deepest: int) -> None:
    """The share's next job cannot start: go on with the one behind it, unless `deepest` have failed already."""
    record = columns.shares[share]
    record.cursor = columns.jobs[record.cursor].next
    record.failures += 1
    give_up(columns, share, 1)
    if record.failures >= deepest:
        skip_share(columns, share)


@compiled
def skip_share(columns: Columns, share: int) -> None:
    """Try nothing more of this share's queue in this pass."""
    record = columns.shares[share]
    record.cursor = NONE
    record.closed = 1
    give_up(columns, share, record.queued - tried(columns, share))


@compiled
def used_lately(columns: Columns, share: int, now_ms: int) -> int:
    """Usage with memory, for a share's weight: the fair-share key, smaller goes first.

    A policy that remembers nothing looks at what the share uses above its guarantee now.
    """
    record = columns.shares[share]
    if columns.counters[0].remembers == 0:
        return max(0, record.used - record.guarantee) // record.weight
    if record.usage_at_ms != now_ms:
        remember(columns, share, now_ms)
    return record.usage // record.weight


@compiled
def next_guaranteed_share(columns: Columns, gpu_class: int, now_ms: int) -> int:
    """Of the shares whose next job is within a guarantee, the one that used least lately; NONE if there is none."""
    best = NONE
    best_key = NEVER
    if columns.counters[0].order == ORDER_PRIORITY:
        return NONE
    at = columns.classes[gpu_class].first_active
    while at != NONE:
        job = next_job(columns, at)
        if job != NONE and within_guarantee(columns.shares, at, demand_milli(columns, job)):
            key = used_lately(columns, at, now_ms)
            if best == NONE or key < best_key or (key == best_key and at < best):
                best = at
                best_key = key
        at = columns.shares[at].next_active
    return best


@compiled
def next_share(columns: Columns, gpu_class: int, now_ms: int) -> int:
    """The share whose turn it is, walking down from the root; NONE when every waiting job was tried."""
    if columns.counters[0].order == ORDER_PRIORITY:
        return _share_of_highest_priority(columns, gpu_class, now_ms)
    at = columns.classes[gpu_class].root
    shares = columns.shares
    if shares[at].waiting <= tried(columns, at):
        return NONE
    while shares[at].first_child != NONE:
        best = NONE
        best_below = False
        best_key = NEVER
        child = shares[at].first_child
        while child != NONE:
            if shares[child].waiting > tried(columns, child):
                below = shares[child].used < shares[child].guarantee
                key = used_lately(columns, child, now_ms)
                if best == NONE or (below and not best_below) or (below == best_below and key < best_key):
                    best = child
                    best_below = below
                    best_key = key
            child = shares[child].next_sibling
        at = best
    return at


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
