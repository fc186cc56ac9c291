"""The agent on a job's first node: claim the attempt, start an agent per node, wait, record how it all ended."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

from dure.executors.local import records, shim
from dure.executors.shared.agent import files

_HERE = os.curdir


def lead(folder: str) -> int:
    """Run the attempt of this folder, unless another job has; the exit code for Slurm."""
    os.umask(0o077)
    try:
        os.chdir(folder)
        claim: dict[str, object] = {"job_id": int(os.environ["SLURM_JOB_ID"]), "node": os.environ["SLURMD_NODENAME"]}
        is_ours = records.create_once(_HERE, records.CLAIM, claim)
    except FileNotFoundError:
        _say("the attempt was given up; nothing was run")
        return 0
    if not is_ours:
        _say("the attempt belongs to another job or was given up; nothing was run")
        return 0
    # Slurm ends jobs with this signal. The ranks get it too; this process has to stay and record how they end.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    return _run(folder)


def _run(folder: str) -> int:
    order = records.read(_HERE, files.ORDER)
    if not order:
        _say(f"{folder}/{files.ORDER} cannot be read; nothing was run")
        return 1
    ranks = order["ranks"]
    assert isinstance(ranks, list)
    if not files.has_order_to_stop(_HERE):
        _make_folders(order)
        _start_ranks(folder, order, len(ranks))
    if not files.has_order_to_stop(_HERE) and not any(_has_started(rank) for rank in range(len(ranks))):
        _say("no process of the job was started")
        return 1
    code = _exit_code(len(ranks))
    # A signal that is blocked and came nonetheless waits to be delivered.
    was_cut = signal.SIGTERM in signal.sigpending() and not files.has_order_to_stop(_HERE)
    _record_exit(folder, code, was_cut)
    return files.exit_status(code)


def _make_folders(order: dict[str, object]) -> None:
    os.makedirs(records.SCRATCH, exist_ok=True)
    if order["checkpoint_dir"]:
        os.makedirs(str(order["checkpoint_dir"]), exist_ok=True)


def _start_ranks(folder: str, order: dict[str, object], ranks: int) -> None:
    """Have `srun` start an agent per node and wait for all of them; it ends the others when one fails."""
    agent = [sys.executable, "-I", "-S", sys.argv[0], "node", folder, str(shim.free_port()), _master_address(order)]
    cpus = [f"--cpus-per-task={order['cpus']}"] if order["cpus"] else []
    sized = [f"--nodes={ranks}", f"--ntasks={ranks}", "--ntasks-per-node=1", *cpus]
    ways = ["--kill-on-bad-exit=1", "--cpu-bind=none", "--mpi=none", "--input=none", "--unbuffered"]
    command = ["srun", *sized, *ways, *agent]
    step = os.posix_spawnp(command[0], command, os.environ, setsigmask=())
    os.waitpid(step, 0)


def _master_address(order: dict[str, object]) -> str:
    """Where rank 0 runs; empty when that is here, because its own agent knows best by which address."""
    nodes = order["nodes"]
    if not isinstance(nodes, list) or not nodes or nodes[0] == os.environ["SLURMD_NODENAME"]:
        return ""
    import subprocess  # Here, because it takes as long to load as all else together, and few attempts need it.

    command = ["scontrol", "--oneliner", "show", "node", str(nodes[0])]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - Slurm's own
    words = dict(word.split("=", 1) for word in shown.split() if "=" in word)
    return words.get("NodeAddr", str(nodes[0]))


def _exit_code(ranks: int) -> int:
    """0 if every rank's was; else that of the rank that failed first.

    When one fails, the others are ended by a signal, and the clocks of nodes differ: an end that was not by a signal
    therefore came before those that were.
    """
    failures = []
    for rank in range(ranks):
        record = records.read(files.rank_folder(_HERE, rank), records.EXIT)
        if record is None:
            code, at_ms = _unrecorded_code(), shim.now_ms()
        else:
            code, at_ms = _integer(record, "exit_code"), _integer(record, "at_ms")
        if code != 0:
            failures.append((code < 0, at_ms, code))
    return min(failures)[2] if failures else 0


def _unrecorded_code() -> int:
    return shim.STOPPED_EXIT_CODE if files.has_order_to_stop(_HERE) else files.LOST_EXIT_CODE


def _record_exit(folder: str, code: int, was_cut: bool) -> None:
    start = records.read(files.rank_folder(_HERE, 0), records.START) or {}
    # A clock may have been set back meanwhile, and no attempt ends before it started.
    at_ms = max(shim.now_ms(), _integer(start, "at_ms"))
    record: dict[str, object] = {"at_ms": at_ms, "exit_code": code, "was_cut": was_cut}
    with suppress(FileNotFoundError):
        os.unlink(files.SECRETS)
    records.replace(_HERE, records.EXIT, record, durable=True)
    files.tell(folder)


def _say(what: str) -> None:
    """Leave a word in the job's own output, which the server shows when nothing ran."""
    sys.stdout.write(f"dure: {what}\n")
    sys.stdout.flush()


def _has_started(rank: int) -> bool:
    return records.exists(files.rank_folder(_HERE, rank), records.START)


def _integer(record: dict[str, object], name: str) -> int:
    value = record.get(name)
    return value if isinstance(value, int) else 0
