"""Judging who yields: of two borrowers of one share, either of which would do, the one that loses less work.

Only jobs on the very nodes that are claimed are compared. Between shares the order may be another: a share that has
yielded enough no longer borrows, and then its jobs may not be asked although they would lose less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dure.audit.page import RUNNING, Entry, Page
from dure.model.plan import Claim

MOST_COMPARED = 1_000
"""Attempts that run at once; the kernel compares the jobs on its candidate nodes, and may not look at more of them."""

Findings = Iterator[tuple[str, str]]
Suffices = Callable[[set[str]], bool]
"""True when a claim's nodes and quota are enough without these jobs."""


def judge_order(page: Page, claim: Claim, victims: set[str], suffices: Suffices, now_ms: int) -> Findings:
    """Whoever would have to yield although another would lose less, and it would do."""
    if page.running > MOST_COMPARED:
        return
    nodes = {placement.node for placement in claim.placements}
    for victim in sorted(victims):
        entry = page.jobs[victim]
        for other in _beside(page, entry, nodes):
            candidate = page.jobs[other]
            if other in victims or not _may_yield(page, candidate, entry, now_ms):
                continue
            if _cost(candidate, now_ms) < _cost(entry, now_ms) and suffices(victims - {victim} | {other}):
                yield "victim-loses-more", f"{victim} must yield although {other} would lose less"


def _beside(page: Page, entry: Entry, nodes: set[str]) -> list[str]:
    """Jobs that share a claimed node with this one."""
    names = {placement.node for placement in entry.placements} & nodes
    return sorted({job for name in names for job in page.holders.get(name, ())})


def _may_yield(page: Page, candidate: Entry, victim: Entry, now_ms: int) -> bool:
    protected_until_ms = candidate.started_at_ms + page.nation.timing.protected_ms
    is_free = candidate.state == RUNNING and candidate.submitted.preemptible and not candidate.cancelled
    return is_free and candidate.share == victim.share and protected_until_ms <= now_ms


def _cost(entry: Entry, now_ms: int) -> tuple[bool, int]:
    """Those that borrowed when they started yield first, then those that lose the least GPU time."""
    since_ms = now_ms - entry.started_at_ms
    if entry.submitted.saves_when_warned:
        since_ms = 0
    elif entry.submitted.checkpoint_every_ms:
        since_ms %= entry.submitted.checkpoint_every_ms
    return not entry.borrowed, since_ms * entry.amount
