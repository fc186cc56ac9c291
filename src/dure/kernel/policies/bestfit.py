"""The sharing of `dure`, with jobs placed by best fit: the node that has the fewest idle GPUs left."""

from __future__ import annotations

from dure.kernel.policies.dure import DURE
from dure.kernel.policies.policy import Lending, Order, Placement, Policy

BEST_FIT = Policy(
    name="bestfit",
    order=Order.FAIR_SHARE,
    lending=Lending.BY_TREE,
    remembers_usage=True,
    reclaims=True,
    backfills=True,
    placement=Placement.BEST_FIT,
    ties=DURE.ties,
)
