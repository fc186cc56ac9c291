"""What must hold after every step, by books of its own: from the bytes of the ledger, and what engines really ran.

Nothing here asks the platform how it stands, but for the last look when everything has come to rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dure.control.requests import (
    ApplyNation,
    CancelJob,
    ChangeNode,
    NationStands,
    NodeStands,
    Reply,
    Request,
    SubmitJob,
    Submitted,
    TokenIssuedOnce,
)
from dure.executors.contract import Ended
from dure.ledger.contract import Row
from dure.model.events import (
    AttemptEnded,
    CancelRequested,
    JobSubmitted,
    NationApplied,
    NodeChanged,
    Planned,
    SiteContact,
    SiteContactChanged,
    TokenIssued,
    decode,
)
from dure.model.jobs import Outcome
from dure.model.nation import Nation
from dure.model.plan import Claim, Decision, Placement, Spare, Start, Stop, Warn
from dure.world.templates import split_copy
from tests.simulation.engine import Attempt, SimulatedEngine, Watcher
from tests.simulation.guarantee import GuaranteeWatch

WHOLE_GPU = 1000


class Held(msgspec.Struct):
    """An attempt that is open in the ledger."""

    start: Start
    gives_way: bool = False
    """It was warned or told to stop, so that its quota may already be another's."""


class Invariants(Watcher):
    """Follows ledger, engines and answers, and says what is broken."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.entries: list[bytes] = []
        """Everything that is durable."""
        self.rows: dict[tuple[str, str], bytes] = {}
        self.guarantee = GuaranteeWatch()
        self.nation = Nation()
        self.submitted: dict[str, JobSubmitted] = {}
        self.open: dict[str, Held] = {}
        self.started: dict[str, Start] = {}
        self.stopped: set[str] = set()
        self.warned: set[str] = set()
        self.over: set[str] = set()
        self.cancelled: set[str] = set()
        self.tokens: set[str] = set()
        self.node_states: dict[str, set[str]] = {}
        self.node_state: dict[str, str] = {}
        self.lost_sites: set[str] = set()
        self.latest_ms = 0
        self.answers: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {}
        self.ran: set[str] = set()
        self.exit_codes: dict[str, int] = {}
        self.running: dict[str, tuple[SimulatedEngine, Attempt]] = {}

    def broken(self, what: str) -> None:
        """Something is as it must never be."""
        self.problems.append(what)

    # The ledger.

    def durable(self, entries: Sequence[bytes], rows: Sequence[Row]) -> None:
        """A batch that nothing can take away any more."""
        for row in rows:
            if row.body is None:
                self.rows.pop((row.table, row.key), None)
            else:
                self.rows[row.table, row.key] = row.body
        for entry in entries:
            self.entries.append(entry)
            self._take_in(entry)

    def found(self, entries: Sequence[bytes]) -> None:
        """What a new life of the platform finds in the ledger: all that was durable, and perhaps one batch more."""
        known = len(self.entries)
        if list(entries[:known]) != self.entries:
            self.broken(f"the ledger lost or changed entries: {known} were durable, {len(entries)} are there")
        for entry in entries[known:]:
            self.entries.append(entry)
            self._take_in(entry)

    def _take_in(self, entry: bytes) -> None:
        event = decode(entry)
        if event.at_ms < self.latest_ms:
            self.broken(f"time goes back by {self.latest_ms - event.at_ms} ms in entry {len(self.entries) - 1}")
        self.latest_ms = max(self.latest_ms, event.at_ms)
        self.guarantee.take_in(event)
        match event:
            case NationApplied():
                self.nation = event.nation
                declared = {name for _, group in event.nation.node_groups() for name in group.node_names()}
                self.node_state = {name: state for name, state in self.node_state.items() if name in declared}
            case JobSubmitted():
                if event.job in self.submitted:
                    self.broken(f"{event.job} was accepted twice")
                self.submitted[event.job] = event
            case Planned():
                for decision in event.plan.decisions:
                    self._decided(decision)
            case AttemptEnded():
                self._attempt_ended(event)
            case CancelRequested():
                self.cancelled.add(event.job)
            case TokenIssued():
                self.tokens.add(event.token)
            case NodeChanged():
                self.node_state[event.node] = event.state
                self.node_states.setdefault(event.node, {"up"}).add(event.state)
            case SiteContactChanged():
                self.lost_sites -= {event.site}
                self.lost_sites |= {event.site} if event.contact is SiteContact.LOST else set()
            case _:
                pass

    def _decided(self, decision: Decision) -> None:
        name = f"{decision.job}.{decision.attempt}" if not isinstance(decision, Claim) else ""
        held = self.open.get(decision.job)
        match decision:
            case Start():
                self._check_start(decision, name)
                self.open[decision.job] = Held(decision)
                self.started[name] = decision
                self._check_limits(decision)
            case Warn():
                self.warned.add(name)
                if held:
                    held.gives_way = True
            case Spare():
                if held:
                    held.gives_way = False
            case Stop():
                self.stopped.add(name)
                if held:
                    held.gives_way = True
            case Claim():
                pass

    def _attempt_ended(self, event: AttemptEnded) -> None:
        held = self.open.pop(event.job, None)
        if held is None or held.start.attempt != event.attempt:
            self.broken(f"{event.job}.{event.attempt} ended, but was not open")
        if event.outcome is Outcome.SUCCEEDED and self.exit_codes.get(f"{event.job}.{event.attempt}") != 0:
            self.broken(f"{event.job}.{event.attempt} is said to have succeeded, and did not")
        self.over.add(f"{event.job}.{event.attempt}")

    def _check_start(self, start: Start, name: str) -> None:
        template, _ = split_copy(start.job)
        asked = self.submitted.get(template)
        if asked is None:
            self.broken(f"{name} starts, but {template} was never accepted")
            return
        if name in self.started:
            self.broken(f"{name} is started twice")
        if start.job in self.open:
            self.broken(f"{name} starts while {self.open[start.job].start.attempt} is open")
        if start.site not in asked.sites:
            self.broken(f"{name} starts at {start.site}, which no policy decision allows")
        self._check_data(start, asked)
        if start.site in self.lost_sites:
            self.broken(f"{name} starts at {start.site}, which is out of contact")
        for placement in start.placements:
            if self.node_state.get(placement.node, "up") != "up":
                self.broken(f"{name} starts on {placement.node}, which is {self.node_state[placement.node]}")
        for job, held in self.open.items():
            if any(_overlap(mine, theirs) for mine in start.placements for theirs in held.start.placements):
                self.broken(f"{name} gets a GPU that {job}.{held.start.attempt} has")

    def _check_data(self, start: Start, asked: JobSubmitted) -> None:
        """No byte is read where it may not be. Agreements may change after a job was accepted; nations here do not."""
        owner = asked.project.partition("-")[0]
        for dataset in self.nation.datasets:
            if dataset.name in asked.data:
                if start.site not in dataset.sites:
                    self.broken(f"{start.job} reads {dataset.name} at {start.site}, which has no copy")
                if owner not in (dataset.owner, *dataset.readers):
                    self.broken(f"{start.job} reads {dataset.name}, and {owner} may not")
                if asked.purpose not in {each.value for each in dataset.purposes}:
                    self.broken(f"{start.job} reads {dataset.name} for {asked.purpose}")

    def _check_limits(self, start: Start) -> None:
        """No share uses more than its limit once those that give way have gone."""
        used: dict[str, int] = {}
        for job, held in self.open.items():
            if held.start.gpu_class == start.gpu_class and not held.gives_way:
                for share in self._path(job):
                    used[share] = used.get(share, 0) + _milli(held.start.placements)
        for name in self._path(start.job):
            limits = [
                self.nation.amount(each, start.gpu_class).limit_milli
                for each in self.nation.shares
                if each.name == name
            ]
            if used[name] > min(limits):
                self.broken(f"{name} uses {used[name]} thousandths with {start.job}, its limit is {min(limits)}")

    def _path(self, job: str) -> tuple[str, ...]:
        share = self.nation.share_of(self.submitted[split_copy(job)[0]].project)
        return self.nation.share_path(share.name) if share else ()

    # Answers.

    def answered(self, request: Request, reply: Reply) -> None:
        """An answer leaves the platform: whatever it says must be durable by now."""
        match request, reply:
            case SubmitJob(), Submitted():
                self._accepted(request, reply)
            case CancelJob(), _ if not hasattr(reply, "code"):
                if not any(job in self.cancelled for job in (request.job, split_copy(request.job)[0])):
                    self.broken(f"{request.job} is said to be cancelled, but that is not durable")
            case ApplyNation(), NationStands():
                if reply.changes and reply.applied and not self.nation.sites:
                    self.broken("a nation is said to be applied, but that is not durable")
            case ChangeNode(), NodeStands():
                if request.state not in self.node_states.get(request.node, {"up"}):
                    self.broken(f"{request.node} is said to be {request.state}, but that is not durable")
            case _, TokenIssuedOnce():
                if reply.card.id not in self.tokens:
                    self.broken(f"the token {reply.card.id} was shown, but is not durable")
            case _:
                pass

    def _accepted(self, request: SubmitJob, reply: Submitted) -> None:
        for job in reply.jobs:
            if job not in self.submitted:
                self.broken(f"{job} was accepted with an answer, but is not durable")
        if not request.key:
            return
        key = (request.caller.id, request.key)
        before = self.answers.setdefault(key, (request.digest, reply.jobs))
        if before != (request.digest, reply.jobs):
            self.broken(f"the key {request.key} was answered with {before[1]} and with {reply.jobs}")

    # Engines.

    def ordered(self, engine: SimulatedEngine, order: str, attempt_id: str) -> None:
        """No engine is told anything that is not durable."""
        job, _, attempt = attempt_id.rpartition(".")
        held = self.open.get(job)
        is_open = held is not None and held.start.attempt == int(attempt)
        if order == "start" and attempt_id not in self.started:
            self.broken(f"{attempt_id} is sent to {engine.site} before its start is durable")
        if order == "warn" and attempt_id not in self.warned:
            self.broken(f"{attempt_id} is warned before that is durable")
        if order == "stop" and is_open and attempt_id not in self.stopped:
            self.broken(f"{attempt_id} is stopped before that is durable")
        if order == "forget" and is_open:
            self.broken(f"{attempt_id} is forgotten though it is open")

    def began(self, engine: SimulatedEngine, attempt: Attempt) -> None:
        """Processes run: those of no other attempt of the job, and on GPUs that nobody else's use."""
        job = attempt.name.rpartition(".")[0]
        if attempt.name in self.ran:
            self.broken(f"{attempt.name} ran before")
        if attempt.name in self.over:
            self.broken(f"{attempt.name} begins though it is over")
        self.ran.add(attempt.name)
        for name, (other_engine, other) in self.running.items():
            if name.rpartition(".")[0] == job:
                self.broken(f"{attempt.name} runs while {name} does")
            pairs = [(mine, theirs) for mine in attempt.launch.placements for theirs in other.launch.placements]
            if other_engine is engine and any(_overlap(mine, theirs) for mine, theirs in pairs):
                self.broken(f"{attempt.name} runs on GPUs that {name} uses")
        self.running[attempt.name] = (engine, attempt)

    def ended(self, engine: SimulatedEngine, attempt: Attempt) -> None:
        """Processes are gone."""
        self.running.pop(attempt.name, None)
        if isinstance(attempt.last, Ended):
            self.exit_codes[attempt.name] = attempt.last.exit_code


def _milli(placements: Sequence[Placement]) -> int:
    return sum(len(each.gpus) * each.milli for each in placements)


def _overlap(one: Placement, other: Placement) -> bool:
    """True when two placements have more of one GPU than it has."""
    shared = set(one.gpus) & set(other.gpus)
    if one.node != other.node or not shared:
        return False
    if one.slices or other.slices:
        return not (one.slices and other.slices) or bool(set(one.slices) & set(other.slices))
    return one.milli + other.milli > WHOLE_GPU
