"""The share tree as the audit sees it: one class at a time, straight from the definitions."""

from __future__ import annotations

from collections.abc import Mapping

from dure.model.nation import Nation
from dure.model.organisations import ShareAmount

ROOT = ""
Usage = Mapping[tuple[str, str], int]
"""(GPU class, share) -> thousandths of a GPU charged to the share and everyone below it."""


class Tree:
    """Parents, amounts and pools of a declared nation."""

    def __init__(self, nation: Nation) -> None:
        self._nation = nation
        self._parents = {share.name: share.parent or ROOT for share in nation.shares}
        self._shares = {share.name: share for share in nation.shares}
        self._children: dict[str, list[str]] = {ROOT: []}
        for name, parent in self._parents.items():
            self._children.setdefault(name, [])
            self._children[parent].append(name)
        # A nation never changes, so what follows from it is worked out once.
        self._paths: dict[str, list[str]] = {}
        self._amounts: dict[tuple[str, str], ShareAmount] = {}
        self._pools: dict[tuple[str, str], int] = {}

    def path(self, share: str) -> list[str]:
        """A share and its ancestors, nearest first, the root last."""
        if share not in self._paths:
            self._paths[share] = [share, *(self.path(self._parents[share]) if share != ROOT else [])]
        return self._paths[share]

    def amount(self, gpu_class: str, share: str) -> ShareAmount:
        """What a share has of a class; the root has everything."""
        key = (gpu_class, share)
        if key not in self._amounts:
            self._amounts[key] = self._amount(gpu_class, share)
        return self._amounts[key]

    def _amount(self, gpu_class: str, share: str) -> ShareAmount:
        if share == ROOT:
            return ShareAmount(gpu_class=gpu_class, guarantee_milli=self._nation.capacity_milli(gpu_class))
        return self._nation.amount(self._shares[share], gpu_class)

    def pool(self, gpu_class: str, share: str) -> int:
        """What a share divides among its children, or uses itself: its guarantee less what is kept below it."""
        key = (gpu_class, share)
        if key not in self._pools:
            kept = sum(
                self.amount(gpu_class, child).guarantee_milli - self._lent(gpu_class, child)
                for child in self._children[share]
            )
            self._pools[key] = self.amount(gpu_class, share).guarantee_milli - kept
        return self._pools[key]

    def kept(self, gpu_class: str, share: str) -> int:
        """What of its pool a share never lends; the root has nobody to lend to, and keeps nothing."""
        return 0 if share == ROOT else self.pool(gpu_class, share) - self._lent(gpu_class, share)

    def _lent(self, gpu_class: str, share: str) -> int:
        return min(self.pool(gpu_class, share), self.amount(gpu_class, share).lend_milli)

    def covered(self, gpu_class: str, share: str, amount: int, used: Usage) -> list[str]:
        """The shares on the way to the root whose guarantee covers `amount` more."""
        return [
            name
            for name in self.path(share)[:-1]
            if used.get((gpu_class, name), 0) + amount <= self.amount(gpu_class, name).guarantee_milli
        ]

    def borrows_from(self, gpu_class: str, holder: str, claimant: str, used: Usage) -> bool:
        """True when every share above the holder, up to where it meets the claimant's side, exceeds its guarantee."""
        claimant_path = set(self.path(claimant))
        own_side = [name for name in self.path(holder) if name not in claimant_path]
        return bool(own_side) and all(
            used.get((gpu_class, name), 0) > self.amount(gpu_class, name).guarantee_milli for name in own_side
        )

    def claimant_side(self, holder: str, claimant: str) -> str:
        """The topmost share on the claimant's way that the holder is not under."""
        holder_path = set(self.path(holder))
        return next(name for name in reversed(self.path(claimant)) if name not in holder_path)
