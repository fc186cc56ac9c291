"""What only the local engine does: its files, its helpers, and what it concludes when any of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dure.executors.contract import Ended, ExecutorError, NeverStarted
from dure.executors.local import processes, records
from dure.executors.local.attempt import AttemptFolder
from dure.executors.local.executor import LocalExecutor

from .engines import Engine, eventually, helpers_of, launch, local_engine, shell

RESERVED_SIGNALS = 0b11 << 31
"""Signals 32 and 33 belong to the C library; no program can set them back once a parent has ignored them."""
LARGEST_SUPERVISOR_MIB = 14


def folder_of(engine: Engine, attempt_id: str) -> AttemptFolder:
    return AttemptFolder(str(engine.folder), attempt_id)


def shim_of(engine: Engine, attempt_id: str) -> int:
    claim = records.read(folder_of(engine, attempt_id).path, records.CLAIM)
    assert claim is not None
    assert isinstance(claim["shim"], list)
    return int(claim["shim"][0])


def supervisor_of(engine: Engine) -> int:
    supervisors, _ = helpers_of(engine.folder)
    return supervisors[0] if supervisors else 0


@contextmanager
def bystander() -> Iterator[processes.Process]:
    """A process in a session of its own that has nothing to do with the engine."""
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        found = processes.identify(child.pid)
        assert found is not None
        yield found
        assert child.poll() is None, "a process that is none of the engine's was killed"
    finally:
        child.kill()
        child.wait()


def leave_start_on_record(engine: Engine, boot_id: str, rank: processes.Process) -> None:
    """What a shim that was killed leaves: a claim and a start, and nobody holding the lock."""
    folder = folder_of(engine, "job.1")
    folder.prepare(launch("job.1", "true"))
    records.replace(folder.path, records.CLAIM, {"shim": [1, 0], "boot_id": boot_id}, durable=False)
    start: dict[str, object] = {"at_ms": 1, "boot_id": boot_id, "ranks": [rank.as_list()]}
    records.replace(folder.path, records.START, start, durable=False)


def test_a_job_outlives_its_supervisor_and_its_end_is_still_heard(local: Engine, tmp_path: Path) -> None:
    local.executor.start(shell("job.1", "while [ ! -e $GO ]; do sleep 0.01; done", env={"GO": str(tmp_path / "go")}))
    local.started("job.1")
    first = supervisor_of(local)
    os.kill(first, signal.SIGKILL)
    assert local.run(launch("job.2", "true")).exit_code == 0
    assert local.run(launch("job.3", "true")).exit_code == 0
    (tmp_path / "go").touch()
    assert local.ended("job.1").exit_code == 0
    eventually(lambda: supervisor_of(local) not in (0, first), "another supervisor serves")


def test_an_order_given_while_the_supervisor_was_dead_is_carried_out(local: Engine) -> None:
    os.kill(supervisor_of(local), signal.SIGKILL)
    for number in range(1, 6):
        local.executor.start(launch(f"job.{number}", "true"))
    assert [local.ended(f"job.{number}").exit_code for number in range(1, 6)] == [0] * 5


def test_the_orphans_of_a_killed_shim_are_killed_before_the_attempt_is_given_up(local: Engine) -> None:
    local.executor.start(shell("job.1", "setsid sleep 1001 & sleep 1002", ranks=2))
    local.started("job.1")
    eventually(lambda: sum(each.startswith("sleep") for each in local.processes().values()) == 4, "four sleeps run")
    os.kill(shim_of(local, "job.1"), signal.SIGKILL)
    assert local.ended("job.1").exit_code == -9
    assert "the process that watched over this attempt was killed" in local.log("job.1", rank=1)
    assert not [each for each in local.processes().values() if "sleep" in each]


def test_orphans_are_killed_when_the_next_server_recovers(local: Engine) -> None:
    local.executor.start(launch("job.1", "sleep", "1000"))
    local.started("job.1")
    local.executor.close(kill=False)
    shim = shim_of(local, "job.1")
    os.kill(shim, signal.SIGKILL)
    eventually(lambda: processes.entry(shim) is None, "the shim is gone")
    local.open()
    recovered = local.executor.recover(["job.1"])["job.1"]
    assert isinstance(recovered, Ended)
    assert recovered.exit_code == -9
    assert not [each for each in local.processes().values() if "sleep" in each]
    local.restart()
    assert local.executor.recover(["job.1"])["job.1"] == recovered


def test_after_a_reboot_everything_is_gone_and_no_stranger_is_killed(local: Engine) -> None:
    with bystander() as stranger:
        leave_start_on_record(local, "another-boot", stranger)
        recovered = local.executor.recover(["job.1"])["job.1"]
        assert isinstance(recovered, Ended)
        assert recovered.exit_code == -9


def test_a_process_number_that_was_used_again_is_not_killed(local: Engine) -> None:
    with bystander() as stranger:
        leave_start_on_record(local, processes.boot_id(), processes.Process(stranger.pid, stranger.start_ticks - 1))
        assert isinstance(local.executor.recover(["job.1"])["job.1"], Ended)


def test_an_attempt_whose_shim_died_before_the_start_never_ran_and_may_be_sent_again(local: Engine) -> None:
    folder = folder_of(local, "job.1")
    folder.prepare(launch("job.1", "true"))
    records.replace(folder.path, records.CLAIM, {"shim": [1, 0], "boot_id": processes.boot_id()}, durable=False)
    assert isinstance(local.executor.recover(["job.1"])["job.1"], NeverStarted)
    assert local.run(launch("job.1", "true")).exit_code == 0


def test_an_order_that_comes_late_for_an_attempt_that_was_given_up_runs_nothing(local: Engine, tmp_path: Path) -> None:
    supervisor = supervisor_of(local)
    os.kill(supervisor, signal.SIGSTOP)
    try:
        local.executor.start(shell("job.1", "touch $RAN", env={"RAN": str(tmp_path / "ran")}))
        local.restart()
        assert isinstance(local.executor.recover(["job.1"])["job.1"], NeverStarted)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert local.run(launch("job.2", "true")).exit_code == 0
    assert not (tmp_path / "ran").exists()


def test_an_attempt_stopped_before_its_order_was_read_does_not_run(local: Engine, tmp_path: Path) -> None:
    supervisor = supervisor_of(local)
    os.kill(supervisor, signal.SIGSTOP)
    try:
        local.executor.start(shell("job.1", "touch $RAN", env={"RAN": str(tmp_path / "ran")}))
        local.executor.stop("job.1", grace_ms=0)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert local.ended("job.1").exit_code == -15
    assert not (tmp_path / "ran").exists()


def test_secrets_never_reach_the_disk(local: Engine) -> None:
    secret = "correct-horse-battery-staple"
    order = launch("job.1", "bash", "-c", "echo ${#TOKEN}; sleep 1000", secret_env={"TOKEN": secret}, setup="true")
    local.executor.start(order)
    local.started("job.1")
    local.executor.warn("job.1", stop_at_ms=1, signal="USR1")
    eventually(lambda: local.log("job.1") == f"{len(secret)}\n", "the job has the secret")
    found = subprocess.run(["grep", "-rl", secret, str(local.folder)], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (1, "")
    assert not [each for each in local.processes().values() if secret in each]


def test_the_state_folder_is_closed_to_other_users(local: Engine) -> None:
    local.run(launch("job.1", script="true\n", setup="true"))
    assert local.folder.stat().st_mode & 0o777 == 0o700
    assert (local.folder / records.SOCKET).stat().st_mode & 0o777 == 0o600
    loose = [each for each in folder_of_files(local.folder) if each.stat().st_mode & 0o077]
    assert [each.name for each in loose] == [records.NOTICES]


def folder_of_files(folder: Path) -> list[Path]:
    return [each for each in folder.rglob("*") if not each.is_dir()]


def test_the_job_gets_an_ordinary_file_mode_mask_and_no_blocked_signals(local: Engine) -> None:
    local.run(shell("job.1", "umask; grep -E 'Sig(Blk|Ign)' /proc/self/status"))
    mask = os.umask(0)
    os.umask(mask)
    seen_mask, _, blocked, _, ignored = local.log("job.1").split()
    assert seen_mask == f"{mask:04o}"
    assert int(blocked, 16) & ~RESERVED_SIGNALS == 0
    assert int(ignored, 16) & ~RESERVED_SIGNALS == 0


def test_the_supervisor_is_small(local: Engine) -> None:
    for number in range(1, 21):
        local.run(launch(f"job.{number}", "true"))
    status = Path("/proc", str(supervisor_of(local)), "status").read_text()
    resident_kib = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))
    assert resident_kib < LARGEST_SUPERVISOR_MIB * 1024


def test_a_supervisor_with_nothing_to_do_leaves_with_its_server(local: Engine) -> None:
    local.run(launch("job.1", "true"))
    local.executor.close(kill=False)
    eventually(lambda: not local.processes(), "the supervisor leaves")
    local.open()
    assert local.run(launch("job.2", "true")).exit_code == 0


def test_a_folder_serves_one_server_at_a_time(local: Engine) -> None:
    with pytest.raises(ExecutorError, match="in use by another server"):
        LocalExecutor(local.folder)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExecutorError, match=r"the state folder .*file/state cannot be used"):
        LocalExecutor(tmp_path / "file" / "state")


def test_a_folder_with_a_very_long_path_works(tmp_path: Path) -> None:
    engine = local_engine(tmp_path / ("long" * 30) / ("longer" * 30))
    try:
        assert engine.run(launch("job.1", "true")).exit_code == 0
    finally:
        engine.executor.close(kill=True)


def test_a_disk_that_takes_no_log_is_told_as_the_reason(local: Engine) -> None:
    folder = folder_of(local, "job.1")
    folder.prepare(launch("job.1", "true"))
    (Path(folder.path) / records.log_name(0)).mkdir()
    local.executor.start(launch("job.1", "true"))
    assert "could not start its processes" in local.never_started("job.1").reason


def test_a_forgotten_attempt_leaves_nothing(local: Engine) -> None:
    local.executor.start(launch("job.1", "sleep", "1000"))
    executor = local.executor
    assert isinstance(executor, LocalExecutor)
    local.started("job.1")
    with pytest.raises(ExecutorError, match="has not ended"):
        executor.forget("job.1")
    executor.stop("job.1", grace_ms=0)
    local.ended("job.1")
    assert executor.log_path("job.1", 0) is not None
    executor.forget("job.1")
    executor.forget("job.1")
    assert executor.log_path("job.1", 0) is None
    assert os.listdir(local.folder / records.ATTEMPTS) == []


def test_a_hundred_attempts_at_once_all_start_and_end(local: Engine) -> None:
    began = time.monotonic()
    for number in range(1, 101):
        local.executor.start(launch(f"job.{number}", "true"))
    assert {local.ended(f"job.{number}").exit_code for number in range(1, 101)} == {0}
    assert time.monotonic() - began < 30
