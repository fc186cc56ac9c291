"""The sharing of `dure`, with jobs placed by fragmentation gradient descent (Weng et al., USENIX ATC 2023)."""

from __future__ import annotations

from dure.kernel.policies.dure import DURE
from dure.kernel.policies.policy import Lending, Order, Placement, Policy

FGD = Policy(
    name="fgd",
    order=Order.FAIR_SHARE,
    lending=Lending.BY_TREE,
    remembers_usage=True,
    reclaims=True,
    backfills=True,
    placement=Placement.FRAGMENTATION,
    ties=DURE.ties,
)
