"""Judging a plan: one function per kind of decision, one line per rule."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import assert_never

from msgspec.structs import replace

from dure.audit.copies import fault_in_beginning, fault_in_scaling_down
from dure.audit.elastic import judge_growth, judge_resizing
from dure.audit.order import judge_order
from dure.audit.page import CLAIMED, RUNNING, WAITING, WARNED, WHOLE, Entry, Page
from dure.audit.parts import judge_parts
from dure.audit.reserved import doubtful, judge_reserved
from dure.audit.topology import judge_nearness, judge_spares
from dure.audit.violations import Violation
from dure.model.organisations import UNLIMITED_MILLI
from dure.model.plan import Claim, Placement, Plan, Spare, Start, Stop, StopReason, Warn
from dure.model.reservations import Reservation


def judge(page: Page, plan: Plan, now_ms: int) -> list[Violation]:
    """Walk through a plan on a page of its own; returns every rule it breaks, in order."""
    found: list[Violation] = []
    classes = {each.name for each in page.nation.gpu_classes}
    overdrafts = {name: page.overdraft(name) for name in _classes_drawn_on(plan) & classes}
    doubtful_before = doubtful(page, now_ms)
    for decision in plan.decisions:
        if decision.job not in page.jobs:
            fault = fault_in_beginning(page, decision, now_ms)
            if fault is not None:
                found.append(Violation(rule=fault[0], job=decision.job, detail=fault[1]))
                continue
            page.begin(decision.job)
        found.extend(_judge_one(page, decision, plan, now_ms))
        page.enter(decision, plan.at_ms)
    for rule, job, detail in judge_reserved(page, plan, doubtful_before, now_ms):
        found.append(Violation(rule=rule, job=job, detail=detail))
    for name, before in overdrafts.items():
        after = page.overdraft(name)
        if after > max(0, before):
            found.append(Violation(rule="overdrawn", job="", detail=f"{name} by {after} thousandths of a GPU"))
    return found


def _classes_drawn_on(plan: Plan) -> set[str]:
    return {decision.gpu_class for decision in plan.decisions if isinstance(decision, Start | Claim)}


def _judge_one(
    page: Page, decision: Start | Claim | Warn | Spare | Stop, plan: Plan, now_ms: int
) -> Iterator[Violation]:
    entry = page.jobs[decision.job]
    match decision:
        case Start():
            rules = _judge_start(page, entry, decision, now_ms)
        case Claim():
            rules = _judge_claim(page, entry, decision, plan, now_ms)
        case Warn():
            rules = _judge_warning(page, entry, decision, plan, now_ms)
        case Spare():
            rules = _judge_spare(entry, decision)
        case Stop():
            rules = _judge_stop(page, entry, decision, now_ms)
        case _:
            assert_never(decision)
    for rule, detail in rules:
        yield Violation(rule=rule, job=decision.job, detail=detail)


Findings = Iterator[tuple[str, str]]


def _judge_start(page: Page, entry: Entry, start: Start, now_ms: int) -> Findings:
    if entry.state not in (WAITING, CLAIMED):
        yield "started-twice", f"it is {entry.state}"
    if start.attempt != entry.attempt + 1:
        yield "attempt-skipped", f"attempt {start.attempt} after {entry.attempt}"
    yield from _judge_dates(entry, now_ms)
    yield from _judge_place(page, entry, start)
    yield from _judge_capacity(page, entry, start.placements)
    yield from judge_parts(page, entry, start.gpu_class, start.placements)
    if entry.state == WAITING:
        entry = replace(entry, placements=start.placements)
        yield from _judge_reservations(page, entry, start.placements, now_ms, 0)
        yield from _judge_quota(page, entry, start.gpu_class)
        covered = page.tree.covered(start.gpu_class, entry.share, entry.amount, page.charged)
        if entry.amount and start.borrowed == bool(covered):
            yield "borrowed-wrongly-stated", f"borrowed={start.borrowed}, but covered by {covered}"
        if entry.amount and not entry.submitted.preemptible and entry.share not in covered:
            yield "borrows-unpreemptible", f"share {entry.share} does not cover it"


def _judge_dates(entry: Entry, now_ms: int) -> Findings:
    """A job starts within the dates it named."""
    asked = entry.submitted
    if now_ms < asked.not_before_ms:
        yield "starts-too-early", f"not before {asked.not_before_ms}"
    if asked.not_after_ms and entry.attempt == 0 and now_ms > asked.not_after_ms:
        yield "starts-too-late", f"not after {asked.not_after_ms}"
    if asked.deadline_ms and now_ms + asked.time_ms > asked.deadline_ms:
        yield "ends-too-late", f"it may run until {now_ms + asked.time_ms}, and must end by {asked.deadline_ms}"


def _judge_reservations(
    page: Page, entry: Entry, placements: tuple[Placement, ...], now_ms: int, delay_ms: int
) -> Findings:
    """Nobody is on a node when a reservation of somebody else begins, all its time and its grace long."""
    gone_ms = now_ms + delay_ms + entry.submitted.time_ms + page.nation.timing.grace_ms
    for placement in placements:
        for each in page.reservations.get(placement.node, []):
            if each.overlaps(now_ms, gone_ms) and not _is_own(page, entry, each):
                yield "node-reserved", f"{placement.node} is kept for {each.name} from {each.from_ms}"


def _is_own(page: Page, entry: Entry, reservation: Reservation) -> bool:
    return bool(reservation.share) and reservation.share in page.tree.path(entry.share)


def _judge_place(page: Page, entry: Entry, decision: Start | Claim) -> Findings:
    submitted = entry.submitted
    wanted = dict(submitted.gpus).get(decision.gpu_class) if submitted.gpus else 0
    if wanted is None:
        yield "wrong-class", f"{decision.gpu_class} was not asked for"
        return
    if decision.site in page.lost_sites:
        yield "site-out-of-contact", decision.site
    if decision.site in entry.refused_at:
        yield "site-refused", f"{decision.site} will not run {decision.job}"
    if decision.site not in submitted.sites:
        yield "wrong-site", f"policy does not allow {decision.site}"
    names = [placement.node for placement in decision.placements]
    if not entry.least_nodes <= len(names) <= submitted.nodes or len(set(names)) != len(names):
        yield "gang-not-whole", f"{len(set(names))} nodes of {entry.least_nodes} to {submitted.nodes}"
    yield from judge_nearness(page, entry, decision.placements)
    if isinstance(decision, Start) and entry.state == WAITING:
        yield from judge_spares(page, decision.placements)
    groups = {(site.name, group.name) for site, group in map(page.nodes.__getitem__, names)}
    if len(groups) > 1 and len({site for site, _ in groups}) == 1:
        yield "gang-over-groups", f"its nodes are in {', '.join(sorted(group for _, group in groups))}"
    for placement in decision.placements:
        site, group = page.nodes[placement.node]
        if site.name != decision.site:
            yield "gang-over-sites", f"{placement.node} is at {site.name}"
        if wanted and group.gpu_class != decision.gpu_class:
            yield "wrong-class", f"{placement.node} holds {group.gpu_class}"
        if page.node_states.get(placement.node, "up") != "up":
            yield "node-out-of-service", placement.node
        if isinstance(decision, Start) and len(placement.gpus) * placement.milli != wanted:
            yield "wrong-amount", f"{placement.node}: {len(placement.gpus)} x {placement.milli}, wanted {wanted}"


def _judge_capacity(page: Page, entry: Entry, placements: tuple[Placement, ...]) -> Findings:
    for placement in placements:
        _, group = page.nodes[placement.node]
        if len(set(placement.gpus)) < len(placement.gpus):
            yield "gpu-named-twice", placement.node
        for gpu in placement.gpus:
            if not 0 <= gpu < group.gpus:
                yield "no-such-gpu", f"{placement.node} has no GPU {gpu}"
            if page.gpus.get((placement.node, gpu), 0) + placement.milli > WHOLE:
                yield "gpu-overcommitted", f"GPU {gpu} of {placement.node}"
        cpus, memory_mib = _beside_gpus(page, entry, placement.node)
        if entry.submitted.cpus and cpus > group.cpus:
            yield "cpus-overcommitted", placement.node
        if entry.submitted.memory_mib and memory_mib > group.memory_mib:
            yield "memory-overcommitted", placement.node


def _beside_gpus(page: Page, entry: Entry, node: str) -> tuple[int, int]:
    """CPUs and MiB in use once the job runs there.

    Nobody passes a claim, so what claims are promised counts; but what one claim is promised, another one's victims may
    use until they are gone.
    """
    if entry.state == WAITING:
        cpus, memory_mib = page.beside.get(node, (0, 0))
    else:
        holders = [page.jobs[job].submitted for job in page.holders.get(node, ())]
        cpus = sum(each.cpus for each in holders)
        memory_mib = sum(each.memory_mib for each in holders)
    return cpus + entry.submitted.cpus, memory_mib + entry.submitted.memory_mib


def _judge_quota(page: Page, entry: Entry, gpu_class: str) -> Findings:
    for share in page.tree.path(entry.share):
        charged = page.charged.get((gpu_class, share), 0) + entry.amount
        if entry.amount and charged > page.tree.amount(gpu_class, share).limit_milli:
            yield "over-limit", f"share {share} would use {charged} thousandths of a GPU"


def _judge_claim(page: Page, entry: Entry, claim: Claim, plan: Plan, now_ms: int) -> Findings:
    if entry.state != WAITING:
        yield "claims-while-not-waiting", f"it is {entry.state}"
    if entry.times_preempted:
        yield "victim-reclaims", "a job that was reclaimed never reclaims"
    entry = replace(entry, placements=claim.placements)
    if not page.tree.covered(claim.gpu_class, entry.share, entry.amount, page.charged):
        yield "claims-beyond-guarantee", f"no guarantee covers share {entry.share}"
    until_victims_are_gone_ms = page.nation.timing.warning_ms + page.nation.timing.grace_ms
    yield from _judge_reservations(page, entry, claim.placements, plan.at_ms, until_victims_are_gone_ms)
    yield from _judge_place(page, entry, claim)
    yield from _judge_quota(page, entry, claim.gpu_class)
    yield from _judge_victims(page, entry, claim, plan, now_ms)
    yield from _judge_reclaim_rate(page, entry, claim, plan)


def _judge_victims(page: Page, entry: Entry, claim: Claim, plan: Plan, now_ms: int) -> Findings:
    """No victim too many: without any one of them, the claimed nodes or the quota would not be enough."""
    warned = (each.job for each in plan.decisions if isinstance(each, Warn) and each.claimant == claim.job)
    victims = {job for job in warned if job in page.jobs}

    def suffices(gone: set[str]) -> bool:
        return _quota_allows(page, entry, claim, gone) and _nodes_have_room(page, entry, claim, gone)

    for spared in sorted(victims):
        if suffices(victims - {spared}):
            yield "victim-unneeded", f"{spared} need not yield"
    yield from judge_order(page, claim, victims, suffices, now_ms)


def _judge_reclaim_rate(page: Page, entry: Entry, claim: Claim, plan: Plan) -> Findings:
    """Nobody is asked to yield to a share that has not paid off what it took back before."""
    if not any(isinstance(each, Warn) and each.claimant == claim.job for each in plan.decisions):
        return
    for share in page.tree.path(entry.share):
        paid_off = page.paid_off.get((claim.gpu_class, share), 0)
        limited = page.tree.amount(claim.gpu_class, share).reclaim_per_hour_milli != UNLIMITED_MILLI
        if limited and paid_off > plan.at_ms:
            yield "reclaims-too-fast", f"share {share} may take back again in {math.ceil(paid_off - plan.at_ms)} ms"


def _quota_allows(page: Page, entry: Entry, claim: Claim, gone: set[str]) -> bool:
    trial = Page(page)
    for job in gone:
        trial.charge(job, False)
    trial.jobs[claim.job] = entry
    trial.enter(claim, 0)
    return trial.overdraft(claim.gpu_class) <= 0


def _nodes_have_room(page: Page, entry: Entry, claim: Claim, gone: set[str]) -> bool:
    trial = Page(page)
    for job in gone:
        trial.hold(page.jobs[job].placements, -1)
        trial.hold_beside(job, page.jobs[job].placements, -1)
    for placement in claim.placements:
        _, group = page.nodes[placement.node]
        left = max(0, _idle(page, placement.node) - page.promised.get(placement.node, 0))
        given_up = _idle(trial, placement.node) - _idle(page, placement.node)
        cpus, memory_mib = trial.beside.get(placement.node, (0, 0))
        if left + given_up < entry.gpus_per_node or cpus + entry.submitted.cpus > group.cpus:
            return False
        if memory_mib + entry.submitted.memory_mib > group.memory_mib:
            return False
    return True


def _idle(page: Page, node: str) -> int:
    """GPUs of a node that no job runs on; some may be promised."""
    _, group = page.nodes[node]
    return sum(page.gpus.get((node, gpu), 0) == 0 for gpu in range(group.gpus))


def _judge_warning(page: Page, entry: Entry, warning: Warn, plan: Plan, now_ms: int) -> Findings:
    timing = page.nation.timing
    if entry.state != RUNNING:
        yield "warned-while-not-running", f"it is {entry.state}"
    yield from _judge_attempt(entry, warning.attempt)
    if not entry.submitted.preemptible:
        yield "victim-not-preemptible", "it may not be reclaimed"
    if warning.stop_at_ms < now_ms + timing.warning_ms:
        yield "warned-too-late", f"stop at {warning.stop_at_ms}, now {now_ms}"
    if warning.resizes:
        yield from judge_growth(page, entry, now_ms)
        return
    if not warning.claimant:
        yield from _judge_leaving(page, entry, warning, now_ms)
        return
    if now_ms < entry.started_at_ms + timing.protected_ms:
        yield "victim-protected", f"it has run {now_ms - entry.started_at_ms} ms of {timing.protected_ms}"
    claims = {each.job for each in plan.decisions if isinstance(each, Claim)}
    if warning.claimant not in claims:
        yield "warned-for-nobody", f"{warning.claimant} claims nothing in this plan"
        return
    claimant = page.jobs[warning.claimant]
    if not page.tree.borrows_from(entry.gpu_class, entry.share, claimant.share, page.charged):
        yield "victim-within-guarantee", f"share {entry.share} does not borrow from {claimant.share}"
        return
    side = page.tree.claimant_side(entry.share, claimant.share)
    if page.charged.get((entry.gpu_class, side), 0) > page.tree.amount(entry.gpu_class, side).guarantee_milli:
        yield "reclaims-beyond-guarantee", f"share {side} would exceed its guarantee"


def _judge_leaving(page: Page, entry: Entry, warning: Warn, now_ms: int) -> Findings:
    """A job leaves only for a reservation of somebody else, on a node of its own, that begins before it is gone."""
    timing = page.nation.timing
    gone_ms = entry.started_at_ms + entry.submitted.time_ms + timing.grace_ms
    kept = [each for node in entry.placements for each in page.reservations.get(node.node, [])]
    named = [each for each in kept if each.name == warning.reservation and not _is_own(page, entry, each)]
    if not any(each.overlaps(now_ms, gone_ms) for each in named):
        yield "leaves-for-nobody", f"nothing is reserved for {warning.reservation} where it runs"
    elif now_ms < min(each.from_ms for each in named) - timing.warning_ms - timing.grace_ms:
        yield "warned-too-early", f"the reservation {warning.reservation} is not so near"


def _judge_attempt(entry: Entry, attempt: int) -> Findings:
    if entry.state in (RUNNING, WARNED) and attempt != entry.attempt:
        yield "wrong-attempt", f"attempt {attempt}, but attempt {entry.attempt} runs"


def _judge_spare(entry: Entry, spare: Spare) -> Findings:
    yield from _judge_attempt(entry, spare.attempt)
    if entry.state != WARNED or entry.claimant:
        yield "spared-wrongly", f"it is {entry.state} for {entry.claimant or 'nobody'}"


def _judge_stop(page: Page, entry: Entry, stop: Stop, now_ms: int) -> Findings:
    surplus_waits = stop.reason is StopReason.SCALED_DOWN and entry.state in (WAITING, CLAIMED)
    if entry.state not in (RUNNING, WARNED) and not surplus_waits:
        yield "stopped-while-not-running", f"it is {entry.state}"
    yield from _judge_attempt(entry, stop.attempt)
    if stop.grace_ms < page.nation.timing.grace_ms:
        yield "grace-too-short", f"{stop.grace_ms} ms of {page.nation.timing.grace_ms}"
    match stop.reason:
        case StopReason.RECLAIMED:
            if entry.state != WARNED or now_ms < entry.stop_at_ms:
                yield "stopped-before-warning-ended", f"now {now_ms}, promised {entry.stop_at_ms}"
        case StopReason.TIME_LIMIT:
            if not entry.submitted.time_ms or now_ms < entry.started_at_ms + entry.submitted.time_ms:
                yield "stopped-before-time-limit", f"it has run {now_ms - entry.started_at_ms} ms"
        case StopReason.CANCELLED:
            if not entry.cancelled:
                yield "stopped-uncancelled", "nobody asked for it"
        case StopReason.RESERVED:
            if entry.state != WARNED or not entry.leaves or now_ms < entry.stop_at_ms:
                yield "stopped-before-warning-ended", f"now {now_ms}, promised {entry.stop_at_ms}"
        case StopReason.NODE_LOST:
            if not entry.node_lost:
                yield "stopped-on-healthy-node", "none of its nodes went down"
        case StopReason.SCALED_DOWN:
            fault = fault_in_scaling_down(page, entry, now_ms)
            if fault is not None:
                yield fault
        case StopReason.RESIZED:
            yield from judge_resizing(page, entry, now_ms)
        case StopReason.DRAINED:
            if not entry.drained:
                yield "stopped-on-undrained-node", "none of its nodes was drained"
            if not entry.submitted.preemptible:
                yield "stopped-unpreemptible", "it runs to its end on a drained node"
        case _:
            assert_never(stop.reason)
