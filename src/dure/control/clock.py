"""The platform's time: the wall clock, kept from standing still and from going back, whatever is done to it."""

from __future__ import annotations

import threading
from collections.abc import Callable

Milliseconds = Callable[[], int]


class SteadyClock:
    """Follows the wall clock forwards. When that is set back, time goes on from where it was, at its usual pace.

    So a wrong clock that is put right neither turns the order of the ledger round nor stops deadlines from coming. What
    the ledger says last is handed over a restart as `at_least_ms`. `steady_ms` counts milliseconds, from any beginning,
    and cannot be set.
    """

    def __init__(self, wall_ms: Milliseconds, steady_ms: Milliseconds, at_least_ms: int = 0) -> None:
        self._wall_ms = wall_ms
        self._steady_ms = steady_ms
        self._latest_ms = max(wall_ms(), at_least_ms)
        self._counted_ms = steady_ms()
        self._guard = threading.Lock()

    def now_ms(self) -> int:
        """Milliseconds since the epoch; may be called from any thread."""
        with self._guard:
            counted_ms = self._steady_ms()
            gone_ms = counted_ms - self._counted_ms
            self._latest_ms = max(self._wall_ms(), self._latest_ms + gone_ms)
            self._counted_ms = counted_ms
            return self._latest_ms
