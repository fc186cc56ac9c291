"""What the books keep by the way, worked out anew from the definitions."""

from __future__ import annotations

from collections.abc import Mapping

from dure.audit.tree import ROOT, Tree
from dure.model.nation import Nation


def overdraft(nation: Nation, gpu_class: str, used: Mapping[tuple[str, str], int]) -> int:
    """How much more is used than may be: every share uses what it keeps first, then draws on its parent."""
    tree = Tree(nation)
    names = [ROOT, *(each.name for each in nation.shares)]
    children = {name: [each.name for each in nation.shares if (each.parent or ROOT) == name] for name in names}

    def pool(share: str) -> int:
        kept = sum(tree.amount(gpu_class, each).guarantee_milli - lent(each) for each in children[share])
        return tree.amount(gpu_class, share).guarantee_milli - kept

    def lent(share: str) -> int:
        return min(pool(share), tree.amount(gpu_class, share).lend_milli)

    def wanted(share: str) -> int:
        below = sum(used.get((gpu_class, each), 0) for each in children[share])
        direct = used.get((gpu_class, share), 0) - below
        return direct + sum(max(0, wanted(each) - (pool(each) - lent(each))) for each in children[share])

    return wanted(ROOT) - pool(ROOT)
