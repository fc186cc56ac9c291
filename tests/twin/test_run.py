"""The twin: same seed, same bytes; the audit finds no fault; its ledger is a ledger like any other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dure.model.events import decode_fleet_event
from dure.model.jobs import JobState
from dure.twin.events import DONE, advance
from dure.twin.run import RunReport, run_scene
from dure.world.columns import NEVER
from dure.world.world import World
from tests.twin.scenes import small_scene


def answers(report: RunReport) -> tuple[object, ...]:
    """What does not depend on the machine."""
    return (report.finished, report.avg_jct_s, report.avg_wait_s, report.reclaimed, report.ledger_root)


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    first = run_scene(small_scene(), ledger_file=tmp_path / "first.jsonl")
    second = run_scene(small_scene(), ledger_file=tmp_path / "second.jsonl")
    assert (tmp_path / "first.jsonl").read_bytes() == (tmp_path / "second.jsonl").read_bytes()
    assert answers(first) == answers(second)


def test_another_seed_is_another_run() -> None:
    assert run_scene(small_scene(seed=4)).avg_jct_s != run_scene(small_scene(seed=5)).avg_jct_s


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 3.0))
def test_the_audit_finds_no_fault_with_a_run(seed: int, load: float) -> None:
    report = run_scene(small_scene(250, seed=seed, load=load), audit=True)
    assert report.audit_violations == 0


def test_the_story_has_something_to_audit() -> None:
    report = run_scene(small_scene())
    assert report.finished == report.jobs - report.refused
    assert report.reclaimed > 0
    assert report.avg_wait_s > 0


@pytest.mark.parametrize("policy", ["fifo", "sjf", "dure"])
def test_every_job_of_every_policy_finishes(policy: str) -> None:
    report = run_scene(small_scene(policy=policy))
    assert report.finished == report.jobs - report.refused


def test_a_runs_ledger_applied_to_a_world_gives_its_end(tmp_path: Path) -> None:
    report = run_scene(small_scene(), ledger_file=tmp_path / "ledger.jsonl")
    world = World()
    for entry in (tmp_path / "ledger.jsonl").read_bytes().splitlines():
        world.apply(decode_fleet_event(entry))
    succeeded = [card for card in world.jobs.values() if card.state is JobState.SUCCEEDED]
    assert len(succeeded) == report.finished
    assert sum(card.preemptions for card in world.jobs.values()) == report.reclaimed
    assert all(node.free_gpus_milli == node.gpus * 1000 for node in world.nodes())


def test_counts_kept_by_the_way_agree_with_counts_made_anew() -> None:
    _, columns, run = small_scene().begin(keep_log=False)
    while advance(columns, run, NEVER, 5) != DONE:
        for node in range(int(columns.counters[0].nodes)):
            record = columns.nodes[node]
            assert record.idle == int(record.idle_mask).bit_count()
        assert columns.classes["idle"].sum() == columns.nodes["idle"].sum()
        for share in range(len(columns.shares)):
            children = columns.shares["parent"] == share
            queued = columns.shares["queued"][share]
            assert columns.shares["waiting"][share] == queued + columns.shares["waiting"][children].sum()
            assert columns.shares["used"][share] >= columns.shares["used"][children].sum()


@pytest.mark.parametrize("policy", ["fifo", "silo", "priority-backfill", "fair-share", "dure"])
def test_the_compiled_kernel_equals_the_interpreted_one(policy: str, tmp_path: Path) -> None:
    compiled = run_scene(small_scene(120, policy=policy), ledger_file=tmp_path / "compiled.jsonl")
    program = (
        "import sys; from pathlib import Path; from tests.twin.scenes import small_scene; "
        "from dure.twin.run import run_scene; "
        f"print(run_scene(small_scene(120, policy={policy!r}), ledger_file=Path(sys.argv[1])).ledger_root)"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path / "interpreted.jsonl")],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == compiled.ledger_root
    assert (tmp_path / "interpreted.jsonl").read_bytes() == (tmp_path / "compiled.jsonl").read_bytes()


def test_nothing_of_a_record_array_is_anything_but_a_64_bit_integer() -> None:
    _, columns, _ = small_scene(10).begin(keep_log=False)
    for column in columns:
        fields = column.dtype.fields
        kinds = {column.dtype} if fields is None else {kind for kind, *_ in fields.values()}
        assert kinds == {np.dtype(np.int64)}
