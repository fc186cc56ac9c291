"""A real server in a folder of its own, for tests that ask it things."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

FILES = Path(__file__).parent / "files"
PROGRAMS = Path(sys.executable).parent


class Platform(Struct, frozen=True):
    """A server that runs at `url`; commands run in `folder` with `environment` reach it as its operator."""

    url: str
    sign_in_url: str
    folder: Path
    environment: dict[str, str]

    def dure(self, *arguments: str) -> str:
        """Output of a command that must succeed."""
        command = [str(PROGRAMS / "dure"), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, env=self.environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait_for(self, job: str, state: str) -> None:
        """Return once the job is in that state."""
        subprocess.run([str(FILES / "wait-for"), job, state], cwd=self.folder, env=self.environment, check=True)


def environment_of(folder: Path, url: str) -> dict[str, str]:
    """The variables under which commands run: this server, this state folder, nothing of the developer's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DURE_")}
    path = f"{PROGRAMS}:{FILES}:{kept.get('PATH', '')}"
    return kept | {"DURE_URL": url, "DURE_STATE": str(folder / ".dure"), "PATH": path, "LC_ALL": "C.UTF-8"}


@contextmanager
def running_platform(folder: Path, options: Sequence[str] = ()) -> Iterator[Platform]:
    """Start a server on a free port, wait until it says that it serves, and stop it and its jobs at the end."""
    environment = environment_of(folder, "")
    command = [str(PROGRAMS / "dure"), "up", "--port", "0", "--stop-jobs", *options]
    server = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said = _read_until_ready(server)
        url, sign_in_url = re.findall(r"http://\S+", said)[:2]
        yield Platform(url, sign_in_url, folder, environment_of(folder, url))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)
        if server.stdout:
            server.stdout.close()


def _read_until_ready(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    said = ""
    for line in server.stdout:
        said += line
        if "Sign in" in line:
            return said
    raise AssertionError(f"the server ended with {server.wait()}:\n{said}")
