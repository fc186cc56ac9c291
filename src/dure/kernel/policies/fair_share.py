"""Borrowing and reclaim over a tree of quotas without memory, as Kueue does it in a cohort with fair sharing.

As `dure`, but shares are compared by what they use above their guarantee now, for their weight, and never by what
they used before. Whoever has borrowed for a week and whoever has just come are equals."""

from __future__ import annotations

from dure.kernel.policies.dure import DURE
from dure.kernel.policies.policy import Lending, Order, Policy

FAIR_SHARE = Policy(
    name="fair-share",
    order=Order.FAIR_SHARE,
    lending=Lending.BY_TREE,
    remembers_usage=False,
    reclaims=True,
    backfills=True,
    placement=DURE.placement,
    ties="shares: below guarantee, borrows least now for its weight, document order",
)
