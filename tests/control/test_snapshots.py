"""Snapshots: what they save, and when they count for nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from dure import bootstrap
from dure.bootstrap import make_control, make_snapshots, open_ledger
from dure.bootstrap.snapshots import REST, SnapshotTaker
from dure.control.control import Control
from dure.control.snapshots import DUE_AFTER, Snapshots
from dure.control.vault import Vault
from dure.executors.contract import Ended, NeverStarted, Started
from dure.ledger.memory import MemoryLedger
from dure.model.events import decode
from dure.world.world import World

from .builders import START_MS, run, seeded_streams, small_control, spec, submit

PROGRAM = "this one"


def write(path: Path, body: bytes) -> None:
    path.write_bytes(body)


def snapshots(path: Path, program: str = PROGRAM, key: bytes = b"k" * 32) -> Snapshots:
    return Snapshots(path, Vault(key, os.urandom), program, write)


def eventful(ledger: MemoryLedger) -> Control:
    """Jobs that wait, run, borrow, were refused a start, and are over."""
    control = small_control(ledger)
    for number in range(6):
        submit(control, spec(gpus=2, name=f"n{number}"))
    submit(control, spec(project="weather", gpus=4))
    run(control, seen=[Started(attempt_id="j1.1", at_ms=START_MS), Started(attempt_id="j2.1", at_ms=START_MS)])
    run(control, seen=[NeverStarted(attempt_id="j3.1", at_ms=START_MS, reason="no")], now_ms=START_MS + 5)
    run(control, seen=[Ended(attempt_id="j1.1", at_ms=START_MS + 9, exit_code=0)], now_ms=START_MS + 9)
    return control


def same(one: World, other: World) -> bool:
    columns = zip(one.columns, other.columns, strict=True)
    return one.jobs == other.jobs and all(np.array_equal(mine, yours) for mine, yours in columns)


def test_a_snapshot_is_the_history_that_replaying_gives(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    control = eventful(ledger)
    kept = snapshots(tmp_path / "snapshot")
    assert kept.take(ledger) == ledger.size
    found = kept.latest(ledger)
    assert found.position == ledger.size
    control.rebuild()
    assert same(found.world, control.world)
    assert vars(found) | {"world": 0, "books": 0, "lending": 0, "outputs": 0} == vars(control.memory.history) | {
        "world": 0, "books": 0, "lending": 0, "outputs": 0,
    }  # fmt: skip
    assert found.lending.days(START_MS + 60_000) == control.memory.lending.days(START_MS + 60_000)


def test_deciding_goes_on_from_a_snapshot_as_it_would_have_without(tmp_path: Path) -> None:
    ledgers = MemoryLedger(), MemoryLedger()
    kept = snapshots(tmp_path / "snapshot")
    for ledger, uses_it in zip(ledgers, (True, False), strict=True):
        control = eventful(ledger)
        if uses_it:
            kept.take(ledger)
            submit(control, spec(gpus=1), START_MS + 10)
            control = Control(ledger, bootstrap.make_policy_set(), b"k" * 32, seeded_streams(), "", kept.latest)
            assert control.replayed_from == ledger.size - 1
        else:
            submit(control, spec(gpus=1), START_MS + 10)
        for number in range(2, 9):
            run(control, seen=[Ended(attempt_id=f"j{number}.1", at_ms=0, exit_code=0)], now_ms=START_MS + 20 + number)
        submit(control, spec(gpus=1), START_MS + 40)
    events = [[decode(entry) for entry in ledger.entries()] for ledger in ledgers]
    # Commitments have random salts, of which the rebuilt control has drawn fewer.
    assert [_without_salt(each) for each in events[0]] == [_without_salt(each) for each in events[1]]


def _without_salt(event: object) -> str:
    return str(event).split("commitment=")[0]


def test_a_second_snapshot_takes_in_only_what_is_new(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    control = eventful(ledger)
    kept = snapshots(tmp_path / "snapshot")
    kept.take(ledger)
    submit(control, spec(gpus=1), START_MS + 10)
    assert kept.take(ledger) == ledger.size
    assert "j8" in kept.latest(ledger).world.jobs


@pytest.mark.parametrize("why", ["another program", "another key", "another ledger", "damaged", "cut short", "missing"])
def test_a_snapshot_that_does_not_fit_counts_for_nothing(tmp_path: Path, why: str) -> None:
    path = tmp_path / "snapshot"
    ledger = MemoryLedger()
    eventful(ledger)
    snapshots(path).take(ledger)
    if why == "another ledger":
        ledger = MemoryLedger()
        submit(small_control(ledger, seed=7), spec())
    elif why == "missing":
        path.unlink()
    elif why in ("damaged", "cut short"):
        body = path.read_bytes()
        path.write_bytes(body[:-1] + bytes([body[-1] ^ 1]) if why == "damaged" else body[:-20])
    program, key = ("new" if why == "another program" else PROGRAM), (b"K" if why == "another key" else b"k") * 32
    assert snapshots(path, program, key).latest(ledger).position == 0


def test_a_process_of_its_own_takes_one_while_the_ledger_is_in_use(tmp_path: Path) -> None:
    state = tmp_path / "state"
    bootstrap.prepare_state(state)
    ledger = open_ledger(state)
    control = make_control(state, ledger)
    run(control, [])
    small = small_control(MemoryLedger())
    ledger.append(0, list(small.ledger.entries()), [], START_MS)
    command = [sys.executable, "-c", "from dure import bootstrap; bootstrap.take_snapshot()", str(state)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert said.stdout == f"{ledger.size}\n"
    assert make_snapshots(state).latest(ledger).position == ledger.size
    assert (state / "snapshot").stat().st_mode & 0o077 == 0
    ledger.close()


def test_no_snapshot_is_begun_for_some_time_after_one_that_took_long(tmp_path: Path) -> None:
    state = tmp_path / "state"
    bootstrap.prepare_state(state)
    with closing(open_ledger(state)) as ledger:
        ledger.append(0, list(small_control(MemoryLedger()).ledger.entries()), [], START_MS)
    now_s = 100.0
    file, taker = state / "snapshot", SnapshotTaker(state, None, 0, lambda: now_s)
    with closing(taker):
        taker.consider(DUE_AFTER)
        wait_for_snapshot(taker)
        assert file.exists()
        now_s += 2
        taker.consider(DUE_AFTER)
        now_s += 2 * REST - 1
        taker.consider(2 * DUE_AFTER)
        assert not taker.is_taking
        now_s += 1
        file.unlink()
        taker.consider(2 * DUE_AFTER)
        wait_for_snapshot(taker)
        assert file.exists()


def wait_for_snapshot(taker: SnapshotTaker) -> None:
    assert taker.is_taking
    end_s = time.monotonic() + 120
    while taker.is_taking and time.monotonic() < end_s:
        time.sleep(0.02)
