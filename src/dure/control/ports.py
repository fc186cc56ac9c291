"""What the loop needs from the outside, as Protocols: a clock, a ledger, executors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dure.executors.contract import (
    Contact,
    Ended,
    Executor,
    ExecutorError,
    GpuReading,
    Launch,
    NeverStarted,
    NodeCapacity,
    Observation,
    Refused,
    Started,
)
from dure.ledger.contract import Checkpoint, Ledger, LedgerError, LedgerFenced, LedgerWriteFailed, Row, StoredLog

__all__ = [
    "Checkpoint",
    "Clock",
    "Contact",
    "Ended",
    "Executor",
    "ExecutorError",
    "GpuReading",
    "Launch",
    "Ledger",
    "LedgerError",
    "LedgerFenced",
    "LedgerWriteFailed",
    "NeverStarted",
    "NodeCapacity",
    "Observation",
    "RandomBytes",
    "Refused",
    "Row",
    "Started",
    "StoredLog",
]

RandomBytes = Callable[[int], bytes]
"""A random stream: so many bytes, unguessable when live, repeatable in the twin. Each purpose has its own."""


class Clock(Protocol):
    """Tells the time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch; never goes back within one process."""
        ...
