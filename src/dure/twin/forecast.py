"""When a waiting job may start: a copy of the world is run forward twice, by the very loop that the twin runs.

In the late future every job uses its whole time limit; in the early one it ends after the part of its limit that its
share's latest jobs took. Nothing new comes and nothing fails. The range is from the earlier start to the later one, in
whichever future each was found: with gangs and backfill, jobs that end sooner may make another start later.

A future is followed no further than somebody asked, and kept for the next who asks about the same moment. In a large
world the ends of jobs are rounded to whole minutes, so that jobs which end close together are decided on together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from dure.model.blockers import Assumption, AssumptionCode, Eta, EtaMethod
from dure.model.jobs import JobState
from dure.model.units import MINUTE_MS
from dure.twin.events import DONE, FAULT, NO_ROOM, Run, advance, new_run, with_more_room
from dure.world import building
from dure.world.cards import JobCard
from dure.world.columns import (
    NEVER,
    NONE,
    QUEUED,
    RUNNING,
    STOP_NONE,
    STOPPING,
    WARNED,
    Columns,
    Integers,
    records,
)
from dure.world.transitions import put_in_queue
from dure.world.world import World

MOST_EVENTS = 300_000
"""Ends of attempts after which a future is followed no further."""
EVENTS_AT_ONCE = 2_000
EXACT_UP_TO_JOBS = 10_000
STEP_MS = MINUTE_MS
WHOLE_LIMIT_PERMILLE = 1_000
DEFAULT_PERMILLE = 500
FEWEST_TO_LEARN_FROM = 5
LATEST_TO_LEARN_FROM = 1_000


@dataclass(frozen=True)
class Part:
    """The part of its time limit that a job takes, and the number of ended jobs that say so; 0 for the default."""

    permille: int
    jobs: int


@dataclass(frozen=True)
class Moment:
    """A copy of the world at one moment: all that its futures need, and nothing that anybody else changes."""

    at_ms: int
    columns: Columns
    parts: tuple[Part, ...]
    """By index of the share."""
    rows: int


def moment_of(world: World, now_ms: int) -> Moment:
    """Copy what the futures of a world need."""
    rows = max(1, world.rows)
    return Moment(now_ms, building.copy_rows(world.columns, rows), learnt_parts(world), rows)


def moment_in(copy: World, now_ms: int) -> Moment:
    """The same of a copy that nobody else uses, as it is."""
    return Moment(now_ms, copy.columns, learnt_parts(copy), max(1, copy.rows))


def learnt_parts(world: World) -> tuple[Part, ...]:
    """For every share, the part of their limit that its latest jobs took; with too few of them, that of all jobs."""
    by_share: defaultdict[int, list[int]] = defaultdict(list)
    for card in world.latest_final(LATEST_TO_LEARN_FROM):
        if (permille := _permille_taken(card)) is not None:
            by_share[world.atlas.share_index_of(card.submitted.project)].append(permille)
    everyones = _part([each for taken in by_share.values() for each in taken], Part(DEFAULT_PERMILLE, 0))
    return tuple(_part(by_share[index], everyones) for index in range(int(world.columns.counters[0].shares)))


def _permille_taken(card: JobCard) -> int | None:
    """What a job took of its limit; None when it did not end by itself."""
    if card.state not in {JobState.SUCCEEDED, JobState.FAILED} or card.started_at_ms is None:
        return None
    if card.submitted.replicas is not None:
        return None
    ran_ms = (card.ended_at_ms or card.started_at_ms) - card.started_at_ms
    return min(WHOLE_LIMIT_PERMILLE, ran_ms * WHOLE_LIMIT_PERMILLE // max(1, card.submitted.time_ms))


def _part(taken: list[int], otherwise: Part) -> Part:
    return Part(sum(taken) // len(taken), len(taken)) if len(taken) >= FEWEST_TO_LEARN_FROM else otherwise


def forecast(world: World, job: str, now_ms: int) -> Eta:
    """When a waiting job may start, as of `now_ms`. The world is not touched."""
    card = world.jobs[job]
    return Forecasts(moment_of(world, now_ms)).eta(card.row, card.release_at_ms)


class Forecasts:
    """The futures of one moment. One thread at a time may ask."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self._late: Future | None = None
        self._early: Future | None = None

    def waits(self, row: int, sequence: int) -> bool:
        """True when the job that was submitted as this number waits in this row at this moment."""
        record = self.moment.columns.jobs[row] if row < self.moment.rows else None
        return record is not None and record.sequence == sequence and record.state < RUNNING

    def eta(self, row: int, release_at_ms: int | None) -> Eta:
        """When the job in a row may start. One held until `release_at_ms` queues then, in futures of its own."""
        with ThreadPoolExecutor(1, "early-future") as beside:
            # The loop lets go of the interpreter, so the second future takes no longer if a second core is idle.
            early = beside.submit(self._followed, self._early, row, release_at_ms, is_late=False)
            late = self._followed(self._late, row, release_at_ms, is_late=True)
        if release_at_ms is None:
            self._late, self._early = late, early.result()
        return self._between(row, late, early.result())

    def _followed(self, known: Future | None, row: int, release_at_ms: int | None, *, is_late: bool) -> Future:
        """A future in which a job has started, if it ever does: the known one, or one of its own for a held job."""
        future = known if known and release_at_ms is None else Future(self.moment, is_late=is_late)
        if release_at_ms is not None:
            future.release(row, max(release_at_ms, self.moment.at_ms))
        future.follow(row)
        return future

    def _between(self, row: int, late: Future, early: Future) -> Eta:
        starts = [start_ms for future in (late, early) if (start_ms := future.start_ms(row)) is not None]
        open_ends = [future.reached_ms for future in (late, early) if not future.is_over and not future.starts(row)]
        return Eta(
            at_ms=self.moment.at_ms,
            earliest_ms=min(starts, default=None),
            latest_ms=max(starts) if len(starts) == len((late, early)) else None,
            followed_until_ms=min(open_ends, default=None),
            starts_first=late.starts_before(row),
            method=EtaMethod.SIMULATED,
            assumptions=tuple(self._assumptions(row)),
        )

    def _assumptions(self, row: int) -> Iterable[Assumption]:
        part = self.moment.parts[int(self.moment.columns.jobs[row].share)]
        percent = part.permille // 10
        yield Assumption(code=AssumptionCode.LATEST_WHOLE_LIMITS)
        if part.jobs > 0:
            yield Assumption(code=AssumptionCode.EARLIEST_LEARNT_PART, percent=percent, jobs=part.jobs)
        else:
            yield Assumption(code=AssumptionCode.EARLIEST_DEFAULT_PART, percent=percent)
        yield Assumption(code=AssumptionCode.NOTHING_NEW)
        if (step_ms := step_of(self.moment)) > 1:
            yield Assumption(code=AssumptionCode.ROUNDED, step_ms=step_ms)


def step_of(moment: Moment) -> int:
    """Ends of jobs are rounded to whole steps of so many milliseconds."""
    states = moment.columns.jobs["state"][: moment.rows]
    active = int(((states >= QUEUED) & (states <= STOPPING)).sum())
    return 1 if active <= EXACT_UP_TO_JOBS else STEP_MS


class Future:
    """One course of events from a moment on."""

    def __init__(self, moment: Moment, *, is_late: bool) -> None:
        self.is_over = False
        """True when nothing happens any more: a job that has not started by now never does."""
        self._columns = building.copy(moment.columns)
        self._jobs = self._columns.jobs
        self._waited = self._jobs["state"] < RUNNING
        self._run = _begin(self._columns, moment, is_late)

    @property
    def reached_ms(self) -> int:
        """How far it was followed."""
        return int(self._run.clock[0].now_ms)

    def start_ms(self, row: int) -> int | None:
        """When a job that waited starts; None when it has not so far."""
        started_ms = int(self._jobs[row].first_started_ms)
        return None if started_ms == NONE else started_ms

    def starts(self, row: int) -> bool:
        """True when a job has started so far."""
        return self.start_ms(row) is not None

    def starts_before(self, row: int) -> int:
        """How many of those that waited start earlier than a job, or have so far."""
        started = self._jobs["first_started_ms"][self._waited]
        start_ms = self.start_ms(row)
        return int(((started != NONE) & (started < (self.reached_ms + 1 if start_ms is None else start_ms))).sum())

    def follow(self, row: int) -> None:
        """Go on until a job starts, nothing more happens, or it was followed far enough."""
        while not self.is_over and not self.starts(row) and self._may_go_on():
            self.is_over = self._advance(NEVER)

    def _advance(self, until_ms: int) -> bool:
        """Go on for a while; True when nothing more happens until then."""
        result = advance(self._columns, self._run, until_ms, EVENTS_AT_ONCE)
        if result == NO_ROOM:
            self._columns, self._run = with_more_room(self._columns, self._run)
            self._jobs = self._columns.jobs
            self._waited = np.append(self._waited, np.zeros(len(self._jobs) - len(self._waited), dtype=np.bool_))
        return bool(result == DONE)

    def _may_go_on(self) -> bool:
        return bool(self._run.clock[0].events < MOST_EVENTS)

    def release(self, row: int, at_ms: int) -> None:
        """Go on until a held job may queue, and queue it."""
        while self._may_go_on():
            if self._advance(at_ms):
                break
        put_in_queue(self._columns, row)
        counters = self._columns.counters[0]
        counters.wake_ms = min(counters.wake_ms, max(self.reached_ms, at_ms))


def warm_up() -> None:
    """Compile the event loop for forecasts, or load it from the cache."""
    world = World()
    moment = Moment(0, building.copy_rows(world.columns, 1), learnt_parts(world), 1)
    Future(moment, is_late=True).release(0, 0)


def _begin(columns: Columns, moment: Moment, is_late: bool) -> Run:
    """Give every job its end, and forget the kernel's own timers for those that will end by themselves."""
    jobs, step_ms = columns.jobs, step_of(moment)
    permille = np.array([part.permille for part in moment.parts], dtype=np.int64)[jobs["share"]]
    part_ms = np.maximum(1, jobs["limit_ms"] * permille // WHOLE_LIMIT_PERMILLE)
    # Replicas of a service have no limit, and do not end by themselves in either future.
    taken_ms = np.where(is_late | (jobs["limit_ms"] >= NEVER), jobs["limit_ms"], part_ms)
    work_ms = _up(taken_ms, step_ms) if is_late else np.maximum(step_ms, taken_ms // step_ms * step_ms)
    ends_ms = _ends_of_running(columns, moment.at_ms, taken_ms)
    ahead_ms = ends_ms - moment.at_ms
    ends_ms = moment.at_ms + (_up(ahead_ms, step_ms) if is_late else ahead_ms // step_ms * step_ms)
    holds = (jobs["state"] >= RUNNING) & (jobs["state"] <= STOPPING)
    taken = np.where(holds, ends_ms - jobs["started_ms"], work_ms)
    # Work is counted with the most nodes. One that waits takes so long with its least; with more it is faster.
    elastic_ms = taken * jobs["nodes"] // np.maximum(1, jobs["most_nodes"])
    jobs["work_left_ms"] = np.where(jobs["least_nodes"] == 0, taken, elastic_ms)
    jobs["limit_ms"] = np.where(holds, jobs["limit_ms"], np.maximum(jobs["limit_ms"], work_ms))
    jobs["first_started_ms"][~holds] = NONE
    _keep_timers(columns, (jobs["state"] == WARNED) | (jobs["stop_reason"] != STOP_NONE) | (jobs["step"] != NONE))
    run = new_run(columns, np.zeros(0, dtype=np.int64), records(FAULT, 0), keep_log=False)
    run.clock[0].now_ms = moment.at_ms
    rows = np.flatnonzero(holds)
    run.clock[0].ends = run.clock[0].most_ends = len(rows)
    _fill_heap(run.end_ms, run.end_job, run.end_slot, ends_ms[rows], rows)
    return run


def _up(times_ms: Integers, step_ms: int) -> Integers:
    return -(-times_ms // step_ms) * step_ms


def _ends_of_running(columns: Columns, now_ms: int, taken_ms: Integers) -> Integers:
    """When what runs ends: after its part of the limit, or when that is past, after the same part of what is left."""
    jobs = columns.jobs
    limit_end_ms = jobs["started_ms"] + jobs["limit_ms"]
    ends_ms = jobs["started_ms"] + taken_ms
    left_ms = np.maximum(0, limit_end_ms - now_ms)
    ends_ms = np.where(ends_ms > now_ms, ends_ms, now_ms + left_ms * taken_ms // np.maximum(1, jobs["limit_ms"]))
    # One that was told to stop is gone after its grace.
    return np.maximum(now_ms, np.where(jobs["state"] == STOPPING, jobs["expected_end_ms"], ends_ms))


def _keep_timers(columns: Columns, wanted: Integers) -> None:
    counters = columns.counters[0]
    rows, due_ms = columns.timer_job[: counters.timers], columns.timer_due_ms[: counters.timers]
    kept = wanted[rows]
    rows, due_ms = rows[kept], due_ms[kept]
    counters.timers = len(rows)
    columns.timer_slot[:] = NONE
    _fill_heap(columns.timer_due_ms, columns.timer_job, columns.timer_slot, due_ms, rows)


def _fill_heap(due_ms: Integers, rows_of: Integers, slots: Integers, dues_ms: Integers, rows: Integers) -> None:
    """What is sorted by time and then by row is a heap."""
    order = np.lexsort((rows, dues_ms))
    count = len(rows)
    due_ms[:count], rows_of[:count] = dues_ms[order], rows[order]
    slots[rows[order]] = np.arange(count)
