"""The programs that the story's jobs run, on their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

STEPS, REPORTS = 240, 24
YIELDED = 75


def start(program: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    variables = os.environ | {"OPENBLAS_NUM_THREADS": "1"} | environment
    command = [sys.executable, "-m", f"dure.demo.programs.{program}", *arguments]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def start_training(folder: Path, **environment: str) -> subprocess.Popen[str]:
    arguments = ("--steps", str(STEPS), "--reports", str(REPORTS), "--seed", "7")
    return start("train", *arguments, DURE_CHECKPOINT_DIR=str(folder), **environment)


def read_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


def finish(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    output, _ = process.communicate(timeout=60)
    return process.returncode, output.splitlines()


def weights(folder: Path) -> dict[str, bytes]:
    with np.load(folder / "training.npz") as saved:
        return {name: saved[name].tobytes() for name in saved.files}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, bytes]]:
    """The last line and the weights of a training that nobody interrupted."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    code, lines = finish(start_training(folder))
    assert code == 0, lines
    return lines[-1], weights(folder)


@settings(max_examples=4, deadline=None)
@given(reports=st.integers(1, REPORTS - 2))
def test_an_interrupted_training_ends_with_the_very_weights_of_an_uninterrupted_one(
    uninterrupted: tuple[str, dict[str, bytes]], reports: int
) -> None:
    last_line, expected = uninterrupted
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = start_training(folder)
        read_lines(process, reports)
        process.send_signal(signal.SIGTERM)
        code, lines = finish(process)
        assert code == YIELDED, lines
        saved = lines[-1].removeprefix("stopped: saved at ").removesuffix("; yielding")
        code, lines = finish(start_training(folder))
        assert code == 0, lines
        assert lines[0] == f"resumed at {saved}"
        assert lines[-1] == last_line
        assert weights(folder) == expected


def test_a_warned_training_saves_its_work_and_asks_to_be_run_again(tmp_path: Path) -> None:
    notice = tmp_path / "notice"
    process = start_training(tmp_path, DURE_NOTICE_FILE=str(notice))
    read_lines(process, 1)
    notice.write_text("{}")
    code, lines = finish(process)
    assert code == YIELDED
    assert lines[-1].startswith("warned: saved at step ")
    assert (tmp_path / "training.npz").exists()


def start_gang(steps: int) -> list[subprocess.Popen[str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NNODES": "2"}
    return [start("average", "--steps", str(steps), NODE_RANK=str(rank), **place) for rank in (0, 1)]


def test_both_ranks_of_a_gang_end_with_equal_weights() -> None:
    outcomes = [finish(rank) for rank in start_gang(steps=20)]
    assert [code for code, _ in outcomes] == [0, 0]
    digests = {lines[-1].rpartition("weights ")[2] for _, lines in outcomes}
    assert len(digests) == 1


@pytest.mark.parametrize("dying", [0, 1])
def test_a_gang_fails_whole_when_one_rank_dies(dying: int) -> None:
    ranks = start_gang(steps=1_000_000)
    for rank in ranks:
        assert "met the others" in read_lines(rank, 1)[0]
    ranks[dying].kill()
    code, lines = finish(ranks[1 - dying])
    assert code == 1
    assert "lost the others" in lines[-1]
    finish(ranks[dying])
