"""How a site's Ray cluster is reached, and whose jobs may run there."""

from __future__ import annotations

from msgspec import Struct

from dure.executors.environment import JOB_PATH


class RaySite(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator says of one site's Ray cluster."""

    address: str
    """Of the dashboard on the head node: `http://ray-head:8265`."""
    work_folder: str
    """A folder at the same path for the server and on every node; holds orders, output and what became of attempts."""
    trust_domain: tuple[str, ...]
    """Organisations whose jobs may run there. They trust each other: Ray keeps nothing of one from another."""
    token_file: str = ""
    """A file with the cluster's token, sent as a bearer token; empty for a cluster without authentication."""
    accelerators: dict[str, str] = {}
    """Ray's accelerator type of each GPU class, such as `{H100: H100}`. A class not named may get GPUs of any type."""
    spread: bool = True
    """Each rank of a gang has a node of its own. False lets Ray put several on one."""
    python: str = "python"
    """Python on the nodes, as a Ray job finds it; it must have Ray."""
    path: str = JOB_PATH
    """The PATH that jobs see."""
    poll_interval_s: float = 5.0
    """How often Ray is asked about all jobs while nothing starts or stops."""
    request_timeout_s: float = 20.0
    """How long Ray may take for an answer before it counts as not reached."""
