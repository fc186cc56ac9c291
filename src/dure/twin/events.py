"""The twin's event loop: arrivals, ends of attempts and the kernel's own timers, compiled around `apply` and `decide`.

At one instant, attempts end first, then jobs arrive, then the kernel decides. Nothing ticks: time jumps to the next
event. The simulated engine is exact: a started job ends after the work it has left; a stopped one is gone after the
grace and keeps what it saved (everything if it saves when warned, else up to its last checkpoint).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dure.kernel.decide import decide_columns
from dure.world.columns import (
    DO_CLAIM,
    DO_SPARE,
    DO_START,
    DO_STOP,
    DO_WARN,
    GONE,
    MOST_GPUS,
    NEVER,
    NONE,
    STOP_RECLAIMED,
    STOPPING,
    Columns,
    Integers,
    Records,
    records,
)
from dure.world.compiled import compiled, entry_point
from dure.world.timers import add_timer, drop_timer
from dure.world.transitions import demand_milli, next_due_ms, put_in_queue, release

LOG_ROWS = 1 << 18
_LOG_KEPT_FREE = 1 << 17

# What the log says happened. Before a start or a claim come rows that say what it holds; a row ends each decision.
LOG_ARRIVED, LOG_FINISHED, LOG_YIELDED, LOG_OVER_TIME = range(4)
LOG_START, LOG_CLAIM, LOG_WARN, LOG_SPARE, LOG_STOP, LOG_HELD, LOG_DECIDED = range(4, 11)

DONE, PAUSED, LOG_FULL = range(3)

CLOCK = np.dtype(
    [
        (name, np.int64)
        for name in (
            "now_ms",
            "next_arrival",
            "ends",  # attempts that will end
            "allocated_milli",
            "allocated_integral",  # milli-GPU x ms
            "log_rows",
            "finished",
            "reclaimed",
            "events",
            "keep_log",
        )
    ]
)
LOG = np.dtype([(name, np.int64) for name in ("at_ms", "kind", "job", "attempt", "other", "value")])


class Run(NamedTuple):
    """What the twin keeps beside the world: its clock, the arrivals, the ends to come, and the log of what happened."""

    clock: Records
    submit_ms: Integers
    end_ms: Integers
    end_job: Integers
    end_slot: Integers
    log: Records


def new_run(submit_ms: Integers, jobs: int, keep_log: bool) -> Run:
    """A run at its beginning; `submit_ms` are the arrival times of the jobs in rows 0, 1, ..., in order."""
    clock = records(CLOCK, 1)
    clock[0].keep_log = int(keep_log)
    return Run(
        clock=clock,
        submit_ms=submit_ms,
        end_ms=np.zeros(jobs, dtype=np.int64),
        end_job=np.zeros(jobs, dtype=np.int64),
        end_slot=np.full(jobs, NONE, dtype=np.int64),
        log=records(LOG, LOG_ROWS if keep_log else 1),
    )


@entry_point
def advance(columns: Columns, run: Run, until_ms: int, most_events: int) -> int:
    """Run until nothing more happens by `until_ms` (DONE), after `most_events` (PAUSED), or until the log is full."""
    clock = run.clock[0]
    last = clock.events + most_events
    while clock.events < last:
        if clock.keep_log == 1 and clock.log_rows + _LOG_KEPT_FREE > LOG_ROWS:
            return LOG_FULL
        now_ms = _next_ms(columns, run)
        if now_ms > until_ms or now_ms == NEVER:
            return DONE
        clock.allocated_integral += clock.allocated_milli * (now_ms - clock.now_ms)
        clock.now_ms = now_ms
        _end_attempts(columns, run, now_ms)
        _let_arrive(columns, run, now_ms)
        while True:
            _carry_out(columns, run, decide_columns(columns, now_ms), now_ms)
            if columns.counters[0].plan_full == 0:
                break
    return PAUSED


@compiled
def _next_ms(columns: Columns, run: Run) -> int:
    clock = run.clock[0]
    now_ms = next_due_ms(columns)
    if clock.next_arrival < len(run.submit_ms):
        now_ms = min(now_ms, run.submit_ms[clock.next_arrival])
    if clock.ends > 0:
        now_ms = min(now_ms, run.end_ms[0])
    return max(now_ms, clock.now_ms)


@compiled
def _end_attempts(columns: Columns, run: Run, now_ms: int) -> None:
    clock = run.clock[0]
    while clock.ends > 0 and run.end_ms[0] <= now_ms:
        job = run.end_job[0]
        clock.ends = drop_timer(run.end_ms, run.end_job, run.end_slot, clock.ends, job)
        clock.events += 1
        clock.allocated_milli -= demand_milli(columns, job)
        record = columns.jobs[job]
        done_ms = now_ms - record.started_ms
        stopped_for = record.stop_reason if record.state == STOPPING else NONE
        release(columns, job, now_ms)
        if stopped_for == NONE:
            record.work_left_ms = 0
            _finish(columns, run, job, LOG_FINISHED, now_ms)
            clock.finished += 1
        elif stopped_for == STOP_RECLAIMED:
            _yield_work(columns, job, done_ms)
            clock.reclaimed += 1
            _log(run, now_ms, LOG_YIELDED, job, record.attempt, NONE, record.work_left_ms)
            put_in_queue(columns, job)
        else:
            _finish(columns, run, job, LOG_OVER_TIME, now_ms)


@compiled
def _finish(columns: Columns, run: Run, job: int, kind: int, now_ms: int) -> None:
    record = columns.jobs[job]
    record.state = GONE
    record.ended_ms = now_ms
    _log(run, now_ms, kind, job, record.attempt, NONE, 0)


@compiled
def _yield_work(columns: Columns, job: int, done_ms: int) -> None:
    record = columns.jobs[job]
    saved_ms = 0
    if record.saves_when_warned == 1:
        saved_ms = done_ms
    elif record.checkpoint_every_ms > 0:
        saved_ms = done_ms // record.checkpoint_every_ms * record.checkpoint_every_ms
    record.work_left_ms = max(1, record.work_left_ms - saved_ms)
    record.lost_ms += done_ms - saved_ms
    record.times_reclaimed += 1


@compiled
def _let_arrive(columns: Columns, run: Run, now_ms: int) -> None:
    clock = run.clock[0]
    while clock.next_arrival < len(run.submit_ms) and run.submit_ms[clock.next_arrival] <= now_ms:
        job = clock.next_arrival
        put_in_queue(columns, job)
        _log(run, now_ms, LOG_ARRIVED, job, 0, NONE, 0)
        clock.next_arrival += 1
        clock.events += 1
        if clock.keep_log == 1 and clock.log_rows + _LOG_KEPT_FREE // 2 > LOG_ROWS:
            return


@compiled
def _carry_out(columns: Columns, run: Run, rows: int, now_ms: int) -> None:
    """What the live platform leaves to executors: started jobs will end, stopped ones after their grace."""
    clock = run.clock[0]
    for index in range(rows):
        row = columns.plan[index]
        if row.kind == DO_START:
            clock.ends = add_timer(
                run.end_ms, run.end_job, run.end_slot, clock.ends, row.job, now_ms + columns.jobs[row.job].work_left_ms
            )
            clock.allocated_milli += demand_milli(columns, row.job)
            _log_held(columns, run, row.job, now_ms)
            record = columns.jobs[row.job]
            _log(run, now_ms, LOG_START, row.job, row.attempt, record.gpu_class, record.borrowed)
        elif row.kind == DO_STOP:
            gone_ms = min(run.end_ms[run.end_slot[row.job]], now_ms + columns.counters[0].grace_ms)
            clock.ends = add_timer(run.end_ms, run.end_job, run.end_slot, clock.ends, row.job, gone_ms)
            _log(run, now_ms, LOG_STOP, row.job, row.attempt, NONE, row.reason)
        elif row.kind == DO_CLAIM:
            _log_held(columns, run, row.job, now_ms)
            _log(run, now_ms, LOG_CLAIM, row.job, row.attempt, columns.jobs[row.job].gpu_class, 0)
        elif row.kind == DO_WARN:
            _log(run, now_ms, LOG_WARN, row.job, row.attempt, row.other, row.at_ms)
        elif row.kind == DO_SPARE:
            _log(run, now_ms, LOG_SPARE, row.job, row.attempt, NONE, 0)
    if rows > 0:
        _log(run, now_ms, LOG_DECIDED, NONE, 0, NONE, 0)


@compiled
def _log_held(columns: Columns, run: Run, job: int, at_ms: int) -> None:
    """One row per node: the GPUs as a mask, and above it how much of each."""
    if run.clock[0].keep_log == 0:
        return
    at = columns.jobs[job].first_allocation
    while at != NONE:
        allocation = columns.allocations[at]
        held = allocation.gpu_mask | allocation.milli << MOST_GPUS
        _log(run, at_ms, LOG_HELD, job, 0, allocation.node, held)
        at = allocation.next_of_job


@compiled
def _log(run: Run, at_ms: int, kind: int, job: int, attempt: int, other: int, value: int) -> None:
    clock = run.clock[0]
    if clock.keep_log == 0:
        return
    row = run.log[clock.log_rows]
    row.at_ms = at_ms
    row.kind = kind
    row.job = job
    row.attempt = attempt
    row.other = other
    row.value = value
    clock.log_rows += 1
