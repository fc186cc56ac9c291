"""Simulated time: everything that is to happen, in order, and a record of what did."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable

Action = Callable[[], None]

SECOND_US = 1_000_000
EPOCH_MS = 1_800_000_000_000
"""What the simulated world's true clock shows when a story begins."""


class Trace:
    """What happened, one line per event, as a digest and, if wanted, as text."""

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self.lines = 0
        self.faults: Counter[str] = Counter()
        self._digest = hashlib.sha256()
        self._tell = tell

    def note(self, now_us: int, who: str, what: str) -> None:
        """Write a line."""
        line = f"{now_us / SECOND_US:12.6f}  {who:<10} {what}"
        self.lines += 1
        self._digest.update(line.encode())
        if self._tell:
            self._tell(line)

    @property
    def digest(self) -> str:
        """Equal digests are equal stories."""
        return self._digest.hexdigest()


class Scheduler:
    """The only source of time and of chance. Each purpose has a random stream of its own."""

    def __init__(self, seed: int, trace: Trace) -> None:
        self.seed = seed
        self.trace = trace
        self.now_us = 0
        self.events = 0
        self._heap: list[tuple[int, int, Action]] = []
        self._made = 0

    def stream(self, purpose: str) -> random.Random:
        """Dice for one purpose, so that one more throw for one of them changes no other."""
        return random.Random(f"{self.seed} {purpose}")

    def after(self, delay_us: int, action: Action) -> None:
        """Have something happen later; what is due at the same time happens in the order in which it was asked for."""
        self._made += 1
        heapq.heappush(self._heap, (self.now_us + max(delay_us, 0), self._made, action))

    def step(self) -> bool:
        """Let the next event happen; False when there is none."""
        if not self._heap:
            return False
        at_us, _, action = heapq.heappop(self._heap)
        self.now_us = at_us
        self.events += 1
        action()
        return True

    def next_us(self) -> int | None:
        """When the next event is due."""
        return self._heap[0][0] if self._heap else None

    def note(self, who: str, what: str) -> None:
        """Write a line into the trace."""
        self.trace.note(self.now_us, who, what)

    def fault(self, kind: str, who: str, what: str) -> None:
        """Write a line about something that goes wrong, and count it."""
        self.trace.faults[kind] += 1
        self.trace.note(self.now_us, who, f"FAULT {kind}: {what}")
