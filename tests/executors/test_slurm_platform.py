"""The whole platform on a Slurm site: a real server that is killed, and finds its jobs again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.control.server import ServerProcess, running_server

from .engines import eventually, processes_of
from .slurm_cluster import SlurmCluster

NATION = """
gpu_classes: {H100: {}}
sites:
  - {name: seoul, country: KR, owner: lab, engine: slurm,
     nodes: [{name: n, count: 4, gpus: "H100:8", cpus: 16, memory: 60GB}]}
organisations:
  - {name: lab, kind: university, country: KR, parent_country: KR, projects: [vision]}
shares:
  - {name: lab, guarantee: {H100: 32}}
"""
ENGINES = """
sites:
  seoul: {{engine: slurm, work_folder: {folder}/work, conf: {conf}, python: {python}, placement: node,
           nodes: {{n: "n[0-3]"}}}}
"""


def report_of(server: ServerProcess, job: str) -> dict[str, Any]:
    with server.client() as client:
        report: dict[str, Any] = client.get(f"/v1/jobs/{job}").raise_for_status().json()
    return report


def state_of(server: ServerProcess, job: str) -> str:
    state: str = report_of(server, job)["line"]["state"]
    return state


def wait_until_succeeded(server: ServerProcess, job: str) -> None:
    eventually(lambda: state_of(server, job) == "succeeded", f"{job} succeeds")


def test_a_job_that_slurm_keeps_waiting_says_so_and_a_lost_controller_is_shown(
    own_slurm: SlurmCluster, tmp_path: Path
) -> None:
    engines = tmp_path / "engines.yaml"
    engines.write_text(ENGINES.format(folder=tmp_path, conf=own_slurm.conf, python=sys.executable))
    own_slurm.run("scontrol", "update", "partition=gpu", "state=down")
    with running_server(tmp_path / "state", options=["--engines", str(engines)]) as server, server.client() as client:
        client.put("/v1/nation", content=NATION, headers={"Content-Type": "application/yaml"}).raise_for_status()
        job = {"name": "train", "project": "vision", "gpus": "H100:8", "time": "1h", "command": ["true"]}
        waits = client.post("/v1/jobs", json=job).json()["jobs"][0]
        said = "the partition does not start jobs (PartitionDown)"
        eventually(lambda: report_of(server, waits).get("engine_waits") == said, "the reason is told")
        own_slurm.stop_controller()
        eventually(lambda: "squeue" in str(client.get("/v1/sites").json()), "the site has a problem")
        own_slurm.start_controller()
        own_slurm.run("scontrol", "update", "partition=gpu", "state=up")
        wait_until_succeeded(server, waits)


def test_a_server_that_is_killed_finds_its_jobs_on_slurm_and_runs_none_twice(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    engines = tmp_path / "engines.yaml"
    engines.write_text(ENGINES.format(folder=tmp_path, conf=slurm.conf, python=sys.executable))
    options = ["--engines", str(engines)]
    lines, go = tmp_path / "lines", tmp_path / "go"
    text = f"echo $DURE_JOB_ID $NODE_RANK >> {lines}; while [ ! -e {go} ]; do sleep 0.05; done"
    server = ServerProcess(tmp_path / "state", options=options)
    try:
        with server.client() as client:
            client.put("/v1/nation", content=NATION, headers={"Content-Type": "application/yaml"}).raise_for_status()
            job = {
                "name": "train",
                "project": "vision",
                "gpus": "H100:8",
                "nodes": 2,
                "time": "1h",
                "command": ["sh", "-c", text],
            }
            first = client.post("/v1/jobs", json=job).json()["jobs"][0]
            eventually(lambda: lines.exists() and len(lines.read_text().splitlines()) == 2, "both ranks run")
            # Of these the server may know nothing but that it promised to start them.
            late = [client.post("/v1/jobs", json=job | {"nodes": 1}).json()["jobs"][0] for _ in range(2)]
        server.kill()
        server = ServerProcess(tmp_path / "state", options=options)
        go.touch()
        for each in (first, *late):
            wait_until_succeeded(server, each)
    finally:
        server.kill()
        eventually(lambda: not processes_of(tmp_path / "work"), "no process of a job is left")
    assert sorted(lines.read_text().splitlines()) == sorted(
        [f"{first} 0", f"{first} 1", *(f"{each} 0" for each in late)]
    )
