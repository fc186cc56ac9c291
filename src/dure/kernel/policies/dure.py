"""Dure's own: guarantees first, the surplus by usage with memory, taken back when its owner wants it.

1. Jobs within a guarantee go first. One that does not fit takes back what others borrowed: least lost work first, no
more    than needed, after a protected time, a warning and a grace. 2. What is left goes down the share tree: below
its guarantee first, then whoever used least lately for its weight. Usage    fades with a half-life, so that who was
idle is not punished later. 3. The first job that does not fit and may not reclaim gets a reservation, and others may
pass where they do not delay it."""

from __future__ import annotations

from dure.kernel.policies.policy import Lending, Order, Placement, Policy

DURE = Policy(
    name="dure",
    order=Order.FAIR_SHARE,
    lending=Lending.BY_TREE,
    remembers_usage=True,
    reclaims=True,
    backfills=True,
    placement=Placement.SLOTS,
    ties="jobs: priority, then order of submission; shares: below guarantee, least used for its weight, document order",
)
