"""A real Ray on this machine: one head node with eight GPUs that are only numbers, and a token to get in."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx

GPUS = 8
TOKEN = "0f3d" * 16
_PATIENCE_S = 120.0
_RAYS_OWN_PORTS = range(10_002, 20_000)
"""Workers of Ray listen on ports of this range, and the dashboard must not be in it."""


def missing() -> str:
    """Why there can be no Ray here; empty when there can."""
    if importlib.util.find_spec("ray") is None:
        return "Ray is not installed (uv sync --group ray)"
    return ""


class RayCluster:
    """One head node, in a folder and on ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token_file = folder / "token"
        self.token_file.write_text(f"{TOKEN}\n")
        self.token_file.chmod(0o600)
        self.address = ""
        self._ports: list[int] = []
        self._processes: list[int] = []

    def start(self) -> None:
        """Return when it takes jobs."""
        self._ports = _free_ports(7)
        gcs, dashboard, *rest = self._ports
        self.address = f"http://127.0.0.1:{dashboard}"
        names = ("node-manager", "object-manager", "dashboard-agent-listen", "metrics-export", "ray-client-server")
        options = {
            "port": gcs,
            "dashboard-port": dashboard,
            "num-gpus": GPUS,
            "num-cpus": 16,
            "node-ip-address": "127.0.0.1",
            "temp-dir": self.folder / "t",
            "object-store-memory": 80_000_000,
            "include-log-monitor": "false",
            **{f"{name}-port": port for name, port in zip(names, rest, strict=True)},
        }
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--disable-usage-stats"]
        command += [f"--{name}={value}" for name, value in options.items()]
        with (self.folder / "start.log").open("w") as log:
            subprocess.run(command, env=self._environment(), stdout=log, stderr=log, check=True, timeout=_PATIENCE_S)
        self._wait()

    def processes(self) -> list[int]:
        """Every process of the cluster."""
        mark = os.fsencode(f"{self.folder}/")
        return [int(name) for name in filter(str.isdigit, os.listdir("/proc")) if _has(int(name), mark)]

    def close(self) -> None:
        """Kill all of it."""
        while found := [pid for pid in self.processes() if pid != os.getpid()]:
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def ask(self, path: str) -> httpx.Response:
        """What the cluster answers to somebody who has the token."""
        return httpx.get(self.address + path, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)

    def _environment(self) -> dict[str, str]:
        ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_file), "HOME": str(self.folder)}
        patience = {"RAY_raylet_start_wait_time_s": f"{_PATIENCE_S:.0f}"}
        return os.environ | ours | patience | {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": ""}

    def _wait(self) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            with suppress(httpx.TransportError):
                if self.ask("/api/jobs/").status_code == httpx.codes.OK:
                    return
            assert time.monotonic() < deadline, "Ray does not take jobs"
            time.sleep(0.1)


def _has(pid: int, mark: bytes) -> bool:
    with suppress(OSError):
        return mark in Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    return False


def _free_ports(count: int) -> list[int]:
    probes: list[socket.socket] = []
    try:
        while len(probes) < count:
            probe = socket.socket()
            probe.bind(("127.0.0.1", 0))
            if probe.getsockname()[1] not in _RAYS_OWN_PORTS:
                probes.append(probe)
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
