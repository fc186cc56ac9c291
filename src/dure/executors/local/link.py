"""The server's side of the two sockets: orders to the supervisor, notices from everybody."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from contextlib import suppress

from dure.executors.contract import ExecutorError
from dure.executors.local import notices, records
from dure.executors.local.order import Order

_START_SUPERVISOR = os.path.join(os.path.dirname(__file__), "__main__.py")
_SUPERVISOR_START_S = 20.0
_SEND_S = 5.0
_MOST_CALLS = 3
"""A supervisor may be killed while it starts, or leave just when it is called."""


class Link:
    """A connection to the folder's supervisor, which is started when there is none.

    Sockets are reached through an open handle of their folder, because a socket's address holds 107 bytes at most.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self._orders: socket.socket | None = None
        self._is_lost = False
        """The supervisor hung up: nothing more can be sent."""
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.setblocking(False)
        with suppress(FileNotFoundError):
            os.unlink(self._address(records.NOTICES))
        self._notices.bind(self._address(records.NOTICES))

    def connect(self) -> None:
        """Connect, starting a supervisor if need be; raises `ExecutorError` when that fails. Not during a `send`."""
        if self._is_lost:
            self._hang_up()
        for _ in range(_MOST_CALLS):
            if self._orders is None and not self._dial():
                self._start_supervisor()
        if self._orders is None and not self._dial():
            raise ExecutorError(f"the supervisor of {self._root} was killed whenever it was started")

    def is_connected(self) -> bool:
        """False when the supervisor has hung up, or was never called."""
        return self._orders is not None and not self._is_lost

    def send(self, order: Order) -> None:
        """Give an order. If the supervisor is gone it is lost; `wait` finds that out, and it must be given again."""
        if self._orders is None:
            return
        try:
            self._orders.sendall(order.as_line())
        except OSError:
            # Half an order may be on its way. The socket is not closed here, for another thread may be waiting on it.
            with suppress(OSError):
                self._orders.shutdown(socket.SHUT_RDWR)

    def wake(self) -> None:
        """Make `wait` return."""
        self._waker.send(b".")

    def wait(self, timeout_s: float) -> list[tuple[str, str]]:
        """Sleep until something happens or time is up; the notices that came: attempt and problem, if any."""
        watched = select.poll()
        watched.register(self._notices, select.POLLIN)
        watched.register(self._woken, select.POLLIN)
        orders = self._orders.fileno() if self._orders is not None and not self._is_lost else None
        if orders is not None:
            watched.register(orders, select.POLLIN)
        if orders in [ready for ready, _ in watched.poll(timeout_s * 1000)]:
            self._is_lost = True  # a supervisor never says anything: this is the end of its life
        self._drain_wakes()
        return self._drain_notices()

    def close(self) -> None:
        """Let go of both sockets."""
        self._hang_up()
        for each in (self._notices, self._woken, self._waker):
            each.close()
        os.close(self._folder)

    def _address(self, name: str) -> str:
        return f"/proc/self/fd/{self._folder}/{name}"

    def _dial(self) -> bool:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_SEND_S)
        try:
            connection.connect(self._address(records.SOCKET))
        except OSError:
            connection.close()
            return False
        self._orders = connection
        return True

    def _hang_up(self) -> None:
        if self._orders is not None:
            self._orders.close()
            self._orders = None
        self._is_lost = False

    def _start_supervisor(self) -> None:
        command = [sys.executable, "-I", "-S", "-X", "utf8", _START_SUPERVISOR, self._root]
        # An interpreter may need this one variable to find its own libraries; the rest may hold the server's secrets.
        environment = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        try:
            done = subprocess.run(  # noqa: S603 - the interpreter and the file are our own
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SUPERVISOR_START_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ExecutorError(f"the supervisor of {self._root} could not be started: {error}") from error
        if done.returncode > 0:
            problem = done.stderr.decode(errors="replace").strip()
            raise ExecutorError(f"the supervisor of {self._root} could not be started: {problem}")

    def _drain_wakes(self) -> None:
        with suppress(BlockingIOError):
            while self._woken.recv(4_096):
                pass

    def _drain_notices(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        with suppress(BlockingIOError):
            while True:
                found.append(notices.understand(self._notices.recv(notices.LARGEST_NOTICE_BYTES)))
        return found
