"""The audit's own books: who holds which GPU and what each share is charged, from the events alone."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import MutableMapping
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from dure.audit.tree import ROOT, Tree
from dure.audit.violations import Violation
from dure.model.events import (
    AccessRefused,
    AnyEvent,
    AttemptEnded,
    AttemptStarted,
    CancelRequested,
    JobReleased,
    JobSubmitted,
    NationApplied,
    NodeChanged,
    Planned,
    SecretStored,
    TokenIssued,
    TokenRevoked,
)
from dure.model.fleet import NodeGroup, Site
from dure.model.jobs import Outcome
from dure.model.nation import Nation
from dure.model.plan import Claim, Placement, Plan, Spare, Start, Stop, Warn

WAITING, CLAIMED, RUNNING, WARNED, STOPPING = "waiting", "claimed", "running", "warned", "stopping"
WHOLE = 1000


class Entry(Struct, frozen=True, kw_only=True):
    """One job in the books. An entry is replaced, never changed."""

    submitted: JobSubmitted
    share: str
    state: str = WAITING
    attempt: int = 0
    times_preempted: int = 0
    failures: int = 0
    started_at_ms: int = 0
    stop_at_ms: int = 0
    gpu_class: str = ""
    site: str = ""
    placements: tuple[Placement, ...] = ()
    charged: bool = False
    claimant: str = ""
    cancelled: bool = False

    @property
    def amount(self) -> int:
        """Thousandths of a GPU over all nodes."""
        return self.submitted.nodes * (self.submitted.gpus[0][1] if self.submitted.gpus else 0)

    @property
    def gpus_per_node(self) -> int:
        """GPUs that must be idle on a node for one rank."""
        return -(-self.amount // (WHOLE * self.submitted.nodes))


class Page:
    """The books at one moment. A page laid over another sees through to it and keeps its own changes."""

    def __init__(self, below: Page | None = None) -> None:
        self.nation: Nation = below.nation if below else Nation()
        self.tree: Tree = below.tree if below else Tree(Nation())
        self.nodes: dict[str, tuple[Site, NodeGroup]] = below.nodes if below else {}
        self.jobs: MutableMapping[str, Entry] = ChainMap({}, below.jobs) if below else {}
        self.charged: MutableMapping[tuple[str, str], int] = ChainMap({}, below.charged) if below else {}
        self.gpus: MutableMapping[tuple[str, int], int] = ChainMap({}, below.gpus) if below else {}
        self.beside: MutableMapping[str, tuple[int, int]] = ChainMap({}, below.beside) if below else {}
        """CPUs and MiB in use on a node, or promised to a claim."""
        self.promised: MutableMapping[str, int] = ChainMap({}, below.promised) if below else {}
        """GPUs of a node that claims will have; idle ones are theirs first."""
        self.node_states: MutableMapping[str, str] = ChainMap({}, below.node_states) if below else {}

    def charge(self, job: str, charged: bool) -> None:
        """Count a job against its share and everyone above, or no longer."""
        entry = self.jobs[job]
        if entry.charged == charged:
            return
        for share in self.tree.path(entry.share):
            key = (entry.gpu_class, share)
            self.charged[key] = self.charged.get(key, 0) + (entry.amount if charged else -entry.amount)
        self.jobs[job] = replace(entry, charged=charged)

    def hold(self, placements: tuple[Placement, ...], sign: int) -> None:
        """Take (1) or give back (-1) GPUs."""
        for placement in placements:
            for gpu in placement.gpus:
                key = (placement.node, gpu)
                self.gpus[key] = self.gpus.get(key, 0) + sign * placement.milli

    def promise(self, job: str, placements: tuple[Placement, ...], sign: int) -> None:
        """Promise (1) a claim as many GPUs as it wants on each node, or no longer (-1)."""
        for placement in placements:
            self.promised[placement.node] = self.promised.get(placement.node, 0) + sign * self.jobs[job].gpus_per_node

    def hold_beside(self, job: str, placements: tuple[Placement, ...], sign: int) -> None:
        """Take (1) or give back (-1) CPUs and memory."""
        submitted = self.jobs[job].submitted
        for placement in placements:
            cpus, memory_mib = self.beside.get(placement.node, (0, 0))
            self.beside[placement.node] = (cpus + sign * submitted.cpus, memory_mib + sign * submitted.memory_mib)

    def enter(self, decision: Start | Claim | Warn | Spare | Stop, at_ms: int) -> None:
        """Write one decision down."""
        entry = self.jobs[decision.job]
        match decision:
            case Start():
                self.jobs[decision.job] = replace(
                    entry,
                    state=RUNNING,
                    attempt=decision.attempt,
                    started_at_ms=at_ms,
                    gpu_class=decision.gpu_class,
                    site=decision.site,
                    placements=decision.placements,
                )
                self.hold(decision.placements, 1)
                if entry.state == CLAIMED:
                    self.promise(decision.job, entry.placements, -1)
                else:
                    self.hold_beside(decision.job, decision.placements, 1)
                self.charge(decision.job, True)
            case Claim():
                self.jobs[decision.job] = replace(
                    entry, state=CLAIMED, gpu_class=decision.gpu_class, placements=decision.placements
                )
                self.promise(decision.job, decision.placements, 1)
                self.hold_beside(decision.job, decision.placements, 1)
                self.charge(decision.job, True)
            case Warn():
                self.charge(decision.job, False)
                self.jobs[decision.job] = replace(
                    self.jobs[decision.job],
                    state=WARNED,
                    claimant=decision.claimant,
                    stop_at_ms=decision.stop_at_ms,
                )
            case Spare():
                self.jobs[decision.job] = replace(entry, state=RUNNING, claimant="")
                self.charge(decision.job, True)
            case Stop():
                self.jobs[decision.job] = replace(entry, state=STOPPING)
            case _:
                assert_never(decision)

    def leave(self, job: str) -> None:
        """An attempt or a claim is over."""
        entry = self.jobs[job]
        if entry.state == CLAIMED:
            self.promise(job, entry.placements, -1)
        else:
            self.hold(entry.placements, -1)
        self.hold_beside(job, entry.placements, -1)
        self.charge(job, False)
        for other in (
            [name for name, each in self.jobs.items() if each.claimant == job] if entry.state == CLAIMED else []
        ):
            self.jobs[other] = replace(self.jobs[other], claimant="")
        self.jobs[job] = replace(self.jobs[job], state=WAITING, placements=(), claimant="", gpu_class="")


class Books:
    """Applies every event, and judges plans before they become one."""

    def __init__(self) -> None:
        self._page = Page()

    def apply(self, event: AnyEvent) -> None:
        """Write an event down."""
        page = self._page
        match event:
            case NationApplied():
                self._turn_over(event.nation)
            case JobSubmitted():
                share = page.nation.share_of(event.project)
                page.jobs[event.job] = Entry(submitted=event, share=share.name if share else ROOT)
            case CancelRequested():
                self._cancel(event.job)
            case Planned():
                for decision in event.plan.decisions:
                    page.enter(decision, event.plan.at_ms)
            case AttemptEnded():
                self._end(event)
            case NodeChanged():
                page.node_states[event.node] = event.state
                if event.state == "down":
                    self._drop_claims_on(event.node)
            case JobReleased() | AttemptStarted() | AccessRefused() | TokenIssued() | TokenRevoked() | SecretStored():
                pass
            case _:
                assert_never(event)

    def _cancel(self, job: str) -> None:
        entry = self._page.jobs.get(job)
        if entry is None:
            return
        if entry.state == CLAIMED:
            self._page.leave(job)
        if entry.state in (WAITING, CLAIMED):
            del self._page.jobs[job]
        else:
            self._page.jobs[job] = replace(entry, cancelled=True)

    def _end(self, event: AttemptEnded) -> None:
        entry = self._page.jobs.get(event.job)
        if entry is None or entry.attempt != event.attempt or entry.state in (WAITING, CLAIMED):
            return
        self._page.leave(event.job)
        entry = self._page.jobs[event.job]
        goes_on = {Outcome.PREEMPTED, Outcome.NODE_LOST, Outcome.NEVER_STARTED, Outcome.FAILED}
        failures = entry.failures + (event.outcome is Outcome.FAILED)
        if event.outcome not in goes_on or entry.cancelled or failures > entry.submitted.retry_limit:
            del self._page.jobs[event.job]
        elif event.outcome is Outcome.FAILED:
            self._page.jobs[event.job] = replace(entry, failures=failures)
        elif event.outcome is Outcome.PREEMPTED:
            self._page.jobs[event.job] = replace(entry, times_preempted=entry.times_preempted + 1)

    def _drop_claims_on(self, node: str) -> None:
        for job, entry in list(self._page.jobs.items()):
            if entry.state == CLAIMED and any(placement.node == node for placement in entry.placements):
                self._page.leave(job)

    def _turn_over(self, nation: Nation) -> None:
        """A new declaration: open claims are given up, everything else is charged under the new tree."""
        page = self._page
        for job, entry in list(page.jobs.items()):
            if entry.state == CLAIMED:
                page.leave(job)
        page.nation = nation
        page.tree = Tree(nation)
        page.nodes = {name: (site, group) for site, group in nation.node_groups() for name in group.node_names()}
        page.charged.clear()
        for job, entry in list(page.jobs.items()):
            share = nation.share_of(entry.submitted.project)
            page.jobs[job] = replace(entry, share=share.name if share else ROOT, charged=False)
            if entry.charged:
                page.charge(job, True)

    def check(self, plan: Plan, now_ms: int) -> list[Violation]:
        """What the plan would do wrong. Nothing is written down: `apply` does that once the plan is an event."""
        from dure.audit.judging import judge

        return judge(Page(self._page), plan, now_ms)
