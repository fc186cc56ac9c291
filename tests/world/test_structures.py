"""Queues, timers and sets of nodes against the plain structures they stand for."""

from __future__ import annotations

import bisect

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dure.world import building, node_sets
from dure.world.building import PoolShape, Shape, ShareShape
from dure.world.columns import NONE, ORDER_SJF, STOP_CANCELLED, Columns, Integers
from dure.world.compiled import entry_point
from dure.world.transitions import ask_to_stop, next_due_ms, put_in_queue, set_timer, stop, withdraw

JOBS = 40
RUNS = settings(max_examples=150, deadline=None)


def empty(order: int | None = None) -> Columns:
    pool = PoolShape(gpu_class=0, site=0, gpus=1, cpus_milli=0, memory_mib=0, nodes=1)
    shape = Shape(classes=1, pools=[pool], shares=[ShareShape()])
    columns = building.build(shape if order is None else Shape(classes=1, pools=[pool], order=order), JOBS)
    columns.jobs["choices"] = 1
    columns.jobs["nodes"] = 1
    columns.jobs["gpus_milli"] = 1000
    columns.jobs["share"] = 0 if order is not None else 1
    return columns


def in_order(columns: Columns, queue: int) -> list[int]:
    """The jobs of a queue from the first to the last, its links checked in both directions."""
    found = []
    before, at = NONE, int(columns.shares[queue].queue_first)
    while at != NONE:
        assert columns.jobs[at].previous == before
        found.append(at)
        before, at = at, int(columns.jobs[at].next)
    assert columns.shares[queue].queue_last == before
    assert columns.shares[queue].queued == columns.shares[queue].waiting == len(found)
    return found


@RUNS
@given(st.lists(st.tuples(st.integers(0, JOBS - 1), st.integers(-3, 3)), max_size=120))
def test_a_queue_is_a_list_sorted_by_priority_and_sequence(steps: list[tuple[int, int]]) -> None:
    """A step puts a job in, or takes it out if it is there; a job's sequence is not its row."""
    columns = empty()
    waiting: list[tuple[int, int, int]] = []
    for job, priority in steps:
        sequence = job * 7919 % JOBS
        known = [each for each in waiting if each[2] == job]
        if known:
            waiting.remove(known[0])
            withdraw(columns, job, 0, STOP_CANCELLED)
        else:
            columns.jobs[job].priority, columns.jobs[job].sequence = priority, sequence
            bisect.insort(waiting, (-priority, sequence, job))
            put_in_queue(columns, job)
        assert in_order(columns, 1) == [job for *_, job in waiting]
    assert columns.classes[0].active == bool(waiting)


@RUNS
@given(st.lists(st.integers(1, 5), min_size=1, max_size=JOBS))
def test_shortest_job_first_is_one_queue_by_time_limit(limits: list[int]) -> None:
    columns = empty(ORDER_SJF)
    for job, limit_ms in enumerate(limits):
        columns.jobs[job].limit_ms, columns.jobs[job].sequence = limit_ms, job
        put_in_queue(columns, job)
    assert in_order(columns, 0) == sorted(range(len(limits)), key=lambda job: (limits[job], job))


@RUNS
@given(
    st.lists(
        st.tuples(st.sampled_from(["set", "drop", "pop"]), st.integers(0, JOBS - 1), st.integers(0, 9)), max_size=150
    )
)
def test_timers_come_in_order_of_time_and_then_of_row(steps: list[tuple[str, int, int]]) -> None:
    columns = empty()
    expected: dict[int, int] = {}
    for step, job, due_ms in steps:
        if step == "set":
            set_timer(columns, job, due_ms)
            expected[job] = due_ms
        elif step == "drop" and job in expected:
            stop(columns, job, STOP_CANCELLED, 0)
            del expected[job]
        elif step == "pop" and expected:
            first = int(columns.timer_job[0])
            stop(columns, first, STOP_CANCELLED, 0)
            del expected[first]
        assert columns.counters[0].timers == len(expected)
        if expected:
            earliest_ms, row = min((due_ms, row) for row, due_ms in expected.items())
            assert (next_due_ms(columns), columns.timer_job[0]) == (earliest_ms, row)
    assert {row for row in range(JOBS) if columns.timer_slot[row] != NONE} == set(expected)


def test_a_job_that_somebody_wants_gone_is_looked_at_at_once() -> None:
    columns = empty()
    set_timer(columns, 0, 500)
    ask_to_stop(columns, 0, STOP_CANCELLED, 100)
    assert next_due_ms(columns) == 100


@entry_point
def play_set(words: Integers, sizes: tuple[int, int, int, int], steps: Integers, answers: Integers) -> None:
    """Steps are (what, position): 0 adds, 1 removes, 2 asks for the first member from there on."""
    for step in range(len(steps)):
        position = steps[step, 1]
        if steps[step, 0] == 0:
            node_sets.add(words, 3, sizes, position)
        elif steps[step, 0] == 1:
            node_sets.remove(words, 3, sizes, position)
        else:
            answers[step] = node_sets.first_from(words, 3, sizes, position)


@RUNS
@given(st.data())
def test_a_set_of_nodes_finds_its_lowest_member_from_anywhere(data: st.DataObject) -> None:
    nodes = data.draw(st.sampled_from([1, 31, 32, 33, 1_000, 1_025, 33_000]))
    positions = st.one_of(st.integers(0, nodes - 1), st.integers(0, min(nodes, 70) - 1))
    steps = data.draw(st.lists(st.tuples(st.integers(0, 2), positions), min_size=1, max_size=100))
    sizes = building.set_sizes(nodes)
    answers = np.full(len(steps), -9, dtype=np.int64)
    words = np.zeros(sum(sizes) + 3, dtype=np.int64)
    play_set(words, sizes, np.array(steps, dtype=np.int64), answers)
    members: set[int] = set()
    for (what, position), answer in zip(steps, answers, strict=True):
        if what == 0:
            members.add(position)
        elif what == 1:
            members.discard(position)
        else:
            assert answer == min((each for each in members if each >= position), default=NONE)
    assert not words[:3].any()
    assert bool(words[3:].any()) == bool(members)
