"""Many submissions at once lead to the very world to which they lead one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dure.kernel import decide
from dure.model.events import AttemptEnded, CancelRequested, JobSubmitted, NationApplied
from dure.model.jobs import JobState, Outcome
from dure.world.job_records import job_record, job_records
from dure.world.world import World
from tests.kernel.nations import HOUR, job, nation, share

NATION = nation([share("a", guarantee=8), share("b", guarantee=4, weight=2)])
OLD_JOBS = ("j1", "j2", "j3")

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "part": {"gpus": 0.25},
    "gang": {"nodes": 2},
    "elastic": {"nodes": 3, "min_nodes": 1, "checkpoint_every_ms": HOUR},
    "without GPUs": {"gpus": 0, "cpus": 1},
    "first": {"priority": 9},
    "later": {"not_before_ms": HOUR},
    "not after": {"not_after_ms": 2 * HOUR},
    "with a deadline": {"deadline_ms": 3 * HOUR},
    "after others": {"depends": ("j1", "j2")},
    "array": {"tasks": 5},
    "service": {"replicas": 2},
}

runs = st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from("ab"), st.integers(1, 12)), max_size=8)


def submissions(found: list[tuple[str, str, int]]) -> list[JobSubmitted]:
    kinds = [(kind, project) for kind, project, times in found for _ in range(times)]
    return [job(f"j{n}", project, at_ms=n // 5, **KINDS[kind]) for n, (kind, project) in enumerate(kinds, 4)]


def begun() -> World:
    """A world in which one job runs, one is over and one was cancelled, so that rows are free in between."""
    world = World()
    world.apply(NationApplied(at_ms=0, by="test", nation=NATION))
    for name in OLD_JOBS:
        world.apply(job(name, "a"))
    decide(world, 0)
    world.apply(AttemptEnded(at_ms=0, job="j2", attempt=1, outcome=Outcome.SUCCEEDED, exit_code=0))
    world.apply(CancelRequested(at_ms=0, job="j3", by="test"))
    return world


@given(runs)
def test_many_submissions_at_once_are_the_same_as_one_by_one(found: list[tuple[str, str, int]]) -> None:
    events, together, apart = submissions(found), begun(), begun()
    together.submit(events)
    for event in events:
        apart.apply(event)
    assert together.jobs == apart.jobs
    assert together.touched == apart.touched
    assert together.now_ms == apart.now_ms
    assert together.next_wake_ms() == apart.next_wake_ms()
    for name in ("jobs", "shares", "classes", "timer_due_ms", "steps"):
        assert np.array_equal(getattr(together.columns, name), getattr(apart.columns, name)), name
    later_ms = events[-1].at_ms if events else 0
    for _ in range(3):
        later_ms += HOUR
        assert decide(together, later_ms) == decide(apart, later_ms)
        for world in (together, apart):
            for card in [each for each in world.running() if each.state is JobState.STARTING][:5]:
                ended = AttemptEnded(
                    at_ms=later_ms, job=card.job, attempt=card.attempt, outcome=Outcome.SUCCEEDED, exit_code=0
                )
                world.apply(ended)


def test_more_jobs_than_there_are_rows_get_rows_all_the_same() -> None:
    world = begun()
    rows = len(world.columns.jobs)
    events = [job(f"j{number}", "a") for number in range(4, 4 + 3 * rows)]
    world.submit(events)
    assert len({world.jobs[event.job].row for event in events}) == 3 * rows
    assert all(world.job_at(world.jobs[event.job].row) == event.job for event in events)
    assert [card.job for card in world.queue()] == [event.job for event in events]


@given(runs)
def test_records_made_together_are_those_made_one_by_one(found: list[tuple[str, str, int]]) -> None:
    events, atlas = submissions(found), begun().atlas
    made = job_records(atlas, events, 7).tolist() if events else []
    assert made == [job_record(atlas, event, 7 + number) for number, event in enumerate(events)]
