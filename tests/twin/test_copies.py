"""Arrays and services in the twin: the same rows, starts and stops as live, and a ledger that says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dure.model.events import decode_fleet_event
from dure.model.jobs import ArrayRange, JobState, Replicas
from dure.model.organisations import Share, ShareAmount
from dure.model.units import DAY_MS, HOUR_MS, MINUTE_MS
from dure.sources.errors import BadWorkload
from dure.sources.fleet import parse_fleet
from dure.sources.generator import generate
from dure.sources.trace import Trace
from dure.twin.events import DONE, NO_ROOM, advance, with_more_room
from dure.twin.run import run_scene
from dure.twin.scene import Scene
from dure.world.columns import NONE, RUNNING
from dure.world.world import World
from tests.twin.scenes import TIMING

NIGHT_AND_DAY = Replicas(steps=((0, 1), (8 * HOUR_MS, 4), (20 * HOUR_MS, 1)))


def trace_of(*jobs: tuple[int, int, int, int]) -> Trace:
    """Jobs of (arrival ms, share, GPUs, duration ms) of the shares `owner` and `guest`."""
    columns = [np.array(column, dtype=np.int64) for column in zip(*jobs, strict=True)]
    arrivals, shares, gpus, durations = columns
    ones = np.ones(len(jobs), dtype=np.int64)
    like = generate(0, 1, parse_fleet("1x8"), 0.5, HOUR_MS)
    fields: dict[str, Any] = {
        "submit_ms": arrivals,
        "duration_ms": durations,
        "limit_ms": durations * 2,
        "nodes": ones,
        "gpus_milli": gpus * 1000,
        "cpus_milli": ones * 0,
        "memory_mib": ones * 0,
        "choices": ones,
        "share": shares,
    }
    return replace(like, shares=("owner", "guest"), **fields)


def scene_of(trace: Trace, **others: Any) -> Scene:
    fleet = parse_fleet("1x8")
    shares = (
        Share(name="owner", parent=None, amounts=(ShareAmount(gpu_class=fleet.gpu_classes[0], guarantee_milli=8_000),)),
        Share(name="guest", parent=None),
    )
    return Scene(trace=trace, fleet=fleet, shares=shares, policy="dure", timing=TIMING, **others)


def test_an_array_runs_to_its_last_task_in_as_many_rows_as_run_at_once(tmp_path: Path) -> None:
    scene = scene_of(trace_of((0, 0, 1, HOUR_MS), (HOUR_MS, 1, 2, HOUR_MS)), copies={0: ArrayRange(first=0, last=99)})
    _, columns, run = scene.begin(keep_log=False)
    while (result := advance(columns, run, scene.until_ms, 1_000)) != DONE:
        if result == NO_ROOM:
            columns, run = with_more_room(columns, run)
    assert len(columns.jobs) == 16
    report = run_scene(scene, ledger_file=tmp_path / "ledger", audit=True)
    assert (report.finished, report.copies_over, report.audit_violations) == (2, 100, 0)
    assert report.makespan_s == 13 * 3600
    world = World()
    for entry in (tmp_path / "ledger").read_bytes().splitlines():
        world.apply(decode_fleet_event(entry))
    assert world.jobs["j1"].state is JobState.SUCCEEDED
    assert sum(job.startswith("j1_") for job in world.jobs) == 100


def test_a_service_lends_at_night_and_has_its_gpus_back_in_the_morning(tmp_path: Path) -> None:
    """The guest fills what is idle; from 08:00 the owner has four replicas within warning and grace."""
    jobs = [(0, 0, 2, HOUR_MS)] + [(MINUTE_MS, 1, 2, 3 * HOUR_MS)] * 60
    scene = scene_of(trace_of(*jobs), copies={0: NIGHT_AND_DAY}, until_ms=2 * DAY_MS)
    _, columns, run = scene.begin(keep_log=False)
    replicas, guests = {}, {}
    for at_ms in (
        7 * HOUR_MS + 59 * MINUTE_MS,
        8 * HOUR_MS + TIMING.warning_ms + TIMING.grace_ms,
        21 * HOUR_MS,
        DAY_MS + 8 * HOUR_MS + TIMING.warning_ms + TIMING.grace_ms,
    ):
        while (result := advance(columns, run, at_ms, 1_000)) != DONE:
            if result == NO_ROOM:
                columns, run = with_more_room(columns, run)
        running = columns.jobs[columns.jobs["state"] == RUNNING]
        replicas[at_ms] = int((running["template"] == 0).sum())
        guests[at_ms] = int((running["template"] == NONE).sum())
    assert list(replicas.values()) == [1, 4, 1, 4]
    assert list(guests.values()) == [3, 0, 3, 0]
    report = run_scene(scene, ledger_file=tmp_path / "ledger", audit=True)
    assert report.audit_violations == 0
    assert report.copies_over == 6
    assert report.reclaimed > 0
    world = World()
    for entry in (tmp_path / "ledger").read_bytes().splitlines():
        world.apply(decode_fleet_event(entry))
    assert world.jobs["j1"].state is JobState.RUNNING
    assert sum(card.template == "j1" and not card.state.is_final for card in world.jobs.values()) == 1


def test_a_service_needs_an_end_of_the_run() -> None:
    with pytest.raises(BadWorkload, match="never ends"):
        scene_of(trace_of((0, 0, 2, HOUR_MS)), copies={0: NIGHT_AND_DAY}).begin(keep_log=False)


def test_arrays_are_not_played_where_a_policy_leaves_jobs_out() -> None:
    scene = replace(scene_of(trace_of((0, 0, 2, HOUR_MS)), copies={0: ArrayRange(first=0, last=1)}), policy="silo")
    with pytest.raises(BadWorkload, match="cannot be played"):
        scene.begin(keep_log=False)
