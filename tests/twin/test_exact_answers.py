"""The twin's FIFO and SJF start every job at the very millisecond at which an independent plain loop starts it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.twin import w1_with_owners
from dure.sources.fleet import TwinFleet, parse_fleet
from dure.sources.locate import trace_file
from dure.sources.readers import read_trace
from dure.sources.trace import EVERYONE, Trace, arranged, pack_choices
from dure.twin.events import DONE, advance
from dure.twin.run import run_scene
from dure.twin.scene import Scene
from dure.world.columns import NEVER
from tests.twin.reference import Job, start_times_ms

Policy = Literal["fifo", "sjf"]
W1_FLEET = "72x8"
W1_ANSWERS = {"fifo": (18934.19, 9881.49, 2725040.0), "sjf": (11985.71, 2933.01, 2725040.0)}
"""Average completion time, average wait and makespan in seconds, as two other simulators found them."""


def jobs_of(trace: Trace) -> list[Job]:
    columns = (trace.submit_ms, trace.duration_ms, trace.nodes, trace.gpus_milli // 1000)
    return [Job(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def twin_starts_ms(trace: Trace, fleet: TwinFleet, policy: Policy) -> list[int]:
    _, columns, run = Scene(trace=trace, fleet=fleet, shares=(), policy=policy).begin(keep_log=False)
    while advance(columns, run, NEVER, 1_000_000) != DONE:
        pass
    starts: list[int] = columns.jobs["first_started_ms"][: len(trace)].tolist()
    return starts


def w1() -> Trace:
    path = trace_file("equal")
    if path is None:
        pytest.skip("W1 is not here: name a folder of traces in DURE_TRACES")
    return read_trace(path, "equal", parse_fleet(W1_FLEET))


@pytest.mark.parametrize("policy", ["fifo", "sjf"])
def test_every_job_of_w1_starts_when_the_reference_starts_it(policy: Policy) -> None:
    trace = w1()
    assert twin_starts_ms(trace, parse_fleet(W1_FLEET), policy) == start_times_ms(jobs_of(trace), 72, 8, policy)


@pytest.mark.parametrize("policy", ["fifo", "sjf"])
def test_w1_has_the_answers_that_other_simulators_found(policy: Policy) -> None:
    report = run_scene(Scene(trace=w1(), fleet=parse_fleet(W1_FLEET), shares=(), policy=policy))
    assert (report.avg_jct_s, report.avg_wait_s, report.makespan_s) == W1_ANSWERS[policy]


def test_w1_with_owners_has_the_very_jobs_of_w1() -> None:
    path = trace_file("philly")
    if path is None:
        pytest.skip("Philly's trace is not here: name a folder of traces in DURE_TRACES")
    owned = w1_with_owners(path)
    assert len(owned.shares) == 15
    assert jobs_of(owned) == jobs_of(w1())


@st.composite
def workloads(draw: st.DrawFn) -> tuple[Trace, int, int]:
    nodes = draw(st.integers(1, 6))
    gpus_per_node = draw(st.sampled_from([1, 4, 8, 16]))
    seconds = st.integers(0, 40)
    row = st.tuples(seconds, st.integers(1, 20), st.integers(1, nodes), st.integers(1, gpus_per_node))
    rows = draw(st.lists(row, min_size=1, max_size=60))
    submit, duration, wanted_nodes, gpus = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    trace = arranged(
        name="drawn",
        origin="drawn",
        gpu_classes=("GPU",),
        shares=(EVERYONE,),
        submit_ms=submit * 1000,
        duration_ms=duration * 1000,
        nodes=wanted_nodes,
        gpus_milli=gpus * 1000,
        choices=np.full(len(rows), pack_choices((0,)), dtype=np.int64),
    )
    return trace, nodes, gpus_per_node


@pytest.mark.parametrize("policy", ["fifo", "sjf"])
@settings(max_examples=150, deadline=None)
@given(workload=workloads())
def test_small_workloads_run_as_in_the_reference(policy: Policy, workload: tuple[Trace, int, int]) -> None:
    trace, nodes, gpus_per_node = workload
    fleet = parse_fleet(f"{nodes}x{gpus_per_node}")
    assert twin_starts_ms(trace, fleet, policy) == start_times_ms(jobs_of(trace), nodes, gpus_per_node, policy)
