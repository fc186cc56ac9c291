"""One queue by priority with EASY backfill, as batch schedulers such as Slurm are usually run.

Priority is a job's age plus ten times its share's fair-share factor: half for whoever used lately just the part of
the fleet that it is guaranteed, towards one for whoever used less, towards nothing for whoever used more. The first
job that does not fit gets a reservation, and others may pass where they do not delay it. Guarantees do nothing else:
whatever runs, runs to its end, and an owner waits like everybody."""

from __future__ import annotations

from dure.kernel.policies.policy import Lending, Order, Placement, Policy

PRIORITY_BACKFILL = Policy(
    name="priority-backfill",
    order=Order.PRIORITY,
    lending=Lending.NO_QUOTA,
    remembers_usage=True,
    reclaims=False,
    backfills=True,
    placement=Placement.BEST_FIT,
    ties="jobs: highest priority, then order of submission; within a share its own priorities first",
)
