"""How much later a job starts on Slurm when it is submitted to Dure instead of to Slurm itself.

One real Slurm with four nodes on this machine, nothing else on it, and the same program: it reads the clock. `sbatch`
and `dure submit` (its request, as the command sends it) take turns, so both meet the same scheduler at the same load.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from benchmarks.measurement import Figure, Measurement, Skipped
from tests.control.server import running_server
from tests.executors import slurm_cluster
from tests.executors.slurm_cluster import SlurmCluster

ROUNDS = 20
_NAME = "submission to start on Slurm"
_LONGEST_PAUSE_S = 1.0
"""Slurm's scheduler looks once a second; pauses of random length keep the turns from falling into step with it."""
_NATION = """
gpu_classes: {H100: {}}
sites:
  - {name: here, country: KR, owner: lab, engine: slurm,
     nodes: [{name: n, count: 4, gpus: "H100:8", cpus: 16, memory: 60GB}]}
organisations:
  - {name: lab, kind: university, country: KR, parent_country: KR, projects: [vision]}
shares:
  - {name: lab, guarantee: {H100: 32}}
"""
_ENGINES = """
sites:
  here: {{engine: slurm, work_folder: {folder}/work, conf: {conf}, python: {python}, gpu_types: {{H100: h100}}}}
"""


def measure() -> list[Figure]:
    """The median of each way, the distance between them, and their ratio."""
    if reason := slurm_cluster.missing():
        return [Skipped(_NAME, reason)]
    with tempfile.TemporaryDirectory(prefix="dure-bench-") as name, _slurm_and_dure(Path(name)) as (slurm, client):
        pauses = random.Random(1)
        by_sbatch, by_dure = [], []
        for number in range(ROUNDS):
            by_sbatch.append(_sbatch_s(slurm, Path(name), number))
            time.sleep(pauses.random() * _LONGEST_PAUSE_S)
            by_dure.append(_dure_s(client, Path(name), number))
            time.sleep(pauses.random() * _LONGEST_PAUSE_S)
    alone_s, dure_s = statistics.median(by_sbatch), statistics.median(by_dure)
    return [
        _figure(f"{_NAME}, `sbatch`, median", alone_s, "s", None),
        _figure(f"{_NAME}, `dure submit`, median", dure_s, "s", None),
        _figure(f"{_NAME}, `dure submit` later than `sbatch`", dure_s - alone_s, "s", 1.0),
        _figure(f"{_NAME}, `dure submit` over `sbatch`", dure_s / alone_s, "times", None),
    ]


def _figure(name: str, value: float, unit: str, must: float | None) -> Measurement:
    return Measurement(name, value, unit, must, None, "less", "")


@contextmanager
def _slurm_and_dure(folder: Path) -> Iterator[tuple[SlurmCluster, httpx.Client]]:
    """A Slurm, and a platform whose only site it is."""
    with closing(SlurmCluster()) as slurm:
        slurm.start()
        engines = folder / "engines.yaml"
        engines.write_text(_ENGINES.format(folder=folder, conf=slurm.conf, python=sys.executable))
        with running_server(folder / "state", options=["--engines", str(engines)]) as server, server.client() as client:
            yaml = {"Content-Type": "application/yaml"}
            client.put("/v1/nation", content=_NATION, headers=yaml).raise_for_status()
            yield slurm, client


def _program(started: Path) -> str:
    """Reads the clock, and leaves what it says where it is seen whole."""
    return f"date +%s%N > {started}.part && mv {started}.part {started}"


def _sbatch_s(slurm: SlurmCluster, folder: Path, number: int) -> float:
    started = folder / f"sbatch-{number}"
    began_ns = time.time_ns()
    slurm.run(
        "sbatch", "--gres=gpu:h100:1", "--output=/dev/null", text=f"#!/bin/sh\nsrun sh -c '{_program(started)}'\n"
    )
    return _seconds(began_ns, started)


def _dure_s(client: httpx.Client, folder: Path, number: int) -> float:
    started = folder / f"dure-{number}"
    job = {
        "name": "bench",
        "project": "vision",
        "gpus": "H100:1",
        "time": "1h",
        "command": ["sh", "-c", _program(started)],
    }
    began_ns = time.time_ns()
    client.post("/v1/jobs", content=json.dumps(job), headers={"Content-Type": "application/json"}).raise_for_status()
    return _seconds(began_ns, started)


def _seconds(began_ns: int, started: Path) -> float:
    while not started.exists():
        time.sleep(0.005)
    return (int(started.read_text()) - began_ns) / 1e9
