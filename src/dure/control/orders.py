"""What engines must do once a step is durable, and the one place where it is told to them.

All local sites share one engine; every other site has one of its own. Each order is idempotent, so after a crash or a
failed call the same order is simply sent again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import assert_never

from msgspec import Struct

from dure.control.ports import (
    Contact,
    Executor,
    ExecutorError,
    GpuReading,
    Launch,
    NeverStarted,
    NodeCapacity,
    Observation,
    Refused,
)
from dure.model.fleet import Engine, Site
from dure.model.jobs import GpuUse
from dure.model.outputs import OutputListing

log = logging.getLogger(__name__)


class EngineAddress(Struct, frozen=True):
    """Which engine is meant: the one of a site, or the local one, which all local sites share."""

    engine: Engine
    site: str = ""

    def __str__(self) -> str:
        return f"{self.engine.value} ({self.site})" if self.site else self.engine.value


LOCAL = EngineAddress(Engine.LOCAL)


def address_of(site: Site) -> EngineAddress:
    """The engine that runs what is placed at a site."""
    return LOCAL if site.engine is Engine.LOCAL else EngineAddress(site.engine, site.name)


class LaunchOrder(Struct, frozen=True, kw_only=True):
    """Start an attempt."""

    engine: EngineAddress
    attempt_id: str
    launch: Launch


class WarnOrder(Struct, frozen=True, kw_only=True):
    """Tell an attempt that it will be stopped."""

    engine: EngineAddress
    attempt_id: str
    stop_at_ms: int
    signal: str


class SpareOrder(Struct, frozen=True, kw_only=True):
    """Take a warning back."""

    engine: EngineAddress
    attempt_id: str


class StopOrder(Struct, frozen=True, kw_only=True):
    """Terminate an attempt, and kill what is left after the grace."""

    engine: EngineAddress
    attempt_id: str
    grace_ms: int


class ForgetOrder(Struct, frozen=True, kw_only=True):
    """Delete what is kept of an attempt that is over, its output included."""

    engine: EngineAddress
    attempt_id: str


Order = LaunchOrder | WarnOrder | SpareOrder | StopOrder | ForgetOrder


class Seen(Struct, frozen=True):
    """Something that an engine reported, and which engine it was."""

    engine: EngineAddress
    what: Observation


class Engines:
    """All executors of the platform, by address."""

    def __init__(self, executors: Mapping[EngineAddress, Executor]) -> None:
        self._executors = dict(executors)
        self._never_started: dict[EngineAddress, set[str]] = {address: set() for address in executors}
        """Attempts of which an engine has said so. Whoever hears of it may have started the next one meanwhile."""
        self._fetched: dict[EngineAddress, list[Seen]] = {address: [] for address in executors}

    @property
    def addresses(self) -> tuple[EngineAddress, ...]:
        """Every engine that the platform knows a way to."""
        return tuple(self._executors)

    def carry_out(self, orders: Sequence[Order]) -> list[Order]:
        """Send orders in turn. Returns those that an engine did not take, with all later ones for the attempt."""
        untold: list[Order] = []
        for order in orders:
            if isinstance(order, ForgetOrder):
                self._forget(order)
                continue
            # A stop must never overtake the launch it is meant for.
            waits = any(order.attempt_id == earlier.attempt_id for earlier in untold)
            if waits or not self._was_told(order):
                untold.append(order)
        return untold

    def over(self, engine: EngineAddress) -> list[str]:
        """Every attempt that is over and that the engine still keeps something of."""
        return self._executors[engine].over()

    def observe(self, engine: EngineAddress) -> list[Seen]:
        """What an engine has seen since the last call."""
        self._fetch(engine)
        seen, self._fetched[engine] = self._fetched[engine], []
        return seen

    def never_started(self, engine: EngineAddress) -> frozenset[str]:
        """The attempts of which `observe` tells, or has told, that they never started."""
        return frozenset(self._never_started[engine])

    def recover(self, engine: EngineAddress, attempt_ids: Iterable[str]) -> dict[str, Observation | None]:
        """What an engine knows of attempts that are open. Of all others, nobody will hear again."""
        asked = list(attempt_ids)
        known = self._executors[engine].recover(asked)
        # What it saw until now must be fetched before anything is sent again, so that nobody takes it for news then.
        self._fetch(engine)
        self._never_started[engine].intersection_update(asked)
        return known

    def contact(self, engine: EngineAddress) -> Contact | None:
        """How old what is known of an engine is; None where no way to it was set up."""
        executor = self._executors.get(engine)
        return executor.contact() if executor else None

    def waiting(self, engine: EngineAddress, attempt_id: str) -> str | None:
        """Why an engine keeps an attempt from starting that it was told to start; None where it does not."""
        executor = self._executors.get(engine)
        return executor.waiting().get(attempt_id) if executor else None

    def capacity(self, engine: EngineAddress) -> tuple[NodeCapacity, ...] | None:
        """The nodes that an engine has; None where it has none of its own, or no way to it was set up."""
        executor = self._executors.get(engine)
        return executor.capacity() if executor else None

    def on_observation(self, engine: EngineAddress, wake: Callable[[], None]) -> None:
        """Have `wake` called, from any thread, when `observe` or `contact` has something new."""
        self._executors[engine].on_observation(wake)

    def gpu_use(self, engine: EngineAddress, attempt_id: str) -> GpuUse | None:
        """What the GPUs of an attempt used so far; None where nobody measures that."""
        executor = self._executors.get(engine)
        return executor.gpu_use(attempt_id) if executor else None

    def gpu_readings(self) -> tuple[GpuReading, ...]:
        """What the real GPUs of all engines last said of themselves."""
        return tuple(reading for executor in self._executors.values() for reading in executor.gpu_readings())

    def log_path(self, engine: EngineAddress, attempt_id: str, rank: int) -> str | None:
        """Where a rank's output lies on this machine, once there is any."""
        executor = self._executors.get(engine)
        return executor.log_path(attempt_id, rank) if executor else None

    def outputs(self, engine: EngineAddress, attempt_id: str) -> OutputListing | None:
        """What lies in an attempt's output folder; None where there is none. May take long."""
        executor = self._executors.get(engine)
        return executor.outputs(attempt_id) if executor else None

    def output(self, engine: EngineAddress, attempt_id: str, path: str) -> Iterator[bytes]:
        """The content of a file in an attempt's output folder. Raises `ExecutorError` if it has none."""
        return self.executor(engine).output(attempt_id, path)

    def executor(self, engine: EngineAddress) -> Executor:
        """The engine at an address, for what is asked of it directly. Raises `ExecutorError` where there is none."""
        executor = self._executors.get(engine)
        if executor is None:
            raise ExecutorError(f"no way to the engine {engine} is set up")
        return executor

    def close(self, kill: bool) -> None:
        """Let go of all engines, with or without what they run."""
        for executor in self._executors.values():
            executor.close(kill)

    def _fetch(self, engine: EngineAddress) -> None:
        seen = self._executors[engine].observe()
        self._never_started[engine].update(each.attempt_id for each in seen if isinstance(each, NeverStarted | Refused))
        self._fetched[engine].extend(Seen(engine, what) for what in seen)

    def _forget(self, order: ForgetOrder) -> None:
        try:
            self._tell(order)
        except Exception:  # Only disk is lost by it, and after the next start it is tried again.
            log.exception("engine %s did not forget an attempt", order.engine, extra={"attempt": order.attempt_id})

    def _was_told(self, order: Order) -> bool:
        if isinstance(order, LaunchOrder) and order.attempt_id in self._never_started.get(order.engine, ()):
            return True  # It was told, did not answer, and has said since that it came to nothing.
        about = {"attempt": order.attempt_id}
        try:
            self._tell(order)
        except ExecutorError as error:
            log.warning(
                "engine %s did not take an order, which will be sent again: %s", order.engine, error, extra=about
            )
            return False
        except Exception:  # An engine may fail in any way; what it was not told stays ours to tell.
            log.exception("engine %s did not take an order; it will be sent again", order.engine, extra=about)
            return False
        return True

    def _tell(self, order: Order) -> None:
        tell(self.executor(order.engine), order)


def tell(executor: Executor, order: Order) -> None:
    """Send one order to its engine."""
    match order:
        case LaunchOrder():
            executor.start(order.launch)
        case WarnOrder():
            executor.warn(order.attempt_id, order.stop_at_ms, order.signal)
        case SpareOrder():
            executor.spare(order.attempt_id)
        case StopOrder():
            executor.stop(order.attempt_id, order.grace_ms)
        case ForgetOrder():
            executor.forget(order.attempt_id)
        case _:
            assert_never(order)
