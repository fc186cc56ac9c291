"""What the loop needs from the outside, as Protocols: a clock, a ledger, executors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from dure.executors.contract import Ended, Executor, Launch, NeverStarted, Observation, Started


class Clock(Protocol):
    """Tells the time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch; never goes back within one process."""
        ...
