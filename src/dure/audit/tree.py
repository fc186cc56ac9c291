"""The share tree as the audit sees it: one class at a time, straight from the definitions, nothing remembered."""

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

    def path(self, share: str) -> list[str]:
        """A share and its ancestors, nearest first, the root last."""
        path = [share]
        while path[-1] != ROOT:
            path.append(self._parents[path[-1]])
        return path

    def amount(self, gpu_class: str, share: str) -> ShareAmount:
        """What a share has of a class; the root has everything."""
        if share == ROOT:
            capacity = self._nation.capacity_milli(gpu_class)
            return ShareAmount(gpu_class=gpu_class, guarantee_milli=capacity)
        return self._nation.amount(self._shares[share], gpu_class)

    def overdraft(self, gpu_class: str, used: Usage) -> int:
        """How much more is charged to the whole tree than its members together may use, given what each keeps.

        A share's jobs may use what it keeps, and beyond that draw on what its parent has to give, and so on: the root
        can give what nobody keeps. Zero or less when all is well.
        """
        wanted, open_pool = self._draws(gpu_class, ROOT, used)
        return wanted - open_pool

    def _draws(self, gpu_class: str, share: str, used: Usage) -> tuple[int, int]:
        """What a share's jobs want beyond what is kept below it; and its pool: its guarantee less what is kept."""
        children = self._children[share]
        pool = self.amount(gpu_class, share).guarantee_milli
        wanted = used.get((gpu_class, share), 0) if not children else self._used_directly(gpu_class, share, used)
        for child in children:
            child_wanted, child_pool = self._draws(gpu_class, child, used)
            amount = self.amount(gpu_class, child)
            lent = min(child_pool, amount.lend_milli)
            wanted += max(0, child_wanted - (child_pool - lent))
            pool -= amount.guarantee_milli - lent
        return wanted, pool

    def _used_directly(self, gpu_class: str, share: str, used: Usage) -> int:
        below = sum(used.get((gpu_class, child), 0) for child in self._children[share])
        return used.get((gpu_class, share), 0) - below

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
