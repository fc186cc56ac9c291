"""What only the Ray engine does: whom it serves, what it refuses, and what it concludes when Ray takes a job away."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from msgspec import structs

from dure.executors.contract import ExecutorError, Launch
from dure.executors.ray import feasibility
from dure.executors.ray.api import RayNode
from dure.executors.ray.executor import RayExecutor
from dure.executors.ray.site import RaySite
from dure.executors.ray.submission import submission_id
from dure.model.plan import Placement

from .engines import Engine, eventually, launch, ray_engine, shell
from .ray_cluster import GPUS, TOKEN, RayCluster

OVER = ("SUCCEEDED", "FAILED", "STOPPED")
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def ray(ray_cluster: RayCluster, tmp_path: Path) -> Iterator[Engine]:
    engine = ray_engine(tmp_path / "state", ray_cluster)
    yield engine
    engine.executor.close(kill=True)


def on_gpus(order: Launch, gpus: int) -> Launch:
    nodes = [Placement(node=each.node, gpus=tuple(range(gpus)), milli=1000) for each in order.placements]
    return structs.replace(order, placements=tuple(nodes))


def job_of(engine: Engine, cluster: RayCluster, attempt_id: str = "job.1") -> httpx.Response:
    return cluster.ask(f"/api/jobs/{submission_id(str(engine.folder), attempt_id)}")


def refused(engine: Engine, order: Launch) -> str:
    engine.executor.start(order)
    return engine.refused(order.attempt_id).reason


def test_it_serves_one_trust_domain_and_no_sandbox(ray: Engine, ray_cluster: RayCluster) -> None:
    stranger = structs.replace(launch("job.1", "true"), organisation="nordlys")
    assert "jobs of hanbit only, not of nordlys" in refused(ray, stranger)
    assert "sandbox" in refused(ray, structs.replace(launch("job.2", "true"), sandbox=True))
    assert [job_of(ray, ray_cluster, name).status_code for name in ("job.1", "job.2")] == [404, 404]


def test_what_the_cluster_can_never_give_is_refused_and_never_waits(ray: Engine, ray_cluster: RayCluster) -> None:
    assert f"never give {2 * GPUS} GPU; it has 1 nodes with {GPUS} GPUs" in refused(
        ray, on_gpus(launch("job.1", "true"), 2 * GPUS)
    )
    assert job_of(ray, ray_cluster).status_code == 404
    assert "never give" in refused(ray, structs.replace(launch("job.2", "true"), memory_mib=1 << 40))


def test_a_gang_that_is_to_be_spread_needs_as_many_nodes(ray_cluster: RayCluster, tmp_path: Path) -> None:
    engine = ray_engine(tmp_path / "state", ray_cluster, spread=True)
    try:
        assert "to each of 2 ranks on nodes of their own" in refused(engine, launch("job.1", "true", ranks=2))
    finally:
        engine.executor.close(kill=True)


def test_a_wrong_token_is_told_plainly_and_a_new_one_counts_at_once(
    ray_cluster: RayCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token_file = tmp_path / "token"
    token_file.write_text("expired-token")
    engine = ray_engine(tmp_path / "state", ray_cluster, token_file=str(token_file))
    try:
        with pytest.raises(ExecutorError, match=r"does not let Dure in \(40[13]\).*token into .*token"):
            engine.executor.start(launch("job.1", "true"))
        eventually(lambda: "does not let Dure in" in engine.executor.contact().problem, "it says so as its contact")
        token_file.unlink()
        with pytest.raises(ExecutorError, match=r"the token file .* cannot be read"):
            engine.executor.start(launch("job.1", "true"))
        token_file.write_text(f"{TOKEN}\n")
        assert engine.run(launch("job.1", "true")).exit_code == 0
        assert engine.executor.contact().problem == ""
    finally:
        engine.executor.close(kill=True)
    assert "expired-token" not in caplog.text
    assert TOKEN not in caplog.text


def test_a_cluster_that_does_not_answer_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    site = RaySite(address=NOWHERE, work_folder=str(tmp_path / "state"), trust_domain=("hanbit",))
    executor = RayExecutor(site)
    try:
        with pytest.raises(ExecutorError, match="does not answer"):
            executor.start(launch("job.1", "true"))
        eventually(lambda: "does not answer" in executor.contact().problem, "it says so as its contact")
        assert executor.contact().heard_at_ms == 0
        assert executor.recover(["job.1"])["job.1"] is not None, "what was never sent never ran"
    finally:
        executor.close(kill=False)


def test_a_work_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    site = RaySite(address=NOWHERE, work_folder=str(tmp_path / "file" / "state"), trust_domain=())
    with pytest.raises(ExecutorError, match=r"the work folder .*file/state cannot be used"):
        RayExecutor(site)


def test_no_secret_is_in_rays_books_or_on_the_disk(ray: Engine, ray_cluster: RayCluster) -> None:
    secret = "correct-horse-battery-staple"
    order = launch("job.1", "bash", "-c", "echo ${#TOKEN}; sleep 1000", secret_env={"TOKEN": secret})
    ray.executor.start(order)
    ray.started("job.1")
    eventually(lambda: ray.log("job.1") == f"{len(secret)}\n", "the job has the secret")
    assert "env_vars" in job_of(ray, ray_cluster).text
    assert secret not in ray_cluster.ask("/api/jobs/").text
    for folder in (ray.folder, ray_cluster.folder):
        found = subprocess.run(["grep", "-rl", secret, str(folder)], capture_output=True, text=True)
        assert found.stdout == ""


def test_the_ranks_of_a_gang_have_gpus_of_their_own(ray: Engine) -> None:
    assert ray.run(shell("job.1", "echo $CUDA_VISIBLE_DEVICES $DURE_GPUS", ranks=2)).exit_code == 0
    first, second = (ray.log("job.1", rank).split() for rank in range(2))
    assert first[0] == first[1]
    assert len(set(first[0].split(",")) | set(second[0].split(","))) == 4


def test_a_job_without_gpus_sees_none(ray: Engine) -> None:
    order = structs.replace(on_gpus(shell("job.1", "echo [$CUDA_VISIBLE_DEVICES]"), 0), cpus=1, memory_mib=500)
    assert ray.run(order).exit_code == 0
    assert ray.log("job.1") == "[]\n"


def test_what_the_site_ends_counts_as_lost_and_may_save_its_work_first(ray: Engine, ray_cluster: RayCluster) -> None:
    ray.executor.start(shell("job.1", "trap 'echo saved; exit 0' TERM; while :; do sleep 0.02; done"))
    ray.started("job.1")
    name = submission_id(str(ray.folder), "job.1")
    credentials = {"Authorization": f"Bearer {TOKEN}"}
    httpx.post(f"{ray_cluster.address}/api/jobs/{name}/stop", headers=credentials, timeout=10)
    assert ray.ended("job.1").was_lost
    assert ray.log("job.1").endswith("saved\n")


def test_ranks_end_with_the_job_that_ray_killed_under_them(ray: Engine) -> None:
    ray.executor.start(launch("job.1", "sleep", "1000"))
    ray.started("job.1")
    leads = [pid for pid, called in ray.processes().items() if f"lead {ray.folder}" in called]
    assert leads
    for pid in leads:
        os.kill(pid, signal.SIGKILL)
    ended = ray.ended("job.1")
    assert (ended.exit_code, ended.was_lost) == (-9, True)
    assert not [each for each in ray.processes().values() if each.startswith("sleep")]


def test_what_waits_for_gpus_says_so_and_never_runs_once_it_is_stopped(ray: Engine, ray_cluster: RayCluster) -> None:
    ray.executor.start(on_gpus(launch("job.1", "sleep", "1000"), GPUS))
    ray.started("job.1")
    ray.executor.start(on_gpus(launch("job.2", "sleep", "1000"), 1))
    executor = ray.executor
    assert isinstance(executor, RayExecutor)
    eventually(lambda: "waiting for resources" in executor.waiting().get("job.2", ""), "it says what it waits for")
    executor.stop("job.2", grace_ms=0)
    assert ray.ended("job.2").exit_code == -15
    executor.stop("job.1", grace_ms=0)
    eventually(lambda: job_of(ray, ray_cluster, "job.2").json()["status"] in OVER, "Ray is through with it")
    assert executor.log_path("job.2", 0) is None


def test_a_forgotten_attempt_leaves_nothing_with_ray_either(ray: Engine, ray_cluster: RayCluster) -> None:
    ray.run(launch("job.1", "true"))
    eventually(lambda: job_of(ray, ray_cluster).json()["status"] == "SUCCEEDED", "Ray has seen its end")
    ray.executor.forget("job.1")
    assert job_of(ray, ray_cluster).status_code == 404
    assert ray.executor.over() == []


def test_the_nodes_are_those_that_ray_has(ray: Engine) -> None:
    [node] = ray.executor.capacity() or ()
    assert (node.gpus, node.cpus, node.problem) == (GPUS, 16, "")


def test_nodes_without_the_python_that_was_named_are_told_as_the_reason(
    ray_cluster: RayCluster, tmp_path: Path
) -> None:
    engine = ray_engine(tmp_path / "state", ray_cluster, python="no-such-python")
    try:
        engine.executor.start(launch("job.1", "true"))
        assert "ended before it ran (FAILED)" in engine.never_started("job.1").reason
    finally:
        engine.executor.close(kill=True)


SITE = RaySite(address=NOWHERE, work_folder="/shared", trust_domain=("hanbit",), accelerators={"H100": "H100"})


def node(gpus: float, **more: float) -> RayNode:
    return RayNode(node_name="n", state="ALIVE", resources_total={"GPU": gpus, "accelerator_type:H100": 1.0, **more})


@pytest.mark.parametrize(
    ("ranks", "nodes", "spread", "fits"),
    [
        (1, [node(2)], True, True),
        (1, [node(1), node(1)], True, False),
        (2, [node(2), node(2)], True, True),
        (2, [node(4)], True, False),
        (2, [node(4)], False, True),
        (3, [node(4)], False, False),
        (3, [node(2), node(4)], False, True),
        (1, [], True, False),
        (1, [RayNode(node_name="n", state="ALIVE", resources_total={"GPU": 8.0})], True, False),
    ],
)
def test_a_cluster_fits_what_it_could_give_if_nothing_else_ran(
    ranks: int, nodes: list[RayNode], spread: bool, fits: bool
) -> None:
    site = structs.replace(SITE, spread=spread)
    wanted = feasibility.bundles(launch("job.1", "true", ranks=ranks), site)
    assert (feasibility.shortage(wanted, nodes, site) == "") == fits
