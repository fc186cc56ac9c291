"""Shortest job first: the least waiting on average that a strict queue can have, at the cost of long jobs.

One queue for everybody, shortest time limit first. Where a trace does not say what jobs asked for, the limit is what
they really ran, and the policy knows the future. If the first does not fit, everybody waits."""

from __future__ import annotations

from dure.kernel.policies.policy import Lending, Order, Placement, Policy

SJF = Policy(
    name="sjf",
    order=Order.SHORTEST_LIMIT,
    lending=Lending.NO_QUOTA,
    remembers_usage=False,
    reclaims=False,
    backfills=False,
    placement=Placement.BEST_FIT,
    ties="jobs: shorter time limit, then order of submission",
)
