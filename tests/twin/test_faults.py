"""Nodes fail in the twin: what is lost, what counted, and that nothing is counted twice or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replace_struct

from dure.model.events import NodeChanged, NodeReason, decode_fleet_event
from dure.model.jobs import JobState
from dure.model.units import HOUR_MS, MINUTE_MS
from dure.sources.faults import NEVER_BACK_MS, Faults, drawn_faults
from dure.sources.fleet import TwinFleet, parse_fleet
from dure.sources.trace import Trace, arranged
from dure.twin.events import DONE, Run, advance
from dure.twin.run import RunReport, run_scene
from dure.twin.scene import Scene
from dure.world.columns import NEVER
from dure.world.suspicion import is_suspect
from dure.world.world import World
from tests.twin.scenes import TIMING, small_scene


def faults(*failures: tuple[int, int, int]) -> Faults:
    """Failures as (position of the node, down, up)."""
    node, down_ms, up_ms = np.array(failures, dtype=np.int64).T
    return Faults(origin="by hand", node=node, down_ms=down_ms, up_ms=up_ms)


def trace(fleet: TwinFleet, *jobs: tuple[int, int, int, int]) -> Trace:
    """Jobs as (submitted, duration, nodes, whole GPUs per node), all of one share."""
    submit_ms, duration_ms, nodes, gpus = np.array(jobs, dtype=np.int64).T
    return arranged(
        name="by hand",
        origin="by hand",
        gpu_classes=fleet.gpu_classes,
        shares=("everyone",),
        submit_ms=submit_ms,
        duration_ms=duration_ms,
        limit_ms=2 * duration_ms,
        nodes=nodes,
        gpus_milli=1000 * gpus,
        choices=np.ones(len(jobs), dtype=np.int64),
    )


def scene(fleet: str, jobs: tuple[tuple[int, int, int, int], ...], failures: Faults, checkpoint_ms: int = 0) -> Scene:
    parsed = parse_fleet(fleet)
    return Scene(
        trace=trace(parsed, *jobs),
        fleet=parsed,
        shares=(),
        policy="dure",
        timing=TIMING,
        checkpoint_every_ms=checkpoint_ms,
        faults=failures,
    )


def gpu_hours(report: RunReport) -> tuple[float, float, float]:
    """Given out, useful, lost to failures."""
    return report.gpu_hours, report.useful_gpu_hours, report.lost_to_failures_gpu_hours


def test_a_job_goes_on_from_its_last_checkpoint_on_another_node() -> None:
    """Four GPUs, 10 h of work, a checkpoint every hour; the node fails after 4 h 30: half an hour is lost."""
    job = (0, 10 * HOUR_MS, 1, 4)
    failure = faults((0, 4 * HOUR_MS + 30 * MINUTE_MS, 5 * HOUR_MS))
    report = run_scene(scene("2x4", (job,), failure, HOUR_MS), audit=True)
    assert gpu_hours(report) == (42.0, 40.0, 2.0)
    assert report.makespan_s == 10.5 * 3600
    assert (report.node_failures, report.interrupted, report.avg_restart_s) == (1, 1, 0.0)
    assert report.audit_violations == 0


def test_without_checkpoints_all_work_is_lost_and_the_only_node_is_waited_for() -> None:
    job = (0, 10 * HOUR_MS, 1, 4)
    report = run_scene(scene("1x4", (job,), faults((0, 4 * HOUR_MS, 6 * HOUR_MS))))
    assert gpu_hours(report) == (56.0, 40.0, 16.0)
    assert report.makespan_s == 16 * 3600
    assert (report.avg_restart_s, report.longest_restart_s) == (2 * 3600, 2 * 3600)


def test_a_gang_that_loses_one_node_restarts_whole() -> None:
    gang = (0, 10 * HOUR_MS, 2, 4)
    report = run_scene(scene("3x4", (gang,), faults((1, 3 * HOUR_MS, NEVER_BACK_MS)), 2 * HOUR_MS))
    assert gpu_hours(report) == (88.0, 80.0, 8.0)
    assert report.finished == 1


def test_a_gang_that_lost_a_node_queues_before_what_came_later() -> None:
    """Nodes 0 and 1 hold the gang; the job behind it wants a node too, and node 2 is the only one left."""
    gang, later = (0, 4 * HOUR_MS, 2, 4), (HOUR_MS, 6 * HOUR_MS, 2, 4)
    made = scene("3x4", (gang, later), faults((0, 2 * HOUR_MS, 3 * HOUR_MS)))
    run = finished_run(made)
    assert run.clock[0].finished == 2
    assert run_scene(made).makespan_s == (2 + 4 + 6) * 3600


def finished_run(made: Scene) -> Run:
    _, columns, run = made.begin(keep_log=False)
    assert advance(columns, run, NEVER, 1 << 40) == DONE
    return run


def test_what_ends_at_the_instant_of_a_failure_has_finished() -> None:
    report = run_scene(scene("1x4", ((0, HOUR_MS, 1, 4),), faults((0, HOUR_MS, 2 * HOUR_MS))))
    assert (report.finished, report.interrupted, report.lost_to_failures_gpu_hours) == (1, 0, 0.0)


def test_failures_after_the_last_job_do_not_count() -> None:
    report = run_scene(scene("1x4", ((0, HOUR_MS, 1, 4),), faults((0, 5 * HOUR_MS, 6 * HOUR_MS))))
    assert report.node_failures == 0
    assert report.makespan_s == 3600


HOURS = [(hour * HOUR_MS + 5 * MINUTE_MS, hour * HOUR_MS + 6 * MINUTE_MS) for hour in range(1, 13)]
"""A minute of absence each hour."""


def test_a_node_that_fails_every_hour_is_set_aside_and_given_work_again_after_its_probation() -> None:
    """From the third failure it is away for four hours; the other node does the work meanwhile."""
    flapping = faults(*[(0, down_ms, up_ms) for down_ms, up_ms in HOURS])
    jobs = tuple((number * HOUR_MS // 2, HOUR_MS // 4, 1, 4) for number in range(30))
    made = scene("2x4", jobs, flapping)
    report = run_scene(made, audit=True)
    assert (report.node_failures, report.audit_violations) == (12, 0)
    assert report.set_aside > 1
    trusting = run_scene(replace(made, timing=replace_struct(TIMING, suspect_after=0)))
    assert trusting.set_aside == 0
    assert trusting.interrupted > report.interrupted


def test_the_ledger_of_a_run_with_suspects_gives_the_same_nodes_to_a_world(tmp_path: Path) -> None:
    flapping = faults(*[(0, down_ms, up_ms) for down_ms, up_ms in HOURS])
    jobs = tuple((number * HOUR_MS // 2, HOUR_MS // 4, 1, 4) for number in range(30))
    made = scene("2x4", jobs, flapping)
    run_scene(made, ledger_file=tmp_path / "ledger")
    world = World()
    for entry in (tmp_path / "ledger").read_bytes().splitlines():
        event = decode_fleet_event(entry)
        if isinstance(event, NodeChanged) and event.reason is NodeReason.REPEATED_FAILURES:
            assert is_suspect(world.columns, world.atlas.node_index(event.node))
        if isinstance(event, NodeChanged) and event.reason is NodeReason.PROBATION_OVER:
            assert world.over_probation(event.at_ms) == [event.node]
        world.apply(event)
    assert all(card.state is JobState.SUCCEEDED for card in world.jobs.values())


def failing_scene(seed: int, load: float, mtbf_h: int) -> Scene:
    made = small_scene(250, seed=seed, load=load)
    until_ms = int(made.trace.submit_ms[-1]) + 48 * HOUR_MS
    return replace(made, faults=drawn_faults(seed, made.fleet, mtbf_h * HOUR_MS, 2 * HOUR_MS, until_ms))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 3.0), st.integers(4, 60))
def test_all_gpu_time_is_accounted_for_once(seed: int, load: float, mtbf_h: int) -> None:
    clock = finished_run(failing_scene(seed, load, mtbf_h)).clock[0]
    lost = clock.lost_to_reclaim_integral + clock.lost_to_failures_integral + clock.lost_to_limits_integral
    assert clock.useful_integral + lost == clock.allocated_integral
    assert clock.allocated_milli == 0


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 3.0), st.integers(4, 60))
def test_the_audit_finds_no_fault_while_nodes_fail(seed: int, load: float, mtbf_h: int) -> None:
    assert run_scene(failing_scene(seed, load, mtbf_h), audit=True).audit_violations == 0


def test_every_job_finishes_though_nodes_fail() -> None:
    report = run_scene(failing_scene(seed=3, load=1.3, mtbf_h=10))
    assert report.finished == report.jobs - report.refused
    assert report.interrupted > 10
    assert report.lost_to_failures_gpu_hours > 0


def test_two_runs_with_failures_write_the_same_bytes(tmp_path: Path) -> None:
    made = failing_scene(seed=5, load=1.5, mtbf_h=10)
    first = run_scene(made, ledger_file=tmp_path / "first.jsonl")
    second = run_scene(made, ledger_file=tmp_path / "second.jsonl")
    assert (tmp_path / "first.jsonl").read_bytes() == (tmp_path / "second.jsonl").read_bytes()
    assert first.ledger_root == second.ledger_root
