"""Many jobs from one row: the tasks of an array and the replicas of a service are copies of a template row.

A template stands in its share's queue while it still wants copies. When one of them starts or claims, it takes a free
row and becomes a job like any other; the template counts down, and leaves the queue when nothing more is wanted. So an
array costs one row in the queue and one per task that has begun and is not over, and a start costs the same however
many tasks there are. Copies are numbered upwards, and no number is given out twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from dure.model.units import DAY_MS
from dure.world.columns import (
    CLAIMED,
    GONE,
    HELD,
    NONE,
    QUEUED,
    RUNNING,
    SPENT,
    STOP_NONE,
    STOP_SCALED_DOWN,
    WARNED,
    Columns,
    Integers,
)
from dure.world.compiled import compiled, entry_point
from dure.world.transitions import (
    clear_timer,
    dissolve,
    put_in_queue,
    set_aside,
    set_timer,
    stop,
    take_from_queue,
)


def copy_name(template: str, number: int) -> str:
    """The id of a task or replica: number 3 of `j5` is `j5_3`."""
    return f"{template}_{number}"


def split_copy(job: str) -> tuple[str, int]:
    """The id of the array or service, and the number: `j5_3` is `j5` and 3. What is neither has the number NONE."""
    template, _, number = job.rpartition("_")
    return (template, int(number)) if template and number.isascii() and number.isdecimal() else (job, NONE)


@entry_point
def take_row(columns: Columns) -> int:
    """A row of `jobs` that nobody uses, or NONE."""
    counters = columns.counters[0]
    row = counters.first_free_job
    if row != NONE:
        counters.first_free_job = columns.jobs[row].next
        columns.jobs[row].next = NONE
    return row


@entry_point
def take_rows(columns: Columns, rows: Integers) -> int:
    """Fill `rows` with rows of `jobs` that nobody uses, as long as there are any. Returns how many."""
    for taken in range(len(rows)):
        rows[taken] = take_row(columns)
        if rows[taken] == NONE:
            return taken
    return len(rows)


@entry_point
def give_row_back(columns: Columns, row: int) -> None:
    """A job is over: its row is the next to be taken."""
    columns.jobs[row].state = GONE
    columns.jobs[row].next = columns.counters[0].first_free_job
    columns.counters[0].first_free_job = row


@compiled
def lacks_room(columns: Columns, job: int) -> bool:
    """True when a template's next copy has no free row, or no records for its nodes: the columns must grow first.

    Jobs with GPUs hold no more nodes than there are GPUs, for which there always are records.
    """
    return columns.jobs[job].copies > 0 and lacks_room_for_one(columns, job)


@entry_point
def lacks_room_for_one(columns: Columns, job: int) -> bool:
    """True when there is no free row for one more copy of a template, or too few records for its nodes."""
    record = columns.jobs[job]
    if record.gpus_milli > 0 or columns.counters[0].first_free_job == NONE:
        return columns.counters[0].first_free_job == NONE
    wanted = record.nodes
    at = columns.counters[0].first_free_allocation
    while at != NONE and wanted > 0:
        wanted -= 1
        at = columns.allocations[at].next_of_job
    return wanted > 0


@compiled
def to_start(columns: Columns, job: int) -> int:
    """The row that starts or claims when it is a job's turn: its own, or of a template that of its next copy."""
    return job if columns.jobs[job].copies == 0 else next_copy(columns, job)


@entry_point
def next_copy(columns: Columns, job: int) -> int:
    """The next copy of a template, in a row of its own. There must be a free one."""
    row = take_row(columns)
    columns.jobs[row] = columns.jobs[job]
    copy = columns.jobs[row]
    copy.template = job
    copy.copies = copy.live_copies = 0
    copy.first_copy = copy.first_skipped = copy.step = NONE
    copy.queue = copy.left = copy.right = copy.previous = copy.next = NONE
    _join_copies(columns, job, row)
    template = columns.jobs[job]
    template.number += 1
    template.live_copies += 1
    template.copies = max(0, template.copies - 1)
    _pass_over_skipped(columns, job)
    _leave_queue_when_spent(columns, job)
    return row


@compiled
def _join_copies(columns: Columns, template: int, row: int) -> None:
    first = columns.jobs[template].first_copy
    columns.jobs[row].previous_copy = NONE
    columns.jobs[row].next_copy = first
    if first != NONE:
        columns.jobs[first].previous_copy = row
    columns.jobs[template].first_copy = row


@entry_point
def leave_copies(columns: Columns, row: int) -> None:
    """A task or replica is over: its template knows it no more."""
    copy = columns.jobs[row]
    template = columns.jobs[copy.template]
    if copy.previous_copy == NONE:
        template.first_copy = copy.next_copy
    else:
        columns.jobs[copy.previous_copy].next_copy = copy.next_copy
    if copy.next_copy != NONE:
        columns.jobs[copy.next_copy].previous_copy = copy.previous_copy
    if copy.stop_reason != STOP_SCALED_DOWN:
        template.live_copies -= 1
    copy.template = copy.next_copy = copy.previous_copy = NONE


@compiled
def _leave_queue_when_spent(columns: Columns, job: int) -> None:
    template = columns.jobs[job]
    if template.copies == 0 and template.state == QUEUED:
        take_from_queue(columns, job)
        template.state = SPENT


@entry_point
def skip_number(columns: Columns, job: int, number: int) -> bool:
    """A task of an array must never start, because somebody cancelled it before it did. Needs a free row.

    False when it had been skipped before.
    """
    template = columns.jobs[job]
    before = NONE
    at = template.first_skipped
    while at != NONE and columns.jobs[at].number < number:
        before = at
        at = columns.jobs[at].next
    if at != NONE and columns.jobs[at].number == number:
        return False
    row = take_row(columns)
    columns.jobs[row].state = GONE
    columns.jobs[row].number = number
    columns.jobs[row].next = at
    if before == NONE:
        template.first_skipped = row
    else:
        columns.jobs[before].next = row
    template.copies -= 1
    _pass_over_skipped(columns, job)
    _leave_queue_when_spent(columns, job)
    return True


@entry_point
def let_in(columns: Columns, job: int) -> None:
    """A template may start its copies: it queues if it wants any."""
    if columns.jobs[job].copies > 0:
        put_in_queue(columns, job)
    else:
        columns.jobs[job].state = SPENT


@entry_point
def retire(columns: Columns, job: int) -> None:
    """Nothing of a template will start any more: its numbers to skip and its load profile are let go."""
    clear_timer(columns, job)
    record = columns.jobs[job]
    at = record.first_skipped
    while at != NONE:
        following = columns.jobs[at].next
        give_row_back(columns, at)
        at = following
    record.first_skipped = NONE
    record.copies = 0
    if record.step != NONE:
        last = record.step
        while columns.steps[last].next != record.step:
            last = columns.steps[last].next
        columns.steps[last].next = columns.counters[0].first_free_step
        columns.counters[0].first_free_step = record.step
        record.step = NONE


def lay_steps(columns: Columns, job: int, steps: Sequence[tuple[int, int]]) -> None:
    """Give a service its load profile: (milliseconds of the day in UTC, replicas), in the order of the day.

    There must be as many free steps.
    """
    counters, rows = columns.counters[0], []
    for at_ms, replicas in steps:
        row = int(counters.first_free_step)
        counters.first_free_step = columns.steps[row].next
        columns.steps[row].at_ms, columns.steps[row].replicas = at_ms, replicas
        rows.append(row)
    for row, following in zip(rows, rows[1:] + rows[:1], strict=True):
        columns.steps[row].next = following
    columns.jobs[job].step = rows[0]


@compiled
def _pass_over_skipped(columns: Columns, job: int) -> None:
    template = columns.jobs[job]
    at = template.first_skipped
    while at != NONE and columns.jobs[at].number == template.number:
        template.first_skipped = columns.jobs[at].next
        template.number += 1
        give_row_back(columns, at)
        at = template.first_skipped


@entry_point
def follow_profile(columns: Columns, service: int, now_ms: int) -> None:
    """Bring a service to the step of its load profile that holds now, and have it want as many replicas as that says.

    Sets its timer to the next step. Replicas beyond what is wanted are the caller's business: see `least_needed`.
    """
    record = columns.jobs[service]
    steps = columns.steps
    of_day_ms = now_ms % DAY_MS
    first = record.step
    best = first
    at = steps[first].next
    while at != first:
        if _held_since(steps[at].at_ms, of_day_ms) < _held_since(steps[best].at_ms, of_day_ms):
            best = at
        at = steps[at].next
    record.step = best
    if steps[best].next != best:
        until_ms = (steps[steps[best].next].at_ms - of_day_ms - 1) % DAY_MS + 1
        set_timer(columns, service, now_ms + until_ms)
    want_replicas(columns, service)


@compiled
def _held_since(at_ms: int, of_day_ms: int) -> int:
    """For how long a step that begins at `at_ms` of the day has held."""
    return (of_day_ms - at_ms) % DAY_MS


@entry_point
def want_replicas(columns: Columns, service: int) -> None:
    """Have a service stand in the queue if, and only if, it has fewer replicas than it wants."""
    record = columns.jobs[service]
    record.copies = max(0, columns.steps[record.step].replicas - record.live_copies)
    if record.copies > 0 and record.state == SPENT:
        put_in_queue(columns, service)
    else:
        _leave_queue_when_spent(columns, service)


@compiled
def has_too_many(columns: Columns, service: int) -> bool:
    """True when a service has more replicas than its profile wants now."""
    record = columns.jobs[service]
    return record.live_copies > columns.steps[record.step].replicas


@compiled
def least_needed(columns: Columns, service: int) -> int:
    """The replica to stop first: one that waits, then one that claims, then a warned one, then one that runs.

    Among equals the one with the highest number. NONE when all that are left are stopping already.
    """
    best = NONE
    best_rank = NONE
    at = columns.jobs[service].first_copy
    while at != NONE:
        rank = _rank_to_stop(columns, at)
        number = columns.jobs[at].number
        if rank > best_rank or (rank == best_rank and rank != NONE and number > columns.jobs[best].number):
            best = at
            best_rank = rank
        at = columns.jobs[at].next_copy
    return best


@compiled
def _rank_to_stop(columns: Columns, replica: int) -> int:
    record = columns.jobs[replica]
    if record.state == HELD or record.state == QUEUED:
        return 3
    if record.state == CLAIMED:
        return 2
    if record.stop_reason != STOP_NONE:
        return NONE
    if record.state == WARNED:
        return 1
    return 0 if record.state == RUNNING else NONE


@entry_point
def scale_down(columns: Columns, replica: int, now_ms: int) -> None:
    """A replica is not wanted any more: it stops if it runs, and is gone at once if it holds nothing."""
    record = columns.jobs[replica]
    columns.jobs[record.template].live_copies -= 1
    if record.state == RUNNING or record.state == WARNED:
        stop(columns, replica, STOP_SCALED_DOWN, now_ms)
    elif record.state == CLAIMED:
        dissolve(columns, replica, now_ms)
        record.state = GONE
    else:
        set_aside(columns, replica, GONE)
    record.stop_reason = STOP_SCALED_DOWN
