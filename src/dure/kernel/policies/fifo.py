"""First in, first out: the plainest policy, on which schedulers are compared.

One queue for everybody, in order of submission. A job starts as soon as it fits, on the fullest nodes that still fit;
if the first does not fit, everybody waits. There are no guarantees, and nothing is ever taken back."""

from __future__ import annotations

from dure.kernel.policies.policy import Lending, Order, Placement, Policy

FIFO = Policy(
    name="fifo",
    order=Order.SUBMISSION,
    lending=Lending.NO_QUOTA,
    remembers_usage=False,
    reclaims=False,
    backfills=False,
    placement=Placement.BEST_FIT,
    ties="jobs: order of submission",
)
