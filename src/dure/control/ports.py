"""What the loop needs from the outside, as Protocols: a clock, a ledger, executors."""

from __future__ import annotations

from typing import Protocol

from dure.executors.contract import Ended, Executor, Launch, NeverStarted, Observation, Started
from dure.ledger.contract import Checkpoint, Ledger, LedgerFenced, Row

__all__ = [
    "Checkpoint",
    "Clock",
    "Ended",
    "Executor",
    "Launch",
    "Ledger",
    "LedgerFenced",
    "NeverStarted",
    "Observation",
    "Row",
    "Started",
]


class Clock(Protocol):
    """Tells the time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch; never goes back within one process."""
        ...
