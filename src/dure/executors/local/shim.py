"""The life of one attempt: claim it, fork its ranks, record the start, release them, outlive them, record the end.

A gang lives and dies whole: when one rank fails, the others are terminated. Everything that comes from a rank belongs
to the attempt, also what moved to another session or lost its parent: such orphans become the shim's own children
(it is their subreaper), and the attempt is over only when the shim has no child left.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from dure.executors.local import folders, network, notices, processes, records
from dure.executors.local.guard import Guard
from dure.executors.local.order import Order
from dure.executors.local.output import OutputKeeper
from dure.executors.local.rank import become

LOOK = signal.SIGURG
"""Tells a shim that its folder holds an order for it. Programs that are sent it by the way do not notice."""
AWAITED = (signal.SIGCHLD, LOOK, signal.SIGALRM)
"""The last one is for a keeper that must look every so often, because a signal may not reach it: it sets a timer."""
BLOCKED = (*AWAITED, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""A shim takes the first two when it waits for them, and must not die of the others while its ranks live."""

STOPPED_EXIT_CODE = -int(signal.SIGTERM)
"""What an attempt counts as that was stopped before it ran."""
FAILED_GANG_GRACE_MS = 5_000
"""How long the other ranks have to end by themselves when one rank failed."""
LEFTOVER_GRACE_MS = 2_000
"""How long processes that ranks left behind have to end by themselves when every rank has ended."""
BROKEN_LIMIT_GRACE_MS = 30_000
"""How long an attempt has to end by itself when it has taken more time or disk than it may."""
_KILL_AGAIN_S = 0.02
_ASK_AGAIN_S = 0.1
_MOST_CHASES = 200
_RETRY_S = 0.5
_NOTICES = os.path.join(os.pardir, os.pardir, records.NOTICES)
_HERE = os.curdir
_PR_SET_CHILD_SUBREAPER = 36
# Loaded here, before any fork, so that shims share the memory.
_C_LIBRARY = ctypes.CDLL(None, use_errno=True)


def run_attempt(order: Order, file_mode_mask: int) -> bool:
    """Run one attempt from claim to exit; False when something kept it from starting, which the server then hears."""
    try:
        os.chdir(os.path.join(records.ATTEMPTS, order.attempt_id))
    except FileNotFoundError:
        return True  # the attempt was given up before this shim came to it
    try:
        return _run_claimed(order, file_mode_mask) if _claim() else True
    except OSError as error:
        notices.tell(_NOTICES, order.attempt_id, f"this machine could not start its processes: {error}")
        return False


def _claim() -> bool:
    """Take the attempt for this process; False when it was taken before or has been given up."""
    try:
        # The lock's descriptor is never closed: the kernel frees the lock when this process, and only then, is gone.
        if records.try_lock(records.LOCK) is None:
            return False
        return records.create_once(_HERE, records.CLAIM, {"shim": _myself().as_list(), "boot_id": processes.boot_id()})
    except FileNotFoundError:
        return False


def _myself() -> processes.Process:
    found = processes.identify(os.getpid())
    if found is None:
        raise OSError("this process does not find itself in /proc")
    return found


def _run_claimed(order: Order, file_mode_mask: int) -> bool:
    if records.read(_HERE, records.STOP) is not None:
        codes = [STOPPED_EXIT_CODE] * len(order.environments)
        _record_exit(codes, STOPPED_EXIT_CODE, lambda: notices.tell(_NOTICES, order.attempt_id))
        return True
    become_subreaper()
    run_here(order, file_mode_mask, lambda: notices.tell(_NOTICES, order.attempt_id))
    return True


def run_here(order: Order, file_mode_mask: int, tell: Callable[[], None]) -> int:
    """Run the ranks with their records in the present folder, and `tell` of start and end; the exit code.

    The caller is the subreaper, blocks the signals of `BLOCKED`, and holds the only claim to the folder. Sandboxed
    ranks get a network of their own, and so does the caller.
    """
    if order.sandboxes:
        network.leave_network()
    gang = Gang(order, file_mode_mask)
    _record_start(gang)
    gang.release()
    tell()
    gang.wait()
    gang.clean_up()
    _record_exit(gang.exit_codes(), gang.exit_code(), tell)
    return gang.exit_code()


def become_subreaper() -> None:
    """Have every orphan among this process's descendants become its child."""
    if _C_LIBRARY.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def _record_start(gang: Gang) -> None:
    record: dict[str, object] = {
        "at_ms": now_ms(),
        "boot_id": processes.boot_id(),
        "ranks": [rank.as_list() for rank in gang.ranks],
    }
    records.replace(_HERE, records.START, record, durable=True)
    # The folder's own name must last as well, or after a power failure an attempt that ran could look as if it had not.
    records.sync_folder(os.pardir)


def _record_exit(exit_codes: list[int], exit_code: int, tell: Callable[[], None]) -> None:
    record: dict[str, object] = {"at_ms": now_ms(), "exit_code": exit_code, "ranks": exit_codes}
    while True:
        try:
            records.replace(_HERE, records.EXIT, record, durable=True)
            break
        except FileNotFoundError:
            break  # somebody removed the folder: there is nobody left to tell
        except OSError:
            time.sleep(_RETRY_S)  # most likely the disk is full: the attempt ends when its end can be kept
    tell()


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Gang:
    """The ranks of one attempt, forked and held back until `release`."""

    def __init__(self, order: Order, file_mode_mask: int) -> None:
        self.ranks: list[processes.Process] = []
        self._codes: dict[int, int] = {}
        """Exit code by process number, in the order in which ranks ended."""
        self._kill_at: float | None = None
        """When patience ends (monotonic seconds); None while nobody has to go."""
        self._asked: set[tuple[int, int]] = set()
        """Processes of a sandbox that were asked to end, by number and start."""
        self._is_sandboxed = bool(order.sandboxes)
        self._output = OutputKeeper()
        gate, self._gate = os.pipe()
        port = str(order.master_port or free_port())
        folders.make(order)
        self._guard = Guard(order.limits, order.checkpoint_dir)
        for rank, environment in enumerate(order.environments):
            self._fork(order, rank, {**environment, "MASTER_PORT": port}, gate, file_mode_mask)
        os.close(gate)

    def _fork(self, order: Order, rank: int, environment: dict[str, str], gate: int, file_mode_mask: int) -> None:
        output = self._output.open(rank, order.limits.log_bytes)
        pid = os.fork()
        if pid == 0:
            try:
                # The gate closes only when nobody but the shim holds its other end.
                os.close(self._gate)
                become(order, rank, environment, gate, output, file_mode_mask)
            finally:
                os._exit(1)
        os.close(output)
        process = processes.identify(pid)
        if process is None:
            raise OSError(f"rank {rank} does not show in /proc")
        self.ranks.append(process)

    def release(self) -> None:
        """Let every rank run."""
        self._output.start()
        os.write(self._gate, b"." * len(self.ranks))
        os.close(self._gate)

    def wait(self) -> None:
        """Stay until the last process of the attempt is gone; obey orders, and end together what belongs together."""
        while self._reap():
            try:
                self._attend()
            except OSError:
                # A machine out of files or memory must not cost the ranks their parent: try again.
                time.sleep(_RETRY_S)
            else:
                self._sleep()

    def clean_up(self) -> None:
        """Once nothing runs any more: complete the logs, and wipe what a sandboxed attempt worked with."""
        self._output.finish()
        while True:
            try:
                folders.wipe(_HERE)
                return
            except OSError:
                time.sleep(_RETRY_S)  # its end is told when nothing of it is left

    def _attend(self) -> None:
        self._obey()
        self._see_to_limits()
        if any(self._codes.values()):
            self._end_within(FAILED_GANG_GRACE_MS)
        elif len(self._codes) == len(self.ranks):
            self._end_within(LEFTOVER_GRACE_MS)
        if self._kill_at is not None and self._is_sandboxed:
            self._ask_sandboxes_to_end()
        self._kill_if_due()

    def exit_codes(self) -> list[int]:
        """One per rank; -N for signal N."""
        return [self._codes[rank.pid] for rank in self.ranks]

    def exit_code(self) -> int:
        """0 if every rank's was; else that of the rank that failed first."""
        return next((code for code in self._codes.values() if code != 0), 0)

    def _reap(self) -> bool:
        """Take note of every child that has ended; False when there is no child left, and so nothing left at all."""
        ranks = {rank.pid for rank in self.ranks}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid in ranks:
                self._codes[pid] = self._exit_code_of(status)

    def _exit_code_of(self, status: int) -> int:
        """A sandbox, like a shell, says 128 + N when its program ended by signal N."""
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if self._is_sandboxed and code - 128 in signal.valid_signals() else code

    def _obey(self) -> None:
        stop = records.read(_HERE, records.STOP)
        if stop is not None:
            self._end_within(_as_int(stop.get("grace_ms")))
        order = records.take(_HERE, records.SIGNAL)
        if order is not None:
            self._pass_on(_as_int(order.get("number")))

    def _see_to_limits(self) -> None:
        if self._kill_at is None and (objection := self._guard.objection()):
            records.say_in_logs(_HERE, len(self.ranks), f"ended here, because {objection}")
            self._end_within(BROKEN_LIMIT_GRACE_MS)

    def _pass_on(self, number: int) -> None:
        """Signal those processes that have a handler for it; the others, such as a shell, would die of it."""
        for each in processes.descendants(os.getpid()):
            if processes.catches(each.pid, number):
                processes.send_signal(processes.Process(each.pid, each.start_ticks), number)

    def _end_within(self, grace_ms: int) -> None:
        """Ask everything to end, once, and bring the end of patience forward if this grace is shorter."""
        deadline = time.monotonic() + grace_ms / 1000
        if self._kill_at is None:
            self._kill_at = deadline
            if not self._is_sandboxed:
                self._signal_all(signal.SIGTERM)
        self._kill_at = min(self._kill_at, deadline)

    def _ask_sandboxes_to_end(self) -> None:
        """Signal each process once, but not the ranks themselves: they are bubblewrap, which would take all with it."""
        ranks = {rank.pid for rank in self.ranks}
        for each in processes.descendants(os.getpid()):
            key = each.pid, each.start_ticks
            if each.pid not in ranks and key not in self._asked:
                self._asked.add(key)
                processes.send_signal(processes.Process(*key), signal.SIGTERM)

    def _kill_if_due(self) -> None:
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._signal_all(signal.SIGKILL)
            self._chase()

    def _chase(self) -> None:
        """Kill what becomes the shim's child at once, because a program may fork away faster than it can be found.

        Whoever forks and lets its parent end shows up here next: there is nowhere else to go.
        """
        for _ in range(_MOST_CHASES):
            children = processes.children()
            if not children:
                return
            for pid in children:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            self._reap()

    def _signal_all(self, number: int) -> None:
        """Signal the process group of every descendant, also of those that moved to sessions of their own.

        Their groups all began after the fork of the rank, so none can be a stranger's or the shim's.
        """
        own_group = os.getpgrp()
        family = [each for each in processes.descendants(os.getpid()) if not each.is_gone()]
        for group in sorted({each.group for each in family} - {own_group}):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)
        for pid in [each.pid for each in family if each.group == own_group]:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)  # forked, but not yet in a session of its own

    def _sleep(self) -> None:
        if self._kill_at is None:
            signal.sigtimedwait(AWAITED, self._guard.next_look_s())
            return
        left_s = self._kill_at - time.monotonic()
        if self._is_sandboxed:
            left_s = min(left_s, _ASK_AGAIN_S)  # what was only just starting when the others were asked
        # Past the deadline, what the killed leave behind becomes the shim's and is killed in the next round.
        signal.sigtimedwait(AWAITED, left_s if left_s > 0 else _KILL_AGAIN_S)


def _as_int(value: object) -> int:
    return value if isinstance(value, int) else 0
