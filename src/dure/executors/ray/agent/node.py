"""The agent of one rank, on its node: put its environment together, and be its shim."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import threading
import time

from dure.executors.local import records, shim
from dure.executors.local.limits import Limits
from dure.executors.local.order import Order
from dure.executors.ray.agent import terms
from dure.executors.shared.agent import files, shares

LOOK_EVERY_S = 0.5
"""How often an agent looks for orders in its folder: there is no other way to tell it."""
ABANDONED_GRACE_MS = 5_000
"""How long a rank has to end by itself when Ray took away what started it."""
_MASTER_PATIENCE_S = 120.0


def node(folder: str, rank: str, address: str) -> int:
    """Run one rank of the attempt; its exit code."""
    file_mode_mask = os.umask(0o077)
    order = records.read(folder, files.ORDER) or {}
    limits = (records.read(folder, terms.TERMS) or {}).get("limits")
    ranks = order["ranks"]
    assert isinstance(ranks, list)
    os.chdir(files.rank_folder(folder, int(rank)))
    records.replace(os.curdir, files.NODE, {"name": socket.gethostname()}, durable=False)
    master = _master(folder, int(rank), address)
    single = Order(
        attempt_id=str(order["attempt_id"]),
        argv=list(map(str, order["argv"])) if isinstance(order["argv"], list) else [],
        workdir=str(order["workdir"]),
        checkpoint_dir="",
        environments=[{**_environment(folder, order, ranks[int(rank)]), "MASTER_ADDR": str(master["address"])}],
        limits=Limits(**limits) if isinstance(limits, dict) else None,
        master_port=int(str(master["port"])),
    )
    return _run(folder, single, file_mode_mask)


def _run(folder: str, order: Order, file_mode_mask: int) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, shim.BLOCKED)
    shim.become_subreaper()
    if records.exists(os.curdir, records.STOP):
        return files.exit_status(shim.STOPPED_EXIT_CODE)
    signal.setitimer(signal.ITIMER_REAL, LOOK_EVERY_S, LOOK_EVERY_S)
    # Only after the ranks are forked is there a second thread, which they would not take along.
    watch = threading.Thread(target=_end_with_starter, daemon=True)

    def tell() -> None:
        if watch.ident is None:
            watch.start()
        files.tell(folder)

    return files.exit_status(shim.run_here(order, file_mode_mask, tell))


def _end_with_starter() -> None:
    """Wait on the pipe from whoever started this agent. It never says anything: when it closes, the rank has to go."""
    while os.read(0, 1):
        pass
    if not records.exists(os.curdir, records.STOP):
        records.replace(os.curdir, records.STOP, {"grace_ms": ABANDONED_GRACE_MS}, durable=False)
    os.kill(os.getpid(), shim.LOOK)


def _master(folder: str, rank: int, address: str) -> dict[str, object]:
    """Where rank 0 is, which it says itself."""
    if rank == 0:
        records.replace(folder, terms.MASTER, {"address": address, "port": shim.free_port()}, durable=False)
    deadline = time.monotonic() + _MASTER_PATIENCE_S
    while (found := records.read(folder, terms.MASTER)) is None:
        if records.exists(os.curdir, records.STOP):
            return {"address": "", "port": 0}  # it will not run
        if time.monotonic() > deadline:
            raise TimeoutError("rank 0 has not said where it is")
        time.sleep(0.05)
    return found


def _environment(folder: str, order: dict[str, object], identity: dict[str, str]) -> dict[str, str]:
    """All variables of a rank. A job may set everything but the names by which Dure tells it what and where it is."""
    job = order["env"]
    assert isinstance(job, dict)
    # Without GPUs of its own a process of Ray's may see all there are.
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "") if identity["DURE_GPUS"] else ""
    base = {"PATH": str(order["path"]), "HOME": pwd.getpwuid(os.getuid()).pw_dir, "LANG": "C.UTF-8"}
    return {**base, "CUDA_VISIBLE_DEVICES": gpus, **job, **_secrets(folder), **identity, "DURE_GPUS": gpus}


def _secrets(folder: str) -> dict[str, str]:
    share = os.environ.get(shares.VARIABLE)
    if not share:
        return {}
    with open(os.path.join(folder, files.SECRETS), "rb") as file:
        found: dict[str, str] = json.loads(shares.combine(bytes.fromhex(share), file.read()))
    return found
