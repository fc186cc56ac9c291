"""The share tree with what each share is owed, uses, has borrowed and has lent."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from dure.model.organisations import UNLIMITED_MILLI
from dure.world.cards import ShareCard

if TYPE_CHECKING:
    # The world brings the compiler along; whoever only reads reports (the command line) need not pay for it.
    from dure.world.world import World


class ShareLine(Struct, frozen=True, kw_only=True):
    """One share for one GPU class; amounts in thousandths of a GPU, children included. Null means no limit."""

    name: str
    parent: str
    depth: int
    gpu_class: str
    weight: int
    guarantee_milli: int
    limit_milli: int | None
    lend_milli: int | None
    used_milli: int
    borrowed_milli: int
    lent_milli: int
    idle_guarantee_milli: int
    """What is left of the guarantee that nobody uses."""
    waiting_jobs: int

    @property
    def matters(self) -> bool:
        """False for a share that has nothing of this class, uses nothing and waits for nothing: listings skip it."""
        amounts = (self.guarantee_milli, self.used_milli, self.lent_milli, self.waiting_jobs)
        return any(amounts) or self.limit_milli is not None


class ClassLine(Struct, frozen=True, kw_only=True):
    """All GPUs of one class."""

    gpu_class: str
    capacity_milli: int
    used_milli: int


class SharesReport(Struct, frozen=True, kw_only=True):
    """Every share and class, parents first, and the totals per class."""

    at_ms: int
    classes: tuple[ClassLine, ...]
    shares: tuple[ShareLine, ...]


def shares_report(world: World, now_ms: int) -> SharesReport:
    """The whole tree as it stands."""
    cards = world.shares()
    used: Counter[str] = Counter()
    for job in world.running():
        used[job.gpu_class] += job.gpus_milli
    classes = tuple(
        ClassLine(
            gpu_class=each.name,
            capacity_milli=world.nation.capacity_milli(each.name),
            used_milli=used[each.name],
        )
        for each in world.nation.gpu_classes
    )
    return SharesReport(at_ms=now_ms, classes=classes, shares=tuple(_share_line(card) for card in cards))


def _share_line(card: ShareCard) -> ShareLine:
    own_milli = card.used_milli - card.borrowed_milli
    return ShareLine(
        name=card.name,
        parent=card.parent,
        depth=card.depth,
        gpu_class=card.gpu_class,
        weight=card.weight,
        guarantee_milli=card.guarantee_milli,
        limit_milli=_or_none(card.limit_milli),
        lend_milli=_or_none(card.lend_milli),
        used_milli=card.used_milli,
        borrowed_milli=card.borrowed_milli,
        lent_milli=card.lent_milli,
        idle_guarantee_milli=max(0, card.guarantee_milli - own_milli - card.lent_milli),
        waiting_jobs=card.waiting_jobs,
    )


def _or_none(milli: int) -> int | None:
    return None if milli >= UNLIMITED_MILLI else milli
