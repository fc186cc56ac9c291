"""How a site's Slurm is reached, and what Dure may leave to it."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from dure.executors.environment import JOB_PATH


class PlacedBy(StrEnum):
    """Who chooses a job's nodes."""

    SITE = "site"
    """Slurm: Dure's plan says only how many nodes with how many GPUs."""
    NODE = "node"
    """Dure: ranks run on the nodes of the plan. Which GPUs of a node is still up to Slurm."""


class SlurmSite(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator says of one site's Slurm."""

    work_folder: str
    """A folder at the same path for the server and on every node; holds orders, output and what became of attempts."""
    conf: str = ""
    """Path of `slurm.conf`; empty for where Slurm looks by itself."""
    programs: str = ""
    """Folder of `sbatch` and the others; empty to look in PATH."""
    partition: str = ""
    qos: str = ""
    placement: PlacedBy = PlacedBy.SITE
    nodes: dict[str, str] = {}
    """Slurm's names of the nodes of each of Dure's node groups, as a host list: `{h100: "gpu[001-064]"}`.

    The n-th of them is node n of the group. Nodes of a group that is not named have the same name in both.
    """
    gpu_types: dict[str, str] = {}
    """Slurm's name of each GPU class, as in `Gres=gpu:h100:8`. GPUs of a class that is not named are plain `gpu`."""
    account_root: str = ""
    """The account under which Dure keeps its own; empty to leave accounts alone and to charge none."""
    python: str = "/usr/bin/python3"
    """Python on the nodes, 3.9 or newer; its standard library is enough."""
    path: str = JOB_PATH
    """The PATH that jobs see."""
    poll_interval_s: float = 5.0
    """How often Slurm is asked about all jobs while nothing starts or stops."""
    command_timeout_s: float = 20.0
    """How long one of Slurm's commands may take before the controller counts as not reached."""
