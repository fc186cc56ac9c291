"""Elastic jobs: between `least_nodes` and `most_nodes`, as many as it was given when its attempt began.

While it waits, `nodes` is the least, so that everything which asks what a job needs sees what it cannot do without. The
kernel sets it when the job starts. Two lists say whom to look at, so that nobody looks at all jobs:

- per class, the running jobs that may grow: they have fewer nodes than they may, are preemptible, and save their work
  when warned;
- the latest jobs that wait because an attempt ended for no fault of theirs: some of their nodes were taken back or
  lost, or they are to have more. They go on before others who borrow, for a while.
"""

from __future__ import annotations

from dure.world.columns import MOST_RETURNED, NONE, RUNNING, STOPPING, Columns
from dure.world.compiled import compiled


@compiled
def begin_waiting(columns: Columns, job: int) -> None:
    """An elastic job enters the queue: it asks for its least, and is listed if an attempt of it just ended."""
    record = columns.jobs[job]
    counters = columns.counters[0]
    record.nodes = record.least_nodes
    if RUNNING <= record.state <= STOPPING:
        if counters.returned == MOST_RETURNED:
            _strike(columns, 0)
        columns.returned[counters.returned] = job
        counters.returned += 1


@compiled
def end_waiting(columns: Columns, job: int) -> None:
    """An elastic job leaves the queue: it is listed no more."""
    for place in range(columns.counters[0].returned):
        if columns.returned[place] == job:
            _strike(columns, place)
            return


@compiled
def _strike(columns: Columns, place: int) -> None:
    counters = columns.counters[0]
    counters.returned -= 1
    for later in range(place, counters.returned):
        columns.returned[later] = columns.returned[later + 1]


@compiled
def goes_on_until_ms(columns: Columns, job: int) -> int:
    """How long a job that came back goes before others who borrow: warning and grace from when it had to be gone."""
    counters = columns.counters[0]
    return columns.jobs[job].expected_end_ms + counters.warning_ms + counters.grace_ms


@compiled
def _may_grow(columns: Columns, job: int) -> bool:
    """True when a job has fewer nodes than it may have and saves when warned: alike as long as an attempt runs."""
    record = columns.jobs[job]
    return record.nodes < record.most_nodes and record.saves_when_warned == 1


@compiled
def note_growing(columns: Columns, job: int) -> None:
    """An elastic job runs undisturbed: list it if it may grow."""
    if not _may_grow(columns, job):
        return
    record = columns.jobs[job]
    owner = columns.classes[record.gpu_class]
    record.next_growing = NONE
    record.previous_growing = owner.last_growing
    if owner.last_growing == NONE:
        owner.first_growing = job
    else:
        columns.jobs[owner.last_growing].next_growing = job
    owner.last_growing = job


@compiled
def forget_growing(columns: Columns, job: int) -> None:
    """An elastic job no longer runs undisturbed: it is listed no more."""
    if not _may_grow(columns, job):
        return
    record = columns.jobs[job]
    owner = columns.classes[record.gpu_class]
    if record.previous_growing == NONE:
        owner.first_growing = record.next_growing
    else:
        columns.jobs[record.previous_growing].next_growing = record.next_growing
    if record.next_growing == NONE:
        owner.last_growing = record.previous_growing
    else:
        columns.jobs[record.next_growing].previous_growing = record.previous_growing
    record.next_growing = NONE
    record.previous_growing = NONE
