"""Since when a guarantee has covered a job that waits: when the demand began that a reclaim answers.

The kernel takes GPUs back for a job only while some share on its way is within its guarantee with it. A job that waited
longer, because its own share was busy, demanded nothing of others until then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from dure.model.nation import Nation
from dure.model.units import DAY_MS

LONGEST_LOOK_BACK_MS = DAY_MS
"""A demand is never said to have begun earlier than this, so that no longer history is kept."""


class Charges:
    """What is charged to each share for each class, now and lately."""

    def __init__(self, nation: Nation) -> None:
        self._guarantees = {
            (amount.gpu_class, share.name): amount.guarantee_milli
            for share in nation.shares
            for amount in share.amounts
        }
        self._histories: dict[tuple[str, str], deque[tuple[int, int]]] = {}

    def charge(self, gpu_class: str, path: Sequence[str], milli: int, now_ms: int) -> None:
        """Every share of a path is charged so much more."""
        for share in path:
            history = self._histories.setdefault((gpu_class, share), deque([(0, 0)]))
            at_ms, before = history[-1]
            if at_ms == now_ms:
                history.pop()
            history.append((now_ms, before + milli))
            while len(history) > 1 and history[1][0] <= now_ms - LONGEST_LOOK_BACK_MS:
                history.popleft()

    def demanded_ms(self, gpu_class: str, path: Sequence[str], amount: int, waits_since_ms: int, now_ms: int) -> int:
        """Since when a guarantee on the path has covered `amount` more, without a break until now."""
        since_ms = now_ms
        while since_ms > waits_since_ms:
            earlier_ms = min(
                (self._covered_since(gpu_class, share, amount, since_ms, now_ms) for share in path), default=since_ms
            )
            if earlier_ms == since_ms:
                break
            since_ms = earlier_ms
        return max(since_ms, waits_since_ms)

    def _covered_since(self, gpu_class: str, share: str, amount: int, until_ms: int, now_ms: int) -> int:
        """Since when this share's guarantee covered `amount` more, up to `until_ms`; `until_ms` if it did not."""
        guarantee = self._guarantees.get((gpu_class, share), 0)
        since_ms = until_ms
        for at_ms, charged in reversed(self._histories.get((gpu_class, share), ((0, 0),))):
            if until_ms <= at_ms < now_ms or (at_ms == now_ms and until_ms < now_ms):
                continue
            if charged + amount > guarantee:
                break
            since_ms = at_ms
        return since_ms
