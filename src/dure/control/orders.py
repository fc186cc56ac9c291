"""What engines must do once a step is durable, and the one place where it is told to them.

Every order is idempotent, so after a crash or a failed call the same order is simply sent again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import assert_never

from msgspec import Struct

from dure.control.ports import Executor, Launch, Observation
from dure.model.fleet import Engine

log = logging.getLogger(__name__)


class LaunchOrder(Struct, frozen=True, kw_only=True):
    """Start an attempt."""

    engine: Engine
    attempt_id: str
    launch: Launch


class WarnOrder(Struct, frozen=True, kw_only=True):
    """Tell an attempt that it will be stopped."""

    engine: Engine
    attempt_id: str
    stop_at_ms: int
    signal: str


class SpareOrder(Struct, frozen=True, kw_only=True):
    """Take a warning back."""

    engine: Engine
    attempt_id: str


class StopOrder(Struct, frozen=True, kw_only=True):
    """Terminate an attempt, and kill what is left after the grace."""

    engine: Engine
    attempt_id: str
    grace_ms: int


class ForgetOrder(Struct, frozen=True, kw_only=True):
    """Delete what is kept of an attempt that is over, its output included."""

    engine: Engine
    attempt_id: str


Order = LaunchOrder | WarnOrder | SpareOrder | StopOrder | ForgetOrder


class Engines:
    """All executors of the platform, by engine."""

    def __init__(self, executors: Mapping[Engine, Executor]) -> None:
        self._executors = dict(executors)

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

    def over(self) -> list[tuple[Engine, str]]:
        """Every attempt that is over and that an engine still keeps something of."""
        return [(engine, name) for engine, executor in self._executors.items() for name in executor.over()]

    def observe(self) -> list[Observation]:
        """What all engines have seen since the last call."""
        return [seen for executor in self._executors.values() for seen in executor.observe()]

    def recover(self, engine: Engine, attempt_ids: Iterable[str]) -> dict[str, Observation | None]:
        """What an engine knows of attempts that were open before a restart."""
        return self._executors[engine].recover(attempt_ids)

    def on_observation(self, wake: Callable[[], None]) -> None:
        """Have `wake` called, from any thread, when `observe` has something new."""
        for executor in self._executors.values():
            executor.on_observation(wake)

    def log_path(self, engine: Engine, attempt_id: str, rank: int) -> str | None:
        """Where a rank's output lies on this machine, once there is any."""
        return self._executors[engine].log_path(attempt_id, rank)

    def close(self, kill: bool) -> None:
        """Let go of all engines, with or without what they run."""
        for executor in self._executors.values():
            executor.close(kill)

    def _forget(self, order: ForgetOrder) -> None:
        try:
            tell(self._executors[order.engine], order)
        except Exception:  # Only disk is lost by it, and after the next start it is tried again.
            log.exception("engine %s did not forget attempt %s", order.engine.value, order.attempt_id)

    def _was_told(self, order: Order) -> bool:
        try:
            tell(self._executors[order.engine], order)
        except Exception:  # An engine may fail in any way; what it was not told stays ours to tell.
            log.exception("engine %s did not take an order; it will be sent again", order.engine.value)
            return False
        return True


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
