"""The world's state: a row of the columns and a card for every job, kept side by side, with what is due and when."""

from __future__ import annotations

import copy as copying
from collections import deque
from collections.abc import Sequence
from typing import Self

import numpy as np
from msgspec.structs import replace

from dure.model.jobs import JobState
from dure.model.nation import Nation
from dure.model.plan import Decision, Plan, Reserved
from dure.world import building, templates, transitions
from dure.world.agenda import Agenda
from dure.world.atlas import Atlas
from dure.world.cards import LONGEST_TIMELINE, Copies, JobCard, Moment, MomentCode
from dure.world.columns import CLAIMED, NONE, SPENT, Columns, Integers
from dure.world.templates import copy_name, split_copy

FINAL_JOBS_KEPT = 10_000
FIRST_ROOM = 1_024


class State:
    """Columns for the kernel and cards for people, which say the same of every job at any time."""

    columns: Columns
    atlas: Atlas
    jobs: dict[str, JobCard]
    """Every job that is not final, and the latest ten thousand final ones."""
    touched: set[str]
    """Jobs whose card changed since whoever follows them last cleared this."""
    ended: list[str]
    """Jobs that the latest event or plan brought to their end."""
    now_ms: int
    """Time of the last event or decision."""
    reserved: tuple[Reserved, ...]
    """The starts that plans told to be reserved for waiting jobs."""
    suspect_until_ms: dict[str, int]
    """Nodes that are set aside as suspect, and when their probation is over."""
    lost_sites: dict[str, str]
    """Sites whose engines are out of contact, and what is wrong."""
    accused: dict[int, None]
    """Nodes on which attempts ended badly, so that they may have become suspect."""
    ranks: int
    """Ranks of all jobs that are not final."""

    def __init__(self) -> None:
        self.atlas = Atlas(Nation())
        self.columns = building.build(self.atlas.shape(), FIRST_ROOM)
        self.jobs = {}
        self.touched = set()
        self.ended = []
        self.now_ms = 0
        self.submitted = 0
        self.reserved = ()
        self.ranks = 0
        self._job_at_row = [""] * FIRST_ROOM
        self._services: dict[str, None] = {}
        self._final: deque[str] = deque()
        self._held: dict[str, None] = {}
        """Jobs that wait for others to succeed."""
        self.accused = {}
        self.suspect_until_ms = {}
        self.lost_sites = {}
        self._releases = Agenda()
        """Held jobs by the time at which they may queue."""
        self._last_calls = Agenda()
        """Waiting jobs by the last moment at which they may start."""
        self._shared_cards: set[str] = set()

    @property
    def nation(self) -> Nation:
        """What the operators declared last."""
        return self.atlas.nation

    # Rows.

    def new_row(self, job: str) -> int:
        """A row for a new job."""
        self.make_room()
        row = int(templates.take_row(self.columns))
        self._job_at_row[row] = job
        return row

    def new_rows(self, jobs: Sequence[str]) -> Integers:
        """Rows for several new jobs, the same that each would get by itself."""
        rows = np.empty(len(jobs), dtype=np.int64)
        taken = 0
        while taken < len(rows):
            self.make_room()
            taken += int(templates.take_rows(self.columns, rows[taken:]))
        for row, job in zip(rows.tolist(), jobs, strict=True):
            self._job_at_row[row] = job
        return rows

    def make_room(self) -> None:
        """Have a free row."""
        # By field and then by row: the other way round takes ten times as long, and this is asked for every job.
        if self.columns.counters["first_free_job"][0] == NONE:
            self.grow()

    def grow(self) -> None:
        """Have room for more tasks and replicas, when the kernel found none."""
        self.columns = building.with_more_room(self.columns)
        self._job_at_row.extend([""] * (len(self.columns.jobs) - len(self._job_at_row)))

    def _give_row_back(self, card: JobCard) -> None:
        if card.row == NONE:
            return
        if card.template:
            templates.leave_copies(self.columns, card.row)
        if card.copies is not None:
            templates.retire(self.columns, card.row)
        templates.give_row_back(self.columns, card.row)
        self.ranks -= card.submitted.nodes
        self._job_at_row[card.row] = ""
        card.row = NONE

    @property
    def rows(self) -> int:
        """Rows of the columns' jobs, in use or free."""
        return len(self._job_at_row)

    def taken_rows(self) -> list[int]:
        """Rows that stand for a job, lowest first."""
        return [row for row, job in enumerate(self._job_at_row) if job]

    def job_at(self, row: int) -> str:
        """Id of the job in a row of the columns."""
        return self._job_at_row[row]

    def jobs_on(self, node: int) -> list[int]:
        """Rows of the jobs that hold or claim GPUs of a node."""
        rows = []
        at = int(self.columns.nodes[node].first_allocation)
        while at != NONE:
            rows.append(int(self.columns.allocations[at].job))
            at = int(self.columns.allocations[at].next_of_node)
        return rows

    def claiming(self) -> list[JobCard]:
        """Jobs that wait for GPUs which are being given back to them, in no particular order."""
        rows = np.flatnonzero(self.columns.jobs["state"][: self.rows] == CLAIMED)
        return [self.jobs[self._job_at_row[row]] for row in rows.tolist()]

    # Cards.

    def card_to_change(self, job: str) -> JobCard:
        """A card that may be changed."""
        card = self.jobs[job]
        if job in self._shared_cards:
            card = copying.copy(card)
            card.timeline = list(card.timeline)
            self.jobs[job] = card
            self._shared_cards.discard(job)
        return card

    def move(self, card: JobCard, moment: Moment) -> None:
        """A job takes the next step of its life."""
        if card.template:
            self._count_move(card, moment.state)
        card.state = moment.state
        if card.submitted.not_after_ms or card.submitted.deadline_ms:
            self._note_last_call(card)
        card.timeline.append(moment)
        if len(card.timeline) > LONGEST_TIMELINE:
            del card.timeline[1]
        self.touched.add(card.job)

    def _note_last_call(self, card: JobCard) -> None:
        must_start_by_ms = card.must_start_by_ms
        if card.state.is_waiting and must_start_by_ms is not None:
            self._last_calls.put(card.job, must_start_by_ms)
        else:
            self._last_calls.drop(card.job)

    def release_at(self, card: JobCard, at_ms: int) -> None:
        """Hold a job until then."""
        card.release_at_ms = at_ms
        self._releases.put(card.job, at_ms)

    def has_succeeded(self, job: str) -> bool:
        """True when nobody needs to wait for a job any more.

        Also of what is long forgotten: whoever waited for a job that failed was cancelled there and then.
        """
        card = self.jobs.get(job)
        return card.state is JobState.SUCCEEDED if card is not None else self.not_begun(job) is None

    def finish(self, card: JobCard, moment: Moment) -> None:
        """A job is over: its row is free, and its card is kept for a while."""
        if moment.what is MomentCode.CANCELLED and card.forbidden_by:
            moment = replace(moment, what=MomentCode.NO_LONGER_ALLOWED, detail=", ".join(card.forbidden_by))
        card.ended_at_ms = moment.at_ms
        card.placements, card.claimant = (), ""
        self._held.pop(card.job, None)
        self._releases.drop(card.job)
        if moment.what is not MomentCode.SCALED_DOWN:
            self.look_at_service_of(card, moment.at_ms)
        self._give_row_back(card)
        self.move(card, moment)
        self._final.append(card.job)
        self.ended.append(card.job)
        if card.template:
            self.finish_with_last_copy(card.template, moment.at_ms)
        if len(self._final) > FINAL_JOBS_KEPT:
            old = self._final.popleft()
            self.jobs.pop(old, None)

    # Arrays and services.

    def row_of(self, decision: Decision) -> int:
        """The row of the job decided on. A task or replica that begins gets its own here."""
        if decision.job not in self.jobs:
            self._make_room_for_copy(decision.job)
            template, _ = split_copy(decision.job)
            self.begin_copy(int(templates.next_copy(self.columns, self.jobs[template].row)))
        return self.jobs[decision.job].row

    def _make_room_for_copy(self, job: str) -> None:
        template, _ = split_copy(job)
        while templates.lacks_room_for_one(self.columns, self.jobs[template].row):
            self.grow()

    def begin_copy(self, row: int) -> None:
        """A task or replica that the kernel made gets its name and its card."""
        if self._job_at_row[row]:
            return
        record = self.columns.jobs[row]
        template = self._job_at_row[int(record.template)]
        submitted = self.jobs[template].submitted
        job = copy_name(template, int(record.number))
        self._job_at_row[row] = job
        self.jobs[job] = JobCard(job=job, submitted=submitted, row=row, state=JobState.QUEUED, template=template)
        self.ranks += submitted.nodes
        self.count_begun(template)

    def card_of(self, job: str) -> JobCard | None:
        """The card of a job, also of a task that has none of its own yet; None when there is no such job (any more)."""
        return self.jobs.get(job) or self.not_begun(job)

    def not_begun(self, job: str) -> JobCard | None:
        """What a task of an array will look like that waits for its first start; None when there is no such task."""
        name, number = split_copy(job)
        card = self.jobs.get(name)
        if number == NONE or card is None or card.state.is_final or card.submitted.array is None:
            return None
        begins = int(self.columns.jobs[card.row].number)
        if card.cancel_requested or not begins <= number <= card.submitted.array.last:
            return None
        state = JobState.HELD if card.state is JobState.HELD else JobState.QUEUED
        return JobCard(job=job, submitted=card.submitted, row=card.row, state=state, template=name)

    def active_copies(self, card: JobCard) -> list[str]:
        """Tasks or replicas that have begun and are not over, oldest first."""
        jobs, rows = self.columns.jobs, []
        at = int(jobs[card.row].first_copy)
        while at != NONE:
            rows.append(at)
            at = int(jobs[at].next_copy)
        return [self._job_at_row[row] for row in reversed(rows)]

    def _copies_of(self, card: JobCard) -> Copies:
        assert card.copies is not None, f"{card.job} is neither an array nor a service"
        return card.copies

    def count_begun(self, template: str) -> None:
        """One more task or replica has a card of its own."""
        card = self.card_to_change(template)
        copies = self._copies_of(card)
        total = copies.total + (card.submitted.replicas is not None)
        card.copies = replace(copies, begun=copies.begun + 1, total=total)

    def _count_move(self, card: JobCard, after: JobState) -> None:
        """Keep an array's or service's counts when one of its tasks or replicas goes on."""
        template = self.card_to_change(card.template)
        counts = {name: getattr(template.copies, name) for name in ("running", "succeeded", "failed", "cancelled")}
        for state, change in ((card.state, -1), (after, 1)):
            name = state.value if state.is_final else "running" if not state.is_waiting else ""
            if name:
                counts[name] += change
        template.copies = replace(self._copies_of(template), **counts)
        self.touched.add(template.job)

    def show_array(self, card: JobCard, at_ms: int) -> None:
        """Have the card of an array say when all its tasks have started. A service is never done with starting."""
        if card.submitted.array is None or card.state is not JobState.QUEUED or card.template:
            return
        if self.columns.jobs[card.row].state == SPENT:
            self.move(card, Moment(at_ms, JobState.RUNNING, MomentCode.ALL_STARTED))

    def show_arrays(self, plan: Plan) -> None:
        """Have the arrays of which a plan started the last task say so."""
        for job in dict.fromkeys(split_copy(decision.job)[0] for decision in plan.decisions):
            card = self.jobs.get(job)
            if card is not None and card.copies is not None:
                self.show_array(self.card_to_change(job), plan.at_ms)

    def finish_with_last_copy(self, template: str, at_ms: int) -> None:
        """An array is over with its last task; a service that was cancelled, with its last replica."""
        card = self.card_to_change(template)
        copies = self._copies_of(card)
        if card.state.is_final or copies.active > 0:
            return
        if card.cancel_requested:
            self.finish(card, Moment(at_ms, JobState.CANCELLED, MomentCode.CANCELLED))
        elif card.submitted.array is not None and copies.ended == copies.total:
            if copies.failed:
                self.finish(card, Moment(at_ms, JobState.FAILED, MomentCode.TASKS_FAILED))
            elif copies.cancelled:
                self.finish(card, Moment(at_ms, JobState.CANCELLED, MomentCode.CANCELLED))
            else:
                self.finish(card, Moment(at_ms, JobState.SUCCEEDED, MomentCode.SUCCEEDED))

    def look_at_service_of(self, card: JobCard, at_ms: int) -> None:
        """Have the next decision see whether a service still wants all its replicas, or another."""
        if card.template in self._services:
            transitions.set_timer(self.columns, self.jobs[card.template].row, at_ms)

    def follow_profiles(self, at_ms: int) -> None:
        """Have every service want what its load profile says. The kernel does so itself when it decides."""
        for service in self._services:
            templates.follow_profile(self.columns, self.jobs[service].row, at_ms)

    def fork(self) -> Self:
        """A copy that can be decided on and thrown away. Cards are copied only when they change."""
        other = type(self).__new__(type(self))
        other.atlas = self.atlas
        other.columns = building.copy(self.columns)
        other.jobs = dict(self.jobs)
        other.touched = set()
        other.now_ms = self.now_ms
        other.submitted = self.submitted
        other.reserved = self.reserved
        other.ranks = self.ranks
        other.ended = []
        other._job_at_row = list(self._job_at_row)
        other._services = dict(self._services)
        other._final = deque(self._final)
        other._held = dict(self._held)
        other.accused = dict(self.accused)
        other.suspect_until_ms = dict(self.suspect_until_ms)
        other._releases, other._last_calls = self._releases.copy(), self._last_calls.copy()
        other._shared_cards = set(self.jobs)
        return other
