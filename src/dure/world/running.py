"""Each share's list of its own running jobs that may be preempted, latest start first.

Reclaim walks the shares that borrow and finds victims here, so it looks at nobody else's jobs.
"""

from __future__ import annotations

from dure.world.columns import NONE, RUNNING, Columns
from dure.world.compiled import compiled, entry_point
from dure.world.elastic import forget_growing, note_growing


@compiled
def may_be_preempted(columns: Columns, job: int) -> bool:
    """True while a job runs, may be preempted and was not warned yet."""
    record = columns.jobs[job]
    return record.state == RUNNING and record.preemptible == 1


@entry_point
def add_preemptible(columns: Columns, job: int, share: int) -> None:
    """A job of `share` (a row of its class's tree) may be preempted from now on."""
    record = columns.jobs[job]
    owner = columns.shares[share]
    record.previous = NONE
    record.next = owner.first_running
    if record.next != NONE:
        columns.jobs[record.next].previous = job
    owner.first_running = job
    if record.least_nodes > 0:
        note_growing(columns, job)


@compiled
def drop_preemptible(columns: Columns, job: int, share: int) -> None:
    """A job may no longer be preempted: it was warned, is stopped, or has ended."""
    record = columns.jobs[job]
    if record.previous == NONE:
        columns.shares[share].first_running = record.next
    else:
        columns.jobs[record.previous].next = record.next
    if record.next != NONE:
        columns.jobs[record.next].previous = record.previous
    record.previous = NONE
    record.next = NONE
    if record.least_nodes > 0:
        forget_growing(columns, job)
