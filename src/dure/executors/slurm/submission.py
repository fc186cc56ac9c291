"""From a launch to `sbatch`: what Slurm is asked for, and what it cannot be asked for."""

from __future__ import annotations

import json
import os
import shlex

from dure.executors.contract import Launch
from dure.executors.shared import secrets
from dure.executors.shared.agent import files
from dure.executors.slurm.site import SlurmSite
from dure.model.units import WHOLE_GPU_MILLI

_MINUTE_MS = 60_000
TIME_MARGIN_MINUTES = 5
"""Dure ends a job at its time limit, with warning and grace; Slurm does it this much later if nobody else did."""


def unsuitable(launch: Launch, site: SlurmSite) -> str:
    """Why this Slurm can never run it as it was ordered; empty when it may."""
    if any(each.milli < WHOLE_GPU_MILLI and each.gpus for each in launch.placements):
        return "Slurm is asked for whole GPUs only; a part of a GPU runs at sites with another engine"
    if len({len(each.gpus) for each in launch.placements}) > 1:
        return "its nodes have different numbers of GPUs, which one Slurm job cannot ask for"
    if len({each.node for each in launch.placements}) < len(launch.placements):
        return "two of its ranks share a node, and Slurm is asked for one rank per node"
    if launch.sandbox:
        return "it must run in a sandbox, which Dure does not make on Slurm's nodes"
    if len(json.dumps(launch.secret_env).encode()) > secrets.MOST_BYTES:
        return f"its secrets are longer than {secrets.MOST_BYTES} bytes together, more than Slurm can carry"
    return ""


def arguments(launch: Launch, site: SlurmSite, folder: str, nodes: list[str]) -> list[str]:
    """The arguments of `sbatch`. Requeue is Dure's business, so Slurm is told not to."""
    options = {
        "job-name": f"dure:{launch.attempt_id}",
        "comment": launch.attempt_id,
        "chdir": folder,
        "output": os.path.join(folder, files.OUTPUT),
        "nodes": str(len(launch.placements)),
        "ntasks-per-node": "1",
        "nodelist": ",".join(nodes),
        "gres": _gres(launch, site),
        "cpus-per-task": str(launch.cpus or ""),
        "mem": f"{launch.memory_mib}M" if launch.memory_mib else "",
        "time": _time_limit(launch),
        "partition": site.partition,
        "qos": site.qos,
        "account": account_of(launch, site),
    }
    return [
        "--parsable",
        "--no-requeue",
        "--open-mode=append",
        "--export=ALL",
        *(f"--{name}={value}" for name, value in options.items() if value),
    ]


def script(site: SlurmSite, agent: str, folder: str) -> str:
    """What Slurm keeps as the job's script: nothing but where the rest is."""
    command = [site.python, "-I", "-S", agent, "lead", folder]
    return f"#!/bin/sh\nexec {shlex.join(command)}\n"


def account_of(launch: Launch, site: SlurmSite) -> str:
    """The account that the job is charged to; empty where Dure keeps none."""
    return account_name(site, launch.project) if site.account_root and launch.project else ""


def account_name(site: SlurmSite, name: str) -> str:
    """The account of a share or project. Slurm's accounts are one flat, lower-case list, so ours have a prefix."""
    return f"{site.account_root}-{name}".lower()


def _gres(launch: Launch, site: SlurmSite) -> str:
    gpus = len(launch.placements[0].gpus)
    kind = site.gpu_types.get(launch.gpu_class, "")
    return ":".join(filter(None, ("gpu", kind, str(gpus)))) if gpus else ""


def _time_limit(launch: Launch) -> str:
    """In whole minutes, Slurm's unit."""
    if not launch.time_limit_ms:
        return ""
    return str(-(-launch.time_limit_ms // _MINUTE_MS) + TIME_MARGIN_MINUTES)
