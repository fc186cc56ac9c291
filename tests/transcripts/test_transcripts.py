"""Stories as an operator types them: commands and expected output in files, compared whole.

`DURE_UPDATE=1` rewrites the files with what was printed; read the difference before committing it.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from dure.executors.local.sandbox import Sandboxes
from tests.transcripts.platform import FILES, environment_of, running_platform

STORIES = sorted((Path(__file__).parent / "stories").glob("*.txt"))
WITHOUT_SERVER = {"dead-server"}
OPTIONS = {"sovereignty": ("--identity", "identity.yaml")}
NEEDS_SANDBOX = {"sovereignty"}
COMMAND_S = 60

_TIME = re.compile(r"(?:\bnow(?=  |$)|\bin \d\w*(?=\s|$|\))|\b\d\w* ago) *", re.MULTILINE)
_VARYING = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"dure/[0-9a-f]{8}"), "dure/<key>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:<port>"),
    (re.compile(r"[\d,]+ entries/s"), "<rate> entries/s"),
    (re.compile(r"\d+ fit,"), "<count> fit,"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "<date and time>"),
    (re.compile(r"it is [\d-]{10}T[\d:]{8}Z"), "it is <moment>"),
    (re.compile(r"dure_[\w-]{20,}"), "<token>"),
)


def commands_of(story: str) -> list[str]:
    """Lines of a story that are typed: `$ command`, with `> ` before lines that go on."""
    commands: list[str] = []
    for line in story.splitlines():
        if line.startswith("$ "):
            commands.append(line[2:])
        elif line.startswith("> ") and commands:
            commands[-1] += "\n" + line[2:]
    return commands


def told(story: str, outputs: list[tuple[str, int]]) -> str:
    """The story with these outputs: comments and commands stay, what was printed follows each command."""
    lines: list[str] = []
    remaining = iter(outputs)
    pending: tuple[str, int] | None = None
    for line in story.splitlines():
        is_command, is_more, is_remark = line.startswith("$ "), line.startswith("> "), line.startswith("# ")
        if (is_command or is_remark) and pending is not None:
            lines += [*printed(*pending), ""]
            pending = None
        if is_command or is_more or is_remark:
            lines.append(line)
        if is_command:
            pending = next(remaining)
    return "\n".join([*lines, *(printed(*pending) if pending else [])]).rstrip() + "\n"


def printed(output: str, code: int) -> list[str]:
    return [*output.rstrip("\n").splitlines(), *([f"[exit {code}]"] if code else [])]


def normalised(output: str, folder: Path) -> str:
    """What was printed, without what differs from run to run. Columns stay where they are."""
    output = _TIME.sub(lambda found: "<time>".ljust(len(found.group())), output.replace(str(folder), "<folder>"))
    for pattern, name in _VARYING:
        output = pattern.sub(name, output)
    return "\n".join(line.rstrip() for line in output.splitlines())


def run_story(story: str, folder: Path, environment: dict[str, str]) -> str:
    outputs = []
    for command in commands_of(story):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        outputs.append((normalised(done.stdout, folder), done.returncode))
    return told(story, outputs)


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_story_goes_as_it_is_told(path: Path, tmp_path: Path) -> None:
    story = path.read_text()
    if path.stem in NEEDS_SANDBOX and (problem := Sandboxes().problem()):
        pytest.skip(problem)
    for document in FILES.glob("*.yaml"):
        shutil.copy(document, tmp_path)
    if path.stem in WITHOUT_SERVER:
        happened = run_story(story, tmp_path, environment_of(tmp_path, f"http://127.0.0.1:{free_port()}"))
    else:
        with running_platform(tmp_path, OPTIONS.get(path.stem, ())) as platform:
            happened = run_story(story, tmp_path, platform.environment)
    if os.environ.get("DURE_UPDATE"):
        path.write_text(happened)
    elif happened != story:
        lines = difflib.unified_diff(story.splitlines(), happened.splitlines(), "told", "happened", lineterm="")
        pytest.fail("\n".join(lines), pytrace=False)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_times_are_left_out_without_moving_columns(tmp_path: Path) -> None:
    line = "j1  queued  12s ago     behind\nj2  queued  now         behind"
    assert normalised(line, tmp_path) == "j1  queued  <time>      behind\nj2  queued  <time>      behind"
