"""The twin's event loop: arrivals, ends of attempts, failures of nodes and the kernel's own timers, compiled around
`apply` and `decide`.

At one instant, attempts end first, then nodes fail or return, then jobs arrive, then the kernel decides. Nothing ticks:
time jumps to the next event. The simulated engine is exact: a started job ends after the work it has left; a stopped
one is gone after the grace and keeps what it saved (everything if it saves when warned, else up to its last
checkpoint). When a node fails, whole attempts are over at once, and go on from their last checkpoint elsewhere.

Every moment of GPU time that was given out is accounted for once: it counted, or it was lost to reclaim, to failures or
to a time limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dure.kernel.decide import decide_columns
from dure.twin.demand import end_demand, note_demand
from dure.world import building
from dure.world.array_struct import ArrayStruct
from dure.world.columns import (
    CLAIMED,
    DO_CLAIM,
    DO_SPARE,
    DO_START,
    DO_STOP,
    DO_WARN,
    DO_WARN_OF_RESIZE,
    GONE,
    MOST_GPUS,
    NEVER,
    NODE_DOWN,
    NODE_SUSPECT,
    NODE_UP,
    NONE,
    STOP_DRAINED,
    STOP_NODE_LOST,
    STOP_RECLAIMED,
    STOP_RESERVED,
    STOP_RESIZED,
    STOP_SCALED_DOWN,
    STOP_TIME_LIMIT,
    STOPPING,
    Columns,
    Integers,
    Records,
    grow,
    records,
)
from dure.world.compiled import background_entry_point, compiled
from dure.world.node_states import SUSPECT_PART, change_node
from dure.world.suspicion import is_suspect, put_on_trial
from dure.world.templates import follow_profile, give_row_back, leave_copies, let_in
from dure.world.timers import add_timer, drop_timer
from dure.world.transitions import demand_milli, next_due_ms, put_in_queue, release, set_timer

LOG_ROWS = 1 << 19
_LOG_KEPT_FREE = 1 << 18

# What the log says happened. Before a start or a claim come rows that say what it holds; a row ends each decision.
LOG_ARRIVED, LOG_FINISHED, LOG_YIELDED, LOG_OVER_TIME = range(4)
LOG_START, LOG_CLAIM, LOG_WARN, LOG_SPARE, LOG_STOP, LOG_HELD, LOG_DECIDED = range(4, 11)
LOG_NODE_LOST, LOG_NODE_CHANGED = range(11, 13)
LOG_SCALED_DOWN = 13
LOG_COPY = 14
"""Before a start or claim: the row is task or replica `value` of the array or service in row `other`."""

LOG_RESIZED, LOG_WARN_OF_RESIZE = range(15, 17)

# What `advance` returns: nothing more happens, there is more to come, the log is full, or `with_more_room` is wanted.
DONE, PAUSED, LOG_FULL, NO_ROOM = range(4)

CLOCK = np.dtype(
    [
        (name, np.int64)
        for name in (
            "now_ms",
            "next_arrival",
            "ends",  # attempts that will end
            "most_ends",  # at once
            "allocated_milli",
            "allocated_integral",  # milli-GPU x ms, like the four that it is made of once nothing runs any more
            "useful_integral",
            "lost_to_reclaim_integral",
            "lost_to_failures_integral",
            "lost_to_limits_integral",
            "log_rows",
            "finished",  # jobs; an array with its last task
            "copies_over",  # tasks that finished and replicas that were scaled down
            "reclaimed",
            "resized",
            "over_time",
            "next_fault",
            "first_probation",  # of `probations`: those before it are over
            "probations",
            "suspects",  # nodes that are set aside now
            "node_failures",
            "interrupted",  # attempts that a failure ended
            "restarted",  # jobs that ran again after a failure
            "until_restart_ms",  # from failure to running again, over all of them
            "longest_until_restart_ms",
            "events",
            "keep_log",
        )
    ]
)
WHY_FAILED, WHY_REPAIRED, WHY_REPEATED_FAILURES, WHY_PROBATION_OVER = range(4)

FAULT = np.dtype([(name, np.int64) for name in ("at_ms", "node", "state")])
PAST = np.dtype([(name, np.int64) for name in ("saved_node_ms", "failed_ms")])
LOG = np.dtype([(name, np.int64) for name in ("at_ms", "kind", "job", "attempt", "other", "value")])


@dataclass(frozen=True, eq=False)
class Run(ArrayStruct):
    """What the twin keeps beside the world: its clock, the arrivals, faults and ends to come, and what happened."""

    clock: Records
    submit_ms: Integers
    faults: Records
    """Nodes that fail or return, in order."""
    probations: Records
    """Suspect nodes, in the order in which their probation is over."""
    suspect_until_ms: Integers
    """[node] when its probation is over; NONE while it is not suspect."""
    end_ms: Integers
    end_job: Integers
    end_slot: Integers
    past: Records
    """[job] the work that earlier attempts saved, in milliseconds of one node; and when a failure interrupted it, NONE
    once it runs again."""
    asked_milli: Integers
    """[share] what its unfinished jobs ask for."""
    covered: Integers
    """[job] 1 when its share's guarantee covered it as it came."""
    log: Records


def new_run(columns: Columns, submit_ms: Integers, faults: Records, keep_log: bool) -> Run:
    """A run at its beginning; `submit_ms` are the arrival times of the jobs in rows 0, 1, ..., in order."""
    jobs, nodes, shares = len(columns.jobs), len(columns.nodes), len(columns.shares)
    past = records(PAST, jobs)
    past["failed_ms"] = NONE
    clock = records(CLOCK, 1)
    clock[0].keep_log = int(keep_log)
    return Run(
        clock=clock,
        submit_ms=submit_ms,
        faults=faults,
        probations=records(FAULT, 1 + len(faults)),
        suspect_until_ms=np.full(nodes, NONE, dtype=np.int64),
        end_ms=np.zeros(jobs, dtype=np.int64),
        end_job=np.zeros(jobs, dtype=np.int64),
        end_slot=np.full(jobs, NONE, dtype=np.int64),
        past=past,
        asked_milli=np.zeros(shares, dtype=np.int64),
        covered=np.zeros(jobs, dtype=np.int64),
        log=records(LOG, LOG_ROWS if keep_log else 1),
    )


def with_more_room(columns: Columns, run: Run) -> tuple[Columns, Run]:
    """The same columns and run with room for more tasks and replicas at once."""
    columns = building.with_more_room(columns)
    before, jobs = len(run.end_ms), len(columns.jobs)
    slots, past = grow(run.end_slot, jobs), grow(run.past, jobs)
    slots[before:], past["failed_ms"][before:] = NONE, NONE
    return columns, run.replace(
        end_ms=grow(run.end_ms, jobs),
        end_job=grow(run.end_job, jobs),
        end_slot=slots,
        past=past,
        covered=grow(run.covered, jobs),
    )


@background_entry_point
def advance(columns: Columns, run: Run, until_ms: int, most_events: int) -> int:
    """Run until nothing more happens by `until_ms` (DONE), after `most_events` (PAUSED), until the log is full, or
    until an array finds no room for its next task: then the decision goes on when this is called with more."""
    clock = run.clock[0]
    last = clock.events + most_events
    if columns.counters[0].needs_room == 1 and not _decide(columns, run, clock.now_ms):
        return NO_ROOM
    while clock.events < last:
        if clock.keep_log == 1 and clock.log_rows + _LOG_KEPT_FREE > LOG_ROWS:
            return LOG_FULL
        now_ms = _next_ms(columns, run)
        if now_ms > until_ms or now_ms >= NEVER:
            return DONE
        before = clock.events
        clock.allocated_integral += clock.allocated_milli * (now_ms - clock.now_ms)
        clock.now_ms = now_ms
        _end_attempts(columns, run, now_ms)
        _end_probations(columns, run, now_ms)
        _change_nodes(columns, run, now_ms)
        _let_arrive(columns, run, now_ms)
        # A service's profile rises and falls for ever, so that counts as an event, too.
        clock.events += 1 if clock.events == before else 0
        if not _decide(columns, run, now_ms):
            return NO_ROOM
    return PAUSED


@compiled
def _decide(columns: Columns, run: Run, now_ms: int) -> bool:
    """Decide and carry it out; False when the rest needs more room."""
    while True:
        _carry_out(columns, run, decide_columns(columns, now_ms), now_ms)
        if columns.counters[0].needs_room == 1:
            return False
        if columns.counters[0].plan_full == 0:
            return True


@compiled
def _next_ms(columns: Columns, run: Run) -> int:
    clock = run.clock[0]
    now_ms = next_due_ms(columns)
    if clock.next_arrival < len(run.submit_ms):
        now_ms = min(now_ms, run.submit_ms[clock.next_arrival])
    if clock.ends > 0:
        now_ms = min(now_ms, run.end_ms[0])
    if not _is_over(run):
        if clock.next_fault < len(run.faults):
            now_ms = min(now_ms, run.faults[clock.next_fault].at_ms)
        if clock.first_probation < clock.probations:
            now_ms = min(now_ms, run.probations[clock.first_probation].at_ms)
    return max(now_ms, clock.now_ms)


@compiled
def _is_over(run: Run) -> bool:
    """True when every job has come and gone: what nodes do from now on does not matter."""
    clock = run.clock[0]
    return clock.next_arrival == len(run.submit_ms) and clock.finished + clock.over_time == clock.next_arrival


@compiled
def _end_attempts(columns: Columns, run: Run, now_ms: int) -> None:
    clock = run.clock[0]
    while clock.ends > 0 and run.end_ms[0] <= now_ms:
        job = run.end_job[0]
        record = columns.jobs[job]
        stopped_for = record.stop_reason if record.state == STOPPING else NONE
        done_ms = _leave(columns, run, job, now_ms)
        clock.events += 1
        if stopped_for == NONE:
            clock.useful_integral += done_ms * demand_milli(columns, job)
            record.work_left_ms = 0
            if record.template == NONE:
                _finish(columns, run, job, LOG_FINISHED, now_ms)
                clock.finished += 1
            else:
                _end_copy(columns, run, job, LOG_FINISHED, now_ms)
        elif stopped_for == STOP_SCALED_DOWN:
            clock.useful_integral += done_ms * demand_milli(columns, job)
            _end_copy(columns, run, job, LOG_SCALED_DOWN, now_ms)
        elif stopped_for in (STOP_RECLAIMED, STOP_RESERVED, STOP_DRAINED):
            saves_all = 1 if _is_replica(columns, job) else record.saves_when_warned
            lost_ms = _keep_what_was_saved(columns, run, job, done_ms, saves_all)
            clock.lost_to_reclaim_integral += lost_ms * demand_milli(columns, job)
            # Who made way for a reservation or left a drained node is nobody's victim, and may take its guarantee back.
            record.times_reclaimed += 1 if stopped_for == STOP_RECLAIMED else 0
            clock.reclaimed += 1
            _log(run, now_ms, LOG_YIELDED, job, record.attempt, NONE, record.work_left_ms)
            _queue_again(columns, job, now_ms)
        elif stopped_for == STOP_RESIZED:
            # Only who saves its work when warned is resized: nothing is lost.
            _keep_what_was_saved(columns, run, job, done_ms, 1)
            clock.resized += 1
            _log(run, now_ms, LOG_RESIZED, job, record.attempt, NONE, record.work_left_ms)
            _queue_again(columns, job, now_ms)
        elif stopped_for == STOP_NODE_LOST:
            _interrupt(columns, run, job, done_ms, now_ms)
        else:
            _end_over_time(columns, run, job, done_ms, now_ms)


@compiled
def _leave(columns: Columns, run: Run, job: int, now_ms: int) -> int:
    """An attempt is over: it lets go of all it held. Returns how long it ran."""
    clock = run.clock[0]
    clock.ends = drop_timer(run.end_ms, run.end_job, run.end_slot, clock.ends, job)
    clock.allocated_milli -= demand_milli(columns, job)
    release(columns, job, now_ms)
    return now_ms - columns.jobs[job].started_ms


@compiled
def _is_replica(columns: Columns, job: int) -> bool:
    template = columns.jobs[job].template
    return template != NONE and columns.jobs[template].step != NONE


@compiled
def _queue_again(columns: Columns, job: int, now_ms: int) -> None:
    """A job goes back to its place; a service may want it no more, and looks at once."""
    put_in_queue(columns, job)
    if _is_replica(columns, job):
        set_timer(columns, columns.jobs[job].template, now_ms)


@compiled
def _end_copy(columns: Columns, run: Run, job: int, kind: int, now_ms: int) -> None:
    """A task or replica is over and its row free; an array is over with its last task."""
    record = columns.jobs[job]
    template = record.template
    _log(run, now_ms, kind, job, record.attempt, NONE, 0)
    run.past[job].saved_node_ms = 0
    run.past[job].failed_ms = NONE
    run.clock[0].copies_over += 1
    leave_copies(columns, job)
    give_row_back(columns, job)
    whole = columns.jobs[template]
    if whole.step == NONE and whole.copies == 0 and whole.first_copy == NONE:
        whole.state = GONE
        whole.ended_ms = now_ms
        end_demand(columns, run.asked_milli, template)
        run.clock[0].finished += 1


@compiled
def _finish(columns: Columns, run: Run, job: int, kind: int, now_ms: int) -> None:
    record = columns.jobs[job]
    record.state = GONE
    record.ended_ms = now_ms
    end_demand(columns, run.asked_milli, job)
    _log(run, now_ms, kind, job, record.attempt, NONE, 0)


@compiled
def _end_over_time(columns: Columns, run: Run, job: int, done_ms: int, now_ms: int) -> None:
    """A job that never finishes has done nothing that counts, whatever its earlier attempts saved."""
    clock = run.clock[0]
    saved = run.past[job].saved_node_ms * columns.jobs[job].gpus_milli
    clock.useful_integral -= saved
    clock.lost_to_limits_integral += saved + done_ms * demand_milli(columns, job)
    if columns.jobs[job].template != NONE:
        _end_copy(columns, run, job, LOG_OVER_TIME, now_ms)
        return
    clock.over_time += 1
    _finish(columns, run, job, LOG_OVER_TIME, now_ms)


@compiled
def _keep_what_was_saved(columns: Columns, run: Run, job: int, done_ms: int, saves_all: int) -> int:
    """An attempt ended early: the next one goes on from what was saved last. Returns how much work was lost."""
    record = columns.jobs[job]
    saved_ms = 0
    if saves_all == 1:
        saved_ms = done_ms
    elif record.checkpoint_every_ms > 0:
        saved_ms = done_ms // record.checkpoint_every_ms * record.checkpoint_every_ms
    run.clock[0].useful_integral += saved_ms * demand_milli(columns, job)
    run.past[job].saved_node_ms += saved_ms * record.nodes
    record.work_left_ms = max(1, record.work_left_ms - _work_in(columns, job, saved_ms))
    record.lost_ms += done_ms - saved_ms
    return done_ms - saved_ms


@compiled
def _work_in(columns: Columns, job: int, ran_ms: int) -> int:
    """Work is node-time, and counted as the time it takes with all nodes a job may have: half the nodes do half."""
    record = columns.jobs[job]
    return ran_ms if record.least_nodes == 0 else ran_ms * record.nodes // record.most_nodes


@compiled
def _time_for(columns: Columns, job: int) -> int:
    """How long the work that is left takes a job with the nodes it has."""
    record = columns.jobs[job]
    if record.least_nodes == 0:
        return record.work_left_ms
    return (record.work_left_ms * record.most_nodes + record.nodes - 1) // record.nodes


@compiled
def _end_probations(columns: Columns, run: Run, now_ms: int) -> None:
    """Suspect nodes whose probation is over are taken back, unless they failed again meanwhile."""
    clock = run.clock[0]
    while clock.first_probation < clock.probations and run.probations[clock.first_probation].at_ms <= now_ms:
        probation = run.probations[clock.first_probation]
        clock.first_probation += 1
        if run.suspect_until_ms[probation.node] == probation.at_ms:
            _change(columns, run, probation.node, NODE_UP, WHY_PROBATION_OVER, now_ms)
            put_on_trial(columns, probation.node, now_ms)


@compiled
def _change_nodes(columns: Columns, run: Run, now_ms: int) -> None:
    """Nodes fail, and return: those that failed too often as suspects, as the live platform would set them aside."""
    clock = run.clock[0]
    while clock.next_fault < len(run.faults) and run.faults[clock.next_fault].at_ms <= now_ms:
        fault = run.faults[clock.next_fault]
        clock.next_fault += 1
        if fault.state == NODE_DOWN:
            clock.node_failures += 1
            _interrupt_attempts_on(columns, run, fault.node, now_ms)
            _change(columns, run, fault.node, NODE_DOWN, WHY_FAILED, now_ms)
        else:
            _change(columns, run, fault.node, NODE_UP, WHY_REPAIRED, now_ms)
            if is_suspect(columns, fault.node) and clock.suspects < max(1, columns.counters[0].nodes // SUSPECT_PART):
                _set_aside(columns, run, fault.node, now_ms)
        if clock.keep_log == 1 and clock.log_rows + _LOG_KEPT_FREE // 2 > LOG_ROWS:
            return


@compiled
def _set_aside(columns: Columns, run: Run, node: int, now_ms: int) -> None:
    clock = run.clock[0]
    _change(columns, run, node, NODE_SUSPECT, WHY_REPEATED_FAILURES, now_ms)
    until_ms = now_ms + columns.counters[0].probation_ms
    run.suspect_until_ms[node] = until_ms
    run.probations[clock.probations].at_ms = until_ms
    run.probations[clock.probations].node = node
    clock.probations += 1
    clock.suspects += 1


@compiled
def _change(columns: Columns, run: Run, node: int, state: int, why: int, now_ms: int) -> None:
    clock = run.clock[0]
    if run.suspect_until_ms[node] != NONE:
        run.suspect_until_ms[node] = NONE
        clock.suspects -= 1
    change_node(columns, node, state, now_ms)
    _log(run, now_ms, LOG_NODE_CHANGED, NONE, why, node, state)
    clock.events += 1


@compiled
def _interrupt_attempts_on(columns: Columns, run: Run, node: int, now_ms: int) -> None:
    """A node failed: every attempt with a rank there is over, as a whole, and its job queues in its old place."""
    job = _running_on(columns, node)
    while job != NONE:
        record = columns.jobs[job]
        over_time = record.state == STOPPING and record.stop_reason == STOP_TIME_LIMIT
        done_ms = _leave(columns, run, job, now_ms)
        if over_time:
            _end_over_time(columns, run, job, done_ms, now_ms)
        elif record.state == STOPPING and record.stop_reason == STOP_SCALED_DOWN:
            run.clock[0].useful_integral += done_ms * demand_milli(columns, job)
            _end_copy(columns, run, job, LOG_SCALED_DOWN, now_ms)
        else:
            _interrupt(columns, run, job, done_ms, now_ms)
        job = _running_on(columns, node)


@compiled
def _interrupt(columns: Columns, run: Run, job: int, done_ms: int, now_ms: int) -> None:
    """A job lost its node and so what it did since its last checkpoint, whatever it would have saved when warned."""
    clock = run.clock[0]
    lost_ms = _keep_what_was_saved(columns, run, job, done_ms, 1 if _is_replica(columns, job) else 0)
    clock.lost_to_failures_integral += lost_ms * demand_milli(columns, job)
    clock.interrupted += 1
    run.past[job].failed_ms = now_ms
    _log(run, now_ms, LOG_NODE_LOST, job, columns.jobs[job].attempt, NONE, columns.jobs[job].work_left_ms)
    _queue_again(columns, job, now_ms)


@compiled
def _running_on(columns: Columns, node: int) -> int:
    """A job with a running attempt on the node; NONE when there is none."""
    at = columns.nodes[node].first_allocation
    while at != NONE and columns.jobs[columns.allocations[at].job].state == CLAIMED:
        at = columns.allocations[at].next_of_node
    return NONE if at == NONE else columns.allocations[at].job


@compiled
def _note_restart(run: Run, job: int, now_ms: int) -> None:
    """A job starts; if a failure had interrupted it, count how long that was."""
    past = run.past[job]
    if past.failed_ms == NONE:
        return
    clock = run.clock[0]
    waited_ms = now_ms - past.failed_ms
    clock.restarted += 1
    clock.until_restart_ms += waited_ms
    clock.longest_until_restart_ms = max(clock.longest_until_restart_ms, waited_ms)
    past.failed_ms = NONE


@compiled
def _let_arrive(columns: Columns, run: Run, now_ms: int) -> None:
    clock = run.clock[0]
    while clock.next_arrival < len(run.submit_ms) and run.submit_ms[clock.next_arrival] <= now_ms:
        job = clock.next_arrival
        note_demand(columns, run.asked_milli, run.covered, job)
        if columns.jobs[job].step != NONE:
            follow_profile(columns, job, now_ms)
        if columns.jobs[job].step != NONE or columns.jobs[job].copies > 0:
            let_in(columns, job)
        else:
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
                run.end_ms, run.end_job, run.end_slot, clock.ends, row.job, now_ms + _time_for(columns, row.job)
            )
            clock.most_ends = max(clock.most_ends, clock.ends)
            clock.allocated_milli += demand_milli(columns, row.job)
            _note_restart(run, row.job, now_ms)
            _log_copy(columns, run, row.job, now_ms)
            _log_held(columns, run, row.job, now_ms)
            record = columns.jobs[row.job]
            _log(run, now_ms, LOG_START, row.job, row.attempt, record.gpu_class, record.borrowed)
        elif row.kind == DO_STOP and columns.jobs[row.job].state == GONE:
            # A replica that held nothing. What it is called is said before its row is used anew.
            _log(run, now_ms, LOG_STOP, row.job, row.attempt, NONE, row.reason)
            leave_copies(columns, row.job)
            give_row_back(columns, row.job)
        elif row.kind == DO_STOP:
            gone_ms = min(run.end_ms[run.end_slot[row.job]], now_ms + columns.counters[0].grace_ms)
            clock.ends = add_timer(run.end_ms, run.end_job, run.end_slot, clock.ends, row.job, gone_ms)
            _log(run, now_ms, LOG_STOP, row.job, row.attempt, NONE, row.reason)
        elif row.kind == DO_CLAIM:
            _log_copy(columns, run, row.job, now_ms)
            _log_held(columns, run, row.job, now_ms)
            _log(run, now_ms, LOG_CLAIM, row.job, row.attempt, columns.jobs[row.job].gpu_class, 0)
        elif row.kind == DO_WARN:
            _log(run, now_ms, LOG_WARN, row.job, row.attempt, row.other, row.at_ms)
        elif row.kind == DO_WARN_OF_RESIZE:
            _log(run, now_ms, LOG_WARN_OF_RESIZE, row.job, row.attempt, NONE, row.at_ms)
        elif row.kind == DO_SPARE:
            _log(run, now_ms, LOG_SPARE, row.job, row.attempt, NONE, 0)
    if rows > 0:
        _log(run, now_ms, LOG_DECIDED, NONE, 0, NONE, 0)


@compiled
def _log_copy(columns: Columns, run: Run, job: int, at_ms: int) -> None:
    record = columns.jobs[job]
    if record.template != NONE:
        _log(run, at_ms, LOG_COPY, job, 0, record.template, record.number)


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
