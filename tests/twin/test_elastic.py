"""Elastic jobs in the twin: work is node-time, nothing of it is lost when a job is resized, and the ledger says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dure.model.events import decode_fleet_event
from dure.model.jobs import JobState
from dure.model.organisations import Share
from dure.model.units import HOUR_MS, MINUTE_MS
from dure.sources.faults import drawn_faults
from dure.sources.fleet import parse_fleet
from dure.sources.generator import generate
from dure.twin.events import DONE, Run, advance
from dure.twin.forecast import forecast
from dure.twin.run import run_scene
from dure.twin.scene import Scene
from dure.world.world import World
from tests.kernel.nations import HOUR, job, nation, share
from tests.kernel.story import Story
from tests.twin.scenes import TIMING


def scene(*jobs: tuple[int, int, int, int], nodes: int = 4) -> Scene:
    """Jobs of (arrival ms, nodes, least nodes or 0, duration ms on all its nodes) on whole nodes of 8 GPUs."""
    fleet = parse_fleet(f"{nodes}x8")
    arrivals, wanted, least, durations = (np.array(column, dtype=np.int64) for column in zip(*jobs, strict=True))
    ones = np.ones(len(jobs), dtype=np.int64)
    trace = replace(
        generate(0, 1, fleet, 0.5, HOUR_MS),
        shares=("everyone",),
        submit_ms=arrivals,
        duration_ms=durations,
        limit_ms=durations * 10,
        nodes=wanted,
        gpus_milli=ones * 8_000,
        cpus_milli=ones * 0,
        memory_mib=ones * 0,
        choices=ones,
        share=ones * 0,
    )
    elastic = {row: int(each) for row, each in enumerate(least) if each}
    shares = (Share(name="everyone", parent=None),)
    return Scene(trace=trace, fleet=fleet, shares=shares, policy="dure", timing=TIMING, elastic=elastic)


def played(made: Scene) -> tuple[Run, list[int]]:
    """The run at its end, and when each job ended."""
    _, columns, run = made.begin(keep_log=False)
    assert advance(columns, run, made.until_ms, 1_000_000) == DONE
    return run, columns.jobs["ended_ms"].tolist()


def test_with_half_its_nodes_a_job_takes_twice_as_long() -> None:
    _, ended_ms = played(scene((0, 2, 0, 3 * HOUR_MS), (0, 4, 1, HOUR_MS)))
    assert ended_ms[1] == 2 * HOUR_MS


def test_a_job_that_grows_has_lost_nothing() -> None:
    """Half of the nodes for an hour is a quarter of the work of two hours; warning and grace are worked through."""
    run, ended_ms = played(scene((0, 2, 0, HOUR_MS), (0, 4, 1, 2 * HOUR_MS)))
    clock = run.clock[0]
    assert (clock.resized, clock.reclaimed, clock.lost_to_reclaim_integral) == (1, 0, 0)
    at_half_ms = HOUR_MS + TIMING.warning_ms + TIMING.grace_ms
    assert ended_ms[1] == at_half_ms + 2 * HOUR_MS - at_half_ms // 2
    assert clock.useful_integral == clock.allocated_integral == (2 * HOUR_MS + 4 * 2 * HOUR_MS) * 8_000


def test_the_ledger_of_a_run_with_elastic_jobs_gives_the_same_world(tmp_path: Path) -> None:
    made = scene((0, 2, 0, HOUR_MS), (0, 4, 1, 2 * HOUR_MS))
    report = run_scene(made, ledger_file=tmp_path / "ledger", audit=True)
    assert (report.finished, report.resized, report.audit_violations) == (2, 1, 0)
    world = World()
    for entry in (tmp_path / "ledger").read_bytes().splitlines():
        world.apply(decode_fleet_event(entry))
    assert world.jobs["j2"].state is JobState.SUCCEEDED
    assert world.jobs["j2"].attempt == 2


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 600), st.integers(1, 6), st.integers(0, 3), st.integers(5, 120)),
        min_size=3,
        max_size=40,
    ),
    st.integers(0, 100),
)
def test_all_gpu_time_of_elastic_jobs_is_accounted_for_once(jobs: list[tuple[int, int, int, int]], seed: int) -> None:
    told = [
        ((minute - min(jobs)[0]) * MINUTE_MS, nodes, least if least < nodes else 0, length * MINUTE_MS)
        for minute, nodes, least, length in sorted(jobs)
    ]
    made = scene(*told, nodes=6)
    faults = drawn_faults(seed, made.fleet, 20 * HOUR_MS, HOUR_MS, 24 * HOUR_MS)
    clock = played(replace(made, faults=faults, checkpoint_every_ms=10 * MINUTE_MS))[0].clock[0]
    lost = clock.lost_to_reclaim_integral + clock.lost_to_failures_integral + clock.lost_to_limits_integral
    assert clock.useful_integral + lost == clock.allocated_integral
    assert run_scene(replace(made, faults=faults), audit=True).audit_violations == 0


def test_a_forecast_knows_that_an_elastic_job_starts_with_its_least() -> None:
    told = Story(nation([share("a")], nodes=4))
    told.submit(job("x", "a", 8, nodes=2, time_ms=HOUR), job("y", "a", 8, nodes=2, time_ms=2 * HOUR))
    told.submit(job("e", "a", 8, nodes=4, min_nodes=2, saves_when_warned=True))
    told.submit(job("z", "a", 8, nodes=2, time_ms=HOUR))
    assert forecast(told.world, "e", told.now_ms).latest_ms == HOUR
    assert forecast(told.world, "z", told.now_ms).latest_ms == 2 * HOUR


def test_under_one_queue_a_job_starts_with_what_is_there_and_keeps_it() -> None:
    made = replace(scene((0, 2, 0, HOUR_MS), (0, 4, 1, HOUR_MS)), policy="fifo")
    run, ended_ms = played(made)
    assert (run.clock[0].resized, ended_ms[1]) == (0, 2 * HOUR_MS)
    assert run_scene(made, audit=True).audit_violations == 0
