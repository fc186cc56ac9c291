"""Every owner alone, as without any sharing: what `dure` has to be better than.

The nodes are divided among the owners (the shares at the top of the tree) by their guarantees, in the order of fleet
and document, and an owner's jobs run on its own nodes only. Inside, each owner has all of `dure`: its members borrow
from each other, and short jobs pass where they delay nobody. GPUs that nobody is guaranteed stay idle. A job that is
larger than all its owner has is refused."""

from __future__ import annotations

from dure.kernel.policies.dure import DURE
from dure.kernel.policies.policy import Lending, Order, Policy

SILO = Policy(
    name="silo",
    order=Order.FAIR_SHARE,
    lending=Lending.NOTHING,
    remembers_usage=True,
    reclaims=True,
    backfills=True,
    placement=DURE.placement,
    ties=DURE.ties,
)
