"""From a launch to a Ray job: whether this cluster may run it, and what the Jobs API is told."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from typing import Any

from dure.executors.contract import Launch
from dure.executors.ray.feasibility import Bundle
from dure.executors.ray.site import RaySite
from dure.executors.shared import secrets
from dure.model.units import WHOLE_GPU_MILLI


def submission_id(root: str, attempt_id: str) -> str:
    """What Ray knows an attempt by. Several platforms may use one cluster, each with a work folder of its own."""
    return f"{attempt_id}.{hashlib.sha256(os.path.realpath(root).encode()).hexdigest()[:12]}"


def unsuitable(launch: Launch, site: RaySite) -> str:
    """Why this cluster never runs it as it was ordered; empty when it may."""
    if launch.organisation not in site.trust_domain:
        return f"this Ray cluster runs jobs of {', '.join(site.trust_domain)} only, not of {launch.organisation or '?'}"
    if launch.sandbox:
        return "it must run in a sandbox, which Dure does not make on Ray's nodes"
    if any(each.milli < WHOLE_GPU_MILLI and each.gpus for each in launch.placements):
        return "Ray is asked for whole GPUs only; a part of a GPU runs at sites with another engine"
    if site.spread and len({each.node for each in launch.placements}) < len(launch.placements):
        return "two of its ranks share a node, and each is to have one of its own there"
    if len(json.dumps(launch.secret_env).encode()) > secrets.MOST_BYTES:
        return f"its secrets are longer than {secrets.MOST_BYTES} bytes together, more than Ray can carry"
    return ""


def document(name: str, site: RaySite, agent: str, folder: str, wanted: list[Bundle], share: dict[str, str]) -> Any:
    """What the Jobs API is sent. Of the job it holds nothing but where the rest is, and noise (see `secrets`).

    A single rank runs beside the entrypoint and has its GPUs. The entrypoint of a gang only asks for others.
    """
    asked: dict[str, Any] = {
        "submission_id": name,
        "entrypoint": f"exec {shlex.join([site.python, agent, 'lead', folder])}",
        "metadata": {"dure": folder},
    }
    if share:
        asked["runtime_env"] = {"env_vars": share}
    return asked | (_of_one_rank(wanted[0]) if len(wanted) == 1 else {})


def _of_one_rank(bundle: Bundle) -> dict[str, Any]:
    rest = dict(bundle)
    words = {
        "entrypoint_num_cpus": rest.pop("CPU", 0.0),
        "entrypoint_num_gpus": rest.pop("GPU", 0.0),
        "entrypoint_memory": int(rest.pop("memory", 0.0)),
        "entrypoint_resources": rest,
    }
    return {word: amount for word, amount in words.items() if amount}
