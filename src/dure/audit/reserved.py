"""Judging reservations of waiting jobs: as many as the nation allows, and no start that would delay one of them.

A reserved start is true when, at its time, enough of its nodes have enough idle GPUs if everything that runs uses its
whole time limit, beyond the whole nodes that other reservations hold then. All that are told with a plan must be true
together, with what the plan starts; those that were told before must stay so.

Nothing is judged where more is at stake than time limits: while a claim waits for nodes that are counted on, or is made
or given up, since a guarantee goes before promises; and when a job did not start although its time has come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import inf

from dure.audit.page import STOPPING, WAITING, WARNED, Entry, Page
from dure.audit.tree import ROOT
from dure.model.plan import Claim, Plan, Reserved, Spare

Findings = Iterator[tuple[str, str, str]]


def doubtful(page: Page, now_ms: int) -> set[str]:
    """The jobs for which nothing is promised before a plan is made, though a start is reserved for them."""
    standing = [each for each in page.reserved if _waits(page, each.job)]
    is_overdue = any(each.at_ms < now_ms for each in standing)
    return {
        each.job
        for each in standing
        if is_overdue or _has_claims(page, each) or not _is_true(page, each, standing, now_ms)
    }


def judge_reserved(page: Page, plan: Plan, doubtful_before: set[str], now_ms: int) -> Findings:
    """What is wrong with the reservations that stand after a plan, job by job. The page has the plan on it."""
    if plan.reserved is not None:
        yield from _judge_number(page, plan.reserved)
    reserved = page.reserved if plan.reserved is None else plan.reserved
    standing = [each for each in reserved if _waits(page, each.job)]
    is_overdue = any(each.at_ms < now_ms for each in standing)
    if is_overdue or any(isinstance(decision, Claim | Spare) for decision in plan.decisions):
        return
    for each in standing:
        if each.job in doubtful_before or _has_claims(page, each):
            continue
        if not _is_true(page, each, standing, now_ms):
            yield "reservation-delayed", each.job, f"it could not start at {each.at_ms}, as is reserved for it"


def _judge_number(page: Page, reserved: Sequence[Reserved]) -> Findings:
    """By the GPU class that a job likes best; a job has one reservation."""
    most = page.nation.timing.backfill_reservations
    asked = [page.jobs[each.job].submitted for each in reserved if each.job in page.jobs]
    by_class = Counter(each.gpus[0][0] for each in asked if each.gpus)
    for name, count in by_class.items():
        if count > most:
            yield "too-many-reserved", "", f"{count} of {name}, and the nation allows {most}"
    for job, count in Counter(each.job for each in reserved).items():
        if count > 1:
            yield "reserved-twice", job, f"it has {count} reservations"


def _waits(page: Page, job: str) -> bool:
    entry = page.jobs.get(job)
    return entry is not None and entry.state == WAITING


def _is_true(page: Page, each: Reserved, standing: Sequence[Reserved], now_ms: int) -> bool:
    entry = page.jobs[each.job]
    nodes = _nodes(page, each)
    if entry.gpus_per_node == 0:
        return True
    held = sum(
        page.jobs[other.job].nodes
        for other in standing
        if other.job != each.job and other.at_ms <= each.at_ms < _until(page.jobs[other.job], other.at_ms)
        if page.jobs[other.job].gpus_per_node > 0 and set(_nodes(page, other)) & set(nodes)
    )
    ready = sum(_is_ready(page, node, entry, each.at_ms, now_ms) for node in nodes)
    return ready - held >= entry.nodes


def _has_claims(page: Page, each: Reserved) -> bool:
    return any(page.promised.get(node) for node in _nodes(page, each))


def _nodes(page: Page, each: Reserved) -> Sequence[str]:
    names = page.nodes[each.first_node][1].node_names()
    return names[names.index(each.first_node) : names.index(each.last_node) + 1]


def _is_ready(page: Page, node: str, entry: Entry, at_ms: int, now_ms: int) -> bool:
    """True when a node will be in service, kept for nobody else, and idle enough for one rank."""
    gone_ms = _until(entry, at_ms) + page.nation.timing.grace_ms
    for ahead in page.reservations.get(node, ()):
        is_own = bool(ahead.share) and ahead.share in (*page.tree.path(entry.share), ROOT)
        if ahead.from_ms < gone_ms and at_ms < ahead.until_ms and not is_own:
            return False
    _, group = page.nodes[node]
    busy = {
        gpu
        for job in page.holders.get(node, ())
        for placement in page.jobs[job].placements
        if placement.node == node and _gone_ms(page, page.jobs[job], now_ms) > at_ms
        for gpu in placement.gpus
    }
    return page.node_states.get(node, "up") == "up" and group.gpus - len(busy) >= entry.gpus_per_node


def _until(entry: Entry, from_ms: float) -> float:
    """When a job that starts at a time is over at the latest."""
    return from_ms + entry.submitted.time_ms if entry.submitted.time_ms else inf


def _gone_ms(page: Page, entry: Entry, now_ms: int) -> float:
    """When what runs is gone, if limits hold: a warned job also by the end of its warning and its grace."""
    if entry.state == STOPPING:
        return now_ms
    limit_ms = _until(entry, entry.started_at_ms)
    warned_ms = entry.stop_at_ms + page.nation.timing.grace_ms if entry.state == WARNED else inf
    return min(limit_ms, warned_ms)
