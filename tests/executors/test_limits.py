"""Jobs that take more than they may, and jobs that will not go: what the local engine does about each."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import pytest

from dure.executors.contract import Ended
from dure.executors.local.environment import Terms
from dure.executors.local.output import TAIL_BYTES

from .engines import Engine, eventually, launch, local_engine, shell
from .test_contract import wait_for

GIGABYTE = 10**9
LOG_BYTES = 1_000_000
FORKS_AWAY = """
import os
open(os.environ["READY"], "w").close()
while True:
    if os.fork():
        os._exit(0)
    os.setsid()
"""


def engine_with(folder: Path, terms: Terms) -> Engine:
    return local_engine(folder / "state", terms)


def test_a_job_that_prints_a_gigabyte_is_not_held_up_and_its_log_keeps_the_beginning_and_the_end(
    tmp_path: Path,
) -> None:
    engine = engine_with(tmp_path, Terms(log_bytes=LOG_BYTES))
    try:
        prints = f"echo first; yes dure-dure-dure | head -c {GIGABYTE}; echo; echo last; exit 3"
        assert engine.run(shell("job.1", prints)).exit_code == 3
        log = engine.log("job.1")
        assert len(log) < LOG_BYTES + TAIL_BYTES + 400
        assert log.startswith("first\ndure-dure-dure\n")
        assert f"dure: this log is full: it has reached {LOG_BYTES:,} bytes" in log
        left_out = GIGABYTE + len("first\n\nlast\n") - LOG_BYTES
        assert f"dure: {left_out:,} bytes were left out here, except the last {TAIL_BYTES:,}:\n" in log
        assert log.endswith("dure-dure-dure\ndure-dure-\nlast\n")
    finally:
        engine.executor.close(kill=True)


def test_a_log_that_is_just_full_says_nothing(tmp_path: Path) -> None:
    engine = engine_with(tmp_path, Terms(log_bytes=6))
    try:
        engine.run(shell("job.1", "echo 12345"))
        assert engine.log("job.1") == "12345\n"
        engine.run(shell("job.2", "echo 123456"))
        assert engine.log("job.2").startswith("123456\ndure: this log is full")
        assert engine.log("job.2").endswith("dure: 1 bytes were left out here, except the last 1:\n\n")
    finally:
        engine.executor.close(kill=True)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_neither_holds_a_job_up_nor_ends_it(local: Engine) -> None:
    # The log is a link to a device on which every write fails as on a full disk.
    folder = local.folder / "attempts" / "job.1"
    folder.mkdir(parents=True)
    (folder / "rank0.log").symlink_to("/dev/full")
    assert local.run(shell("job.1", "yes | head -c 1000000; exit 4")).exit_code == 4


def test_each_ranks_log_is_its_own(local: Engine) -> None:
    local.run(shell("job.1", "for i in 1 2 3; do echo $NODE_RANK; done", ranks=3))
    assert [local.log("job.1", rank).split() for rank in range(3)] == [["0"] * 3, ["1"] * 3, ["2"] * 3]


def test_a_job_that_fills_the_disk_is_ended_and_told_why(tmp_path: Path) -> None:
    engine = engine_with(tmp_path, Terms(disk_bytes=20_000_000))
    try:
        ended = engine.run(shell("job.1", "mkdir deep; head -c 30000000 /dev/zero > deep/file; exec sleep 1000"))
        assert ended.exit_code == -15
        assert "dure: ended here, because its files take 30," in engine.log("job.1")
        assert "the limit of this engine is 20,000,000" in engine.log("job.1")
    finally:
        engine.executor.close(kill=True)


def test_checkpoints_on_the_same_disk_count(tmp_path: Path) -> None:
    engine = engine_with(tmp_path, Terms(disk_bytes=20_000_000))
    try:
        text = "head -c 30000000 /dev/zero > $DURE_CHECKPOINT_DIR/file; exec sleep 1000"
        order = launch("job.1", "bash", "-c", text, checkpoint_dir=str(tmp_path / "checkpoints"))
        assert engine.run(order).exit_code == -15
    finally:
        engine.executor.close(kill=True)


def test_a_job_that_nobody_stops_at_its_time_limit_is_stopped_by_its_shim(
    local: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dure.executors.local.environment._SERVERS_TURN_MS", 100)
    order = shell("job.1", "sleep 1000")
    local.executor.start(msgspec.structs.replace(order, time_limit_ms=200))
    local.started("job.1")
    local.executor.close(kill=False)
    eventually(lambda: not any("sleep" in each for each in local.processes().values()), "it ends with no server there")
    local.open()
    recovered = local.executor.recover(["job.1"])["job.1"] or local.ended("job.1")
    assert isinstance(recovered, Ended)
    assert recovered.exit_code == -15
    assert "its time limit has passed, and no server said so" in local.log("job.1")


def test_a_process_gets_no_more_memory_than_the_job_asked_for(local: Engine) -> None:
    takes = "import sys; data = bytearray(300 << 20); print(len(data) >> 20)"
    order = launch("job.1", sys.executable, "-c", takes)
    assert local.run(msgspec.structs.replace(order, memory_mib=200)).exit_code == 1
    assert "MemoryError" in local.log("job.1")
    roomy = msgspec.structs.replace(order, attempt_id="job.2", memory_mib=600)
    assert local.run(roomy).exit_code == 0


def test_a_job_may_reserve_addresses_that_it_does_not_use(local: Engine) -> None:
    reserves = "import mmap; print(len(mmap.mmap(-1, 64 << 30, flags=mmap.MAP_PRIVATE | 0x4000, prot=0)) >> 30)"
    order = launch("job.1", sys.executable, "-c", reserves)
    assert local.run(msgspec.structs.replace(order, memory_mib=200)).exit_code == 0


def test_a_job_leaves_no_core_file_and_may_open_many_files(local: Engine) -> None:
    local.run(shell("job.1", "ulimit -c; ulimit -n"))
    core, files = local.log("job.1").split()
    assert core == "0"
    assert files == "unlimited" or int(files) >= 1024


@pytest.mark.parametrize("breeds", [1, 3])
def test_a_job_that_forks_away_is_caught(local: Engine, tmp_path: Path, breeds: int) -> None:
    ready = tmp_path / "ready"
    order = launch(
        "job.1", "bash", "-c", f'for i in {{1..{breeds}}}; do "{sys.executable}" -c "$AWAY" & done; exec sleep 1000'
    )
    local.executor.start(msgspec.structs.replace(order, env={"READY": str(ready), "AWAY": FORKS_AWAY}))
    wait_for(ready)
    local.executor.stop("job.1", grace_ms=100)
    local.ended("job.1")
    assert not [each for each in local.processes().values() if "-c" in each]
