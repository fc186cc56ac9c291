"""Elastic jobs: between `least_nodes` and `most_nodes`, as many as it was given when its attempt began.

While it waits, `nodes` is the least, so that everything which asks what a job needs sees what it cannot do without. The
kernel sets it when the job starts. Two lists say whom to look at, so that nobody looks at all jobs:

- per class, the running jobs that may grow: they have fewer nodes than they may, are preemptible, and save their work
  when warned;
- the jobs whose attempt ended since the last decision for no fault of theirs: some of their nodes were taken back or
  lost, or they are to have more. They go on before others who borrow.
"""

from __future__ import annotations

from dure.world.columns import MOST_RETURNED, NONE, QUEUED, RUNNING, STOPPING, Columns
from dure.world.compiled import compiled, entry_point


@compiled
def begin_waiting(columns: Columns, job: int) -> None:
    """An elastic job enters the queue: it asks for its least, and goes first if an attempt of it just ended."""
    record = columns.jobs[job]
    counters = columns.counters[0]
    record.nodes = record.least_nodes
    if RUNNING <= record.state <= STOPPING and counters.returned < MOST_RETURNED:
        columns.returned[counters.returned, 0] = job
        columns.returned[counters.returned, 1] = record.sequence
        counters.returned += 1


@compiled
def returned_job(columns: Columns, place: int) -> int:
    """A job that came back since the last decision; NONE when it waits no more."""
    job = columns.returned[place, 0]
    record = columns.jobs[job]
    return job if record.state == QUEUED and record.sequence == columns.returned[place, 1] else NONE


@entry_point
def forget_returned(columns: Columns) -> None:
    """A decision was made: whoever came back had its turn."""
    columns.counters[0].returned = 0


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
