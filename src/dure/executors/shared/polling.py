"""How often the watcher looks: closely while something starts or stops, seldom while nothing does."""

from __future__ import annotations

import threading
import time

_HURRY_S = 10.0
"""How long after an order its effect is watched for closely."""
_NEWS_SOON_S, _NEWS_S, _NEWS_IDLE_S = 0.05, 0.5, 5.0
_POLL_SOON_S = 0.5
_VANISHED_S = 3.0
"""For how long the engine must have known no job of an attempt before its job counts as gone."""


class Pace:
    """When to look for news, and when to ask the engine. Times are monotonic seconds."""

    def __init__(self, poll_interval_s: float) -> None:
        self._poll_interval_s = poll_interval_s
        self._hurry_until = 0.0
        self._poll_at = 0.0
        self._poke = threading.Event()

    def hurry(self) -> None:
        """Something was ordered: look closely for a while, and begin now."""
        self._hurry_until = time.monotonic() + _HURRY_S
        self.poll_soon()
        self._poke.set()

    def poll_soon(self) -> None:
        """Do not wait for the next regular poll."""
        self._poll_at = min(self._poll_at, time.monotonic() + _POLL_SOON_S)

    def wait(self, *, is_anything_open: bool) -> None:
        """Sleep until it is time to look again."""
        pause_s = _NEWS_IDLE_S
        if is_anything_open:
            pause_s = _NEWS_SOON_S if time.monotonic() < self._hurry_until else _NEWS_S
        self._poke.wait(min(pause_s, max(0.0, self._poll_at - time.monotonic())))
        self._poke.clear()

    def is_poll_due(self) -> bool:
        """True when the engine is to be asked now; the next regular time is counted from here."""
        now = time.monotonic()
        if now < self._poll_at:
            return False
        self._poll_at = now + (_POLL_SOON_S if now < self._hurry_until else self._poll_interval_s)
        return True

    def is_long_enough(self, missing_s: float) -> bool:
        """True when a job that the engine has not known for so long will not show again."""
        return missing_s >= _VANISHED_S
