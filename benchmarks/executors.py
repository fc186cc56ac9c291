"""How soon after it is ordered an attempt's process runs, on an idle local engine and when many start at once."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

from benchmarks.measurement import Measurement
from dure.executors.contract import Ended, Executor, Launch, Observation
from dure.executors.local.executor import LocalExecutor
from dure.model.plan import Placement

SINGLE_STARTS = 200
STARTS_AT_ONCE = 100
PATIENCE_S = 60.0
# The program itself says when it runs; `date` is small, so that little of what is measured is its own start.
_PROGRAM = ("date", "+%s%N")


def measure() -> list[Measurement]:
    """Start programs that print the time, one after the other and then all at once."""
    with tempfile.TemporaryDirectory(prefix="dure-bench-") as folder:
        executor = LocalExecutor(Path(folder))
        try:
            alone_ms = sorted(_start_and_wait(executor, [f"alone.{number}"])[0] for number in range(SINGLE_STARTS))
            began = time.perf_counter()
            _start_and_wait(executor, [f"together.{number}" for number in range(STARTS_AT_ONCE)])
            together_per_s = STARTS_AT_ONCE / (time.perf_counter() - began)
        finally:
            executor.close(kill=True)
    return [
        Measurement(
            name="local engine, order to running program, p50",
            value=alone_ms[len(alone_ms) // 2],
            unit="ms",
            must=50.0,
            aim=20.0,
            better="less",
            compared_to="a fresh Python process per attempt: 35-41 ms",
        ),
        Measurement(
            name="local engine, order to running program, p99",
            value=alone_ms[len(alone_ms) * 99 // 100],
            unit="ms",
            must=None,
            aim=None,
            better="less",
            compared_to="a fresh Python process per attempt: 50-56 ms",
        ),
        Measurement(
            name="local engine, attempts started, run and ended, 100 at once",
            value=together_per_s,
            unit="attempts/s",
            must=None,
            aim=None,
            better="more",
            compared_to="",
        ),
    ]


def _start_and_wait(executor: Executor, attempt_ids: list[str]) -> list[float]:
    """Milliseconds from each order to the first instruction of its program that can tell."""
    news = threading.Event()
    executor.on_observation(news.set)
    ordered_ns = {}
    for attempt_id in attempt_ids:
        ordered_ns[attempt_id] = time.time_ns()
        executor.start(_launch(attempt_id))
    seen: list[Observation] = []
    while sum(isinstance(each, Ended) for each in seen) < len(attempt_ids):
        if not news.wait(PATIENCE_S):
            raise RuntimeError(f"the local engine reported only {len(seen)} observations")
        news.clear()
        seen += executor.observe()
    return [(_printed_ns(executor, each) - ordered_ns[each]) / 1e6 for each in attempt_ids]


def _printed_ns(executor: Executor, attempt_id: str) -> int:
    path = executor.log_path(attempt_id, 0)
    if path is None:
        raise RuntimeError(f"{attempt_id} left no log")
    return int(Path(path).read_text(encoding="ascii"))


def _launch(attempt_id: str) -> Launch:
    return Launch(
        attempt_id=attempt_id,
        site="here",
        gpu_class="H100",
        placements=(Placement(node="here-0", gpus=(0,), milli=1000),),
        argv=_PROGRAM,
        script="",
        setup="",
        workdir="",
        env={},
        secret_env={},
        checkpoint_dir="",
    )
