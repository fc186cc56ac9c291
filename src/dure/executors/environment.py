"""What a rank runs and by which variables Dure tells it what and where it is, alike on every engine."""

from __future__ import annotations

import os
import re
import signal

from dure.executors.contract import ExecutorError, Launch
from dure.executors.local import records
from dure.model.plan import Placement
from dure.model.units import WHOLE_GPU_MILLI, format_gpus

JOB_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""What may name an attempt's folder."""
# Sourced, so that what it exports reaches the program; a line of it that fails ends the rank with its code.
_AFTER_SETUP = 'set -e; . "$0"; set +e; exec "$@"'


def objection(launch: Launch) -> str:
    """Why there is nothing to run; empty when there is."""
    if not launch.placements:
        return "it has no placement, so there is no rank to run"
    if not launch.argv and not launch.script:
        return "it has neither a command nor a script, so there is nothing to run"
    return ""


def command_line(launch: Launch, folder: str) -> list[str]:
    """What each rank executes; script and setup lie in the attempt's folder."""
    argv = list(launch.argv)
    if launch.script:
        script = os.path.join(folder, records.SCRIPT)
        argv = [script] if launch.script.startswith("#!") else ["bash", script]
    if launch.setup:
        argv = ["bash", "-c", _AFTER_SETUP, os.path.join(folder, records.SETUP), *argv]
    return argv


def identity(launch: Launch, rank: int, folder: str) -> dict[str, str]:
    """The names by which Dure tells a rank what and where it is; no job may set them."""
    job_id, attempt = split_attempt_id(launch.attempt_id)
    placement = launch.placements[rank]
    return {
        "DURE_JOB_ID": job_id,
        "DURE_ATTEMPT": attempt,
        "DURE_ATTEMPT_ID": launch.attempt_id,
        "DURE_SITE": launch.site,
        "DURE_GPU_CLASS": launch.gpu_class,
        "DURE_NODE": placement.node,
        "DURE_GPUS": gpu_list(placement),
        **_gpu_fraction(placement),
        "DURE_CHECKPOINT_DIR": launch.checkpoint_dir,
        "DURE_OUTPUT": os.path.join(folder, records.OUTPUTS),
        "DURE_NOTICE_FILE": os.path.join(folder, records.NOTICE),
        "NNODES": str(len(launch.placements)),
        "NODE_RANK": str(rank),
    }


def gpu_list(placement: Placement) -> str:
    """The placement's GPUs as `CUDA_VISIBLE_DEVICES` has them."""
    return ",".join(map(str, placement.gpus))


def split_attempt_id(attempt_id: str) -> tuple[str, str]:
    """Job and attempt number of `{job}.{attempt}`; raises `ExecutorError` for what cannot name a folder."""
    job_id, _, attempt = attempt_id.rpartition(".")
    if not job_id or not attempt.isdecimal():
        raise ExecutorError(
            f"{attempt_id!r} does not name an attempt; write it as {{job}}.{{number}}, for example j7.1"
        )
    if not PLAIN_NAME.fullmatch(attempt_id):
        raise ExecutorError(
            f"{attempt_id!r} cannot name an attempt; use up to 200 letters, digits, '.', '_' and '-' from ASCII"
        )
    return job_id, attempt


def signal_number(name: str) -> int | None:
    """The number of a signal such as `USR1`; None for no name. Raises `ExecutorError` for one that does not exist."""
    if not name:
        return None
    try:
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"].value
    except KeyError:
        raise ExecutorError(f"{name!r} is not a signal; name one like USR1 or USR2") from None


def _gpu_fraction(placement: Placement) -> dict[str, str]:
    """Which part of its GPU a rank has. These words are all there is: nothing here puts walls around a part."""
    fraction = {"DURE_GPU_FRACTION": format_gpus(placement.milli)} if 0 < placement.milli < WHOLE_GPU_MILLI else {}
    if not placement.profile:
        return fraction
    slices = ",".join(map(str, placement.slices))
    return fraction | {"DURE_GPU_PROFILE": placement.profile, "DURE_GPU_SLICES": slices}
