"""Whose turn it is among siblings, without looking at all of them: two winner trees per inner share.

One tree has on top the child whose turn it is: first those with a next job that a guarantee covers, then those below
their guarantee, then the others; among these, whoever used least lately for its weight; ties: document order. The other
has the child with the smallest next job on top, which tells whether any job below fits what is left of a guarantee.

What a share is judged by changes when it uses more or less, when its queue or the pass's place in it changes, and with
time. The first two put it on the list of touched shares (`quota.touch`), and only those are judged again. For the
third, time is cut into periods of about five minutes: usage is counted up to the end of the period, as if what a share
uses now went on until then, and so stays the same for as long as that does.

A winner tree over n children is an array of 2n: the children from place n on, and at i the better of 2i and 2i + 1.
(Knuth, The Art of Computer Programming, volume 3, 5.4.1.)
"""

from __future__ import annotations

from dure.world.columns import NEVER, NONE, ORDER_PRIORITY, Columns, Records
from dure.world.compiled import compiled
from dure.world.quota import UNTOUCHED, USE_TOUCHED, period_end_ms, projected_usage, touch

FAIREST, SMALLEST = range(2)
NOBODY_WAITS, AT_GUARANTEE, BELOW_GUARANTEE, COVERED = range(4)


@compiled
def winner(columns: Columns, tree: int, parent: int) -> int:
    """The child on top of a tree; NONE when none of the children has a job to be tried."""
    record = columns.shares[parent]
    if record.children == 0:
        return NONE
    child = columns.winners[tree, record.first_winner + 1]
    return NONE if columns.shares[child].standing == NOBODY_WAITS else child


@compiled
def another_is_covered(columns: Columns, share: int) -> bool:
    """True when the next job of some other share is within a guarantee: whoever lost a match on the way to the top."""
    at = share
    while columns.shares[at].parent != NONE:
        parent = columns.shares[columns.shares[at].parent]
        place = parent.children + columns.shares[at].place
        while place > 1:
            beside = columns.winners[FAIREST, parent.first_winner + (place ^ 1)]
            if columns.shares[beside].standing == COVERED:
                return True
            place //= 2
        at = columns.shares[at].parent
    return False


@compiled
def covers_smallest(shares: Records, share: int) -> bool:
    """True when what is left of a share's own guarantee covers the smallest next job below it."""
    record = shares[share]
    return record.smallest != NEVER and record.used + record.smallest <= record.guarantee


@compiled
def begin_period(columns: Columns, gpu_class: int, now_ms: int) -> None:
    """Have the shares where somebody waits judged for the period that `now_ms` is in; of the others none can win."""
    record = columns.classes[gpu_class]
    if now_ms < record.period_end_ms or columns.counters[0].order == ORDER_PRIORITY:
        return
    is_first = record.period_end_ms == 0
    record.period_end_ms = period_end_ms(record.half_life_ms, now_ms)
    if is_first:
        _plant(columns, gpu_class, now_ms)
    share = record.first_active
    while share != NONE:
        touch(columns, share, USE_TOUCHED)
        share = columns.shares[share].next_active


@compiled
def _plant(columns: Columns, gpu_class: int, now_ms: int) -> None:
    """Build all trees of a class."""
    record = columns.classes[gpu_class]
    # Children come after their parents, so going backwards judges every child before its parent.
    for share in range(record.root + columns.counters[0].shares - 1, record.root - 1, -1):
        _build(columns, FAIREST, share)
        _build(columns, SMALLEST, share)
        _judge(columns, share, now_ms, True)


@compiled
def judge_touched(columns: Columns, now_ms: int) -> None:
    """Judge the shares again that were touched, and everyone above them whom that may concern."""
    counters = columns.counters[0]
    while counters.first_touched != NONE:
        share = counters.first_touched
        counters.first_touched = columns.shares[share].next_touched
        in_use = columns.shares[share].touched == USE_TOUCHED
        columns.shares[share].touched = UNTOUCHED
        while share != NONE:
            changed = _judge(columns, share, now_ms, in_use)
            if changed == 0 and not in_use:
                break
            for tree in (FAIREST, SMALLEST):
                if columns.shares[share].parent != NONE and changed >> tree & 1 == 1:
                    _play(columns, tree, share)
            share = columns.shares[share].parent


@compiled
def _judge(columns: Columns, share: int, now_ms: int, in_use: bool) -> int:
    """Find what a share is compared by. Returns a bit for each tree in which it has to play again."""
    record = columns.shares[share]
    smallest = _smallest_job(columns, share)
    standing = NOBODY_WAITS
    if smallest != NEVER:
        covered = record.used + smallest <= record.guarantee or _has_covered_child(columns, share)
        standing = COVERED if covered else BELOW_GUARANTEE if record.used < record.guarantee else AT_GUARANTEE
    until_ms = columns.classes[share // columns.counters[0].shares].period_end_ms
    usage = record.usage_for_weight
    if in_use or record.judged_until_ms != until_ms:
        usage = _usage(columns, share, now_ms)
    record.judged_until_ms = until_ms
    changed = (smallest != record.smallest) << SMALLEST
    changed |= (standing != record.standing or usage != record.usage_for_weight) << FAIREST
    record.smallest = smallest
    record.standing = standing
    record.usage_for_weight = usage
    return changed


@compiled
def _smallest_job(columns: Columns, share: int) -> int:
    """What the smallest next job below a share asks for, in thousandths of a GPU; NEVER if there is none."""
    record = columns.shares[share]
    if record.children > 0:
        child = winner(columns, SMALLEST, share)
        return NEVER if child == NONE else columns.shares[child].smallest
    job = next_job(columns, share)
    return NEVER if job == NONE else columns.jobs[job].nodes * columns.jobs[job].gpus_milli


@compiled
def _has_covered_child(columns: Columns, share: int) -> bool:
    child = winner(columns, FAIREST, share)
    return child != NONE and columns.shares[child].standing == COVERED


@compiled
def _usage(columns: Columns, share: int, now_ms: int) -> int:
    """Usage with memory, for a share's weight: the fair-share key, smaller goes first.

    A policy that remembers nothing looks at what the share uses above its guarantee now.
    """
    record = columns.shares[share]
    if columns.counters[0].remembers == 0:
        return max(0, record.used - record.guarantee) // record.weight
    return projected_usage(columns, share, now_ms) // record.weight


@compiled
def next_job(columns: Columns, share: int) -> int:
    """The job of a share's own queue that this pass tries next; NONE when it has tried enough of them."""
    record = columns.shares[share]
    this_pass = columns.classes[share // columns.counters[0].shares].pass_number
    if record.cursor_pass != this_pass:
        record.cursor_pass = this_pass
        record.cursor = record.queue_first
        record.closed = 0
        record.failures = 0
    return record.cursor


@compiled
def _better(shares: Records, tree: int, first: int, second: int) -> bool:
    a = shares[first]
    b = shares[second]
    if tree == SMALLEST:
        return a.smallest < b.smallest or (a.smallest == b.smallest and first < second)
    if a.standing != b.standing:
        return a.standing > b.standing
    if a.usage_for_weight != b.usage_for_weight:
        return a.usage_for_weight < b.usage_for_weight
    return first < second


@compiled
def _play(columns: Columns, tree: int, share: int) -> None:
    """Play the matches on a share's way to the top again, until one goes as before and without it."""
    parent = columns.shares[columns.shares[share].parent]
    at = (parent.children + columns.shares[share].place) // 2
    while at > 0:
        before = columns.winners[tree, parent.first_winner + at]
        _match(columns, tree, parent.first_winner, at)
        if columns.winners[tree, parent.first_winner + at] == before != share:
            return
        at //= 2


@compiled
def _build(columns: Columns, tree: int, parent: int) -> None:
    """Play all matches among a share's children."""
    record = columns.shares[parent]
    for at in range(record.children - 1, 0, -1):
        _match(columns, tree, record.first_winner, at)


@compiled
def _match(columns: Columns, tree: int, first_winner: int, at: int) -> None:
    winners = columns.winners
    first = winners[tree, first_winner + 2 * at]
    second = winners[tree, first_winner + 2 * at + 1]
    winners[tree, first_winner + at] = first if _better(columns.shares, tree, first, second) else second
