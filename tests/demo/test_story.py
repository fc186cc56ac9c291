"""The whole story, as `make run` tells it, and how it ends when something is not as it should be."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

DEMO = (str(Path(sys.executable).parent / "dure"), "demo")
CHAPTERS = 6
INTERRUPTED = 130
PATIENCE_S = 60.0


def start(folder: Path, *command: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DURE_")}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def read_until(story: subprocess.Popen[str], wanted: str) -> str:
    assert story.stdout is not None
    said = ""
    for line in story.stdout:
        said += line
        if wanted in line:
            return said
    raise AssertionError(f"never said {wanted!r}:\n{said}")


def processes_of(folder: Path) -> list[str]:
    """Command lines of all processes that carry the folder's name in their arguments or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        if f"{folder}/.dure".encode() in arguments + environment:
            found.append(arguments.replace(b"\0", b" ").decode())
    return found


def outcomes(said: str) -> list[str]:
    return re.findall(r"│ \d\. .*? │ (passed|failed|not played) +│", said)


def test_the_story_goes_as_it_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    story = start(tmp_path, *DEMO, "--exit")
    said, _ = story.communicate(timeout=240)
    assert story.returncode == 0, said
    assert outcomes(said) == ["passed"] * CHAPTERS, said
    assert re.search(r"resumed at step \d", said)
    assert "national-core-technology" in said
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


def test_a_nation_without_the_owners_guarantee_fails_the_story(tmp_path: Path) -> None:
    nation = files("dure.demo").joinpath("nation.yaml").read_text("utf-8")
    without = nation.replace("  - {name: samsung, guarantee: {B200: 8}, lend: {B200: 6}}\n", "  - {name: samsung}\n")
    assert without != nation
    file = tmp_path / "nation.yaml"
    file.write_text(without)
    program = f"import pathlib, sys, dure.demo; sys.exit(dure.demo.run(True, pathlib.Path({str(file)!r})))"
    story = start(tmp_path, sys.executable, "-c", program)
    said, _ = story.communicate(timeout=120)
    assert story.returncode == 1
    assert outcomes(said) == ["failed"] + ["not played"] * (CHAPTERS - 1), said
    assert re.search(r"✗ Samsung lends 4 B200\n +expected +4000\n +happened +0\n", said), said
    assert processes_of(tmp_path) == []


def test_a_nation_that_is_refused_is_said_plainly(tmp_path: Path) -> None:
    file = tmp_path / "nation.yaml"
    file.write_text("sites: [{name: nowhere}]\n")
    program = f"import pathlib, sys, dure.demo; sys.exit(dure.demo.run(True, pathlib.Path({str(file)!r})))"
    story = start(tmp_path, sys.executable, "-c", program)
    said, _ = story.communicate(timeout=60)
    assert story.returncode == 1
    assert "✗ setting the scene" in said
    assert "Traceback" not in said
    assert processes_of(tmp_path) == []


def comes_true(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)
    return is_so()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_story_that_is_interrupted_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    story = start(tmp_path, *DEMO)
    read_until(story, "step ")
    assert any("dure.demo.programs.train" in line for line in processes_of(tmp_path))
    story.send_signal(number)
    said, _ = story.communicate(timeout=60)
    assert story.returncode == INTERRUPTED
    assert "Traceback" not in said
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_story_that_is_killed_takes_its_platform_and_jobs_along(tmp_path: Path) -> None:
    story = start(tmp_path, *DEMO)
    read_until(story, "[running]")
    story.kill()
    story.communicate(timeout=60)
    assert comes_true(lambda: processes_of(tmp_path) == [])
