"""What a rank of this machine is ordered to run and sees: pure functions from a `Launch`.

The server's own environment is never passed on: it may hold secrets.
"""

from __future__ import annotations

import os

from dure.executors.contract import Launch
from dure.executors.environment import command_line, gpu_list, identity
from dure.executors.local import records
from dure.executors.local.order import Order

_RENDEZVOUS_ADDRESS = "127.0.0.1"


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


def rank_environment(launch: Launch, rank: int, folder: str, base: dict[str, str]) -> dict[str, str]:
    """All variables of one rank except `MASTER_PORT`, which is chosen when the attempt starts.

    A job may set everything but the names by which Dure tells it what and where it is.
    """
    return {
        **base,
        "CUDA_VISIBLE_DEVICES": gpu_list(launch.placements[rank]),
        **launch.env,
        **launch.secret_env,
        **identity(launch, rank, folder),
        "MASTER_ADDR": _RENDEZVOUS_ADDRESS,
    }


def marker(folder: str) -> str:
    """A variable that every process of this attempt carries, and no process of any other."""
    return f"DURE_NOTICE_FILE={os.path.join(folder, records.NOTICE)}"
