"""What stands in a waiting job's way, found in the columns: for one job everything, for all jobs the first reason.

The same rules answer both. What depends on nodes is looked up once per shape (class, sites, nodes and how near, GPUs,
CPUs, memory) and remembered in a small table that belongs to the question, so a hundred thousand jobs of a few dozen
shapes take milliseconds. Nothing here changes the world; `explaining` puts the findings into the model's words.
"""

from __future__ import annotations

import numpy as np

from dure.kernel.decide import DOES_NOT_FIT
from dure.kernel.room import has_room
from dure.world.bookings import booked_until
from dure.world.capacity import gpus_per_node, next_node
from dure.world.columns import (
    CHOICE_BITS,
    CHOICE_MASK,
    CLAIMED,
    HELD,
    MOST_LEVELS,
    NEVER,
    NODE_UP,
    NONE,
    QUEUED,
    RUNNING,
    WHOLE,
    Columns,
    Integers,
    Records,
)
from dure.world.compiled import compiled, entry_point
from dure.world.quota import NOT_LENT as SHORT_OF_LOANS
from dure.world.quota import OVER_LIMIT, may_reclaim, shortage, within_guarantee
from dure.world.transitions import demand_milli, share_row
from dure.world.units import most_together, nodes_with, unit_nodes

# In the order of `model.blockers.BlockerCode`, which is the order in which they are listed. Only the world's
# cards know what a job is held for.
(
    IS_HELD,
    NO_SITE_ALLOWED,
    NO_NODE_LARGE_ENOUGH,
    NODES_OUT_OF_SERVICE,
    SHARE_LIMIT,
    NOT_LENT,
    BORROWING_NEEDS_PREEMPTIBLE,
    NOT_ENOUGH_GPUS,
    SCATTERED,
    NOT_ENOUGH_CPU_OR_MEMORY,
    WAITING_FOR_VICTIMS,
    RECLAIMED_BEFORE,
    RESERVED_IN_ADVANCE,
    BACKFILL_NOT_DUE,
    RESERVED_FOR_HEAD,
    BEHIND_IN_QUEUE,
) = range(16)

FINDING = np.dtype(
    [
        (name, np.int64)
        for name in (
            "code",  # one of the above; NONE for no reason
            "gpu_class",
            "share",  # share row it is about; NONE
            "short_milli",
            "job",  # job row it is about; NONE
            "booking",  # booking it is about; NONE
            "until_ms",  # NEVER when not known
        )
    ]
)
MOST_FINDINGS = 64
"""Eight classes with six reasons each, and some to spare."""

SHAPE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "known",
            "gpu_class",
            "sites",
            "nodes",
            "within",
            "gpus_milli",
            "cpus_milli",
            "memory_mib",
            # Nodes that may be as near together as the job wants, counted where there are most of them.
            "declared",  # able to hold one rank if they were empty, in service or not
            "large_enough",  # in service, and able to hold one rank if they were empty
            "with_gpus",  # with enough idle GPUs now
            "with_all",  # and with enough CPUs and memory beside them; counted up to `nodes`
            "idle_milli",  # idle GPUs of all its pools
        )
    ]
)
MOST_RESERVATIONS_NAMED = 8
SHAPES_REMEMBERED = 1_024
"""A power of two. Shapes that fall on the same place of the table take turns in it."""


@entry_point
def find_blockers(columns: Columns, job: int, shapes: Records, found: Records) -> int:
    """Write every reason why a queued job waits into `found`, class by class in its order; returns how many.

    Protected borrowers are left to `protected_borrowers`, because all that run must be looked at for them.
    """
    record = columns.jobs[job]
    count = 0
    if record.sites == 0:
        return _note(found, count, NO_SITE_ALLOWED, NONE, NONE, 0)
    choices = record.choices
    while choices != 0:
        count = _blockers_of_class(columns, job, (choices & CHOICE_MASK) - 1, shapes, found, count)
        choices >>= CHOICE_BITS
    if count == 0:
        count = kept_off(columns, job, found, count)
    if count == 0:
        count = _not_due(columns, job, found, count)
    if count == 0:
        count = _reservations(columns, job, found, count)
    if record.previous != NONE:
        count = _note(found, count, BEHIND_IN_QUEUE, NONE, record.queue, 0)
    if count == 0 and record.blocker == DOES_NOT_FIT:
        # Tried in vain, though there is enough of everything somewhere: not all of it in one place.
        count = _note(found, count, SCATTERED, (record.choices & CHOICE_MASK) - 1, NONE, 0)
    return count


@entry_point
def first_blockers(columns: Columns, rows: int, shapes: Records, scratch: Records, firsts: Records) -> None:
    """For each of the first `rows` jobs that waits, the first reason; `code` is NONE for the others."""
    for job in range(rows):
        record = columns.jobs[job]
        if record.state == QUEUED:
            _take_first(scratch, find_blockers(columns, job, shapes, scratch), firsts, job)
        elif record.state == CLAIMED:
            _note(firsts, job, WAITING_FOR_VICTIMS, record.gpu_class, NONE, 0)
        elif record.state == HELD:
            _note(firsts, job, IS_HELD, NONE, NONE, 0)
        else:
            firsts[job].code = NONE


@compiled
def _take_first(found: Records, count: int, firsts: Records, job: int) -> None:
    """Keep the finding whose code is listed first; of equal ones, that of the class the job prefers."""
    first = 0
    for index in range(1, count):
        if found[index].code < found[first].code:
            first = index
    best = found[first]
    _note(firsts, job, best.code if count > 0 else NONE, best.gpu_class, best.share, best.short_milli)
    firsts[job].job = best.job
    firsts[job].booking = best.booking
    firsts[job].until_ms = best.until_ms


@compiled
def _note(found: Records, index: int, code: int, gpu_class: int, share: int, short_milli: int) -> int:
    row = found[index]
    row.code = code
    row.gpu_class = gpu_class
    row.share = share
    row.short_milli = short_milli
    row.job = NONE
    row.booking = NONE
    row.until_ms = NEVER
    return index + 1


@compiled
def _blockers_of_class(columns: Columns, job: int, gpu_class: int, shapes: Records, found: Records, count: int) -> int:
    """The reasons why a job does not start on one of its classes: first what quota says, then what nodes say."""
    record = columns.jobs[job]
    shape = shapes[_shape_of(columns, job, gpu_class, shapes)]
    if shape.large_enough < record.nodes:
        code = NODES_OUT_OF_SERVICE if shape.declared >= record.nodes else NO_NODE_LARGE_ENOUGH
        return _note(found, count, code, gpu_class, NONE, 0)
    share = share_row(columns, job, gpu_class)
    amount = demand_milli(columns, job)
    if amount > 0:
        count = _quota_blockers(columns, job, share, amount, shape.idle_milli, found, count)
    fits = shape.with_gpus >= record.nodes
    if fits and shape.with_all < record.nodes:
        count = _note(found, count, NOT_ENOUGH_CPU_OR_MEMORY, gpu_class, NONE, 0)
    elif not fits and shape.idle_milli < amount:
        count = _note(found, count, NOT_ENOUGH_GPUS, gpu_class, NONE, amount - shape.idle_milli)
    elif not fits:
        count = _note(found, count, SCATTERED, gpu_class, NONE, 0)
    wants_back = not fits and record.times_reclaimed > 0 and columns.classes[gpu_class].borrowing > 0
    if wants_back and within_guarantee(columns.shares, share, amount):
        count = _note(found, count, RECLAIMED_BEFORE, gpu_class, share, 0)
    return count


@compiled
def _quota_blockers(
    columns: Columns, job: int, share: int, amount: int, idle_milli: int, found: Records, count: int
) -> int:
    gpu_class = share // columns.counters[0].shares
    verdict = shortage(columns.shares, share, amount)
    if verdict == OVER_LIMIT:
        full = _share_at_limit(columns.shares, share, amount)
        short = columns.shares[full].used + amount - columns.shares[full].limit
        count = _note(found, count, SHARE_LIMIT, gpu_class, full, short)
    if verdict == SHORT_OF_LOANS and idle_milli >= amount:
        root = columns.shares[columns.classes[gpu_class].root]
        short = min(amount, max(0, root.drawn + amount - root.pool))
        count = _note(found, count, NOT_LENT, gpu_class, share, short)
    short = columns.shares[share].used + amount - columns.shares[share].guarantee
    if columns.jobs[job].preemptible == 0 and short > 0:
        count = _note(found, count, BORROWING_NEEDS_PREEMPTIBLE, gpu_class, share, short)
    return count


@compiled
def _share_at_limit(shares: Records, share: int, amount: int) -> int:
    at = share
    while shares[at].used + amount <= shares[at].limit:
        at = shares[at].parent
    return at


@compiled
def _not_due(columns: Columns, job: int, found: Records, count: int) -> int:
    """Nothing else is in its way: it is behind the first that does not fit, and nobody there was looked at just now."""
    gpu_class = (columns.jobs[job].choices & CHOICE_MASK) - 1
    known = columns.classes[gpu_class]
    if known.brief == 1 and known.blocked != NONE and known.blocked != job:
        count = _note(found, count, BACKFILL_NOT_DUE, gpu_class, NONE, 0)
        found[count - 1].until_ms = known.backfill_due_ms
    return count


@compiled
def _reservations(columns: Columns, job: int, found: Records, count: int) -> int:
    """Nothing else is in its way: it would delay jobs that hold reservations, the first few of which are named."""
    named = 0
    for row in range(columns.counters[0].classes * columns.counters[0].backfill_reservations):
        if named < MOST_RESERVATIONS_NAMED and _may_be_delayed(columns, row, job):
            reservation = columns.reservations[row]
            of_class = columns.pools[reservation.pool].gpu_class
            count = _note(found, count, RESERVED_FOR_HEAD, of_class, NONE, 0)
            found[count - 1].job = reservation.job
            found[count - 1].until_ms = reservation.shadow_ms
            named += 1
    return count


@compiled
def _may_be_delayed(columns: Columns, row: int, job: int) -> bool:
    """True when a reservation of another job may be in the way; one of several is not if the job is gone by then."""
    reservation = columns.reservations[row]
    if reservation.pool == NONE or reservation.job == job:
        return False
    ends_ms = columns.counters[0].now_ms + columns.jobs[job].limit_ms
    return columns.counters[0].backfill_reservations == 1 or ends_ms > reservation.shadow_ms


@entry_point
def kept_off(columns: Columns, job: int, found: Records, count: int) -> int:
    """Idle nodes that would do are reserved for others before the job would be gone: the booking that ends first."""
    choices = columns.jobs[job].choices
    while choices != 0 and columns.counters[0].bookings > 0:
        gpu_class = (choices & CHOICE_MASK) - 1
        choices >>= CHOICE_BITS
        booking = _opens_first(columns, job, gpu_class)
        if booking != NONE:
            count = _note(found, count, RESERVED_IN_ADVANCE, gpu_class, NONE, 0)
            found[count - 1].booking = booking
            found[count - 1].until_ms = columns.bookings[booking].until_ms
    return count


@compiled
def _opens_first(columns: Columns, job: int, gpu_class: int) -> int:
    """Of the bookings that keep a job off idle nodes of a class which would do, the one that ends first; else NONE."""
    record = columns.jobs[job]
    gpus = gpus_per_node(columns, job)
    now_ms = columns.counters[0].now_ms
    best = NONE
    for booking in range(columns.counters[0].bookings):
        booked = columns.bookings[booking]
        place = columns.nodes[booked.node]
        area = columns.pools[place.pool]
        may_run = area.gpu_class == gpu_class and record.sites >> area.site & 1 == 1
        if not may_run or place.state != NODE_UP or place.idle < gpus or not has_room(columns, job, booked.node):
            continue
        keeps_off = booked.until_ms == booked_until(columns, job, booked.node, now_ms, now_ms + record.limit_ms)
        if keeps_off and (best == NONE or booked.until_ms < columns.bookings[best].until_ms):
            best = booking
    return best


@compiled
def _shape_of(columns: Columns, job: int, gpu_class: int, shapes: Records) -> int:
    """Place in the table of what is known about the nodes for a job's shape, looked up if it is not there yet."""
    record = columns.jobs[job]
    index = _hash(record, gpu_class) & (len(shapes) - 1)
    shape = shapes[index]
    is_known = (
        shape.known == 1
        and shape.gpu_class == gpu_class
        and shape.sites == record.sites
        and shape.nodes == record.nodes
        and shape.within == record.within
        and shape.gpus_milli == record.gpus_milli
        and shape.cpus_milli == record.cpus_milli
        and shape.memory_mib == record.memory_mib
    )
    if not is_known:
        shape.known = 1
        shape.gpu_class = gpu_class
        shape.sites = record.sites
        shape.nodes = record.nodes
        shape.within = record.within
        shape.gpus_milli = record.gpus_milli
        shape.cpus_milli = record.cpus_milli
        shape.memory_mib = record.memory_mib
        _look_at_nodes(columns, job, gpu_class, shapes, index)
    return index


@compiled
def _hash(record: Records, gpu_class: int) -> int:
    """Mixes the fields of a shape; each step stays below 2**63, because factors and words have 31 bits."""
    mixed = gpu_class
    mixed = _mix(mixed, record.sites)
    mixed = _mix(mixed, record.nodes)
    mixed = _mix(mixed, record.within)
    mixed = _mix(mixed, record.gpus_milli)
    mixed = _mix(mixed, record.cpus_milli)
    return _mix(mixed, record.memory_mib)


@compiled
def _mix(mixed: int, value: int) -> int:
    word = (mixed ^ value ^ (value >> 31)) & 0x7FFFFFFF
    word = (word * 0x2C1B3C6D) & 0x7FFFFFFF
    return word ^ (word >> 15)


@compiled
def _look_at_nodes(columns: Columns, job: int, gpu_class: int, shapes: Records, index: int) -> None:
    shape = shapes[index]
    shape.declared = 0
    shape.large_enough = 0
    shape.with_gpus = 0
    shape.with_all = 0
    shape.idle_milli = 0
    gpus = gpus_per_node(columns, job)
    first = columns.classes[gpu_class].first_pool
    for pool in range(first, first + columns.classes[gpu_class].pool_count):
        area = columns.pools[pool]
        if shape.sites >> area.site & 1 == 0:
            continue
        shape.idle_milli += area.idle * WHOLE
        if area.gpus < gpus or area.cpus_milli < shape.cpus_milli or area.memory_mib < shape.memory_mib:
            continue
        together = unit_nodes(columns, pool, shape.within)
        with_gpus = most_together(columns, pool, gpus, shape.within) if gpus > 0 else nodes_with(columns, pool, 0)
        shape.declared = max(shape.declared, together)
        shape.large_enough = max(shape.large_enough, min(together, nodes_with(columns, pool, 0)))
        shape.with_gpus = max(shape.with_gpus, with_gpus)
        if with_gpus >= shape.nodes:
            shape.with_all = max(shape.with_all, _nodes_with_all(columns, job, pool, gpus, shape.nodes))


@compiled
def _nodes_with_all(columns: Columns, job: int, pool: int, gpus: int, enough: int) -> int:
    """Nodes of a pool with room for one rank in every respect, counted until there are `enough`."""
    count = 0
    for level in range(gpus, MOST_LEVELS):
        node = next_node(columns, pool, level, 0)
        while node != NONE and count < enough:
            if has_room(columns, job, node):
                count += 1
            node = next_node(columns, pool, level, columns.nodes[node].position + 1)
    return count


@entry_point
def protected_borrowers(columns: Columns, job: int, gpu_class: int, rows: int, now_ms: int, holders: Integers) -> int:
    """Jobs that would have to give GPUs back to this one, but for their protected time; returns how many were kept.

    Kept are those whose protection ends first, in that order; ties go to the lowest row.
    """
    share = share_row(columns, job, gpu_class)
    amount = demand_milli(columns, job)
    kept = 0
    if columns.classes[gpu_class].borrowing == 0 or not within_guarantee(columns.shares, share, amount):
        return 0
    for row in range(rows):
        record = columns.jobs[row]
        if record.state != RUNNING or record.preemptible == 0 or record.gpu_class != gpu_class:
            continue
        ends_ms = record.started_ms + columns.counters[0].protected_ms
        allowed = columns.jobs[job].sites >> columns.pools[record.pool].site & 1
        if ends_ms <= now_ms or allowed == 0:
            continue
        if may_reclaim(columns.shares, share, amount, share_row(columns, row, gpu_class)):
            kept = _keep_smallest(holders, kept, row, ends_ms)
    return kept


@entry_point
def largest_under(columns: Columns, share: int, rows: int, holders: Integers) -> int:
    """Jobs that hold most of what is counted against a share, largest first; returns how many were kept.

    Ties go to the lowest row.
    """
    kept = 0
    for row in range(rows):
        record = columns.jobs[row]
        if record.charged == 1 and _is_below(columns.shares, share_row(columns, row, record.gpu_class), share):
            kept = _keep_smallest(holders, kept, row, -demand_milli(columns, row))
    return kept


@compiled
def _is_below(shares: Records, at: int, share: int) -> bool:
    while at != NONE:
        if at == share:
            return True
        at = shares[at].parent
    return False


@compiled
def _keep_smallest(holders: Integers, kept: int, row: int, key: int) -> int:
    """Insert (row, key) into a short list sorted by key, which loses its last when it is full."""
    index = kept
    while index > 0 and holders[index - 1, 1] > key:
        index -= 1
    if index == len(holders):
        return kept
    last = min(kept, len(holders) - 1)
    for back in range(last, index, -1):
        holders[back, 0] = holders[back - 1, 0]
        holders[back, 1] = holders[back - 1, 1]
    holders[index, 0] = row
    holders[index, 1] = key
    return last + 1


@entry_point
def place_in_queue(columns: Columns, job: int) -> int:
    """Place in the queue of the job's own share; 1 is next, 0 when it is not in one."""
    if columns.jobs[job].queue == NONE:
        return 0
    place = 0
    at = job
    while at != NONE:
        place += 1
        at = columns.jobs[at].previous
    return place
