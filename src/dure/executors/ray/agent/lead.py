"""The entrypoint of a Ray job: claim the attempt, have its ranks run, wait, record how it all ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

from dure.executors.local import records, shim
from dure.executors.ray.agent import terms
from dure.executors.shared.agent import files
from dure.executors.shared.agent.files import LOST_EXIT_CODE

CUT_GRACE_MS = 2_000
"""How long ranks have when the site ends the Ray job: a second less than Ray gives the entrypoint."""
_HERE = os.curdir


def lead(folder: str) -> int:
    """Run the attempt of this folder, unless another job has; the exit code for Ray."""
    os.umask(0o077)
    try:
        os.chdir(folder)
        is_ours = records.create_once(_HERE, records.CLAIM, {"by": "ray", "process": os.getpid()})
    except FileNotFoundError:
        is_ours = False
    if not is_ours:
        return _say("the attempt was given up, or belongs to another job; nothing was run")
    return Lead(folder).run()


class Lead:
    """The one process that has the claim."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        order = records.read(_HERE, files.ORDER) or {}
        ranks = order.get("ranks")
        self._ranks = len(ranks) if isinstance(ranks, list) else 0
        self._checkpoint_dir = str(order.get("checkpoint_dir") or "")
        self._was_cut = False
        """The site ended the Ray job."""

    def run(self) -> int:
        """Have the ranks run, and record the end; the exit code for Ray."""
        if not self._ranks:
            return _say(f"{self._folder}/{files.ORDER} cannot be read; nothing was run")
        signal.signal(signal.SIGTERM, self._cut)
        if not files.has_order_to_stop(_HERE):
            os.makedirs(records.SCRATCH, exist_ok=True)
            if self._checkpoint_dir:
                os.makedirs(self._checkpoint_dir, exist_ok=True)
            self._run_ranks()
        if not files.has_order_to_stop(_HERE) and not any(
            self._has(rank, records.START) for rank in range(self._ranks)
        ):
            return _say("no process of the job was started")
        return self._record_exit()

    def _run_ranks(self) -> None:
        agent = sys.argv[0]
        if self._ranks == 1:
            command = [sys.executable, "-I", "-S", agent, "node", self._folder, "0", "127.0.0.1"]
            # In a session of its own, so that what Ray sends this process reaches the rank only through us.
            with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as node:  # noqa: S603
                node.wait()
            return
        # Loaded only here: one rank needs nothing of Ray, and starts a second sooner without.
        from dure.executors.ray.agent.gang import run_gang

        run_gang(agent, self._folder, self._ranks, records.read(_HERE, terms.TERMS) or {})

    def _cut(self, *_: object) -> None:
        self._was_cut = not files.has_order_to_stop(_HERE)
        order_stop(self._ranks, CUT_GRACE_MS)

    def _record_exit(self) -> int:
        ends = [records.read(files.rank_folder(_HERE, rank), records.EXIT) for rank in range(self._ranks)]
        stopped = files.has_order_to_stop(_HERE) and not self._was_cut
        code = _exit_code(ends, shim.STOPPED_EXIT_CODE if stopped else LOST_EXIT_CODE)
        was_lost = self._was_cut or (not stopped and None in ends)
        start = records.read(files.rank_folder(_HERE, 0), records.START) or {}
        # A clock may have been set back meanwhile, and no attempt ends before it started.
        at_ms = max(shim.now_ms(), _integer(start, "at_ms"))
        with suppress(FileNotFoundError):
            os.unlink(files.SECRETS)
        records.replace(_HERE, records.EXIT, {"at_ms": at_ms, "exit_code": code, "was_lost": was_lost}, durable=True)
        files.tell(self._folder)
        return files.exit_status(code)

    def _has(self, rank: int, name: str) -> bool:
        return records.exists(files.rank_folder(_HERE, rank), name)


def order_stop(ranks: int, grace_ms: int) -> None:
    """Leave the order to stop for every rank, unless there is one."""
    for rank in range(ranks):
        folder = files.rank_folder(_HERE, rank)
        if not records.exists(folder, records.STOP):
            records.replace(folder, records.STOP, {"grace_ms": grace_ms}, durable=False)


def _exit_code(ends: list[dict[str, object] | None], unrecorded: int) -> int:
    """0 if every rank's was; else that of the rank that failed first.

    When one fails, the others are ended by a signal, and the clocks of nodes differ: an end that was not by a signal
    therefore came before those that were.
    """
    failures = []
    for end in ends:
        code, at_ms = (
            (unrecorded, shim.now_ms()) if end is None else (_integer(end, "exit_code"), _integer(end, "at_ms"))
        )
        if code != 0:
            failures.append((code < 0, at_ms, code))
    return min(failures)[2] if failures else 0


def _say(what: str) -> int:
    """Leave a word in the Ray job's own output. Returns the exit code that goes with it."""
    sys.stdout.write(f"dure: {what}\n")
    with suppress(OSError), open(files.OUTPUT, "a", encoding="utf-8") as log:
        log.write(f"{what}\n")
    return 1


def _integer(record: dict[str, object], name: str) -> int:
    value = record.get(name)
    return value if isinstance(value, int) else 0
