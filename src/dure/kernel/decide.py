"""decide(world, now): one numbered paragraph.

1. Warn who must be gone when a reservation ahead of time begins. Stop what is due: warned jobs whose time has come,
   jobs over their time limit, jobs somebody wants gone, replicas of services whose load profile falls.
2. Start claimed jobs whose victims have all yielded.
3. Per GPU class that changed: first jobs on nodes that are reserved for their share now, then everyone within a
   guarantee, then the surplus in fair order. A job that fits starts; one that does not but is within its guarantee
   reclaims; the first of the others gets a reservation, and those behind it may start where they do not delay it.
   A nation may have those tried only every so often.
4. Start claims that need no victim: a guarantee outranks the reservation of a borrower.
5. Elastic jobs that have fewer nodes than they may grow where nobody waits for nodes.

Other policies leave parts of step 3 out (`dure.kernel.policies`). Under `fifo` and `sjf` it is one queue, and the first
job that does not fit stops the pass.
"""

from __future__ import annotations

from dure.kernel.bookings import fits_on_bookings, turn_bookings
from dure.kernel.elastic import place_at_size, resize
from dure.kernel.order import begin_pass, next_guaranteed_share, next_share, skip_job, skip_share
from dure.kernel.placing import occupy_chosen
from dure.kernel.plan_rows import add_row, is_full
from dure.kernel.reclaim import reclaim
from dure.kernel.reserving import begin_reservations, has_reservation, make_way_for, reserve_unreserved
from dure.kernel.scaling import keep_to_profile
from dure.kernel.winners import next_job
from dure.world.columns import (
    ANEW,
    CHOICE_BITS,
    CHOICE_MASK,
    CLEAN,
    DO_SPARE,
    DO_START,
    DO_STOP,
    NEVER,
    NONE,
    ORDER_PRIORITY,
    STOP_NONE,
    STOP_RECLAIMED,
    STOP_RESERVED,
    STOP_RESIZED,
    STOP_TIME_LIMIT,
    WARNED,
    Columns,
)
from dure.world.compiled import compiled, entry_point
from dure.world.elastic import goes_on_until_ms
from dure.world.quota import OVER_LIMIT, ROOM, shortage
from dure.world.templates import lacks_room, to_start
from dure.world.transitions import claim_is_complete, demand_milli, share_row, spare, start, start_claimed, stop

LEAST_TRIES = 4
"""Jobs of one share that are tried in vain before the share must wait, however many others there are."""

# What became of a try, worst first: a job's verdict is the best over its choices.
OVER_SHARE_LIMIT, NOT_ALLOWED_TO_BORROW, QUOTA_IN_USE, DOES_NOT_FIT, STARTED = range(5)


@entry_point
def decide_columns(columns: Columns, now_ms: int) -> int:
    """Decide everything that can be decided at `now_ms`, put it into effect, and return the number of plan rows.

    `counters.plan_full` is 1 when the plan ran out of rows: call again for the rest. `counters.needs_room` is 1 as well
    when it was an array that found no free row for its next task: then call with larger columns.
    """
    counters = columns.counters[0]
    counters.now_ms = now_ms
    counters.plan_rows = 0
    counters.plan_full = 0
    counters.needs_room = 0
    counters.decisions += 1
    if counters.wake_ms <= now_ms:
        counters.wake_ms = NEVER
        for gpu_class in range(counters.classes):
            columns.classes[gpu_class].dirty = ANEW
    if counters.booking_wake_ms <= now_ms:
        turn_bookings(columns, now_ms)
    _stop_what_is_due(columns, now_ms)
    _start_complete_claims(columns, now_ms)
    if counters.order >= ORDER_PRIORITY:
        for gpu_class in range(counters.classes):
            if columns.classes[gpu_class].dirty != CLEAN:
                _share_out(columns, gpu_class, now_ms)
    else:
        _start_in_order(columns, now_ms)
    _start_complete_claims(columns, now_ms)
    if counters.plan_full == 0:
        _resize(columns, now_ms)
    return counters.plan_rows


@compiled
def _stop_what_is_due(columns: Columns, now_ms: int) -> None:
    while columns.counters[0].timers > 0 and columns.timer_due_ms[0] <= now_ms:
        job = columns.timer_job[0]
        record = columns.jobs[job]
        if record.step != NONE:
            keep_to_profile(columns, job, now_ms)
            if is_full(columns):
                columns.counters[0].plan_full = 1
                return
            continue
        if record.state == WARNED and record.claimant == NONE and record.stop_reason == STOP_NONE:
            spare(columns, job, now_ms)
            add_row(columns, DO_SPARE, job, NONE, NEVER, 0)
            continue
        if record.stop_reason == STOP_NONE or record.stop_reason == STOP_RESERVED or record.stop_reason == STOP_RESIZED:
            if now_ms >= record.started_ms + record.limit_ms:
                record.stop_reason = STOP_TIME_LIMIT
            elif record.stop_reason == STOP_NONE:
                record.stop_reason = STOP_RECLAIMED
        stop(columns, job, record.stop_reason, now_ms)
        add_row(columns, DO_STOP, job, NONE, now_ms, record.stop_reason)
        if is_full(columns):
            columns.counters[0].plan_full = 1
            return


@compiled
def _start_complete_claims(columns: Columns, now_ms: int) -> None:
    job = columns.counters[0].first_claim
    while job != NONE and not is_full(columns):
        following = columns.jobs[job].next
        if claim_is_complete(columns, job):
            start_claimed(columns, job, now_ms)
            add_row(columns, DO_START, job, NONE, now_ms, 0)
        job = following


@compiled
def _share_out(columns: Columns, gpu_class: int, now_ms: int) -> None:
    record = columns.classes[gpu_class]
    record.brief = int(now_ms < record.backfill_due_ms)
    if record.dirty == ANEW:
        begin_reservations(columns, gpu_class, now_ms)
        begin_pass(columns, gpu_class)
        if record.brief == 0:
            record.backfill_due_ms = now_ms + columns.counters[0].backfill_interval_ms
        if columns.counters[0].open_bookings > 0:
            _serve_bookings(columns, gpu_class, now_ms)
    while record.budget > 0 and not (record.borrowing == 0 and _nothing_left(columns, gpu_class)):
        share = next_guaranteed_share(columns, gpu_class, now_ms)
        if share == NONE:
            break
        _serve(columns, share, gpu_class, now_ms)
        if is_full(columns):
            columns.counters[0].plan_full = 1
            return
    if columns.counters[0].returned > 0:
        _let_go_on(columns, gpu_class, now_ms)
    while record.budget > 0 and not _nothing_left(columns, gpu_class):
        if record.brief == 1 and record.blocked != NONE:
            columns.counters[0].wake_ms = min(columns.counters[0].wake_ms, record.backfill_due_ms)
            break
        share = next_share(columns, gpu_class, now_ms)
        if share == NONE:
            break
        _serve(columns, share, gpu_class, now_ms)
        if is_full(columns):
            columns.counters[0].plan_full = 1
            return
    if columns.counters[0].backfill_reservations > 1:
        reserve_unreserved(columns, gpu_class, now_ms)
    record.dirty = CLEAN


@compiled
def _let_go_on(columns: Columns, gpu_class: int, now_ms: int) -> None:
    """Elastic jobs that queue for a class and just came back start with what is left, in the order they came."""
    counters = columns.counters[0]
    place = 0
    while place < counters.returned and not is_full(columns):
        job = columns.returned[place]
        is_here = columns.jobs[job].queue // counters.shares == gpu_class
        may_go_on = (
            is_here and now_ms <= goes_on_until_ms(columns, job) and not has_reservation(columns, gpu_class, job)
        )
        if not may_go_on or _try_choices(columns, job, now_ms) != STARTED:
            # One that starts is no longer listed, and the next has its place.
            place += 1


@compiled
def _resize(columns: Columns, now_ms: int) -> None:
    """See to the elastic jobs of every class, when all the others have been decided on. One queue resizes nobody."""
    counters = columns.counters[0]
    counters.resize_wake_ms = NEVER
    if counters.order >= ORDER_PRIORITY:
        for gpu_class in range(counters.classes):
            resize(columns, gpu_class, now_ms)


@compiled
def _serve_bookings(columns: Columns, gpu_class: int, now_ms: int) -> None:
    """Jobs of shares for which nodes are reserved now start there first: nobody else may use those nodes."""
    columns.counters[0].only_booked = 1
    share = columns.classes[gpu_class].first_active
    while share != NONE:
        following = columns.shares[share].next_active
        if columns.shares[share].booked == 1:
            _start_on_bookings(columns, share, now_ms)
        share = following
    columns.counters[0].only_booked = 0


@compiled
def _start_on_bookings(columns: Columns, share: int, now_ms: int) -> None:
    """Start what fits of a share's queue, in its order, on the nodes reserved for it; give up after a few in vain."""
    failures = 0
    job = columns.shares[share].queue_first
    while job != NONE and failures < LEAST_TRIES and not is_full(columns):
        if lacks_room(columns, job):
            columns.counters[0].plan_full = columns.counters[0].needs_room = 1
            return
        following = columns.jobs[job].next
        if not fits_on_bookings(columns, job, now_ms) or _try_choices(columns, job, now_ms) != STARTED:
            failures += 1
            job = following
        elif columns.jobs[job].copies == 0:
            job = following


@compiled
def _nothing_left(columns: Columns, gpu_class: int) -> bool:
    """True when no waiting job of a class could possibly start: everyone wants whole GPUs and none is idle.

    Where several jobs keep their start, there is something left to give as long as there are reservations.
    """
    record = columns.classes[gpu_class]
    reservations = columns.counters[0].backfill_reservations
    if record.parts_waiting > 0 or (reservations > 1 and record.reserved < reservations):
        return False
    reach = columns.classes[gpu_class].reach
    for other in range(columns.counters[0].classes):
        if reach >> other & 1 and columns.classes[other].idle > 0:
            return False
    return True


@compiled
def _serve(columns: Columns, share: int, gpu_class: int, now_ms: int) -> None:
    """Try a share's next job."""
    record = columns.classes[gpu_class]
    reserve_unreserved(columns, gpu_class, now_ms)
    job = next_job(columns, share)
    if lacks_room(columns, job):
        columns.counters[0].plan_full = columns.counters[0].needs_room = 1
        return
    if record.reserved > record.renewed:
        make_way_for(columns, gpu_class, job, _has_its_turn(columns, job))
    verdict = _try_choices(columns, job, now_ms)
    columns.jobs[job].blocker = verdict
    if verdict == STARTED or (verdict >= QUOTA_IN_USE and _reclaim_choices(columns, job, now_ms)):
        return
    record.budget -= 1
    if verdict <= NOT_ALLOWED_TO_BORROW:
        # Only this share's own jobs can make room for its head, so nobody behind it in the share may pass it.
        skip_share(columns, share)
        return
    if record.blocked == NONE:
        record.blocked = job
    if record.reserved < columns.counters[0].backfill_reservations:
        record.unreserved = job
    skip_job(columns, share, max(LEAST_TRIES, columns.counters[0].backfill_depth // max(1, record.active)))


@compiled
def _try_choices(columns: Columns, job: int, now_ms: int) -> int:
    """Start a job on the first of its choices where quota and nodes allow; else say what stood in the way at best."""
    record = columns.jobs[job]
    verdict = OVER_SHARE_LIMIT
    choices = record.choices
    while choices != 0:
        gpu_class = (choices & CHOICE_MASK) - 1
        choices >>= CHOICE_BITS
        found = _quota_verdict(columns, job, gpu_class)
        if found == DOES_NOT_FIT and place_at_size(columns, job, gpu_class, now_ms + record.limit_ms):
            _start_placed(columns, job, gpu_class, now_ms)
            return STARTED
        verdict = max(verdict, found)
    return verdict


@compiled
def _quota_verdict(columns: Columns, job: int, gpu_class: int) -> int:
    """DOES_NOT_FIT when quota is no obstacle and only the nodes can be."""
    share = share_row(columns, job, gpu_class)
    amount = demand_milli(columns, job)
    if amount == 0:
        return DOES_NOT_FIT
    record = columns.shares[share]
    if columns.jobs[job].preemptible == 0 and record.used + amount > record.guarantee:
        return NOT_ALLOWED_TO_BORROW
    room = shortage(columns.shares, share, amount)
    if room == OVER_LIMIT:
        return OVER_SHARE_LIMIT
    return DOES_NOT_FIT if room == ROOM else QUOTA_IN_USE


@compiled
def _has_its_turn(columns: Columns, job: int) -> bool:
    """True unless limits of its own share hold a job off, so that others go on without it."""
    choices = columns.jobs[job].choices
    while choices != 0:
        if _quota_verdict(columns, job, (choices & CHOICE_MASK) - 1) >= QUOTA_IN_USE:
            return True
        choices >>= CHOICE_BITS
    return False


@compiled
def _reclaim_choices(columns: Columns, job: int, now_ms: int) -> bool:
    if columns.counters[0].reclaims == 0:
        return False
    choices = columns.jobs[job].choices
    while choices != 0:
        gpu_class = (choices & CHOICE_MASK) - 1
        choices >>= CHOICE_BITS
        if _quota_verdict(columns, job, gpu_class) >= QUOTA_IN_USE and reclaim(columns, job, gpu_class, now_ms):
            return True
    return False


@compiled
def _start_placed(columns: Columns, waiting: int, gpu_class: int, now_ms: int) -> None:
    job = to_start(columns, waiting)
    occupy_chosen(columns, job)
    start(columns, job, gpu_class, now_ms)
    add_row(columns, DO_START, job, NONE, now_ms, 0)


@compiled
def _start_in_order(columns: Columns, now_ms: int) -> None:
    queue = columns.classes[0].root
    while not is_full(columns):
        job = columns.shares[queue].queue_first
        if job == NONE:
            return
        if lacks_room(columns, job):
            columns.counters[0].needs_room = 1
            break
        if not _place_anywhere(columns, job, now_ms):
            return
    columns.counters[0].plan_full = 1


@compiled
def _place_anywhere(columns: Columns, job: int, now_ms: int) -> bool:
    record = columns.jobs[job]
    choices = record.choices
    while choices != 0:
        gpu_class = (choices & CHOICE_MASK) - 1
        choices >>= CHOICE_BITS
        if place_at_size(columns, job, gpu_class, now_ms + record.limit_ms):
            _start_placed(columns, job, gpu_class, now_ms)
            return True
    record.blocker = DOES_NOT_FIT
    return False
