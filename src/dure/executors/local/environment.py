"""What a rank runs and what it sees: pure functions from a `Launch`.

The server's own environment is never passed on: it may hold secrets.
"""

from __future__ import annotations

import os

from dure.executors.contract import ExecutorError, Launch
from dure.executors.local import records
from dure.executors.local.order import Order
from dure.model.plan import Placement
from dure.model.units import WHOLE_GPU_MILLI, format_gpus

JOB_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_RENDEZVOUS_ADDRESS = "127.0.0.1"
# Sourced, so that what it exports reaches the program; a line of it that fails ends the rank with its code.
_AFTER_SETUP = 'set -e; . "$0"; set +e; exec "$@"'


def order_of(launch: Launch, folder: str, base: dict[str, str]) -> Order:
    """The complete order for the supervisor. `folder` is the attempt's own; `base` is what every job sees.

    A relative working folder is one inside the attempt's own scratch folder.
    """
    return Order(
        attempt_id=launch.attempt_id,
        argv=command_line(launch, folder),
        workdir=os.path.normpath(os.path.join(folder, records.SCRATCH, launch.workdir)),
        checkpoint_dir=launch.checkpoint_dir,
        environments=[rank_environment(launch, rank, folder, base) for rank in range(len(launch.placements))],
    )


def command_line(launch: Launch, folder: str) -> list[str]:
    """What each rank executes."""
    argv = list(launch.argv)
    if launch.script:
        script = os.path.join(folder, records.SCRIPT)
        argv = [script] if launch.script.startswith("#!") else ["bash", script]
    if launch.setup:
        argv = ["bash", "-c", _AFTER_SETUP, os.path.join(folder, records.SETUP), *argv]
    return argv


def rank_environment(launch: Launch, rank: int, folder: str, base: dict[str, str]) -> dict[str, str]:
    """All variables of one rank except `MASTER_PORT`, which is chosen when the attempt starts.

    A job may set everything but the names by which Dure tells it what and where it is.
    """
    job_id, attempt = split_attempt_id(launch.attempt_id)
    placement = launch.placements[rank]
    gpus = ",".join(map(str, placement.gpus))
    return {
        **base,
        "CUDA_VISIBLE_DEVICES": gpus,
        **launch.env,
        **launch.secret_env,
        "DURE_JOB_ID": job_id,
        "DURE_ATTEMPT": attempt,
        "DURE_ATTEMPT_ID": launch.attempt_id,
        "DURE_SITE": launch.site,
        "DURE_GPU_CLASS": launch.gpu_class,
        "DURE_NODE": placement.node,
        "DURE_GPUS": gpus,
        **_gpu_fraction(placement),
        "DURE_CHECKPOINT_DIR": launch.checkpoint_dir,
        "DURE_NOTICE_FILE": os.path.join(folder, records.NOTICE),
        "MASTER_ADDR": _RENDEZVOUS_ADDRESS,
        "NNODES": str(len(launch.placements)),
        "NODE_RANK": str(rank),
    }


def marker(folder: str) -> str:
    """A variable that every process of this attempt carries, and no process of any other."""
    return f"DURE_NOTICE_FILE={os.path.join(folder, records.NOTICE)}"


def split_attempt_id(attempt_id: str) -> tuple[str, str]:
    """Job and attempt number of `{job}.{attempt}`."""
    job_id, _, attempt = attempt_id.rpartition(".")
    if not job_id or not attempt.isdecimal():
        raise ExecutorError(
            f"{attempt_id!r} does not name an attempt; write it as {{job}}.{{number}}, for example j7.1"
        )
    return job_id, attempt


def _gpu_fraction(placement: Placement) -> dict[str, str]:
    """Which part of its GPU a rank has. The virtual GPUs of this engine have no walls: these words are all there is."""
    fraction = {"DURE_GPU_FRACTION": format_gpus(placement.milli)} if 0 < placement.milli < WHOLE_GPU_MILLI else {}
    if not placement.profile:
        return fraction
    slices = ",".join(map(str, placement.slices))
    return fraction | {"DURE_GPU_PROFILE": placement.profile, "DURE_GPU_SLICES": slices}
