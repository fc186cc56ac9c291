"""One queue by priority with conservative backfill: `priority-backfill` with a reservation for every job that waits.

The first 64 jobs of each GPU class that do not fit get a reservation each, and nobody may delay any of them. Whoever is
promised a start so has it by then, as long as limits hold and no other job's turn comes before; but where few jobs may
pass, more GPUs stay idle than with a single reservation."""

from __future__ import annotations

from dure.kernel.policies.policy import Lending, Order, Placement, Policy
from dure.model.fleet import MOST_RESERVATIONS

CONSERVATIVE = Policy(
    name="conservative",
    order=Order.PRIORITY,
    lending=Lending.NO_QUOTA,
    remembers_usage=True,
    reclaims=False,
    backfills=True,
    placement=Placement.BEST_FIT,
    ties="jobs: highest priority, then order of submission; within a share its own priorities first",
    reservations=MOST_RESERVATIONS,
)
