"""The platform of the story: a server process on a fresh state folder, started and ended with the story."""

from __future__ import annotations

import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from dure.bootstrap import Ready
from dure.demo.telling import Teller

START_PATIENCE_S = 300.0
"""The first start compiles the kernel; on a busy machine that takes minutes."""
END_PATIENCE_S = 30.0
_LOOK_S = 0.2
_LOG_FILE = "server.log"


class ServerEnded(Exception):
    """The server is not there; the message is what it said last."""


class Server:
    """The running server. `state` is its folder."""

    def __init__(self, process: subprocess.Popen[bytes], state: Path, ready: Ready) -> None:
        self._process = process
        self.state = state
        self.ready = ready

    def wait(self) -> None:
        """Return when the server has ended, which it does only when something is wrong."""
        self._process.wait()

    def last_words(self) -> str:
        """The end of what it logged."""
        return said_so_far(self.state)[-2_000:]


@contextmanager
def serving(teller: Teller) -> Iterator[Server]:
    """Start a server, and at the end stop it with all its jobs and remove its folder.

    What the server says while it starts is told. Raises `ServerEnded` when it does not start.
    """
    state = fresh_folder()
    with (state / _LOG_FILE).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "dure.demo.server", str(state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            # Ctrl-C goes to every process of the terminal's group; the server is told by its pipe, in order.
            start_new_session=True,
        )
    try:
        with teller.waiting("Starting the platform ..."):
            ready = _wait_until_ready(process, state, teller.say)
        yield Server(process, state, ready)
    finally:
        with _undisturbed():
            _end(process)
            shutil.rmtree(state, ignore_errors=True)
            with suppress(OSError):
                state.parent.rmdir()  # only if nothing else is in it


def fresh_folder() -> Path:
    """A new folder under `.dure` here, or where temporary files go when nothing can be written here."""
    home = Path(".dure").absolute()
    try:
        home.mkdir(mode=0o700, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="demo-", dir=home))
    except OSError:
        return Path(tempfile.mkdtemp(prefix="dure-demo-"))


def said_so_far(state: Path) -> str:
    """What the server of a state folder has logged."""
    return (state / _LOG_FILE).read_text("utf-8", errors="replace").strip()


def _wait_until_ready(process: subprocess.Popen[bytes], state: Path, hear: Callable[[str], None]) -> Ready:
    assert process.stdout is not None
    deadline = time.monotonic() + START_PATIENCE_S
    heard = ""
    while time.monotonic() < deadline:
        readable, _, _ = select.select([process.stdout], [], [], _LOOK_S)
        if readable:
            line = process.stdout.readline()
            if not line:
                raise ServerEnded(f"the server did not start: {said_so_far(state) or 'it said nothing'}")
            return msgspec.json.decode(line, type=Ready, dec_hook=lambda kind, text: kind(text))
        if (said := said_so_far(state)) != heard:
            hear(said.removeprefix(heard).strip())
            heard = said
    raise ServerEnded(f"the server did not start within {START_PATIENCE_S:.0f} s")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let nobody's second Ctrl-C keep the platform from ending in order."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close the server's pipe and wait until it has stopped its jobs and itself."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(END_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
