"""One moment of the audit's books: who holds which GPU, what is promised to whom, what each share is charged."""

from __future__ import annotations

from fractions import Fraction
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from dure.audit.overlay import Overlay
from dure.audit.tree import ROOT, Tree
from dure.model.events import JobSubmitted
from dure.model.fleet import NodeGroup, Site
from dure.model.nation import Nation
from dure.model.organisations import UNLIMITED_MILLI
from dure.model.plan import Claim, Placement, Reserved, Spare, Start, Stop, StopReason, Warn
from dure.model.reservations import Reservation
from dure.model.units import HOUR_MS

WAITING, CLAIMED, RUNNING, WARNED, STOPPING = "waiting", "claimed", "running", "warned", "stopping"
OVER = "over"
"""Of a replica that was not wanted any more while it held nothing, until the plan that says so is written down."""
WHOLE = 1000


class Entry(Struct, frozen=True, kw_only=True, gc=False):
    """One job in the books. An entry is replaced, never changed."""

    submitted: JobSubmitted
    share: str
    state: str = WAITING
    attempt: int = 0
    times_preempted: int = 0
    failures: int = 0
    started_at_ms: int = 0
    borrowed: bool = False
    stop_at_ms: int = 0
    gpu_class: str = ""
    site: str = ""
    placements: tuple[Placement, ...] = ()
    charged: bool = False
    claimant: str = ""
    victims: tuple[str, ...] = ()
    """Of a claim: who was warned for its sake."""
    cancelled: bool = False
    node_lost: bool = False
    leaves: bool = False
    """It was warned because a node it runs on is reserved, not for the sake of another job."""
    resizes: bool = False
    """It was warned because it shall go on with more nodes."""
    left_in_peace_from_ms: int = 0
    """Since when it has not been about to be resized: its latest start, or the end of such a warning."""
    drained: bool = False
    refused_at: tuple[str, ...] = ()
    """Sites whose engines will not run it."""
    template: str = ""
    """The array or service it is a task or replica of."""
    begun: int = 0
    """Of an array, a bit for each number that began or never will; of a service, the next number."""
    live: int = 0
    """Of an array or service, tasks or replicas that began and are neither over nor surplus."""
    over: int = 0
    """Of an array, tasks that are over."""
    surplus: bool = False

    @property
    def amount(self) -> int:
        """Thousandths of a GPU over all nodes."""
        return self.nodes * (self.submitted.gpus[0][1] if self.submitted.gpus else 0)

    @property
    def least_nodes(self) -> int:
        """Nodes without which it cannot run."""
        return self.submitted.min_nodes or self.submitted.nodes

    @property
    def nodes(self) -> int:
        """Nodes it has or claims; while it waits, those without which it cannot run."""
        return len(self.placements) or self.least_nodes

    @property
    def gpus_per_node(self) -> int:
        """GPUs that must be idle on a node for one rank."""
        return -(-self.amount // (WHOLE * self.nodes))


class Page:
    """The books at one moment. A page laid over another sees through to it and keeps its own changes."""

    def __init__(self, below: Page | None = None) -> None:
        self.nation: Nation = below.nation if below else Nation()
        self.tree: Tree = below.tree if below else Tree(Nation())
        self.nodes: dict[str, tuple[Site, NodeGroup]] = below.nodes if below else {}
        self.reservations: dict[str, list[Reservation]] = below.reservations if below else {}
        """By node."""
        self.jobs: dict[str, Entry] = Overlay(below.jobs) if below else {}
        self.charged: dict[tuple[str, str], int] = Overlay(below.charged) if below else {}
        self.drawn: dict[tuple[str, str], int] = Overlay(below.drawn) if below else {}
        """Per class and share: what its jobs and the shares below it draw from its pool."""
        self.gpus: dict[tuple[str, int], int] = Overlay(below.gpus) if below else {}
        self.parts: dict[tuple[str, int], tuple[Placement, ...]] = Overlay(below.parts) if below else {}
        """What runs on a GPU that is not all one job's, or is cut into MIG slices."""
        self.beside: dict[str, tuple[int, int]] = Overlay(below.beside) if below else {}
        """CPUs and MiB in use on a node, or promised to a claim."""
        self.promised: dict[str, int] = Overlay(below.promised) if below else {}
        """GPUs of a node that claims will have; idle ones are theirs first."""
        self.paid_off: dict[tuple[str, str], Fraction] = Overlay(below.paid_off) if below else {}
        """Per class and share with a reclaim rate: when (in ms) its rate has made up for all it took back."""
        self.holders: dict[str, tuple[str, ...]] = Overlay(below.holders) if below else {}
        """Jobs that hold a node, in no particular order."""
        self.running: int = below.running if below else 0
        """Attempts that hold nodes."""
        self.reserved: tuple[Reserved, ...] = below.reserved if below else ()
        """What the latest plan that said so reserved for waiting jobs."""
        self.lost_sites: frozenset[str] = below.lost_sites if below else frozenset()
        """Sites that are out of contact."""
        self.node_states: dict[str, str] = Overlay(below.node_states) if below else {}

    def charge(self, job: str, charged: bool) -> None:
        """Count a job against its share and everyone above, or no longer."""
        entry = self.jobs[job]
        if entry.charged == charged:
            return
        amount = entry.amount if charged else -entry.amount
        drawn = amount
        for share in self.tree.path(entry.share):
            key = (entry.gpu_class, share)
            self.charged[key] = self.charged.get(key, 0) + amount
            before = self.drawn.get(key, 0)
            self.drawn[key] = before + drawn
            # A share uses up what it keeps, and only then draws on its parent.
            kept = self.tree.kept(entry.gpu_class, share)
            drawn = max(0, before + drawn - kept) - max(0, before - kept)
        self.jobs[job] = replace(entry, charged=charged)

    def overdraft(self, gpu_class: str) -> int:
        """How much more is charged to the whole tree than its members together may use, given what each keeps.

        The root can give what nobody keeps. Zero or less when all is well.
        """
        return self.drawn.get((gpu_class, ROOT), 0) - self.tree.pool(gpu_class, ROOT)

    def hold(self, placements: tuple[Placement, ...], sign: int) -> None:
        """Take (1) or give back (-1) GPUs."""
        for placement in placements:
            for gpu in placement.gpus:
                key = (placement.node, gpu)
                self.gpus[key] = self.gpus.get(key, 0) + sign * placement.milli
            if placement.gpus and (placement.milli < WHOLE or placement.slices):
                self._hold_part(placement, sign)

    def _hold_part(self, placement: Placement, sign: int) -> None:
        key = (placement.node, placement.gpus[0])
        held = list(self.parts.get(key, ()))
        if sign > 0:
            held.append(placement)
        else:
            held.remove(placement)
        self.parts[key] = tuple(held)

    def _note_holder(self, job: str, placements: tuple[Placement, ...]) -> None:
        self.running += 1
        for placement in placements:
            self.holders[placement.node] = (*self.holders.get(placement.node, ()), job)

    def _forget_holder(self, job: str, placements: tuple[Placement, ...]) -> None:
        self.running -= 1
        for placement in placements:
            self.holders[placement.node] = tuple(each for each in self.holders[placement.node] if each != job)

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

    def take_back(self, gpu_class: str, victim: str, claimant: str, at_ms: int) -> None:
        """A share, and everyone above it, takes back what a borrower holds, and pays for it at its rate."""
        if claimant not in self.jobs:
            return
        for share in self.tree.path(self.jobs[claimant].share):
            per_hour = self.tree.amount(gpu_class, share).reclaim_per_hour_milli
            if per_hour != UNLIMITED_MILLI:
                begins = max(Fraction(at_ms), self.paid_off.get((gpu_class, share), Fraction(0)))
                hours = Fraction(self.jobs[victim].amount, per_hour)
                self.paid_off[(gpu_class, share)] = begins + hours * HOUR_MS

    def split(self, job: str) -> tuple[str, int]:
        """Array or service, and number; -1 for what is neither."""
        name, _, number = job.rpartition("_")
        return (name, int(number)) if number.isdecimal() else (job, -1)

    def begin(self, job: str) -> None:
        """A task or replica gets an entry of its own."""
        name, number = self.split(job)
        template = self.jobs[name]
        self.jobs[job] = replace(template, template=name, begun=0, live=0, over=0)
        begun = number + 1 if template.submitted.replicas is not None else template.begun | 1 << number
        self.jobs[name] = replace(template, begun=begun, live=template.live + 1)

    def strike(self, job: str) -> None:
        """A job is over, and with its last task an array."""
        entry = self.jobs.pop(job)
        template = self.jobs.get(entry.template)
        if template is not None:
            self.jobs[entry.template] = replace(template, live=template.live - (not entry.surplus))
            self.count_over(entry.template)

    def count_over(self, job: str) -> None:
        """One more task of an array is over."""
        template = self.jobs[job]
        self.jobs[job] = replace(template, over=template.over + 1)
        array = template.submitted.array
        if array is not None and template.over == array.last - array.first:
            del self.jobs[job]

    def stop(self, decision: Stop) -> None:
        """An attempt is told to end. A replica that is surplus and holds nothing is over at once."""
        entry = self.jobs[decision.job]
        template = self.jobs.get(entry.template)
        if decision.reason is StopReason.SCALED_DOWN and template is not None:
            self.jobs[entry.template] = replace(template, live=template.live - 1)
            self.jobs[decision.job] = replace(entry, surplus=True)
            if entry.state == CLAIMED:
                self.leave(decision.job)
            if entry.state in (WAITING, CLAIMED):
                self.jobs[decision.job] = replace(self.jobs[decision.job], state=OVER)
                return
        self.jobs[decision.job] = replace(self.jobs[decision.job], state=STOPPING)

    def enter(self, decision: Start | Claim | Warn | Spare | Stop, at_ms: int) -> None:
        """Write one decision down."""
        if decision.job not in self.jobs:
            self.begin(decision.job)
        entry = self.jobs[decision.job]
        match decision:
            case Start():
                self.jobs[decision.job] = replace(
                    entry,
                    state=RUNNING,
                    attempt=decision.attempt,
                    started_at_ms=at_ms,
                    left_in_peace_from_ms=at_ms,
                    borrowed=decision.borrowed,
                    gpu_class=decision.gpu_class,
                    site=decision.site,
                    placements=decision.placements,
                    victims=(),
                )
                self.hold(decision.placements, 1)
                self._note_holder(decision.job, decision.placements)
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
                if decision.claimant:
                    self.charge(decision.job, False)
                    self.take_back(entry.gpu_class, decision.job, decision.claimant, at_ms)
                    self._note_victim(decision)
                self.jobs[decision.job] = replace(
                    self.jobs[decision.job],
                    state=WARNED,
                    claimant=decision.claimant,
                    stop_at_ms=decision.stop_at_ms,
                    leaves=not decision.claimant and not decision.resizes,
                    resizes=decision.resizes,
                    left_in_peace_from_ms=decision.stop_at_ms if decision.resizes else entry.left_in_peace_from_ms,
                )
            case Spare():
                self.jobs[decision.job] = replace(entry, state=RUNNING, claimant="", leaves=False, resizes=False)
                self.charge(decision.job, True)
            case Stop():
                self.stop(decision)
            case _:
                assert_never(decision)

    def _note_victim(self, warning: Warn) -> None:
        claim = self.jobs.get(warning.claimant)
        if claim is not None:
            self.jobs[warning.claimant] = replace(claim, victims=(*claim.victims, warning.job))

    def leave(self, job: str) -> None:
        """An attempt or a claim is over."""
        entry = self.jobs[job]
        if entry.state == CLAIMED:
            self.promise(job, entry.placements, -1)
        else:
            self.hold(entry.placements, -1)
            self._forget_holder(job, entry.placements)
        self.hold_beside(job, entry.placements, -1)
        self.charge(job, False)
        for other in entry.victims if entry.state == CLAIMED else ():
            if other in self.jobs and self.jobs[other].claimant == job:
                self.jobs[other] = replace(self.jobs[other], claimant="")
        self.jobs[job] = replace(
            self.jobs[job],
            state=WAITING,
            placements=(),
            claimant="",
            victims=(),
            gpu_class="",
            node_lost=False,
            leaves=False,
            resizes=False,
            drained=False,
        )
