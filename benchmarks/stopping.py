"""How soon a stop order reaches every job that runs against it.

Loop, policy, kernel, audit and ledger are real; the engine is one that notes when it was told to stop what.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.large import NATION, append, jobs_that_run
from benchmarks.measurement import Measurement
from dure.bootstrap import SystemClock, make_control, open_ledger, prepare_state
from dure.control.access import PLATFORM
from dure.control.loop import Loop
from dure.control.orders import LOCAL, Engines
from dure.control.oversight.requests import IssueStopOrder, StopOrderStands
from dure.executors.contract import Contact, Launch, NodeCapacity, Observation
from dure.governance.inspection.terms import InspectionTerms
from dure.intake.nationfile import nation_from_yaml
from dure.model.events import AnyEvent, NationApplied
from dure.model.jobs import GpuUse
from dure.model.outputs import OutputListing
from dure.model.results import InspectedResult, ResultKind

RUNNING = 10_000
LIMIT_MS = 5_000
PATIENCE_S = 120

DATASET = """
datasets:
  - {name: fab, owner: lab, classes: [national-core-technology], jurisdiction: KR, purposes: [research], sites: [here],
     readers: []}
"""


def measure() -> list[Measurement]:
    """From handing in the order until the engine was told of the last job."""
    with tempfile.TemporaryDirectory(prefix="dure-bench-") as name:
        state = Path(name)
        prepare_state(state)
        append(state, _events())
        taken_s = asyncio.run(_stop_all(state))
    return [
        Measurement(
            name=f"a stop order reaches {RUNNING:,} running jobs (decided, durable, engine told)",
            value=taken_s,
            unit="s",
            must=LIMIT_MS / 1000,
            aim=None,
            better="less",
            compared_to="",
        )
    ]


def _events() -> Iterator[AnyEvent]:
    nodes = RUNNING // 8
    nation = nation_from_yaml(NATION.format(engine="local", nodes=nodes, gpus=nodes * 8) + DATASET)
    since_ms = time.time_ns() // 1_000_000 - RUNNING
    yield NationApplied(at_ms=since_ms, by="platform", nation=nation)
    yield from jobs_that_run(RUNNING, ("fab",), since_ms)


async def _stop_all(state: Path) -> float:
    engine = _Listening()
    ledger = open_ledger(state)
    loop = Loop(make_control(state, ledger), SystemClock(), Engines({LOCAL: engine}))
    await loop.start()
    try:
        began = time.perf_counter()
        order = IssueStopOrder(caller=PLATFORM, within_ms=LIMIT_MS, reason="a drill", dataset="fab")
        answer = await loop.ask(order)
        assert isinstance(answer, StopOrderStands), answer
        async with asyncio.timeout(PATIENCE_S):
            while len(engine.stopped) < RUNNING:
                await asyncio.sleep(0.005)
        return time.perf_counter() - began
    finally:
        await loop.close()
        ledger.close()


class _Listening:
    """An engine on which everything runs until it is told otherwise."""

    def __init__(self) -> None:
        self.stopped: set[str] = set()

    def start(self, launch: Launch) -> None:
        raise AssertionError(f"{launch.attempt_id} was started")

    def warn(self, attempt_id: str, stop_at_ms: int, signal: str) -> None:
        raise AssertionError(f"{attempt_id} was warned, not stopped")

    def spare(self, attempt_id: str) -> None:
        """Told at every start of a platform, in case that a warning was taken back just before."""

    def stop(self, attempt_id: str, grace_ms: int) -> None:
        assert grace_ms < LIMIT_MS, "nothing of the limit is left to kill what does not end"
        self.stopped.add(attempt_id)

    def observe(self) -> list[Observation]:
        return []

    def recover(self, attempt_ids: Iterable[str]) -> dict[str, Observation | None]:
        return dict.fromkeys(attempt_ids)

    def on_observation(self, wake: Callable[[], None]) -> None:
        """Nothing is ever seen here."""

    def contact(self) -> Contact:
        return Contact(heard_at_ms=time.time_ns() // 1_000_000, problem="")

    def waiting(self) -> Mapping[str, str]:
        return {}

    def capacity(self) -> tuple[NodeCapacity, ...] | None:
        return None

    def gpu_readings(self) -> tuple[()]:
        return ()

    def gpu_use(self, attempt_id: str) -> GpuUse | None:
        return None

    def log_path(self, attempt_id: str, rank: int) -> str | None:
        return None

    def outputs(self, attempt_id: str) -> OutputListing | None:
        return None

    def output(self, attempt_id: str, path: str) -> Iterator[bytes]:
        return iter(())

    def inspect(
        self, attempt_ids: Sequence[str], data: Sequence[str], terms: InspectionTerms
    ) -> tuple[InspectedResult, ...]:
        return ()

    def end_inspection(self) -> None:
        """There is none."""

    def inspected(self, attempt_id: str) -> tuple[InspectedResult, ...]:
        return ()

    def discard(self, attempt_id: str, kind: ResultKind, path: str) -> None:
        """It keeps nothing."""

    def discard_checkpoints(self, checkpoint_dir: str) -> None:
        """It keeps nothing."""

    def over(self) -> list[str]:
        return []

    def forget(self, attempt_id: str) -> None:
        raise AssertionError(f"{attempt_id} was forgotten")

    def close(self, kill: bool) -> None:
        """It holds nothing."""
