"""The audit's own books: who holds which GPU and what each share is charged, from the events alone."""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from dure.audit.copies import begins_no_more, copies_of, never_begins
from dure.audit.judging import judge
from dure.audit.page import CLAIMED, OVER, WAITING, Entry, Page
from dure.audit.tree import ROOT, Tree
from dure.audit.violations import Violation
from dure.model.events import (
    AccessRefused,
    AccountAdded,
    AccountChanged,
    AccountRemoved,
    AttemptEnded,
    AttemptStarted,
    CancelRequested,
    FleetEvent,
    JobReleased,
    JobSubmitted,
    LedgerRestored,
    NationApplied,
    NodeChanged,
    Planned,
    SecretStored,
    SiteContact,
    SiteContactChanged,
    SitesChanged,
    TokenIssued,
    TokenRevoked,
)
from dure.model.jobs import Outcome
from dure.model.nation import Nation
from dure.model.plan import Plan


class Books:
    """Applies every event, and judges plans before they become one."""

    def __init__(self) -> None:
        self._page = Page()

    def apply(self, event: FleetEvent) -> None:
        """Write an event down."""
        page = self._page
        match event:
            case NationApplied():
                self._turn_over(event.nation)
            case JobSubmitted():
                share = page.nation.share_of(event.project)
                page.jobs[event.job] = Entry(submitted=event, share=share.name if share else ROOT)
            case CancelRequested():
                self._cancel(event)
            case SitesChanged():
                self._change_sites(event)
            case Planned():
                for decision in event.plan.decisions:
                    page.enter(decision, event.plan.at_ms)
                    if page.jobs[decision.job].state == OVER:
                        page.strike(decision.job)
                if event.plan.reserved is not None:
                    page.reserved = event.plan.reserved
            case AttemptEnded():
                self._end(event)
            case NodeChanged():
                page.node_states[event.node] = event.state
                if event.state != "up":
                    self._drop_claims_on({event.node})
                if event.state == "down":
                    self._mark_those_on(event.node, node_lost=True)
                elif event.state == "drained":
                    self._mark_those_on(event.node, drained=True)
            case SiteContactChanged():
                self._change_contact(event)
            case JobReleased() | AttemptStarted() | AccessRefused():
                pass
            case TokenIssued() | TokenRevoked() | SecretStored() | LedgerRestored():
                pass
            case AccountAdded() | AccountChanged() | AccountRemoved():
                pass
            case _:
                assert_never(event)

    def _cancel(self, event: CancelRequested) -> None:
        entry = self._page.jobs.get(event.job)
        if entry is not None and event.too_late is not None and entry.submitted.array and not entry.template:
            begins_no_more(self._page, event.job)
        else:
            self._strike_out(event.job)

    def _strike_out(self, job: str) -> None:
        """Somebody wants a job gone, or a whole array or service, or a task that has not begun."""
        entry = self._page.jobs.get(job)
        if entry is None:
            never_begins(self._page, job)
            return
        if entry.submitted.array or entry.submitted.replicas:
            for copy in copies_of(self._page, job):
                self._strike_out(copy)
            if not entry.template:
                self._page.jobs.pop(job, None)
                return
        if entry.state == CLAIMED:
            self._page.leave(job)
        if entry.state in (WAITING, CLAIMED):
            self._page.strike(job)
        else:
            self._page.jobs[job] = replace(entry, cancelled=True)

    def _end(self, event: AttemptEnded) -> None:
        entry = self._page.jobs.get(event.job)
        if entry is None or entry.attempt != event.attempt or entry.state in (WAITING, CLAIMED):
            return
        made_way = entry.leaves
        refused_at = (*entry.refused_at, entry.site) if event.outcome is Outcome.REFUSED else entry.refused_at
        self._page.leave(event.job)
        entry = self._page.jobs[event.job]
        goes_on = {Outcome.PREEMPTED, Outcome.RESIZED, Outcome.NODE_LOST, Outcome.DRAINED, Outcome.NEVER_STARTED}
        failures = entry.failures + (event.outcome is Outcome.FAILED)
        stays = event.outcome in goes_on | {Outcome.FAILED} and failures <= entry.submitted.retry_limit
        if entry.submitted.replicas is not None:
            stays = not entry.surplus and event.outcome is not Outcome.CANCELLED
        if event.outcome is Outcome.REFUSED:
            entry = self._page.jobs[event.job] = replace(entry, refused_at=refused_at)
            stays = not set(entry.submitted.sites) <= set(refused_at)
        if entry.cancelled or not stays:
            self._page.strike(event.job)
        elif event.outcome is Outcome.FAILED:
            self._page.jobs[event.job] = replace(entry, failures=failures)
        elif event.outcome is Outcome.PREEMPTED and not made_way:
            self._page.jobs[event.job] = replace(entry, times_preempted=entry.times_preempted + 1)

    def _change_contact(self, event: SiteContactChanged) -> None:
        """Nobody claims or starts anything at a site that is out of contact."""
        if event.contact is SiteContact.CONNECTED:
            self._page.lost_sites -= {event.site}
            return
        self._page.lost_sites |= {event.site}
        there = {node for node, (site, _) in self._page.nodes.items() if site.name == event.site}
        self._drop_claims_on({node for node in there if self._page.node_states.get(node, "up") == "up"})

    def _drop_claims_on(self, nodes: set[str]) -> None:
        for job, entry in list(self._page.jobs.items()):
            if entry.state == CLAIMED and any(placement.node in nodes for placement in entry.placements):
                self._page.leave(job)

    def _mark_those_on(self, node: str, **marks: bool) -> None:
        """What runs on a node is lost, or must leave, even if the node is back before anyone has decided."""
        for job in self._page.holders.get(node, ()):
            self._page.jobs[job] = replace(self._page.jobs[job], **marks)

    def _change_sites(self, event: SitesChanged) -> None:
        jobs = self._page.jobs
        for job, submitted in event.changed((job, entry.submitted) for job, entry in jobs.items()):
            jobs[job] = replace(jobs[job], submitted=submitted)
        self._turn_over(self._page.nation)

    def _turn_over(self, nation: Nation) -> None:
        """A new declaration: open claims are given up, everything else is charged under the new tree."""
        page = self._page
        for job, entry in list(page.jobs.items()):
            if entry.state == CLAIMED:
                page.leave(job)
        page.nation = nation
        page.tree = Tree(nation)
        page.nodes = {name: (site, group) for site, group in nation.node_groups() for name in group.node_names()}
        # A node that is gone and comes back is a new one.
        page.node_states = {node: state for node, state in page.node_states.items() if node in page.nodes}
        page.lost_sites &= {site.name for site in nation.sites}
        page.reserved = ()
        page.reservations = {}
        for each in nation.reservations:
            for node in each.chosen:
                page.reservations.setdefault(node, []).append(each)
        page.charged.clear()
        page.drawn.clear()
        self._forget_rates_of_the_gone(nation)
        for job, entry in list(page.jobs.items()):
            share = nation.share_of(entry.submitted.project)
            page.jobs[job] = replace(entry, share=share.name if share else ROOT, charged=False)
            if entry.charged:
                page.charge(job, True)

    def _forget_rates_of_the_gone(self, nation: Nation) -> None:
        """What a share took back is remembered for as long as share and class are declared."""
        shares, classes = {each.name for each in nation.shares}, {each.name for each in nation.gpu_classes}
        for gpu_class, share in list(self._page.paid_off):
            if gpu_class not in classes or share not in shares:
                del self._page.paid_off[(gpu_class, share)]

    def check(self, plan: Plan, now_ms: int) -> list[Violation]:
        """What the plan would do wrong. Nothing is written down: `apply` does that once the plan is an event."""
        return judge(Page(self._page), plan, now_ms)
