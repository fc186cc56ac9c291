"""One step while it is being made: what it will write, send and answer, applied to the world as it goes."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from dure.control.attempts import attempt_id
from dure.control.feed import Change
from dure.control.history import History
from dure.control.orders import Order
from dure.control.ports import Row
from dure.control.requests import Reply
from dure.model.events import AnyEvent, AttemptEnded, JobSubmitted, NationApplied, NodeChanged, Planned
from dure.model.oversight import OversightEvent
from dure.model.plan import Plan, Start
from dure.reports.jobs import SpecOf, job_line
from dure.reports.usage import Attempt
from dure.reports.viewer import EVERYTHING, PUBLIC, Viewer
from dure.world.cards import JobCard
from dure.world.world import World

_JSON = msgspec.json.Encoder()
_CARD = msgspec.json.Decoder(JobCard)


class Step(Struct, kw_only=True):
    """All that one step leads to. Nothing of it may be seen outside before `events` and `rows` are durable."""

    at_ms: int
    events: list[AnyEvent]
    rows: list[Row]
    orders: list[Order]
    answers: list[Reply]
    """One per request, in the order of the requests."""
    changes: tuple[Change, ...] = ()

    @property
    def must_be_kept(self) -> bool:
        """True when there is something to make durable."""
        return bool(self.events or self.rows)


class Lines:
    """Makes lines of lists from cards as they were written down."""

    def __init__(self, world: World, spec_of: SpecOf) -> None:
        self._world = world
        self._spec_of = spec_of

    def of(self, card: bytes, viewer: Viewer) -> bytes:
        """What the viewer sees of a job in a list, as JSON."""
        return _JSON.encode(job_line(self._world, _CARD.decode(card), viewer, self._spec_of))


class JobChange(Struct, frozen=True):
    """A job changed. The card goes on changing, but watchers are told how it was after this step."""

    organisation: str
    card: bytes
    lines: Lines

    @property
    def name(self) -> str:
        """What changed."""
        return "job"

    def full(self) -> bytes:
        """The job's line as its own organisation sees it."""
        return self.lines.of(self.card, EVERYTHING)

    def public(self) -> bytes:
        """The job's line as everybody sees it."""
        return self.lines.of(self.card, PUBLIC)


class PublicChange(Struct, frozen=True):
    """Something changed that everybody may know."""

    name: str
    body: bytes
    organisation: str = ""

    def full(self) -> bytes:
        """What everybody is told."""
        return self.body

    def public(self) -> bytes:
        """What everybody is told."""
        return self.body


class Draft:
    """Collects a step. `record` is the only way to make an event: everything made from events follows at once.

    Only submissions wait until somebody looks: many are quicker taken in together.
    """

    def __init__(self, history: History, now_ms: int, kept_answers: dict[str, bytes]) -> None:
        self.world = history.world
        self.books = history.books
        self.lending = history.lending
        self.outputs = history.outputs
        self.register = history.register
        self.now_ms = now_ms
        self.events: list[AnyEvent] = []
        self.rows: list[Row] = []
        self.orders: list[Order] = []
        self.answers: list[Reply] = []
        self.kept_answers = kept_answers
        """Bodies of `requests` rows that this step asks about: those that were there, and those it writes."""
        self._news: list[Change] = []
        self._submitted: list[JobSubmitted] = []
        self.world.touched.clear()

    def record(self, event: AnyEvent) -> None:
        """Something happened."""
        if isinstance(event, JobSubmitted):
            self._submitted.append(event)
            return
        self.settle()
        if isinstance(event, AttemptEnded):
            # The card forgets its GPUs when the attempt ends, so the record is made just before.
            self.rows.append(self._attempt_row(self.world.jobs[event.job], event))
        self.events.append(event)
        if isinstance(event, OversightEvent):
            self.register.apply(event)
            self.orders.extend(self.outputs.follow(event))
            return
        self.world.apply(event)
        self.books.apply(event)
        self.lending.apply(event)
        self.orders.extend(self.outputs.note(self.world, self.register))
        if isinstance(event, NationApplied):
            self._tell("nation", {})
        elif isinstance(event, NodeChanged):
            self._tell("node", {"node": event.node, "state": event.state, "reason": event.reason.value})

    def settle(self) -> None:
        """Have everything follow the submissions that were recorded last: somebody is about to look."""
        if not self._submitted:
            return
        submitted, self._submitted = self._submitted, []
        self.events.extend(submitted)
        self.world.submit(submitted)
        for event in submitted:
            self.books.apply(event)
            self.lending.apply(event)
            self.register.note_use(event)

    def record_plan(self, plan: Plan) -> None:
        """The kernel decided, and has already put it into effect on the world."""
        event = Planned(at_ms=self.now_ms, plan=plan)
        self.events.append(event)
        self.books.apply(event)
        self.lending.apply(event)
        self.orders.extend(self.outputs.note(self.world, self.register))
        for decision in plan.decisions:
            if isinstance(decision, Start):
                self.rows.append(self._attempt_row(self.world.jobs[decision.job], None))

    def finish(self, spec_of: SpecOf) -> Step:
        """Write the rows of jobs that are over, and say of every job that changed what watchers will be told."""
        assert not self._submitted, "the decision was made without these jobs"
        lines = Lines(self.world, spec_of)
        for job in sorted(self.world.touched, key=_by_number):
            if (card := self.world.jobs.get(job)) is not None:
                body = _JSON.encode(card)
                if card.state.is_final:
                    # Until then the world has it, and after a crash the entries give it back.
                    self.rows.append(Row("jobs", job, body))
                self._news.append(JobChange(self._organisation_of(card), body, lines))
        return Step(
            at_ms=self.now_ms,
            events=self.events,
            rows=self.rows,
            orders=self.orders,
            answers=self.answers,
            changes=tuple(self._news),
        )

    def _tell(self, name: str, body: dict[str, str]) -> None:
        self._news.append(PublicChange(name, _JSON.encode(body)))

    def _attempt_row(self, card: JobCard, ended: AttemptEnded | None) -> Row:
        record = Attempt(
            job=card.job,
            attempt=card.attempt,
            project=card.submitted.project,
            organisation=self._organisation_of(card),
            gpu_class=card.gpu_class,
            gpus_milli=card.gpus_milli,
            started_at_ms=self.now_ms if card.started_at_ms is None else card.started_at_ms,
            ended_at_ms=ended.at_ms if ended else None,
            borrowed=card.borrowed,
            outcome=ended.outcome if ended else "",
        )
        return Row("attempts", attempt_id(card.job, card.attempt), _JSON.encode(record))

    def _organisation_of(self, card: JobCard) -> str:
        owner = self.world.nation.organisation_of(card.submitted.project)
        return owner.name if owner else ""


def _by_number(job: str) -> tuple[int, str]:
    """Jobs in the order in which they were made: `j9` before `j10`."""
    return len(job), job
