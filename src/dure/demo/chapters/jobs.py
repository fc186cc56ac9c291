"""The job files of the story."""

from __future__ import annotations

import os
import subprocess
import sys

from dure.demo.member import JobDocument

# One thread each: the story's jobs share a small machine, and one thread adds up numbers in one order only.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def seconds_per_step() -> float:
    """How long one step of a training takes on this machine.

    The story's trainings are made as long as they need to be to be watched, on a fast machine as on a slow one.
    """
    command = [sys.executable, "-m", "dure.demo.programs.train", "--measure"]
    environment = os.environ | _ENVIRONMENT
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603 - a program of ours
    return float(done.stdout)


def training(name: str, project: str, gpus: str, steps: int, seed: int, reports: int) -> JobDocument:
    """A training that saves checkpoints and can be interrupted."""
    command = [sys.executable, "-m", "dure.demo.programs.train", "--steps", str(steps), "--seed", str(seed)]
    command += ["--reports", str(reports)]
    return _job(name, project, gpus, command) | {"checkpoint": "5s"}


def gang(name: str, project: str, gpus: str, nodes: int, steps: int) -> JobDocument:
    """A training on several nodes that average their gradients."""
    command = [sys.executable, "-m", "dure.demo.programs.average", "--steps", str(steps)]
    return _job(name, project, gpus, command) | {"nodes": nodes}


def study(name: str, project: str, gpus: str, data: list[str], purpose: str) -> JobDocument:
    """A training on datasets."""
    return training(name, project, gpus, steps=50, seed=1, reports=1) | {"data": data, "purpose": purpose}


def _job(name: str, project: str, gpus: str, command: list[str]) -> JobDocument:
    return {"name": name, "project": project, "gpus": gpus, "time": "3m", "command": command, "env": _ENVIRONMENT}
