"""The small process that forks one shim per attempt, so that starting is fast and outlives the server.

It keeps nothing: the orders come from the server, the truth is in the attempts' files, and when it is killed the server
starts another one. It leaves by itself when no server is connected and no shim is left to reap.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress

from dure.executors.local import notices, records, shim
from dure.executors.local.order import Order

LOCK = "supervisor.lock"
LOG = "supervisor.log"
_FIRST_CONNECTION_S = 10.0
"""How long a new supervisor waits for the server that started it."""
_PREDECESSOR_S = 5.0
"""How long shims that were just being forked by a killed supervisor may go on holding its lock."""


def main(folder: str) -> int:
    """Start a supervisor for this folder and return 0 once it takes orders; 1 with a message if it cannot."""
    file_mode_mask = os.umask(0o077)
    try:
        os.chdir(folder)
        lock = _hold_lock()
        listener = _listen()
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if os.fork() == 0:
        os.setsid()
        # Forked once more, it leads no session and so can never be given a terminal.
        if os.fork() == 0:
            _let_go_of_caller()
            Supervisor(listener, lock, file_mode_mask).serve()
        os._exit(0)
    return 0


def _hold_lock() -> int:
    deadline = time.monotonic() + _PREDECESSOR_S
    while (lock := records.try_lock(LOCK)) is None:
        if time.monotonic() > deadline:
            raise OSError("another supervisor serves this folder")
        time.sleep(0.01)
    return lock


def _listen() -> socket.socket:
    # The path is relative: an absolute one may be longer than the 107 bytes a socket's address can take.
    if os.path.exists(records.SOCKET):
        os.unlink(records.SOCKET)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(records.SOCKET)
    os.chmod(records.SOCKET, 0o600)
    listener.listen()
    return listener


def _let_go_of_caller() -> None:
    """Keep neither the caller's terminal nor its pipes."""
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(log)


class Supervisor:
    """Takes orders from connections and forks a shim for each."""

    def __init__(self, listener: socket.socket, lock: int, file_mode_mask: int) -> None:
        self._listener = listener
        self._lock = lock
        self._file_mode_mask = file_mode_mask
        self._unread: dict[socket.socket, bytearray] = {}
        self._shims: dict[int, str] = {}
        """Attempt by process number of its shim."""
        self._selector = selectors.DefaultSelector()
        self._child_ended, self._signal_end = socket.socketpair()
        self._child_ended.setblocking(False)
        self._signal_end.setblocking(False)

    def serve(self) -> None:
        """Work until nobody is connected and no shim is left."""
        # Objects that never die need no counting: memory stays shared between this process and its shims.
        gc.disable()
        gc.freeze()
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._signal_end.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._child_ended, selectors.EVENT_READ)
        self._step(_FIRST_CONNECTION_S)
        while self._unread or self._shims:
            self._step(None)

    def _step(self, timeout_s: float | None) -> None:
        for key, _ in self._selector.select(timeout_s):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._child_ended:
                self._reap()
            elif isinstance(key.fileobj, socket.socket):
                self._read(key.fileobj)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        self._unread[connection] = bytearray()
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        unread = self._unread[connection]
        try:
            received = connection.recv(1 << 16)
        except OSError:
            received = b""
        if not received:
            # Half an order from a server that died while writing it is no order.
            self._selector.unregister(connection)
            del self._unread[connection]
            connection.close()
            return
        unread += received
        *lines, rest = unread.split(b"\n")
        self._unread[connection] = rest
        for line in lines:
            self._fork_shim(Order.from_line(bytes(line)))

    def _fork_shim(self, order: Order) -> None:
        """Fork the process that will run this attempt; tell the server at once if there can be none."""
        # Blocked before the fork, so that no signal to the shim is lost before it waits for signals.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, shim.BLOCKED)
        try:
            pid = os.fork()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            notices.tell(records.NOTICES, order.attempt_id, f"this machine takes no more processes: {error}")
            return
        if pid == 0:
            self._become_shim(order)
        self._shims[pid] = order.attempt_id
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _become_shim(self, order: Order) -> None:
        succeeded = False
        try:
            self._let_go()
            os.setsid()
            succeeded = shim.run_attempt(order, self._file_mode_mask)
        except Exception as error:
            # No traceback: its frames know secrets.
            sys.stderr.write(f"{order.attempt_id}: {type(error).__name__}: {error}\n")
        finally:
            os._exit(0 if succeeded else 1)

    def _let_go(self) -> None:
        """In a shim: what it kept open would look like a living supervisor to the server and to the next supervisor."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self._lock)
        self._selector.close()
        for each in (self._listener, self._child_ended, self._signal_end, *self._unread):
            each.close()

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            self._child_ended.recv(4096)
        while self._shims:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            attempt_id = self._shims.pop(pid, None)
            if attempt_id is not None and status != 0:
                # It could not tell the end of its attempt itself.
                notices.tell(records.NOTICES, attempt_id)
