"""The agent on each node: find out which rank it is, put its environment together, and be its shim."""

from __future__ import annotations

import json
import os
import pwd
import signal

from dure.executors.local import records, shim
from dure.executors.local.order import Order
from dure.executors.shared.agent import files, shares

LOOK_EVERY_S = 5.0
"""How often an agent looks for orders by itself, because Slurm may be unable to tell it."""
_SLURM = "SLURM_"
_GPUS_BY_SLURM = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK")


def node(folder: str, master_port: str, master_address: str) -> int:
    """Run this node's rank of the attempt; the exit code for Slurm."""
    file_mode_mask = os.umask(0o077)
    order = records.read(folder, files.ORDER) or {}
    ranks, nodes = order["ranks"], order["nodes"]
    assert isinstance(ranks, list)
    assert isinstance(nodes, list)
    here = os.environ["SLURMD_NODENAME"]
    rank = nodes.index(here) if nodes else int(os.environ["SLURM_NODEID"])
    environment = _environment(folder, order, ranks[rank], is_placed=bool(nodes))
    environment["MASTER_ADDR"] = master_address or os.environ.get("SLURM_LAUNCH_NODE_IPADDR", here)
    os.chdir(files.rank_folder(folder, rank))
    records.replace(os.curdir, files.NODE, {"name": here}, durable=False)
    single = Order(
        attempt_id=str(order["attempt_id"]),
        argv=list(map(str, order["argv"])) if isinstance(order["argv"], list) else [],
        workdir=str(order["workdir"]),
        checkpoint_dir="",
        environments=[environment],
        master_port=int(master_port),
    )
    return _run(folder, single, file_mode_mask)


def _run(folder: str, order: Order, file_mode_mask: int) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, [*shim.BLOCKED, signal.SIGALRM])
    shim.become_subreaper()
    if records.exists(os.curdir, records.STOP):
        return files.exit_status(shim.STOPPED_EXIT_CODE)
    signal.setitimer(signal.ITIMER_REAL, LOOK_EVERY_S, LOOK_EVERY_S)
    return files.exit_status(shim.run_here(order, file_mode_mask, lambda: files.tell(folder)))


def _environment(folder: str, order: dict[str, object], identity: dict[str, str], *, is_placed: bool) -> dict[str, str]:
    """All variables of a rank. A job may set everything but the names by which Dure tells it what and where it is."""
    own, job = os.environ, order["env"]
    assert isinstance(job, dict)
    slurm = {name: value for name, value in own.items() if name.startswith(_SLURM) or name in _GPUS_BY_SLURM}
    base = {"PATH": str(order["path"]), "HOME": pwd.getpwuid(os.getuid()).pw_dir, "LANG": "C.UTF-8"}
    found = {"DURE_GPUS": own.get("SLURM_STEP_GPUS", own.get("SLURM_JOB_GPUS", ""))}
    if not is_placed:
        found["DURE_NODE"] = own["SLURMD_NODENAME"]
    return {**base, "CUDA_VISIBLE_DEVICES": "", **slurm, **job, **_secrets(folder), **identity, **found}


def _secrets(folder: str) -> dict[str, str]:
    share = os.environ.get(shares.VARIABLE)
    if not share:
        return {}
    with open(os.path.join(folder, files.SECRETS), "rb") as file:
        found: dict[str, str] = json.loads(shares.combine(bytes.fromhex(share), file.read()))
    return found
