"""One step while it is being made: what it will write, send and answer, applied to the world as it goes."""

from __future__ import annotations

import copy
from functools import partial

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


class Draft:
    """Collects a step. `record` is the only way to make an event: everything made from events follows at once."""

    def __init__(self, history: History, now_ms: int) -> None:
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
        self._news: list[Change] = []
        self.world.touched.clear()

    def record(self, event: AnyEvent) -> None:
        """Something happened."""
        if isinstance(event, AttemptEnded):
            # The card forgets its GPUs when the attempt ends, so the record is made just before.
            self.rows.append(self._attempt_row(self.world.jobs[event.job], event))
        self.events.append(event)
        if isinstance(event, OversightEvent):
            self.register.apply(event)
            return
        self.world.apply(event)
        self.books.apply(event)
        self.lending.apply(event)
        self.orders.extend(self.outputs.note(self.world))
        if isinstance(event, JobSubmitted):
            self.register.note_use(event)
        if isinstance(event, NationApplied):
            self._tell("nation", {})
        elif isinstance(event, NodeChanged):
            self._tell("node", {"node": event.node, "state": event.state, "reason": event.reason.value})

    def record_plan(self, plan: Plan) -> None:
        """The kernel decided, and has already put it into effect on the world."""
        event = Planned(at_ms=self.now_ms, plan=plan)
        self.events.append(event)
        self.books.apply(event)
        self.lending.apply(event)
        self.orders.extend(self.outputs.note(self.world))
        for decision in plan.decisions:
            if isinstance(decision, Start):
                self.rows.append(self._attempt_row(self.world.jobs[decision.job], None))

    def finish(self, spec_of: SpecOf) -> Step:
        """Write the rows of every job that changed, and say what watchers will be told."""
        cards = [self.world.jobs[job] for job in sorted(self.world.touched, key=_by_number) if job in self.world.jobs]
        self.rows.extend(Row("jobs", card.job, _JSON.encode(card)) for card in cards)
        self._news.extend(self._change(card, spec_of) for card in cards)
        return Step(
            at_ms=self.now_ms,
            events=self.events,
            rows=self.rows,
            orders=self.orders,
            answers=self.answers,
            changes=tuple(self._news),
        )

    def _tell(self, name: str, body: dict[str, str]) -> None:
        data = _JSON.encode(body)
        self._news.append(Change(name=name, organisation="", full=lambda: data, public=lambda: data))

    def _change(self, card: JobCard, spec_of: SpecOf) -> Change:
        # The card goes on changing, but watchers are told how it was after this step.
        line = partial(_line, self.world, copy.copy(card), spec_of)
        organisation = self._organisation_of(card)
        return Change(
            name="job", organisation=organisation, full=partial(line, EVERYTHING), public=partial(line, PUBLIC)
        )

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


def _line(world: World, card: JobCard, spec_of: SpecOf, viewer: Viewer) -> bytes:
    return _JSON.encode(job_line(world, card, viewer, spec_of))


def _by_number(job: str) -> tuple[int, str]:
    """Jobs in the order in which they were made: `j9` before `j10`."""
    return len(job), job
