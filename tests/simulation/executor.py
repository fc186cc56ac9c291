"""One platform process's connection to a simulated engine: the executor contract, kept to the letter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from dure.executors.contract import (
    Contact,
    ExecutorError,
    Launch,
    NeverStarted,
    NodeCapacity,
    Observation,
    without_false_start,
)
from dure.governance.inspection.terms import InspectionTerms
from dure.model.outputs import OutputListing
from dure.model.results import InspectedResult, ResultKind
from tests.simulation.engine import Phase, SimulatedEngine


class SimulatedExecutor:
    """Orders go in and observations come out, as long as the engine can be reached."""

    def __init__(self, engine: SimulatedEngine, now_ms: Callable[[], int]) -> None:
        self.engine = engine
        self.now_ms = now_ms
        self.heard_at_ms = 0
        self._seen: list[Observation] = []
        self._wake: Callable[[], None] = lambda: None
        engine.links.append(self)

    def receive(self, seen: Observation) -> None:
        """The engine has something to say."""
        self._seen.append(seen)
        self.wake()

    def wake(self) -> None:
        """There may be news."""
        self._wake()

    def start(self, launch: Launch) -> None:
        self._order("start", launch.attempt_id, lambda: self._take(launch))

    def _take(self, launch: Launch) -> None:
        self._seen = without_false_start(self._seen, launch.attempt_id)
        self.engine.take(launch)

    def warn(self, attempt_id: str, stop_at_ms: int, signal: str) -> None:
        self._order("warn", attempt_id, lambda: self.engine.warn(attempt_id))

    def spare(self, attempt_id: str) -> None:
        self._order("spare", attempt_id, lambda: self.engine.spare(attempt_id))

    def stop(self, attempt_id: str, grace_ms: int) -> None:
        self._order("stop", attempt_id, lambda: self.engine.stop(attempt_id, grace_ms))

    def forget(self, attempt_id: str) -> None:
        self._order("forget", attempt_id, lambda: self.engine.forget(attempt_id))

    def observe(self) -> list[Observation]:
        seen, self._seen = self._seen, []
        return seen

    def recover(self, attempt_ids: Iterable[str]) -> dict[str, Observation | None]:
        """What is known of each; of what runs, it is reported later that it does."""
        self._reach()
        asked = list(attempt_ids)
        known = {name: self._fate(name) for name in asked}
        for attempt in self.engine.attempts.values():
            if attempt.phase is Phase.RUNNING and attempt.began is not None and known.get(attempt.name) is None:
                self.engine.report_to(self, attempt.began)
        return known

    def on_observation(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        if self._seen:
            wake()

    def contact(self) -> Contact:
        if self.engine.is_reachable:
            return Contact(heard_at_ms=self.now_ms())
        return Contact(heard_at_ms=self.heard_at_ms, problem=f"{self.engine.site} does not answer")

    def waiting(self) -> dict[str, str]:
        return {}

    def capacity(self) -> tuple[NodeCapacity, ...] | None:
        return None

    def gpu_use(self, attempt_id: str) -> None:
        return None

    def gpu_readings(self) -> tuple[()]:
        return ()

    def log_path(self, attempt_id: str, rank: int) -> str | None:
        return None

    def outputs(self, attempt_id: str) -> OutputListing | None:
        return None

    def output(self, attempt_id: str, path: str) -> Iterator[bytes]:
        raise ExecutorError("a simulated job leaves nothing")

    def inspect(
        self, attempt_ids: Sequence[str], data: Sequence[str], terms: InspectionTerms
    ) -> tuple[InspectedResult, ...]:
        self._reach()
        return ()

    def end_inspection(self) -> None:
        """None takes any time."""

    def inspected(self, attempt_id: str) -> tuple[InspectedResult, ...]:
        return ()

    def discard(self, attempt_id: str, kind: ResultKind, path: str) -> None:
        self._reach()

    def discard_checkpoints(self, checkpoint_dir: str) -> None:
        self._reach()

    def over(self) -> list[str]:
        self._reach()
        return [name for name, attempt in self.engine.attempts.items() if attempt.phase is Phase.OVER]

    def close(self, kill: bool) -> None:
        if self in self.engine.links:
            self.engine.links.remove(self)

    def _fate(self, name: str) -> Observation | None:
        attempt = self.engine.attempts.get(name)
        if attempt is None:
            return NeverStarted(attempt_id=name, at_ms=self.engine.now_ms(), reason="unknown here")
        if attempt.phase is Phase.RUNNING and self.engine.chance.random() < 0.3:
            return attempt.began
        return attempt.last

    def _order(self, order: str, attempt_id: str, obey: Callable[[], None]) -> None:
        """An order may not arrive; or it arrives, and nobody hears of it."""
        engine = self.engine
        self._reach()
        if engine.faults.strikes("order-not-taken"):
            engine.scheduler.fault("order-not-taken", engine.site, f"{order} {attempt_id}")
            raise ExecutorError(f"{engine.site} does not answer")
        engine.note(f"takes the order to {order} {attempt_id}")
        engine.watcher.ordered(engine, order, attempt_id)
        obey()
        if engine.faults.strikes("order-taken-but-not-answered"):
            engine.scheduler.fault("order-taken-but-not-answered", engine.site, f"{order} {attempt_id}")
            raise ExecutorError(f"{engine.site} did not answer in time")

    def _reach(self) -> None:
        if not self.engine.is_reachable:
            raise ExecutorError(f"{self.engine.site} cannot be reached")
