"""What a sandboxed job can and cannot do, tried by jobs that try it."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import msgspec
import pytest

from dure.executors.contract import Launch, Refused, Started
from dure.executors.local import records
from dure.executors.local.attempt import AttemptFolder
from dure.executors.local.environment import Terms
from dure.executors.local.sandbox import Sandboxes

from .engines import Engine, eventually, launch, local_engine, shell
from .test_contract import IGNORES_TERM, SAVES_AT_USR1, wait_for

NO_SANDBOX = Sandboxes().problem()
pytestmark = pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)

SYSTEM_PYTHON = "/usr/bin/python3"
needs_system_python = pytest.mark.skipif(
    not os.path.exists(SYSTEM_PYTHON), reason="the system has no Python of its own"
)


def sandboxed(order: Launch, *data: Path) -> Launch:
    return msgspec.structs.replace(order, sandbox=True, read_only=tuple(map(str, data)))


def tries(local: Engine, text: str, *data: Path, ranks: int = 1, env: dict[str, str] | None = None) -> str:
    """What the first rank of a sandboxed job prints."""
    local.run(sandboxed(shell("job.1", text, ranks=ranks, env=env), *data))
    return local.log("job.1")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "scan").write_text("a lung\n")
    return folder


def test_it_reads_its_data_and_cannot_change_it(local: Engine, data: Path) -> None:
    text = f"cat {data}/scan; echo x > {data}/scan; rm {data}/scan; touch {data}/new; mv {data} /tmp/mine"
    said = tries(local, text, data)
    assert said.startswith("a lung\n")
    assert said.count("Read-only file system") == 3
    assert sorted(each.name for each in data.iterdir()) == ["scan"]
    assert (data / "scan").read_text() == "a lung\n"


def test_it_sees_no_file_but_the_systems_and_its_own(local: Engine, tmp_path: Path) -> None:
    (tmp_path / "operator.token").write_text("secret")
    local.run(shell("other.1", "echo private > result"))
    text = f"cat {tmp_path}/operator.token; cat {local.folder}/attempts/other.1/scratch/result; ls {local.folder} /home"
    said = tries(local, text + "; ls -d /root /var/lib /etc/shadow /etc/hostname /sys /run")
    assert "secret" not in said
    assert "private" not in said
    assert "attempts\n" in said
    assert "supervisor.lock" not in said
    assert "/home:\njob\n" in said
    assert said.count("No such file or directory") == 8


def test_a_link_in_its_folder_leads_nowhere_and_is_not_followed_when_it_is_wiped(local: Engine, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("secret")
    assert "secret" not in tries(local, f"ln -s {outside} there; cat there/kept; ln -s {outside}/kept one; cat one")
    assert (outside / "kept").exists()


def test_a_site_may_put_every_job_into_a_sandbox_so_that_none_reads_what_another_left(tmp_path: Path) -> None:
    engine = local_engine(tmp_path / "state", Terms(sandbox_every_job=True))
    try:
        engine.run(sandboxed(shell("held.1", "echo secret > $DURE_OUTPUT/result; echo secret")))
        held = engine.folder / "attempts" / "held.1"
        assert (held / "outputs" / "result").read_text() == "secret\n"
        engine.run(shell("curious.1", f"cat {held}/outputs/result {held}/rank0.log; ls {held}"))
        assert "secret" not in engine.log("curious.1")
        assert engine.log("curious.1").count("No such file or directory") == 3
    finally:
        engine.executor.close(kill=True)


def test_it_has_no_network(local: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(b"\0dure-test-" + str(os.getpid()).encode())
        abstract.listen()
        port = server.getsockname()[1]
        said = tries(local, f"cat < /dev/tcp/127.0.0.1/{port}; cat /proc/net/dev /proc/net/unix /proc/net/route")
    assert "Connection refused" in said
    assert [line.split(":")[0].strip() for line in said.splitlines() if ": " in line and "|" not in line][-1:] == ["lo"]
    assert "dure-test" not in said


def test_it_cannot_reach_the_engine_by_the_sockets_in_its_folder(local: Engine) -> None:
    said = tries(local, f"ls {local.folder}/socket {local.folder}/notices; ls -R /run /tmp; true")
    assert said.count("No such file or directory") == 3


@needs_system_python
def test_its_ranks_reach_each_other(local: Engine) -> None:
    listens = f"""{SYSTEM_PYTHON} - <<'END'
import os, socket, time
address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
if os.environ["NODE_RANK"] == "0":
    print("got", socket.create_server(address).accept()[0].recv(16).decode())
else:
    while True:
        try:
            socket.create_connection(address).sendall(b"hello")
            break
        except ConnectionRefusedError:
            time.sleep(0.01)
END"""
    assert tries(local, listens, ranks=2) == "got hello\n"


def test_it_sees_and_signals_no_other_process(local: Engine) -> None:
    text = f"kill -0 {os.getpid()}; ls /proc | grep -c '^[0-9]'; cat /proc/1/cmdline | tr '\\0' ' '; id -un"
    said = tries(local, text)
    assert "No such process" in said
    assert int(said.splitlines()[1]) < 8
    assert "--bind" not in said, "the options of the sandbox are on no command line"
    assert said.endswith("job\n")


def test_it_has_no_privilege_and_gets_none(local: Engine) -> None:
    said = tries(
        local,
        "grep -E 'CapPrm|CapEff|NoNewPrivs' /proc/self/status; unshare -U true; mount -t tmpfs none /mnt; "
        "echo 1 > /proc/sys/kernel/core_pattern; touch /here; touch /usr/here; ulimit -c",
    )
    capabilities, rest = said.splitlines()[:3], said.splitlines()[3:]
    assert [line.split()[1] for line in capabilities] == ["0" * 16, "0" * 16, "1"]
    assert rest[-1] == "0"
    assert len([line for line in rest if "fail" in line or "denied" in line or "Read-only" in line]) == 4


def test_it_sees_no_variable_of_the_server_and_no_secret_is_on_a_command_line(
    local: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_SECRET", "not for jobs")
    local.restart()
    order = launch("job.1", "bash", "-c", "env -0; sleep 1000", secret_env={"TOKEN": "correct-horse"})
    local.executor.start(sandboxed(order))
    local.started("job.1")
    eventually(lambda: "NODE_RANK=" in local.log("job.1"), "it printed its environment")
    seen = dict(pair.split("=", 1) for pair in local.log("job.1").rstrip("\0").split("\0"))
    assert seen["TOKEN"] == "correct-horse"
    assert "SERVER_SECRET" not in seen
    assert (seen["HOME"], seen["NODE_RANK"]) == ("/home/job", "0")
    assert not [each for each in local.processes().values() if "correct-horse" in each]


def test_its_variables_do_not_reach_the_program_that_makes_the_sandbox(local: Engine, tmp_path: Path) -> None:
    said = tries(local, "echo inside", env={"LD_PRELOAD": str(tmp_path / "evil.so"), "LD_DEBUG": "files"})
    assert "calling init" in said
    assert "bwrap" not in said


def test_temporary_files_are_private_and_wiped_and_only_checkpoints_stay(local: Engine, tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    text = "ls -A $HOME . /tmp/a; touch /tmp/a $HOME/b c; mkdir -m 0 closed; echo d > $DURE_CHECKPOINT_DIR/d"
    for attempt_id in ("job.1", "job.2"):
        order = launch(attempt_id, "bash", "-c", text, checkpoint_dir=str(checkpoints))
        assert local.run(sandboxed(order)).exit_code == 0
        assert local.log(attempt_id) == "ls: cannot access '/tmp/a': No such file or directory\n.:\n\n/home/job:\n"
        folder = Path(AttemptFolder(str(local.folder), attempt_id).path)
        assert not (folder / records.SCRATCH).exists()
        assert not (folder / records.PRIVATE).exists()
    assert (checkpoints / "d").read_text() == "d\n"


def test_a_killed_shim_leaves_no_data_behind(local: Engine) -> None:
    local.executor.start(sandboxed(shell("job.1", "echo private > copy; sleep 1000")))
    local.started("job.1")
    folder = Path(AttemptFolder(str(local.folder), "job.1").path)
    wait_for(folder / records.SCRATCH / "copy")
    claim = records.read(str(folder), records.CLAIM)
    assert claim is not None
    shim = claim["shim"]
    assert isinstance(shim, list)
    os.kill(shim[0], signal.SIGKILL)
    assert local.ended("job.1").exit_code == -9
    assert not (folder / records.SCRATCH).exists()
    assert not [each for each in local.processes().values() if "sleep" in each]


@pytest.mark.parametrize(
    ("text", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", -15), ("kill -KILL $$", -9)]
)
def test_the_exit_code_is_the_programs_own(local: Engine, text: str, code: int) -> None:
    assert local.run(sandboxed(shell("job.1", text))).exit_code == code


def test_what_cannot_be_run_is_told_as_outside(local: Engine) -> None:
    assert local.run(sandboxed(launch("job.1", "no-such-program"))).exit_code == 127
    assert "no-such-program" in local.log("job.1")
    assert local.run(sandboxed(launch("job.2", "true", workdir="/root"))).exit_code == 126
    assert "/root" in local.log("job.2")


def test_a_script_with_a_setup_runs_as_outside(local: Engine) -> None:
    order = launch("job.1", script="echo $GREETING $PWD\n", setup="export GREETING=hi\n")
    local.run(sandboxed(order))
    assert local.log("job.1") == f"hi {AttemptFolder(str(local.folder), 'job.1').path}/scratch\n"


def test_a_stopped_job_has_time_to_save_its_work(local: Engine, tmp_path: Path) -> None:
    # The shell in front dies of the signal at once; the program behind it must still get its grace.
    saves = 'trap "sleep 0.3; echo saved; exit 0" TERM; echo > $DURE_CHECKPOINT_DIR/ready; while :; do sleep 0.02; done'
    text = f"bash -c '{saves}'; true"
    local.executor.start(sandboxed(launch("job.1", "bash", "-c", text, checkpoint_dir=str(tmp_path / "kept"))))
    wait_for(tmp_path / "kept" / "ready")
    local.executor.stop("job.1", grace_ms=10_000)
    assert local.ended("job.1").exit_code == -15
    assert local.log("job.1").endswith("saved\n")


def test_a_program_that_ends_well_when_it_is_asked_to_has_ended_well(local: Engine, tmp_path: Path) -> None:
    text = "trap 'exit 0' TERM; echo > $DURE_CHECKPOINT_DIR/ready; while :; do sleep 0.02; done"
    local.executor.start(sandboxed(launch("job.1", "bash", "-c", text, checkpoint_dir=str(tmp_path / "kept"))))
    wait_for(tmp_path / "kept" / "ready")
    local.executor.stop("job.1", grace_ms=10_000)
    assert local.ended("job.1").exit_code == 0


def test_a_job_that_ignores_the_request_is_killed(local: Engine, tmp_path: Path) -> None:
    env = {"READY": str(tmp_path / "kept" / "ready")}
    order = launch("job.1", "bash", "-c", IGNORES_TERM, env=env, checkpoint_dir=str(tmp_path / "kept"), ranks=2)
    local.executor.start(sandboxed(order))
    wait_for(tmp_path / "kept" / "ready")
    local.executor.stop("job.1", grace_ms=200)
    assert local.ended("job.1").exit_code == -9


def test_a_stop_during_the_start_leaves_nothing_running(local: Engine) -> None:
    for number in range(1, 6):
        local.executor.start(sandboxed(launch(f"job.{number}", "sleep", "1000")))
        local.executor.stop(f"job.{number}", grace_ms=5_000)
    assert {local.ended(f"job.{number}").exit_code for number in range(1, 6)} == {-15}


@needs_system_python
def test_a_warning_reaches_the_notice_file_and_the_program_that_listens(local: Engine, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    order = launch("job.1", script=f"#!{SYSTEM_PYTHON}\n{SAVES_AT_USR1}", checkpoint_dir=str(kept))
    local.executor.start(sandboxed(msgspec.structs.replace(order, env={"READY": str(kept / "ready")})))
    wait_for(kept / "ready")
    local.executor.warn("job.1", stop_at_ms=1_234, signal="USR1")
    assert local.ended("job.1").exit_code == 0
    assert "1234" in local.log("job.1")


def test_it_outlives_the_server(local: Engine, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    text = "while [ ! -e $DURE_CHECKPOINT_DIR/go ]; do sleep 0.01; done; exit 5"
    local.executor.start(sandboxed(launch("job.1", "bash", "-c", text, checkpoint_dir=str(kept))))
    local.started("job.1")
    local.restart()
    assert local.executor.recover(["job.1"]) == {"job.1": None}
    (kept / "go").touch()
    assert local.ended("job.1").exit_code == 5


def test_software_that_the_site_shows_is_there(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "version").write_text("7\n")
    engine = local_engine(tmp_path / "state", Terms(shown_in_sandboxes=(str(tmp_path / "tools"),)))
    try:
        assert tries(engine, f"cat {tmp_path}/tools/version; touch {tmp_path}/tools/x").startswith("7\n")
        assert os.listdir(tmp_path / "tools") == ["version"]
    finally:
        engine.executor.close(kill=True)


def refusal(engine: Engine, order: Launch) -> str:
    engine.executor.start(order)
    engine.until(lambda seen: any(isinstance(each, Refused) for each in seen))
    assert not [each for each in engine.seen if isinstance(each, Started)]
    return next(each.reason for each in engine.seen if isinstance(each, Refused))


def test_without_bubblewrap_it_is_refused_and_never_runs(
    local: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "defpath", str(tmp_path))
    order = sandboxed(shell("job.1", "touch $RAN", env={"RAN": str(tmp_path / "ran")}))
    assert "it must run in a sandbox, and bubblewrap is not installed" in refusal(local, order)
    assert not (tmp_path / "ran").exists()
    assert local.executor.over() == []


def test_where_bubblewrap_may_not_work_its_reason_is_told(
    local: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(os, "defpath", str(tmp_path))
    assert "No permissions to create new namespace" in refusal(local, sandboxed(launch("job.1", "true")))


def test_data_that_is_not_there_is_refused(local: Engine, tmp_path: Path) -> None:
    assert f"its data is not at {tmp_path}/none" in refusal(
        local, sandboxed(launch("job.1", "true"), tmp_path / "none")
    )


@pytest.mark.parametrize("level", [0, 1, 2])
def test_data_that_holds_the_platforms_state_is_refused(local: Engine, level: int) -> None:
    folder = [local.folder, local.folder.parent, Path("/")][level]
    assert "holds the platform's own state" in refusal(local, sandboxed(launch("job.1", "true"), folder))


def test_data_among_what_attempts_work_with_is_refused(local: Engine) -> None:
    inside = local.folder / "attempt"
    inside.mkdir()
    assert "holds the platform's own state" in refusal(local, sandboxed(launch("job.1", "true"), inside))


@pytest.mark.parametrize("inside", [".", "data"])
def test_data_where_the_job_may_write_is_refused(local: Engine, tmp_path: Path, inside: str) -> None:
    data = tmp_path / "checkpoints" / "job" / inside
    data.mkdir(parents=True)
    folder = str(tmp_path / "checkpoints" / "job")
    order = msgspec.structs.replace(sandboxed(launch("job.1", "true"), data), checkpoint_dir=folder)
    assert "overlaps with its checkpoints" in refusal(local, order)


def test_a_second_thread_of_the_server_may_start_another_at_the_same_time(local: Engine) -> None:
    starts = [
        threading.Thread(target=local.executor.start, args=(sandboxed(launch(f"job.{number}", "true")),))
        for number in range(1, 5)
    ]
    for each in starts:
        each.start()
    assert {local.ended(f"job.{number}").exit_code for number in range(1, 5)} == {0}
