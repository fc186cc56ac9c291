"""What is in `deploy/`: that it says what the program knows, and that what checks it finds nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from dure.cli.main import main

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = (DEPLOY / "dure.service").read_text("utf-8")
CONTAINER = (DEPLOY / "Containerfile").read_text("utf-8")
SETTINGS = (DEPLOY / "environment").read_text("utf-8")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "dure.service"
    unit.write_text(UNIT.replace("/opt/dure/bin/dure", "/bin/true"), encoding="utf-8")
    said = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert str(unit.name) not in said.stderr, said.stderr


@pytest.mark.parametrize("text", [UNIT, CONTAINER, SETTINGS])
def test_every_option_is_one_of_dure_up(text: str) -> None:
    commands = "\n".join(line for line in text.splitlines() if re.search(r"dure up|\"up\"|DURE_OPTIONS=", line))
    options = set(re.findall(r"--[a-z][a-z-]+", commands))
    assert options
    assert options <= set(re.findall(r"--[a-z][a-z-]+", CliRunner().invoke(main, ["up", "--help"]).output))


def test_every_variable_is_one_that_the_program_reads() -> None:
    known = {"DURE_OPTIONS"} | set(
        re.findall(r"DURE_[A-Z]+", "".join(path.read_text("utf-8") for path in Path("src/dure").rglob("*.py")))
    )
    assert set(re.findall(r"DURE_[A-Z]+", UNIT + CONTAINER + SETTINGS)) <= known


def test_jobs_outlive_a_server_that_the_service_manager_stops() -> None:
    """Shims are in the service's control group; its default would kill them with the server."""
    assert "\nKillMode=process\n" in UNIT


def test_the_install_script_is_a_script_and_wants_a_new_enough_python(tmp_path: Path) -> None:
    script = DEPLOY / "install"
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(old), "DESTDIR": str(tmp_path / "root")}
    said = subprocess.run([str(script)], env=environment, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (
        1,
        "deploy/install: needs Python 3.11 or newer; set PYTHON=/path/to/python3.11\n",
    )
    assert not (tmp_path / "root").exists()
