"""The lender's ledger: who lent whom how many GPU-hours over a period, and what was taken back, and how fast.

The rule for one instant is in `dure.reports.lending_rule`; `dure.reports.lending_totals` adds up what it gives from one
event to the next. A GPU counts as lent until its borrower has gone, so these GPU-hours are part of those of
`dure.reports.usage`. Totals are kept per day (UTC), so a period is whole days.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from dure.model.nation import Nation
from dure.model.units import DAY_MS, HOUR_MS, WHOLE_GPU_MILLI
from dure.reports.viewer import Viewer

UNDIVIDED = ""
"""The lender of what a parent, or the nation, has and guarantees none of its children."""
EVERYBODY = "*"
_GPU_HOUR = WHOLE_GPU_MILLI * HOUR_MS


class Pair(Struct, frozen=True):
    """A lender and a borrower, siblings in the share tree, and a class. `parent` is empty at the top of the tree."""

    gpu_class: str
    parent: str
    lender: str
    borrower: str


class LendingSum(Struct):
    """What went between two shares; GPU time in thousandths of a GPU times milliseconds."""

    lent: int = 0
    got_back: int = 0
    """GPU time that the lender's jobs ran on GPUs they took back from the borrower."""
    reclaims: int = 0
    reclaim_ms: int = 0
    """All times from demand to GPUs together."""
    longest_reclaim_ms: int = 0
    late: int = 0

    def add(self, other: LendingSum) -> None:
        """Both together."""
        self.lent += other.lent
        self.got_back += other.got_back
        self.reclaims += other.reclaims
        self.reclaim_ms += other.reclaim_ms
        self.longest_reclaim_ms = max(self.longest_reclaim_ms, other.longest_reclaim_ms)
        self.late += other.late


class Day(Struct, frozen=True):
    """The sums of one day (UTC), or of the part of it that has passed."""

    first_ms: int
    pairs: dict[Pair, LendingSum]
    reclaims: dict[tuple[str, str], LendingSum]
    """By class and lender, each reclaim once, however many borrowers yielded for it; under `EVERYBODY`, all of them."""


class LendingLine(Struct, frozen=True, kw_only=True):
    """What one share lent another of one GPU class, and got back from it. `lender` is empty for what is undivided."""

    lender: str
    borrower: str
    parent: str
    """The share that both divide between them; empty at the top of the tree."""
    gpu_class: str
    lent_gpu_hours: float
    reference_gpu_hours: float
    """The same, times the exchange factor of the class."""
    reclaims: int
    """Jobs of the lender that took GPUs back, counted when they had them."""
    got_back_gpu_hours: float
    """What those jobs then ran on the GPUs taken back."""
    mean_reclaim_ms: int | None
    """From demand to GPUs; null without a reclaim."""
    longest_reclaim_ms: int | None
    late_reclaims: int
    """Reclaims that took longer than protection, warning and grace together."""


class LendingReport(Struct, frozen=True, kw_only=True):
    """What was lent from `from_ms` up to `until_ms`: by class, level of the tree, lender and borrower, and in all.

    `warning_and_grace_ms` is what an owner is promised, after `protected_ms` of each borrower have passed.
    """

    from_ms: int
    until_ms: int
    warning_and_grace_ms: int
    protected_ms: int
    lines: tuple[LendingLine, ...]
    lent_gpu_hours: float
    """What shares lent, without what is undivided."""
    reference_gpu_hours: float
    reclaims: int
    got_back_gpu_hours: float
    mean_reclaim_ms: int | None
    longest_reclaim_ms: int | None
    late_reclaims: int


def lending_report(
    nation: Nation, days: Iterable[Day], from_ms: int, until_ms: int, now_ms: int, viewer: Viewer
) -> LendingReport:
    """What the viewer may see of the whole days that a period touches, as far as they have passed by `now_ms`.

    Operators and auditors see every line, members those in which a share of their organisation lends or borrows.
    """
    until_ms = min(until_ms, now_ms)
    first_ms = from_ms // DAY_MS * DAY_MS
    own = None if viewer.sees_everything else _shares_of(nation, viewer.organisation)
    pairs: dict[Pair, LendingSum] = {}
    reclaims = LendingSum()
    begins_ms = until_ms
    for day in days:
        if not first_ms <= day.first_ms < until_ms:
            continue
        begins_ms = min(begins_ms, day.first_ms)
        for pair, found in day.pairs.items():
            if own is None or pair.lender in own or pair.borrower in own:
                pairs.setdefault(pair, LendingSum()).add(found)
        for (_, lender), found in day.reclaims.items():
            if lender == EVERYBODY if own is None else lender in own:
                reclaims.add(found)
    return _report(nation, pairs, reclaims, max(first_ms, begins_ms), _end_of_period(until_ms, now_ms))


def _end_of_period(until_ms: int, now_ms: int) -> int:
    return min(now_ms, -(-until_ms // DAY_MS) * DAY_MS)


def _shares_of(nation: Nation, organisation: str) -> set[str]:
    """Shares that speak for an organisation: its own, and those of its projects."""
    projects = next((each.projects for each in nation.organisations if each.name == organisation), ())
    of_projects = {share.name for project in projects if (share := nation.share_of(project)) is not None}
    return of_projects | {share.name for share in nation.shares if share.name == organisation}


def _report(
    nation: Nation, pairs: dict[Pair, LendingSum], reclaims: LendingSum, from_ms: int, until_ms: int
) -> LendingReport:
    exchange_milli = {each.name: each.exchange_milli for each in nation.gpu_classes}
    order = {"": -1} | {share.name: index for index, share in enumerate(nation.shares)}
    classes = {each.name: index for index, each in enumerate(nation.gpu_classes)}

    def place(pair: Pair) -> tuple[object, ...]:
        known = tuple(order.get(name, len(order)) for name in (pair.parent, pair.lender, pair.borrower))
        return classes.get(pair.gpu_class, len(classes)), *known, pair.gpu_class, pair.lender, pair.borrower

    lines = [
        _line(pair, pairs[pair], exchange_milli.get(pair.gpu_class, WHOLE_GPU_MILLI))
        for pair in sorted(pairs, key=place)
    ]
    owned = {pair: found for pair, found in pairs.items() if pair.lender != UNDIVIDED}
    reference = sum(found.lent * exchange_milli.get(pair.gpu_class, WHOLE_GPU_MILLI) for pair, found in owned.items())
    return LendingReport(
        from_ms=from_ms,
        until_ms=until_ms,
        warning_and_grace_ms=nation.timing.warning_ms + nation.timing.grace_ms,
        protected_ms=nation.timing.protected_ms,
        lines=tuple(lines),
        lent_gpu_hours=_hours(sum(found.lent for found in owned.values())),
        reference_gpu_hours=_hours(reference / WHOLE_GPU_MILLI),
        reclaims=reclaims.reclaims,
        got_back_gpu_hours=_hours(sum(found.got_back for found in owned.values())),
        mean_reclaim_ms=_mean_ms(reclaims),
        longest_reclaim_ms=reclaims.longest_reclaim_ms if reclaims.reclaims else None,
        late_reclaims=reclaims.late,
    )


def _line(pair: Pair, total: LendingSum, exchange_milli: int) -> LendingLine:
    return LendingLine(
        lender=pair.lender,
        borrower=pair.borrower,
        parent=pair.parent,
        gpu_class=pair.gpu_class,
        lent_gpu_hours=_hours(total.lent),
        reference_gpu_hours=_hours(total.lent * exchange_milli / WHOLE_GPU_MILLI),
        reclaims=total.reclaims,
        got_back_gpu_hours=_hours(total.got_back),
        mean_reclaim_ms=_mean_ms(total),
        longest_reclaim_ms=total.longest_reclaim_ms if total.reclaims else None,
        late_reclaims=total.late,
    )


def _mean_ms(total: LendingSum) -> int | None:
    return total.reclaim_ms // total.reclaims if total.reclaims else None


def _hours(gpu_milli_ms: float) -> float:
    return round(gpu_milli_ms / _GPU_HOUR, 6)
