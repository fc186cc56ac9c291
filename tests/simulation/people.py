"""Members and operators: they ask, and when no answer comes they ask again under the same key."""

from __future__ import annotations

import random

from msgspec import Struct

from dure.control.access import PLATFORM, Caller, Role
from dure.control.preview import preview
from dure.control.requests import (
    ApplyNation,
    CancelJob,
    ChangeNode,
    IssueToken,
    NotDone,
    NotDoneCode,
    Reply,
    Request,
    RevokeToken,
    StoreSecret,
    SubmitJob,
    Submitted,
    TokenIssuedOnce,
)
from dure.intake.nationfile import nation_from_document
from dure.intake.refusals import BadInput, Refusal
from tests.simulation import documents
from tests.simulation.documents import Document
from tests.simulation.faults import Faults
from tests.simulation.invariants import Invariants
from tests.simulation.scheduler import SECOND_US, Scheduler
from tests.simulation.server import Server, read_job

PATIENCE_US = 10 * SECOND_US
NETWORK_US = 20_000
BORROWERS = 0.6
"""Of all who crowd in."""


class Sent(Struct):
    """A request on its way: what was asked, under which key, and whether it is settled."""

    request: Request
    key: str = ""
    tries: int = 0
    is_settled: bool = False


class People:
    """Everybody who asks the platform for something."""

    def __init__(
        self, scheduler: Scheduler, faults: Faults, server: Server, invariants: Invariants, nation: Document
    ) -> None:
        self.scheduler = scheduler
        self.faults = faults
        self.server = server
        self.invariants = invariants
        self.chance: random.Random = scheduler.stream("people")
        self.nation = nation
        self.jobs: list[str] = []
        self.tokens: list[str] = []
        self.submitted: list[SubmitJob] = []
        self.open = 0
        self._made = 0
        self.crowd_chance = scheduler.stream("crowd")
        self._in_the_crowd = 0

    @property
    def projects(self) -> list[str]:
        return [project for each in self.nation["organisations"] for project in each["projects"]]

    # What they ask.

    def apply_nation(self, document: Document) -> None:
        """An operator applies a nation document."""
        try:
            nation = nation_from_document(document)
        except BadInput:
            return
        self.nation = document
        self.send(ApplyNation(caller=PLATFORM, nation=nation))

    def do_something(self) -> None:
        """One person does one thing."""
        match self.chance.choices(range(8), [40, 8, 3, 4, 2, 4, 3, 2])[0]:
            case 0:
                self.submit()
            case 1:
                self.cancel()
            case 2:
                self.apply_nation(documents.changed_nation(self.chance, self.nation))
            case 3:
                self.change_node()
            case 4:
                self.issue_or_revoke()
            case 5:
                self.submit_again()
            case 6:
                self.store_secret()
            case _:
                self.look_around()

    def submit(self) -> None:
        """A member submits a job, which may be nonsense."""
        self._made += 1
        project = self.chance.choice(self.projects)
        now_ms = self.server.wall.read_ms()
        document = documents.job_document(self.chance, self._made, project, now_ms, self.jobs)
        if self.chance.random() < 0.1:
            document = documents.spoilt(self.chance, document)
        kind, body = documents.as_text(self.chance, document)
        key = f"key-{self._made}" if self.chance.random() < 0.8 else ""
        request = read_job(kind, body, self._member(project), key)
        if isinstance(request, BadInput):
            self.scheduler.note("people", f"job-{self._made} cannot be read")
            return
        self.submitted.append(request)
        self.send(request)

    def crowd(self) -> None:
        """Some borrow whatever is idle, and the others want their own back."""
        self._in_the_crowd += 1
        chance, number = self.crowd_chance, self._in_the_crowd
        *owners, borrower = [each["projects"] for each in self.nation["organisations"]]
        gpu_class = chance.choice(sorted(self.nation["gpu_classes"]))
        if chance.random() < BORROWERS:
            document = documents.borrowing_job(chance, number, chance.choice(borrower), gpu_class)
        else:
            document = documents.owners_job(chance, number, chance.choice(chance.choice(owners)), gpu_class)
        kind, body = documents.as_text(chance, document)
        request = read_job(kind, body, self._member(document["project"]), f"crowd-{number}")
        assert not isinstance(request, BadInput), document
        self.send(request)

    def submit_again(self) -> None:
        """Somebody sends an old request again, or another one under its key."""
        again = [each for each in self.submitted if each.key]
        if not again:
            return
        request = self.chance.choice(again)
        if self.chance.random() < 0.3:
            other = self.chance.choice(again)
            request = SubmitJob(caller=request.caller, spec=other.spec, key=request.key, digest=other.digest)
        self.send(request)

    def cancel(self) -> None:
        """Somebody cancels a job: their own, or not."""
        if self.jobs:
            job = self.chance.choice(self.jobs)
            caller = PLATFORM if self.chance.random() < 0.8 else self._member(self.chance.choice(self.projects))
            self.send(CancelJob(caller=caller, job=job))

    def change_node(self) -> None:
        """An operator takes a node out of service, or back."""
        nodes = self._nodes()
        state = self.chance.choice(["up", "up", "up", "cordoned", "drained", "down"])
        self.send(ChangeNode(caller=PLATFORM, node=self.chance.choice(nodes), state=state))

    def issue_or_revoke(self) -> None:
        """An operator makes a token, or takes one back."""
        if self.tokens and self.chance.random() < 0.5:
            self.send(RevokeToken(caller=PLATFORM, token=self.chance.choice(self.tokens)))
        else:
            self.send(IssueToken(caller=PLATFORM, role=Role.OPERATOR))

    def store_secret(self) -> None:
        """A member stores a secret of a project, theirs or not."""
        project = self.chance.choice(self.projects)
        caller = self._member(project if self.chance.random() < 0.8 else self.chance.choice(self.projects))
        value = self.chance.randbytes(8).hex().encode()
        self.send(StoreSecret(caller=caller, project=project, name="TOKEN", value=value))

    def look_around(self) -> None:
        """Somebody asks what would happen; that changes nothing."""
        life = self.server.life
        if life is not None and life.is_ready and self.submitted:
            wanted = self.chance.choice(self.submitted)
            try:
                preview(life.control.memory, wanted.caller, wanted.spec, life.clock.now_ms())
            except Exception as error:
                self.invariants.broken(f"a preview raised {error!r}")

    def bring_everything_back(self) -> None:
        """At the end, operators put every node into service, and services end."""
        for node in self._nodes():
            self.send(ChangeNode(caller=PLATFORM, node=node, state="up"))
        life = self.server.life
        for card in list(life.control.world.jobs.values()) if life else []:
            if card.submitted.replicas is not None and not card.template:
                self.send(CancelJob(caller=PLATFORM, job=card.job))

    # How they ask.

    def send(self, request: Request) -> None:
        """Send a request, and again until there is an answer, if it has a key or changes nothing the second time."""
        sent = Sent(request=request, key=request.key if isinstance(request, SubmitJob) else "")
        self.open += 1
        self._try(sent)

    def _try(self, sent: Sent) -> None:
        if sent.is_settled:
            return
        sent.tries += 1
        self.scheduler.after(self.chance.randint(1, NETWORK_US), lambda: self._arrive(sent))
        self.scheduler.after(PATIENCE_US + self.chance.randint(0, PATIENCE_US), lambda: self._lose_patience(sent))

    def _arrive(self, sent: Sent) -> None:
        if not self.server.ask(sent.request, lambda reply: self._answered(sent, reply)):
            self.scheduler.note("people", f"find nobody for {_about(sent)}")

    def _answered(self, sent: Sent, reply: Reply) -> None:
        """The answer leaves the platform; from here on it is bound by it."""
        self.invariants.answered(sent.request, reply)
        if self.faults.strikes("answer-lost-by-network"):
            self.scheduler.fault("answer-lost-by-network", "people", _about(sent))
            return
        self.scheduler.after(self.chance.randint(1, NETWORK_US), lambda: self._hear(sent, reply))

    def _hear(self, sent: Sent, reply: Reply) -> None:
        if sent.is_settled or (isinstance(reply, NotDone) and reply.code is NotDoneCode.UNAVAILABLE):
            return
        self._settle(sent)
        self.scheduler.note("people", f"hear about {_about(sent)}: {_said(reply)}")
        if isinstance(reply, Submitted):
            self.jobs.extend(job for job in reply.jobs if job not in self.jobs)
        elif isinstance(reply, TokenIssuedOnce):
            self.tokens.append(reply.card.id)

    def _lose_patience(self, sent: Sent) -> None:
        if sent.is_settled:
            return
        if isinstance(sent.request, SubmitJob) and not sent.key:
            self._settle(sent)  # Without a key, sending it again could make a second job.
        else:
            self._try(sent)

    def _settle(self, sent: Sent) -> None:
        sent.is_settled = True
        self.open -= 1

    def _member(self, project: str) -> Caller:
        owner = project.partition("-")[0]
        return Caller(id=f"t-{owner}", role=Role.MEMBER, organisation=owner)

    def _nodes(self) -> list[str]:
        groups = [group for site in self.nation["sites"] for group in site["nodes"]]
        return [f"{group['name']}-{number:04d}" for group in groups for number in range(group["count"])]


def _about(sent: Sent) -> str:
    request = sent.request
    match request:
        case SubmitJob():
            return f"{request.spec.name} {request.key}".strip()
        case CancelJob():
            return f"cancel {request.job}"
        case ChangeNode():
            return f"{request.node} {request.state}"
        case _:
            return type(request).__name__


def _said(reply: Reply) -> str:
    match reply:
        case Submitted():
            return f"accepted as {', '.join(reply.jobs)}"
        case Refusal() | NotDone():
            return str(reply.code)
        case _:
            return type(reply).__name__
