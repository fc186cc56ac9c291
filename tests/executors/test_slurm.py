"""What only Slurm can do to jobs, done to real ones: doubled, cancelled, lost, forgotten, kept waiting, refused."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dure.doctor.engines import examine_engines
from dure.executors.contract import Ended, ExecutorError, NeverStarted, Started
from dure.executors.local import processes, records
from dure.executors.shared.agent import files
from dure.executors.slurm.executor import SlurmExecutor
from dure.executors.slurm.site import PlacedBy
from dure.model.plan import Placement

from .engines import Engine, eventually, launch, shell, slurm_engine
from .slurm_cluster import SlurmCluster

Make = Callable[..., Engine]
WAITS_FOR_GO = "while [ ! -e $GO ]; do sleep 0.02; done"


@pytest.fixture
def make(slurm: SlurmCluster, tmp_path: Path) -> Iterator[Make]:
    """Makes the one engine of a test, with settings of its site."""
    yield from _maker(slurm, tmp_path)


@pytest.fixture
def own(own_slurm: SlurmCluster, tmp_path: Path) -> Iterator[Make]:
    """As `make`, on the test's own Slurm."""
    yield from _maker(own_slurm, tmp_path)


def _maker(slurm: SlurmCluster, tmp_path: Path) -> Iterator[Make]:
    engines: list[Engine] = []

    def make_one(**settings: object) -> Engine:
        engines.append(slurm_engine(tmp_path / "state", slurm.conf, **settings))
        return engines[-1]

    yield make_one
    for engine in engines:
        engine.executor.close(kill=True)
    eventually(lambda: not any(engine.processes() for engine in engines), "no process is left behind")


def wait_for(path: Path) -> None:
    eventually(path.exists, f"{path.name} is written")


def folder_of(engine: Engine, attempt_id: str) -> Path:
    return engine.folder / records.ATTEMPTS / attempt_id


def jobs_of(slurm: SlurmCluster, attempt_id: str, states: str = "all") -> list[str]:
    """Numbers of the attempt's Slurm jobs, latest first."""
    options = ["-h", "-t", states, "-S", "-i", "-o", "%A %Z"]
    pairs = [line.split() for line in slurm.run("squeue", *options).splitlines()]
    here = [(job, path) for job, path in pairs if os.path.basename(path) == attempt_id]
    newest = here[0][1] if here else ""
    return [job for job, path in here if path == newest]


def programs_with(slurm: SlurmCluster, folder: Path, name: str, script: str) -> str:
    """A folder of Slurm's programs of which one is a shell script; it finds the real one as `$REAL`."""
    folder.mkdir()
    for program in ("sbatch", "squeue", "scancel", "sinfo", "scontrol", "sacct", "sacctmgr"):
        real = shutil.which(program, path=slurm.environment["PATH"])
        if real is not None and program != name:
            (folder / program).symlink_to(real)
    (folder / name).write_text(f"#!/bin/sh\nREAL={shutil.which(name, path=slurm.environment['PATH'])}\n{script}\n")
    (folder / name).chmod(0o755)
    return str(folder)


def test_a_job_that_was_submitted_twice_runs_once(make: Make, slurm: SlurmCluster, tmp_path: Path) -> None:
    # The second submission is one whose existence the server never learns of.
    twice = 'cp /dev/stdin "$0.$$"; "$REAL" "$@" < "$0.$$" >/dev/null; exec "$REAL" "$@" < "$0.$$"'
    engine = make(programs=programs_with(slurm, tmp_path / "bin", "sbatch", twice))
    engine.executor.start(shell("job.1", "echo ran >> $LINES; sleep 1.5", env={"LINES": str(tmp_path / "lines")}))
    engine.started("job.1")
    assert len(jobs_of(slurm, "job.1")) == 2
    assert engine.ended("job.1").exit_code == 0
    eventually(lambda: not jobs_of(slurm, "job.1", "pending,running,completing"), "both jobs are over")
    assert (tmp_path / "lines").read_text() == "ran\n"
    said = (folder_of(engine, "job.1") / files.OUTPUT).read_text()
    assert "belongs to another job" in said


def test_a_job_whose_submission_got_no_answer_runs_once(make: Make, slurm: SlurmCluster, tmp_path: Path) -> None:
    loses = '"$REAL" "$@"; echo "sbatch: error: Socket timed out on send/recv operation" >&2; exit 1'
    engine = make(programs=programs_with(slurm, tmp_path / "bin", "sbatch", loses))
    order = shell("job.1", "echo ran >> $LINES", env={"LINES": str(tmp_path / "lines")})
    with pytest.raises(ExecutorError, match="Socket timed out"):
        engine.executor.start(order)
    engine.restart()
    engine.executor.start(order)
    assert engine.ended("job.1").exit_code == 0
    assert len(jobs_of(slurm, "job.1")) == 1
    assert (tmp_path / "lines").read_text() == "ran\n"


def test_a_job_whose_submission_got_no_answer_is_found_by_the_next_server(
    make: Make, slurm: SlurmCluster, tmp_path: Path
) -> None:
    loses = '"$REAL" "$@"; echo "sbatch: error: Socket timed out on send/recv operation" >&2; exit 1'
    engine = make(programs=programs_with(slurm, tmp_path / "bin", "sbatch", loses))
    with pytest.raises(ExecutorError):
        engine.executor.start(launch("job.1", "true"))
    engine.restart()
    assert isinstance(engine.executor.recover(["job.1"])["job.1"], Ended | None)
    assert engine.ended("job.1").exit_code == 0


def test_a_submission_that_never_arrived_is_proven_never_to_have_run(
    make: Make, slurm: SlurmCluster, tmp_path: Path
) -> None:
    drops = 'echo "sbatch: error: Unable to contact slurm controller (connect failure)" >&2; exit 1'
    engine = make(programs=programs_with(slurm, tmp_path / "bin", "sbatch", drops))
    with pytest.raises(ExecutorError, match="Unable to contact"):
        engine.executor.start(launch("job.1", "true"))
    engine.restart()
    assert engine.executor.recover(["job.1"]) == {"job.1": None}
    assert "knows no job" in engine.never_started("job.1").reason


def test_without_its_controller_running_jobs_go_on_and_stops_are_obeyed(
    own: Make, own_slurm: SlurmCluster, tmp_path: Path
) -> None:
    engine = own(command_timeout_s=2)
    engine.executor.start(shell("job.1", WAITS_FOR_GO, env={"GO": str(tmp_path / "go")}))
    engine.executor.start(launch("job.2", "sleep", "1000"))
    engine.started("job.1")
    engine.started("job.2")
    eventually(lambda: engine.executor.contact().heard_at_ms > 0, "Slurm answers")
    assert engine.executor.contact().problem == ""
    told = threading.Event()
    engine.executor.on_observation(told.set)
    own_slurm.stop_controller()
    try:
        heard_at_ms = engine.executor.contact().heard_at_ms
        elsewhere = launch("job.3", "true", placements=[Placement(node="seoul-0001", gpus=(0,), milli=1000)])
        with pytest.raises(ExecutorError):
            engine.executor.start(elsewhere)
        with pytest.raises(ExecutorError):
            engine.executor.capacity()
        eventually(lambda: engine.executor.contact().problem != "", "the link is seen to be lost")
        assert told.wait(5)
        engine.executor.on_observation(engine.wake)
        assert engine.executor.contact().heard_at_ms >= heard_at_ms
        (tmp_path / "go").touch()
        assert engine.ended("job.1").exit_code == 0
        # Neither an order that has to wait nor one that need not is held up by others that wait.
        asked_at = time.monotonic()
        for _ in range(20):
            with pytest.raises(ExecutorError):
                engine.executor.start(elsewhere)
        engine.executor.stop("job.2", grace_ms=1_000)
        assert time.monotonic() - asked_at < 2
        assert engine.ended("job.2").exit_code == -15
    finally:
        own_slurm.start_controller()
    eventually(lambda: engine.executor.contact().problem == "", "the link is back")
    assert engine.run(elsewhere).exit_code == 0
    assert len(jobs_of(own_slurm, "job.3")) == 1


def test_what_somebody_at_the_site_cancels_is_lost_not_failed(make: Make, slurm: SlurmCluster) -> None:
    engine = make()
    engine.executor.start(launch("job.1", "sleep", "1000", ranks=2))
    engine.started("job.1")
    slurm.run("scancel", *jobs_of(slurm, "job.1"))
    ended = engine.ended("job.1")
    assert (ended.exit_code, ended.was_lost) == (-15, True)
    engine.restart()
    assert engine.executor.recover(["job.1"]) == {"job.1": ended}


def test_what_is_cancelled_before_it_ran_never_started(make: Make, slurm: SlurmCluster) -> None:
    engine = make()
    slurm.run("scontrol", "update", "partition=gpu", "state=down")
    try:
        engine.executor.start(launch("job.1", "true"))
        eventually(lambda: bool(engine.executor.waiting()), "it waits")
        assert engine.executor.waiting() == {"job.1": "the partition does not start jobs (PartitionDown)"}
        slurm.run("scancel", *jobs_of(slurm, "job.1"))
        assert "CANCELLED" in engine.never_started("job.1").reason
        assert engine.executor.waiting() == {}
    finally:
        slurm.run("scontrol", "update", "partition=gpu", "state=up")
    assert engine.run(launch("job.1", "true")).exit_code == 0


def test_a_job_that_waits_in_slurm_is_stopped_without_running(make: Make, slurm: SlurmCluster) -> None:
    engine = make()
    slurm.run("scontrol", "update", "partition=gpu", "state=down")
    try:
        engine.executor.start(launch("job.1", "true"))
        engine.executor.stop("job.1", grace_ms=60_000)
        assert engine.ended("job.1").exit_code == -15
        eventually(lambda: not jobs_of(slurm, "job.1", "pending"), "its job is cancelled")
    finally:
        slurm.run("scontrol", "update", "partition=gpu", "state=up")
    assert [each for each in engine.seen if isinstance(each, Started)] == []


def test_a_job_whose_node_dies_is_lost_and_stops_where_it_still_runs(own: Make, own_slurm: SlurmCluster) -> None:
    engine = own()
    placements = [Placement(node=f"seoul-000{index}", gpus=(0,), milli=1000) for index in (2, 3)]
    engine.executor.start(launch("job.1", "sleep", "1000", placements=placements))
    engine.started("job.1")
    own_slurm.stop_node(3)
    own_slurm.run("scontrol", "update", "nodename=n3", "state=down", "reason=test")
    try:
        assert engine.ended("job.1").was_lost
        # Slurm cannot reach what runs on the node, but whoever does finds the order to stop in the work folder.
        eventually(lambda: not engine.processes(), "nothing of it runs any more")
        *others, dead = engine.executor.capacity() or ()
        assert [(node.name, node.gpus, node.problem) for node in others] == [
            (f"seoul-000{index}", 8, "") for index in range(3)
        ]
        assert dead.problem.startswith("Slurm has it as down")
        assert dead.problem.endswith(": test")
    finally:
        own_slurm.start_node(3)


def test_a_controller_that_forgot_everything_costs_its_jobs_and_nothing_more(
    own: Make, own_slurm: SlurmCluster
) -> None:
    engine = own()
    engine.executor.start(launch("job.1", "sleep", "1000"))
    engine.started("job.1")
    own_slurm.lose_state()
    assert engine.ended("job.1").was_lost
    eventually(lambda: not engine.processes(), "what ran of it is stopped")
    elsewhere = [Placement(node="seoul-0001", gpus=(0,), milli=1000)]
    engine.executor.start(launch("job.2", "true", placements=elsewhere))
    assert engine.ended("job.2").exit_code == 0


def test_an_agent_that_is_killed_takes_its_gang_with_it(make: Make) -> None:
    engine = make()
    engine.executor.start(launch("job.1", "sleep", "1000", ranks=2))
    engine.started("job.1")
    one, other = (processes.entry(pid) for pid, called in engine.processes().items() if called.startswith("sleep"))
    assert one is not None
    assert other is not None
    os.kill(one.parent, signal.SIGKILL)
    assert engine.ended("job.1").exit_code in (-9, -15)
    eventually(lambda: other.pid not in engine.processes(), "the other rank is gone")
    # Slurm here finds what is left of a rank by its parents, and this one lost its own. Control groups lose none.
    with suppress(ProcessLookupError):
        os.kill(one.pid, signal.SIGKILL)
    eventually(lambda: not engine.processes(), "the whole gang is gone")


@pytest.mark.parametrize(
    ("ranks", "settings", "words"),
    [
        (99, {"placement": PlacedBy.SITE}, "it wants more nodes than the partition has (PartitionConfig)"),
        (1, {"partition": "no-such-partition"}, "invalid partition specified: no-such-partition"),
        # While a node is busy, the very same is taken by Slurm first and kept for ever.
        (1, {"gpu_types": {"H100": "b200"}}, "node configuration is not available|(BadConstraints)"),
    ],
)
def test_what_slurm_can_never_run_is_refused_in_its_own_words(
    make: Make, ranks: int, settings: dict[str, object], words: str
) -> None:
    engine = make(**settings)
    engine.executor.start(launch("job.1", "true", ranks=ranks))
    refused = engine.refused("job.1").reason
    assert any(each in refused for each in words.split("|")), refused
    assert isinstance(engine.executor.recover(["job.1"])["job.1"], NeverStarted)


def test_a_plan_with_two_ranks_on_a_node_is_refused(make: Make) -> None:
    engine = make()
    twice = [Placement(node="seoul-0000", gpus=(gpu,), milli=1000) for gpu in (0, 1)]
    engine.executor.start(launch("job.1", "true", placements=twice))
    assert "two of its ranks share a node" in engine.refused("job.1").reason


def test_a_job_that_must_be_sandboxed_never_runs_without_a_sandbox(make: Make) -> None:
    from msgspec import structs

    engine = make()
    engine.executor.start(structs.replace(launch("job.1", "true"), sandbox=True))
    assert "sandbox" in engine.refused("job.1").reason


def test_a_node_that_slurm_has_no_name_for_is_named(make: Make) -> None:
    engine = make()
    with pytest.raises(ExecutorError, match="seoul-0007 has no counterpart: `nodes` names 4 nodes"):
        engine.executor.start(launch("job.1", "true", placements=[Placement(node="seoul-0007", gpus=(0,), milli=1000)]))


def test_ranks_run_on_the_nodes_of_the_plan_in_its_order(make: Make) -> None:
    engine = make()
    backwards = [Placement(node=f"seoul-000{index}", gpus=(0, 1), milli=1000) for index in (3, 1)]
    said = 'echo $NODE_RANK $DURE_NODE $SLURMD_NODENAME $SLURM_NODEID $MASTER_ADDR "${CUDA_VISIBLE_DEVICES//[^,]}"'
    order = launch("job.1", "bash", "-c", said, placements=backwards)
    assert engine.run(order).exit_code == 0
    assert engine.started("job.1").nodes == ()
    assert engine.log("job.1", 0) == "0 seoul-0003 1 127.0.0.1 ,\n"
    assert engine.log("job.1", 1) == "1 seoul-0001 0 127.0.0.1 ,\n"


def test_where_slurm_chooses_the_nodes_it_is_told_which(make: Make, slurm: SlurmCluster) -> None:
    engine = make(placement=PlacedBy.SITE, nodes={})
    slurm.run("scontrol", "update", "nodename=n0", "state=drain", "reason=test")
    try:
        engine.run(shell("job.1", "echo $DURE_NODE", ranks=2))
    finally:
        slurm.run("scontrol", "update", "nodename=n0", "state=resume")
    assert engine.started("job.1").nodes == ("n1", "n2")
    assert (engine.log("job.1", 0), engine.log("job.1", 1)) == ("n1\n", "n2\n")


def test_secrets_are_nowhere_in_clear(make: Make, slurm: SlurmCluster, tmp_path: Path) -> None:
    secret = "correct-horse-battery-staple"
    engine = make()
    order = launch("job.1", "bash", "-c", "echo ${#TOKEN}; sleep 1000", secret_env={"TOKEN": secret}, setup="true")
    engine.executor.start(order)
    engine.started("job.1")
    eventually(lambda: engine.log("job.1") == f"{len(secret)}\n", "the job has the secret")
    job = jobs_of(slurm, "job.1")[0]
    for text in (slurm.run("scontrol", "show", "job", "-dd", job), slurm.run("squeue", "--json")):
        assert secret not in text
    for folder in (engine.folder, slurm.folder):
        holding = [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
        assert holding == []
    for path in (engine.folder, folder_of(engine, "job.1"), folder_of(engine, "job.1") / files.SECRETS):
        assert path.stat().st_mode & 0o077 == 0
    engine.executor.stop("job.1", grace_ms=0)
    engine.ended("job.1")
    assert not (folder_of(engine, "job.1") / files.SECRETS).exists()


def test_the_clock_of_a_node_may_be_wrong(make: Make, tmp_path: Path) -> None:
    # The node's Python tells an hour too much until the job has started, and the right time from then on.
    python = tmp_path / "python"
    ahead = (
        "import os, runpy, sys, time; real = time.time_ns; "
        "time.time_ns = lambda: real() + (0 if 'lead' in sys.argv else 3_600_000_000_000); "
        "sys.path.insert(0, sys.argv[1]); sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    python.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} -I -S -c "{ahead}" "$@"\n')
    python.chmod(0o755)
    engine = make(python=str(python))
    now_ms = time.time_ns() // 1_000_000
    ended = engine.run(launch("job.1", "true"))
    assert ended.exit_code == 0
    started = engine.started("job.1")
    assert [type(each) for each in engine.seen] == [Started, Ended]
    assert started.at_ms <= ended.at_ms < now_ms + 3_700_000


def test_the_doctor_finds_what_this_slurm_should_have_set_otherwise(slurm: SlurmCluster, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    file = tmp_path / "engines.yaml"
    file.write_text(f"sites: {{seoul: {{engine: slurm, work_folder: {tmp_path}/work, conf: {slurm.conf}}}}}")
    found = {each.about: each for each in examine_engines(file, None)}
    assert found["engine seoul"].message == "it answers: 4 nodes with 32 GPUs"
    assert found["slurm.conf seoul"].advice == "set ProctrackType=proctrack/cgroup"


def test_a_work_folder_that_cannot_be_written_is_named(slurm: SlurmCluster, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExecutorError, match=r"the work folder .*file/state cannot be used: .* share"):
        slurm_engine(tmp_path / "file" / "state", slurm.conf)


def test_missing_client_programs_are_named(make: Make, tmp_path: Path) -> None:
    engine = make(programs=str(tmp_path), placement=PlacedBy.SITE)
    with pytest.raises(ExecutorError, match=r"cannot be run: .*install Slurm's client programs"):
        engine.executor.start(launch("job.1", "true"))
    eventually(lambda: "squeue cannot be run" in engine.executor.contact().problem, "the problem is shown")


def test_a_hundred_attempts_are_one_question_to_slurm(make: Make, slurm: SlurmCluster, tmp_path: Path) -> None:
    counted = 'echo . >> "$0.asked"; exec "$REAL" "$@"'
    engine = make(programs=programs_with(slurm, tmp_path / "bin", "squeue", counted), poll_interval_s=60)
    began = time.monotonic()
    for number in range(1, 21):
        engine.executor.start(launch(f"job.{number}", "true"))
    assert {engine.ended(f"job.{number}").exit_code for number in range(1, 21)} == {0}
    asked = len((tmp_path / "bin" / "squeue.asked").read_text().splitlines())
    assert asked <= 2 * (time.monotonic() - began) + 2
    assert isinstance(engine.executor, SlurmExecutor)
