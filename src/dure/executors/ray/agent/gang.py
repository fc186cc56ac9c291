"""The ranks of a gang, each in a task of one placement group. The only part that needs Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import RayError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from dure.executors.local import records
from dure.executors.local.shim import FAILED_GANG_GRACE_MS
from dure.executors.ray.agent.lead import order_stop
from dure.executors.shared.agent import files

_LOOK_EVERY_S = 0.5


def run_gang(agent: str, folder: str, ranks: int, terms: dict[str, object]) -> None:
    """Have all ranks run, and return when none does any more. All or none: Ray reserves the whole group first."""
    bundles = terms["bundles"]
    assert isinstance(bundles, list)
    # The nodes have Ray, and not this file.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(log_to_driver=False, configure_logging=False)
    group = placement_group(bundles, strategy="STRICT_SPREAD" if terms["spread"] else "PACK")
    try:
        if _is_reserved(group):
            _wait(_start(agent, folder, bundles, group), ranks)
    finally:
        remove_placement_group(group)
        ray.shutdown()


def _is_reserved(group: Any) -> bool:
    """Wait for the group; False when the attempt is stopped meanwhile."""
    ready = group.ready()
    while not ray.wait([ready], timeout=_LOOK_EVERY_S)[0]:
        if files.has_order_to_stop(os.curdir):
            return False
    return True


def _start(agent: str, folder: str, bundles: list[dict[str, float]], group: Any) -> list[Any]:
    tasks = []
    for rank, bundle in enumerate(bundles):
        rest = dict(bundle)
        options = {
            "num_cpus": rest.pop("CPU", 0),
            "num_gpus": rest.pop("GPU", 0),
            "memory": int(rest.pop("memory", 0)) or None,
            "resources": rest,
            # An attempt runs once: who tries again, and when, is decided by Dure.
            "max_retries": 0,
            "scheduling_strategy": PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank),
        }
        tasks.append(ray.remote(_run_rank).options(**options).remote(agent, folder, rank))
    return tasks


def _run_rank(agent: str, folder: str, rank: int) -> int:
    """On the rank's node: have its agent run, on a pipe that closes when Ray takes this process away."""
    command = [sys.executable, "-I", "-S", agent, "node", folder, str(rank), ray.util.get_node_ip_address()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as node:  # noqa: S603 - our own
        return node.wait()


def _wait(tasks: list[Any], ranks: int) -> None:
    """Stay until every rank is over. When one fails, or is lost with its node, the others are ended."""
    pending = list(tasks)
    while pending:
        over, pending = ray.wait(pending, timeout=_LOOK_EVERY_S)
        if any(_failed(task) for task in over) or _failed_already(ranks):
            order_stop(ranks, FAILED_GANG_GRACE_MS)


def _failed(task: Any) -> bool:
    try:
        return bool(ray.get(task) != 0)
    except RayError:
        return True


def _failed_already(ranks: int) -> bool:
    ends = (records.read(files.rank_folder(os.curdir, rank), records.EXIT) for rank in range(ranks))
    return any(end is not None and end.get("exit_code") != 0 for end in ends)
