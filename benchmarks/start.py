"""How long people wait for Dure itself: its help, a server that was compiled before, and the first start of all."""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measurement import Measurement

HELP_RUNS = 11
WARM_RUNS = 5
DURE = (sys.executable, "-m", "dure.cli.main")


def measure() -> Sequence[Measurement]:
    """Seconds of wall time, each in a process of its own; code is compiled once, in a cache folder that was empty."""
    with tempfile.TemporaryDirectory(prefix="dure-bench-") as folder:
        first_s = _start_to_serving_s(Path(folder))
        warm_s = statistics.median(_start_to_serving_s(Path(folder)) for _ in range(WARM_RUNS))
    help_s = statistics.median(_help_s() for _ in range(HELP_RUNS))
    return [
        _figure("`dure --help`, median", help_s, 0.2, 0.1),
        _figure("`dure up` to serving, compiled before, median", warm_s, 3, 1),
        _figure("`dure up` to serving, first start with compilation", first_s, 45, 20),
    ]


def _figure(name: str, value: float, must: float, aim: float) -> Measurement:
    return Measurement(name, value, "s", must, aim, "less", "")


def _help_s() -> float:
    return _seconds(lambda: subprocess.run([*DURE, "--help"], stdout=subprocess.DEVNULL, check=True))


def _start_to_serving_s(cache: Path) -> float:
    """Start a server on a new state folder, until it says that it serves; then end it."""
    with tempfile.TemporaryDirectory(prefix="dure-bench-") as state:
        environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
        command = [*DURE, "up", "--port", "0", "--state", f"{state}/state"]
        began = time.perf_counter()
        server = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        with server:
            assert server.stdout is not None
            if not any(re.search("serves at", line) for line in server.stdout):
                raise RuntimeError("the server did not start")
            seconds = time.perf_counter() - began
            server.send_signal(signal.SIGTERM)
    return seconds


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
