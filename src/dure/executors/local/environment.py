"""What a rank of this machine is ordered to run and sees: pure functions from a `Launch`.

The server's own environment is never passed on: it may hold secrets.
"""

from __future__ import annotations

import os
import pwd

from msgspec import Struct

from dure.executors.contract import Launch
from dure.executors.environment import JOB_PATH, command_line, gpu_list, identity
from dure.executors.local import folders, records
from dure.executors.local.gpus import Gpu
from dure.executors.local.limits import (
    MEBIBYTE,
    USUAL_LOG_BYTES,
    USUAL_OUTPUT_BYTES,
    USUAL_OUTPUT_FILES,
    Limits,
)
from dure.executors.local.order import Order
from dure.executors.local.sandbox import Sandboxes
from dure.model.plan import Placement

_RENDEZVOUS_ADDRESS = "127.0.0.1"
_MOST_SANDBOXED_PROCESSES = 32_768
_SERVERS_TURN_MS = 60_000
"""How long after its time limit an attempt that the server did not stop is stopped by its shim."""


class Terms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for every attempt on this machine. A limit of 0 is none."""

    path: str = JOB_PATH
    """The PATH that jobs see."""
    log_bytes: int = USUAL_LOG_BYTES
    """How much of a rank's output is kept, besides its end."""
    disk_bytes: int = 0
    """How much the files of an attempt may take; in any case not more than they leave free."""
    output_bytes: int = USUAL_OUTPUT_BYTES
    """How much an attempt may leave in its output folder, and in how many files."""
    output_files: int = USUAL_OUTPUT_FILES
    sandbox_every_job: bool = False
    """Every job runs in a sandbox. Jobs outside of one run as the server's user, and can read what others left."""
    shown_in_sandboxes: tuple[str, ...] = ()
    """Paths of software, besides the system's own, that sandboxed jobs see."""


USUAL_TERMS = Terms()


def order_of(launch: Launch, folder: str, terms: Terms, sandboxes: Sandboxes, real_gpus: tuple[Gpu, ...] = ()) -> Order:
    """The complete order for the supervisor. `folder` is the attempt's own.

    A relative working folder is one inside the attempt's own scratch folder.
    """
    ranks = range(len(launch.placements))
    base = {"PATH": terms.path, "HOME": pwd.getpwuid(os.getuid()).pw_dir, "LANG": "C.UTF-8"}
    if launch.sandbox:
        base["HOME"] = folders.SANDBOX_HOME
    return Order(
        attempt_id=launch.attempt_id,
        argv=command_line(launch, folder),
        workdir=os.path.normpath(os.path.join(folder, records.SCRATCH, launch.workdir)),
        checkpoint_dir=launch.checkpoint_dir,
        environments=[rank_environment(launch, rank, folder, base, real_gpus) for rank in ranks],
        limits=limits_of(launch, terms),
        sandboxes=[sandboxes.options(launch, rank, folder) for rank in ranks] if launch.sandbox else [],
    )


def limits_of(launch: Launch, terms: Terms) -> Limits:
    """What each rank, and the attempt as a whole, may take."""
    return Limits(
        log_bytes=terms.log_bytes,
        disk_bytes=terms.disk_bytes,
        output_bytes=terms.output_bytes,
        output_files=terms.output_files,
        memory_bytes=launch.memory_mib * MEBIBYTE,
        processes=_MOST_SANDBOXED_PROCESSES if launch.sandbox else 0,
        time_ms=launch.time_limit_ms + _SERVERS_TURN_MS if launch.time_limit_ms else 0,
    )


def rank_environment(
    launch: Launch, rank: int, folder: str, base: dict[str, str], real_gpus: tuple[Gpu, ...] = ()
) -> dict[str, str]:
    """All variables of one rank except `MASTER_PORT`, which is chosen when the attempt starts.

    A job may set everything but the names by which Dure tells it what and where it is.
    """
    return {
        **base,
        "CUDA_VISIBLE_DEVICES": _visible_devices(launch.placements[rank], real_gpus),
        **launch.env,
        **launch.secret_env,
        **identity(launch, rank, folder),
        "MASTER_ADDR": _RENDEZVOUS_ADDRESS,
    }


def _visible_devices(placement: Placement, real_gpus: tuple[Gpu, ...]) -> str:
    """Real GPUs by UUID, because CUDA has an order of its own; those that are only declared by number."""
    uuids = {gpu.index: gpu.uuid for gpu in real_gpus}
    if placement.profile or not all(index in uuids for index in placement.gpus):
        return gpu_list(placement)
    return ",".join(uuids[index] for index in placement.gpus)


def marker(folder: str) -> str:
    """A variable that every process of this attempt carries, and no process of any other."""
    return f"DURE_NOTICE_FILE={os.path.join(folder, records.NOTICE)}"
