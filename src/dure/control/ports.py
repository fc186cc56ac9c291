"""What the loop needs from the outside, as Protocols: a clock, a ledger, executors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from dure.executors.contract import (
    Contact,
    Ended,
    Executor,
    ExecutorError,
    Launch,
    NeverStarted,
    NodeCapacity,
    Observation,
    Refused,
    Started,
)
from dure.ledger.contract import Checkpoint, Ledger, LedgerFenced, Row, StoredLog

__all__ = [
    "Checkpoint",
    "Clock",
    "Contact",
    "Ended",
    "Executor",
    "ExecutorError",
    "Launch",
    "Ledger",
    "LedgerFenced",
    "NeverStarted",
    "NodeCapacity",
    "Observation",
    "RandomBytes",
    "Refused",
    "Row",
    "Started",
    "StoredLog",
    "Worker",
    "Workers",
]

Result = TypeVar("Result")
RandomBytes = Callable[[int], bytes]
"""A random stream: so many bytes, unguessable when live, repeatable in the twin. Each purpose has its own."""


class Clock(Protocol):
    """Tells the time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch; never goes back within one process."""
        ...


class Worker(Protocol):
    """Does work that may take long away from the event loop: one thing after the other, in the order given."""

    async def run(self, work: Callable[[], Result]) -> Result:
        """Wait until the work is done. Returns, or raises, what it does."""
        ...

    def close(self) -> None:
        """Wait for what it has begun."""
        ...


Workers = Callable[[str], Worker]
"""Makes a worker of its own for whoever asks, by name: a thread when live."""
