"""Jobs by the time at which something about them is due: when a held one may queue, when a waiting one is too late."""

from __future__ import annotations

import heapq


class Agenda:
    """At most one time per job. Nothing is scanned: what is due comes from the front of a heap."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def put(self, job: str, at_ms: int) -> None:
        """Note a job for a time, instead of the time it was noted for before."""
        if self._times.get(job) != at_ms:
            self._times[job] = at_ms
            heapq.heappush(self._heap, (at_ms, job))

    def drop(self, job: str) -> None:
        """Forget a job, if it is noted."""
        self._times.pop(job, None)

    def due(self, now_ms: int) -> list[str]:
        """Every job noted for `now_ms` or earlier, earliest first, then by id. They stay noted until dropped."""
        found = []
        while (at_ms := self.next_ms()) is not None and at_ms <= now_ms:
            found.append(heapq.heappop(self._heap))
        for entry in found:
            heapq.heappush(self._heap, entry)
        return list(dict.fromkeys(job for _, job in found))

    def next_ms(self) -> int | None:
        """The earliest time noted."""
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def copy(self) -> Agenda:
        """An agenda of its own with the same notes."""
        other = Agenda()
        other._times, other._heap = dict(self._times), list(self._heap)
        return other
