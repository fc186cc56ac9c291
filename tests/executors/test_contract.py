"""What every engine must do alike, told to real processes. A new engine joins by a line in `engines.ENGINES`."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from dure.executors.contract import Ended, ExecutorError, NeverStarted, Started
from dure.model.outputs import OutputFile, OutputProblem
from dure.model.plan import Placement

from .engines import Engine, eventually, launch, shell

IGNORES_TERM = "trap '' TERM; echo ready > $READY; while :; do sleep 0.02; done"
SAVES_AT_USR1 = """
import os, signal, time
done = []
signal.signal(signal.SIGUSR1, lambda *_: done.append(open(os.environ["DURE_NOTICE_FILE"]).read()))
open(os.environ["READY"], "w").close()
while not done:
    time.sleep(0.01)
print(done[0])
"""
EXCHANGES_A_SUM = """
import os, socket, time
address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
if os.environ["NODE_RANK"] == "0":
    server = socket.create_server(address)
    peer, _ = server.accept()
    peer.sendall(b"20")
    print("sum", 22 + int(peer.recv(16)))
else:
    for _ in range(500):
        try:
            peer = socket.create_connection(address)
            break
        except ConnectionRefusedError:
            time.sleep(0.01)
    print("got", int(peer.recv(16)))
    peer.sendall(b"20")
"""


def wait_for(path: Path) -> None:
    eventually(path.exists, f"{path.name} is written")


def test_an_attempt_is_seen_to_start_and_to_end(engine: Engine) -> None:
    before_ms = time.time_ns() // 1_000_000
    ended = engine.run(launch("job.1", "true"))
    assert engine.seen == [engine.started("job.1"), ended]
    assert before_ms <= engine.started("job.1").at_ms <= ended.at_ms <= time.time_ns() // 1_000_000
    assert ended.exit_code == 0


def test_an_attempt_ordered_many_times_runs_once(engine: Engine, tmp_path: Path) -> None:
    order = shell("job.1", "echo ran >> $LINES", env={"LINES": str(tmp_path / "lines")})
    for _ in range(3):
        engine.executor.start(order)
    engine.ended("job.1")
    engine.executor.start(order)
    engine.restart()
    engine.executor.start(order)
    assert engine.ended("job.1").exit_code == 0
    assert (tmp_path / "lines").read_text() == "ran\n"


def test_each_thing_is_observed_once(engine: Engine) -> None:
    engine.run(launch("job.1", "true"))
    engine.executor.start(launch("job.1", "true"))
    engine.run(launch("job.2", "true"))
    assert [type(each) for each in engine.seen if each.attempt_id == "job.1"] == [Started, Ended]


@pytest.mark.parametrize(
    ("text", "code"),
    [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", -15), ("kill -KILL $$", -9), ("exit 255", 255)],
)
def test_the_exit_code_is_the_programs_own(engine: Engine, text: str, code: int) -> None:
    assert engine.run(shell("job.1", text)).exit_code == code


def test_a_program_that_does_not_exist_is_named_in_the_log(engine: Engine) -> None:
    assert engine.run(launch("job.1", "no-such-program")).exit_code == 127
    assert "no-such-program was not found in PATH=" in engine.log("job.1")


def test_a_program_that_may_not_be_executed_is_named_in_the_log(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no program")
    assert engine.run(launch("job.1", str(tmp_path / "data"))).exit_code == 126
    assert f"{tmp_path / 'data'} may not be executed" in engine.log("job.1")


def test_a_working_folder_that_does_not_exist_is_named_in_the_log(engine: Engine) -> None:
    assert engine.run(launch("job.1", "true", workdir="/no/such/folder")).exit_code == 126
    assert "cannot enter the working folder /no/such/folder" in engine.log("job.1")


def test_an_attempt_with_nothing_to_run_never_starts(engine: Engine) -> None:
    engine.executor.start(launch("job.1"))
    assert "nothing to run" in engine.never_started("job.1").reason


def test_a_false_start_that_nobody_heard_of_is_not_told_once_the_attempt_is_started_again(engine: Engine) -> None:
    engine.executor.start(launch("job.1"))
    engine.has_news()
    assert engine.run(launch("job.1", "true")).exit_code == 0
    assert [type(each) for each in engine.seen] == [Started, Ended]


def test_output_and_errors_are_in_the_log_and_the_input_is_empty(engine: Engine) -> None:
    engine.run(shell("job.1", "echo out; echo err >&2; cat; echo end"))
    assert engine.log("job.1") == "out\nerr\nend\n"


def test_there_is_no_log_before_there_is_output(engine: Engine) -> None:
    assert engine.executor.log_path("job.1", 0) is None


def test_a_script_runs_under_bash(engine: Engine) -> None:
    engine.run(launch("job.1", script="[[ $NODE_RANK == 0 ]] && echo bash $BASHOPTS\n"))
    assert engine.log("job.1").startswith("bash ")


def test_a_script_runs_under_the_interpreter_it_names(engine: Engine) -> None:
    engine.run(launch("job.1", script=f"#!{sys.executable}\nprint(sum(range(10)))\n"))
    assert engine.log("job.1") == "45\n"


def test_a_script_whose_interpreter_is_missing_says_so(engine: Engine) -> None:
    assert engine.run(launch("job.1", script="#!/no/such/interpreter\n")).exit_code == 127
    assert "interpreter" in engine.log("job.1")


def test_what_setup_exports_reaches_the_program(engine: Engine) -> None:
    engine.run(launch("job.1", "bash", "-c", 'echo "$0 $1 $GREETING"', "a b", "c", setup="export GREETING='hi there'"))
    assert engine.log("job.1") == "a b c hi there\n"


def test_what_setup_exports_reaches_the_script(engine: Engine) -> None:
    engine.run(launch("job.1", script="echo $GREETING\n", setup="GREETING=hi\nexport GREETING\n"))
    assert engine.log("job.1") == "hi\n"


def test_a_setup_that_fails_ends_the_rank_with_its_code(engine: Engine) -> None:
    assert engine.run(launch("job.1", "echo", "ran", setup="echo before\n(exit 9)\n")).exit_code == 9
    assert engine.log("job.1") == "before\n"


def test_every_attempt_has_a_fresh_working_folder(engine: Engine) -> None:
    for attempt_id in ("job.1", "job.2"):
        engine.run(shell(attempt_id, "ls; touch left-behind"))
        assert engine.log(attempt_id) == ""


def test_a_job_runs_in_the_working_folder_it_names(engine: Engine, tmp_path: Path) -> None:
    engine.run(launch("job.1", "pwd", workdir=str(tmp_path)))
    assert engine.log("job.1") == f"{tmp_path}\n"


def test_the_checkpoint_folder_outlives_the_attempt(engine: Engine, tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints" / "job"
    for attempt_id in ("job.1", "job.2"):
        text = 'cd "$DURE_CHECKPOINT_DIR"; cat step; echo $DURE_ATTEMPT >> step'
        engine.run(launch(attempt_id, "bash", "-c", text, checkpoint_dir=str(checkpoints)))
    assert engine.log("job.2") == "1\n"


def environment_of(engine: Engine, attempt_id: str, rank: int = 0) -> dict[str, str]:
    pairs = engine.log(attempt_id, rank).rstrip("\0").split("\0")
    return dict(pair.split("=", 1) for pair in pairs)


def test_a_rank_sees_exactly_what_it_should(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_SECRET", "not for jobs")
    engine.restart()
    order = launch(
        "job-7.2", "env", "-0", ranks=2, env={"COLOUR": "blue"}, secret_env={"TOKEN": "t"}, checkpoint_dir=""
    )
    engine.run(order)
    seen = environment_of(engine, "job-7.2", rank=1)
    assert int(seen.pop("MASTER_PORT")) == int(environment_of(engine, "job-7.2", rank=0)["MASTER_PORT"])
    assert os.path.basename(seen.pop("DURE_NOTICE_FILE")) == "notice.json"
    assert seen.pop("PATH").endswith("/bin")
    assert os.path.isdir(seen.pop("HOME"))
    with socket.create_server((seen.pop("MASTER_ADDR"), 0)):
        pass  # it is an address of this machine, where all ranks are
    # Some engines choose the GPUs themselves; then both say which.
    assert (seen["CUDA_VISIBLE_DEVICES"].count(","), seen["DURE_GPUS"]) == (1, seen.pop("CUDA_VISIBLE_DEVICES"))
    if not engine.chooses_gpus:
        assert seen["DURE_GPUS"] == "0,1"
    del seen["DURE_GPUS"]
    output = seen["DURE_OUTPUT"]
    assert output.endswith("/job-7.2/outputs")
    assert {name: value for name, value in seen.items() if not engine.adds(name)} == {
        "LANG": "C.UTF-8",
        "COLOUR": "blue",
        "TOKEN": "t",
        "DURE_JOB_ID": "job-7",
        "DURE_ATTEMPT": "2",
        "DURE_ATTEMPT_ID": "job-7.2",
        "DURE_SITE": "seoul",
        "DURE_GPU_CLASS": "H100",
        "DURE_NODE": "seoul-1",
        "DURE_CHECKPOINT_DIR": "",
        "DURE_OUTPUT": output,
        "NNODES": "2",
        "NODE_RANK": "1",
    }


def test_a_part_of_a_gpu_is_told_as_a_fraction_or_refused(engine: Engine) -> None:
    order = launch("job.1", "env", "-0", placements=[Placement(node="seoul-0", gpus=(3,), milli=250)])
    if not engine.gives_parts:
        engine.executor.start(order)
        assert "whole GPUs only" in engine.refused("job.1").reason
        return
    engine.run(order)
    seen = environment_of(engine, "job.1")
    assert (seen["DURE_GPUS"], seen["DURE_GPU_FRACTION"]) == ("3", "0.25")
    assert "DURE_GPU_PROFILE" not in seen


def test_a_mig_slice_is_told_by_its_profile_and_its_memory_slices(engine: Engine) -> None:
    if not engine.gives_parts:
        pytest.skip("this engine gives whole GPUs only, which it says to a fraction too")
    half = Placement(node="seoul-0", gpus=(3,), milli=500, profile="3g.40gb", slices=(4, 5, 6, 7))
    engine.run(launch("job.1", "env", "-0", placements=[half]))
    seen = environment_of(engine, "job.1")
    assert (seen["DURE_GPUS"], seen["CUDA_VISIBLE_DEVICES"], seen["DURE_GPU_FRACTION"]) == ("3", "3", "0.5")
    assert (seen["DURE_GPU_PROFILE"], seen["DURE_GPU_SLICES"]) == ("3g.40gb", "4,5,6,7")


def test_a_job_may_choose_its_visible_devices_but_not_who_it_is(engine: Engine) -> None:
    engine.run(launch("job.1", "env", "-0", env={"CUDA_VISIBLE_DEVICES": "1", "DURE_JOB_ID": "other", "PATH": "/bin"}))
    seen = environment_of(engine, "job.1")
    assert (seen["CUDA_VISIBLE_DEVICES"], seen["DURE_JOB_ID"], seen["PATH"]) == ("1", "job", "/bin")


def test_two_ranks_meet_at_the_master_address(engine: Engine) -> None:
    assert engine.run(launch("job.1", sys.executable, "-c", EXCHANGES_A_SUM, ranks=2)).exit_code == 0
    assert (engine.log("job.1", 0), engine.log("job.1", 1)) == ("sum 42\n", "got 20\n")


def test_a_rank_that_fails_takes_the_gang_with_it(engine: Engine) -> None:
    ended = engine.run(shell("job.1", "[ $NODE_RANK = 1 ] && exit 7; exec sleep 1000", ranks=3))
    assert ended.exit_code == 7


def test_ranks_that_succeed_at_different_times_are_waited_for(engine: Engine, tmp_path: Path) -> None:
    text = "if [ $NODE_RANK = 0 ]; then exit 0; fi; sleep 0.2; touch $DONE"
    assert engine.run(shell("job.1", text, ranks=2, env={"DONE": str(tmp_path / "done")})).exit_code == 0
    assert (tmp_path / "done").exists()


def test_a_stopped_gang_leaves_no_process(engine: Engine, tmp_path: Path) -> None:
    # Children of its own, one in another session and one whose parent is gone: all belong to the attempt.
    text = "sleep 1001 & setsid sleep 1002 & (setsid sleep 1003 &) ; touch $READY.$NODE_RANK; wait"
    engine.executor.start(shell("job.1", text, ranks=2, env={"READY": str(tmp_path / "ready")}))
    wait_for(tmp_path / "ready.0")
    wait_for(tmp_path / "ready.1")
    eventually(lambda: sum(each.startswith("sleep") for each in engine.processes().values()) == 6, "six sleeps run")
    asked_at = time.monotonic()
    engine.executor.stop("job.1", grace_ms=60_000)
    engine.ended("job.1")
    assert time.monotonic() - asked_at < 30, "all of them were asked to end; none had to be killed"
    assert not [each for each in engine.processes().values() if "sleep" in each]


def test_what_a_rank_leaves_behind_ends_with_the_attempt(engine: Engine) -> None:
    assert engine.run(shell("job.1", "sleep 1000 & exit 0")).exit_code == 0
    assert not [each for each in engine.processes().values() if "sleep" in each]


def test_a_stopped_job_has_time_to_save_its_work(engine: Engine, tmp_path: Path) -> None:
    # The shell in front dies of the signal at once; the program behind it must still get its grace.
    program = tmp_path / "program"
    program.write_text("trap 'sleep 0.3; echo saved; exit 0' TERM; echo > $READY; while :; do sleep 0.02; done")
    engine.executor.start(shell("job.1", f"bash {program}; true", env={"READY": str(tmp_path / "ready")}))
    wait_for(tmp_path / "ready")
    engine.executor.stop("job.1", grace_ms=10_000)
    assert engine.ended("job.1").exit_code == -15
    assert engine.log("job.1").endswith("saved\n")


def test_a_job_that_ignores_the_request_is_killed_after_the_grace(engine: Engine, tmp_path: Path) -> None:
    engine.executor.start(shell("job.1", IGNORES_TERM, env={"READY": str(tmp_path / "ready")}))
    wait_for(tmp_path / "ready")
    asked_at = time.monotonic()
    engine.executor.stop("job.1", grace_ms=300)
    assert engine.ended("job.1").exit_code == -9
    assert 0.3 <= time.monotonic() - asked_at < 3


def test_a_second_stop_may_shorten_the_grace(engine: Engine, tmp_path: Path) -> None:
    engine.executor.start(shell("job.1", IGNORES_TERM, env={"READY": str(tmp_path / "ready")}))
    wait_for(tmp_path / "ready")
    engine.executor.stop("job.1", grace_ms=600_000)
    engine.executor.stop("job.1", grace_ms=0)
    assert engine.ended("job.1").exit_code == -9


def test_a_stop_outlives_the_server_that_ordered_it(engine: Engine, tmp_path: Path) -> None:
    engine.executor.start(shell("job.1", IGNORES_TERM, env={"READY": str(tmp_path / "ready")}))
    wait_for(tmp_path / "ready")
    engine.executor.stop("job.1", grace_ms=200)
    engine.executor.close(kill=False)
    eventually(lambda: not any("trap" in each for each in engine.processes().values()), "the job is killed")
    engine.open()
    recovered = engine.executor.recover(["job.1"])["job.1"] or engine.ended("job.1")
    assert isinstance(recovered, Ended)
    assert recovered.exit_code == -9


def test_a_stop_during_the_start_leaves_nothing_running(engine: Engine) -> None:
    for number in range(1, 11):
        engine.executor.start(launch(f"job.{number}", "sleep", "1000"))
        engine.executor.stop(f"job.{number}", grace_ms=1_000)
    for number in range(1, 11):
        assert engine.ended(f"job.{number}").exit_code == -15
    assert not [each for each in engine.processes().values() if "sleep" in each]


def test_stopping_what_does_not_run_does_nothing(engine: Engine) -> None:
    engine.executor.stop("unknown.1", grace_ms=0)
    ended = engine.run(launch("job.1", "true"))
    engine.executor.stop("job.1", grace_ms=0)
    engine.executor.warn("job.1", stop_at_ms=1, signal="USR1")
    engine.restart()
    assert engine.executor.recover(["job.1", "unknown.1"])["job.1"] == ended


def test_a_warning_reaches_the_notice_file_and_the_program_that_listens(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "save.py").write_text(SAVES_AT_USR1)
    # The shell around the program has no handler for the signal and must not die of it.
    text = f"{sys.executable} {tmp_path / 'save.py'}; echo shell lives"
    engine.executor.start(shell("job.1", text, env={"READY": str(tmp_path / "ready")}))
    wait_for(tmp_path / "ready")
    engine.executor.warn("job.1", stop_at_ms=1_234, signal="USR1")
    assert engine.ended("job.1").exit_code == 0
    notice, *rest = engine.log("job.1").splitlines()
    assert json.loads(notice) == {"stop_at_ms": 1_234}
    assert rest == ["shell lives"]


def test_a_spared_job_sees_its_notice_disappear(engine: Engine, tmp_path: Path) -> None:
    text = "while [ ! -e $DURE_NOTICE_FILE ]; do sleep 0.01; done; touch $SEEN; " + (
        "while [ -e $DURE_NOTICE_FILE ]; do sleep 0.01; done; echo spared"
    )
    engine.executor.start(shell("job.1", text, env={"SEEN": str(tmp_path / "seen")}))
    engine.started("job.1")
    engine.executor.warn("job.1", stop_at_ms=1, signal="")
    wait_for(tmp_path / "seen")
    engine.executor.spare("job.1")
    assert engine.ended("job.1").exit_code == 0
    assert engine.log("job.1") == "spared\n"


def test_an_unknown_signal_is_refused_by_name(engine: Engine) -> None:
    with pytest.raises(ExecutorError, match="'USR9' is not a signal"):
        engine.executor.warn("job.1", stop_at_ms=1, signal="USR9")


@pytest.mark.parametrize("attempt_id", ["", "job", ".1", "../job.1", "a/b.1", "job.one", "작업.1", "x" * 300 + ".1"])
def test_an_attempt_id_that_could_leave_its_folder_is_refused(engine: Engine, attempt_id: str) -> None:
    with pytest.raises(ExecutorError, match="attempt"):
        engine.executor.start(launch(attempt_id, "true"))


def test_a_running_attempt_is_adopted_by_the_next_server(engine: Engine, tmp_path: Path) -> None:
    engine.executor.start(shell("job.1", "while [ ! -e $GO ]; do sleep 0.01; done", env={"GO": str(tmp_path / "go")}))
    started = engine.started("job.1")
    engine.restart()
    assert engine.executor.recover(["job.1"]) == {"job.1": None}
    assert engine.started("job.1") == started
    (tmp_path / "go").touch()
    assert engine.ended("job.1").exit_code == 0


def test_an_attempt_that_ended_while_no_server_looked_is_recovered(engine: Engine, tmp_path: Path) -> None:
    engine.executor.start(shell("job.1", "touch $DONE; exit 5", env={"DONE": str(tmp_path / "done")}))
    engine.executor.close(kill=False)
    wait_for(tmp_path / "done")
    engine.open()
    recovered = engine.executor.recover(["job.1"])["job.1"] or engine.ended("job.1")
    assert isinstance(recovered, Ended)
    assert recovered.exit_code == 5


def test_an_attempt_that_nobody_asked_about_is_shown(engine: Engine) -> None:
    engine.executor.start(launch("job.1", "sleep", "1000"))
    engine.started("job.1")
    engine.restart()
    assert engine.executor.recover([]) == {}
    engine.started("job.1")
    engine.executor.stop("job.1", grace_ms=0)
    engine.ended("job.1")


def test_an_attempt_that_vanishes_behind_our_back_is_over(engine: Engine) -> None:
    engine.executor.start(launch("job.1", "sleep", "1000", ranks=2))
    engine.started("job.1")
    while ours := list(engine.processes()):
        for pid in ours:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert engine.ended("job.1").exit_code == -9
    assert engine.run(launch("job.2", "true")).exit_code == 0


def test_an_attempt_that_was_never_ordered_never_started(engine: Engine) -> None:
    assert isinstance(engine.executor.recover(["job.1"])["job.1"], NeverStarted)
    assert engine.run(launch("job.1", "true")).exit_code == 0


def test_what_an_attempt_leaves_in_its_output_folder_is_listed_and_read(engine: Engine) -> None:
    leaves = "mkdir $DURE_OUTPUT/maps; echo a,b > $DURE_OUTPUT/maps/t.csv; echo 1,2 >> $DURE_OUTPUT/maps/t.csv"
    engine.run(shell("job.1", f"{leaves}; ln -s /etc/passwd $DURE_OUTPUT/stolen"))
    listing = engine.executor.outputs("job.1")
    assert listing is not None
    digest = hashlib.sha256(b"a,b\n1,2\n").hexdigest()
    assert listing.files == (
        OutputFile(path="maps/t.csv", size_bytes=8, media_type="text/csv", sha256=digest),
        OutputFile(path="stolen", problem=OutputProblem.LINK),
    )
    assert b"".join(engine.executor.output("job.1", "maps/t.csv")) == b"a,b\n1,2\n"
    for path in ("stolen", "../script", "/etc/passwd", "maps", "none", "", "maps/../maps/t.csv"):
        with pytest.raises(ExecutorError, match="no file"):
            b"".join(engine.executor.output("job.1", path))
    assert engine.executor.outputs("job.2") is None


def test_closing_with_kill_stops_everything(engine: Engine) -> None:
    engine.executor.start(launch("job.1", "sleep", "1000"))
    engine.started("job.1")
    engine.executor.close(kill=True)
    assert not [each for each in engine.processes().values() if "sleep" in each]
    engine.open()
    assert isinstance(engine.executor.recover(["job.1"])["job.1"], Ended)


def test_only_attempts_that_are_over_are_listed_as_over_and_forgotten(engine: Engine) -> None:
    engine.executor.start(shell("short.1", "echo done"))
    engine.executor.start(shell("long.1", "sleep 60"))
    engine.until(lambda seen: any(isinstance(each, Ended) and each.attempt_id == "short.1" for each in seen))
    engine.until(lambda seen: any(isinstance(each, Started) and each.attempt_id == "long.1" for each in seen))
    assert engine.executor.over() == ["short.1"]
    with pytest.raises(ExecutorError, match="long"):
        engine.executor.forget("long.1")
    engine.executor.forget("short.1")
    assert engine.executor.over() == []
    assert engine.executor.log_path("short.1", 0) is None
    engine.executor.forget("short.1")
