"""A real server in a process of its own, as `dure up` starts it, and a client that knows how to ask again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

START_TIMEOUT_S = 180
"""A first start compiles the kernel."""


class ServerProcess:
    """`dure up` on a state folder, and a database if one is named; `name` tells several on one folder apart."""

    def __init__(
        self,
        state: Path,
        port: int = 0,
        options: Sequence[str] = (),
        *,
        name: str = "",
        ready: str = "serves at",
    ) -> None:
        self.state = state
        self._output = state.with_suffix(f".{name}output")
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dure.cli.main", "up", "--port", str(port), "--state", str(state), *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=state.parent,
                env=_environment(),
            )
        self.url = self._url_when(ready)
        self.port = int(self.url.rpartition(":")[2])

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def token(self) -> str:
        return (self.state / "operator.token").read_text().strip()

    def client(self, token: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def kill(self) -> None:
        """As a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """As Ctrl-C would."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=30)

    def wait_until_it_leads(self) -> None:
        """For one that stood by."""
        self._url_when("serves at")

    def _url_when(self, ready: str) -> str:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            found = re.search(ready + r" (https?://[^\s:]+:\d+)", self.output)
            if found:
                return found[1]
            assert self.process.poll() is None, f"the server ended: {self.output}"
            time.sleep(0.02)
        raise AssertionError(f"the server was not ready in time: {self.output}")


def _environment() -> dict[str, str]:
    """Servers are started often here: have Python keep what it compiled, wherever the tests run."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(Path(sys.prefix) / "bytecode-of-tests")}


@contextmanager
def running_server(state: Path, port: int = 0, options: Sequence[str] = ()) -> Iterator[ServerProcess]:
    """A server for as long as the block runs; then its jobs are ended too."""
    server = ServerProcess(state, port, options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()
        end_everything(state)


def end_everything(state: Path) -> None:
    """Kill whatever job processes of this state folder are left: they are told from others by its path."""
    mark = f"DURE_NOTICE_FILE={state}/".encode()
    supervisor = str(state / "local").encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = mark in process.joinpath("environ").read_bytes() or supervisor in process.joinpath(
                "cmdline"
            ).read_bytes().split(b"\0")
            if ours and int(process.name) != os.getpid():
                os.kill(int(process.name), signal.SIGKILL)
        except (OSError, ProcessLookupError):
            continue
