"""The world: columns for the kernel, cards for people, and the one function that changes both."""

from __future__ import annotations

import copy as copying
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import assert_never

from msgspec.structs import replace

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
    TooLate,
)
from dure.model.jobs import JobState, Outcome
from dure.model.nation import Nation
from dure.model.plan import Claim, Placement, Plan, Spare, Start, Stop, StopReason, Warn
from dure.world import building, transitions
from dure.world.agenda import Agenda
from dure.world.atlas import NODE_STATE_CODES, Atlas
from dure.world.bookings import booked_until
from dure.world.capacity import hold, hold_part, set_node_state
from dure.world.cards import (
    CANCELLED_AS,
    LONGEST_TIMELINE,
    REQUEUED,
    STOPPED,
    JobCard,
    Moment,
    MomentCode,
    NodeCard,
    ShareCard,
)
from dure.world.columns import (
    CLAIMED,
    GONE,
    HELD,
    JOB,
    MOST_GPUS,
    NEVER,
    NODE_UP,
    NONE,
    QUEUED,
    RUNNING,
    STOP_CANCELLED,
    STOP_NODE_LOST,
    STOP_NONE,
    STOP_RECLAIMED,
    STOP_RESERVED,
    STOP_TIME_LIMIT,
    WARNED,
    Columns,
)
from dure.world.node_states import change_node
from dure.world.parts import SLICES
from dure.world.running import add_preemptible
from dure.world.turns import queue_order

FINAL_JOBS_KEPT = 10_000
_FIRST_ROOM = 1_024

_EMPTY_JOB: dict[str, int] = {name: int(building.empty_jobs(1)[name][0]) for name in JOB.names or ()}

STOP_CODES = {
    StopReason.RECLAIMED: STOP_RECLAIMED,
    StopReason.TIME_LIMIT: STOP_TIME_LIMIT,
    StopReason.CANCELLED: STOP_CANCELLED,
    StopReason.NODE_LOST: STOP_NODE_LOST,
    StopReason.RESERVED: STOP_RESERVED,
}


class World:
    """Everything decisions depend on, as of the last event applied.

    `apply` takes every event of a ledger in order. `dure.kernel.decide` changes the columns itself and returns the plan
    it has already put into effect; only when a ledger is replayed does `apply` see a `Planned` event.
    """

    columns: Columns
    atlas: Atlas
    jobs: dict[str, JobCard]
    """Every job that is not final, and the latest ten thousand final ones."""
    touched: set[str]
    """Jobs whose card changed since whoever follows them last cleared this."""
    now_ms: int
    """Time of the last event or decision."""

    def __init__(self) -> None:
        self.atlas = Atlas(Nation())
        self.columns = building.build(self.atlas.shape(), _FIRST_ROOM)
        self.jobs = {}
        self.touched = set()
        self.now_ms = 0
        self.submitted = 0
        self._ranks = 0
        self._job_at_row: list[str] = []
        self._free_rows: list[int] = []
        self._final: deque[str] = deque()
        self._held: dict[str, None] = {}
        """Jobs that wait for others to succeed."""
        self._releases = Agenda()
        """Held jobs by the time at which they may queue."""
        self._last_calls = Agenda()
        """Waiting jobs by the last moment at which they may start."""
        self._dependents: dict[str, list[str]] = {}
        self._shared_cards: set[str] = set()

    @property
    def nation(self) -> Nation:
        """What the operators declared last."""
        return self.atlas.nation

    # What changes the world.

    def apply(self, event: AnyEvent) -> None:
        """Change the state as the event says."""
        self.now_ms = max(self.now_ms, event.at_ms)
        match event:
            case NationApplied():
                self._apply_nation(event)
            case JobSubmitted():
                self._submit(event)
            case CancelRequested():
                self._cancel(event)
            case JobReleased():
                self._release_held(event)
            case Planned():
                for decision in event.plan.decisions:
                    self._enact(decision, event.plan.at_ms)
                self.record(event.plan)
            case AttemptStarted():
                self._note_started(event)
            case AttemptEnded():
                self._end_attempt(event)
            case NodeChanged():
                self._change_node(event)
            case AccessRefused() | TokenIssued() | TokenRevoked() | SecretStored():
                pass
            case _:
                assert_never(event)

    def record(self, plan: Plan) -> None:
        """Bring the cards up to date with a plan that is already in effect in the columns."""
        self.now_ms = max(self.now_ms, plan.at_ms)
        for decision in plan.decisions:
            card = self._card(decision.job)
            match decision:
                case Start():
                    self._record_start(card, decision, plan.at_ms)
                case Claim():
                    card.site, card.gpu_class = decision.site, decision.gpu_class
                    card.placements = decision.placements
                    self._move(card, Moment(plan.at_ms, JobState.CLAIMED, MomentCode.TAKES_GUARANTEE_BACK))
                case Warn():
                    self._record_warning(card, decision, plan.at_ms)
                case Spare():
                    card.claimant, card.reservation, card.stop_at_ms = "", "", None
                    self._move(card, Moment(plan.at_ms, JobState.RUNNING, MomentCode.SPARED))
                case Stop():
                    card.stop_reason = decision.reason
                    self._move(card, Moment(plan.at_ms, JobState.STOPPING, STOPPED[decision.reason]))
                case _:
                    assert_never(decision)

    def _record_warning(self, card: JobCard, warning: Warn, at_ms: int) -> None:
        card.claimant, card.reservation, card.stop_at_ms = warning.claimant, warning.reservation, warning.stop_at_ms
        if warning.reservation:
            leaves_for = warning.reservation
            self._move(card, Moment(at_ms, JobState.WARNED, MomentCode.MUST_LEAVE, reservation=leaves_for))
        else:
            self._move(card, Moment(at_ms, JobState.WARNED, MomentCode.MUST_YIELD, jobs=(warning.claimant,)))

    def _record_start(self, card: JobCard, start: Start, at_ms: int) -> None:
        card.attempt, card.site, card.gpu_class = start.attempt, start.site, start.gpu_class
        card.placements, card.borrowed = start.placements, start.borrowed
        card.started_at_ms, card.stop_at_ms, card.stop_reason = at_ms, None, None
        card.exit_code = None
        if card.first_started_at_ms is None:
            card.first_started_at_ms = at_ms
        what = MomentCode.ATTEMPT_STARTED
        self._move(card, Moment(at_ms, JobState.STARTING, what, site=start.site, attempt=start.attempt))

    def _enact(self, decision: Start | Claim | Warn | Spare | Stop, at_ms: int) -> None:
        """Put one decision of a recorded plan into effect in the columns, as the kernel did when it made it."""
        row = self.jobs[decision.job].row
        match decision:
            case Start():
                if self.columns.jobs[row].state == CLAIMED:
                    transitions.start_claimed(self.columns, row, at_ms)
                else:
                    self._hold(row, decision.placements)
                    transitions.start(self.columns, row, self._class_at(decision.placements[0]), at_ms)
            case Claim():
                self._hold(row, decision.placements)
                counters = self.columns.counters[0]
                expected_ms = at_ms + int(counters.warning_ms) + int(counters.grace_ms)
                gpu_class = self._class_at(decision.placements[0])
                transitions.claim(self.columns, row, gpu_class, expected_ms, at_ms)
            case Warn() if decision.reservation:
                transitions.warn_of_booking(self.columns, row, decision.stop_at_ms)
            case Warn():
                claimant = self.jobs[decision.claimant].row
                transitions.warn(self.columns, row, claimant, decision.stop_at_ms, at_ms)
            case Spare():
                transitions.spare(self.columns, row, at_ms)
            case Stop():
                transitions.stop(self.columns, row, STOP_CODES[decision.reason], at_ms)
            case _:
                assert_never(decision)

    def _class_at(self, placement: Placement) -> int:
        """The class a job is counted under: that of its nodes, also when it uses none of their GPUs."""
        node = self.atlas.node_index(placement.node)
        return int(self.columns.pools[self.columns.nodes[node].pool].gpu_class)

    def _hold(self, row: int, placements: tuple[Placement, ...]) -> None:
        wanted = -(-int(self.columns.jobs[row].gpus_milli) // 1000)
        for placement in reversed(placements):
            node = self.atlas.node_index(placement.node)
            if placement.gpus and placement.milli < 1000:
                slices = sum(1 << each for each in placement.slices)
                hold_part(self.columns, row, node, placement.gpus[0], slices)
            else:
                mask = sum(1 << gpu for gpu in placement.gpus)
                hold(self.columns, row, node, mask, placement.milli, wanted)

    def _submit(self, event: JobSubmitted) -> None:
        row = self._new_row(event.job)
        self._fill_row(row, event, self.submitted)
        self.submitted += 1
        self._ranks += event.nodes
        self.columns = building.with_allocations_for(self.columns, self._ranks)
        card = JobCard(job=event.job, submitted=event, row=row, state=JobState.QUEUED)
        self.jobs[event.job] = card
        waits_for = [job for job in event.depends if not self._has_succeeded(job)]
        if waits_for:
            self.columns.jobs[row].state = HELD
            self._held[event.job] = None
            for job in waits_for:
                self._dependents.setdefault(job, []).append(event.job)
            what = MomentCode.WAITS_FOR_JOBS
            self._move(card, Moment(event.at_ms, JobState.HELD, what, jobs=tuple(waits_for)))
        elif event.not_before_ms > event.at_ms:
            self._hold_until_its_time(card, event.at_ms)
        else:
            transitions.put_in_queue(self.columns, row)
            self._move(card, Moment(event.at_ms, JobState.QUEUED, MomentCode.SUBMITTED))

    def _hold_until_its_time(self, card: JobCard, at_ms: int) -> None:
        self.columns.jobs[card.row].state = HELD
        self._release_at(card, card.submitted.not_before_ms)
        self._move(card, Moment(at_ms, JobState.HELD, MomentCode.WAITS_FOR_ITS_TIME))

    def _release_at(self, card: JobCard, at_ms: int) -> None:
        card.release_at_ms = at_ms
        self._releases.put(card.job, at_ms)

    def _has_succeeded(self, job: str) -> bool:
        card = self.jobs.get(job)
        return card is not None and card.state is JobState.SUCCEEDED

    def _cancel(self, event: CancelRequested) -> None:
        card = self._card(event.job)
        if card.state.is_final:
            return
        card.cancel_requested = True
        state = transitions.withdraw(self.columns, card.row, event.at_ms, STOP_CANCELLED)
        if state == GONE:
            self._finish(card, Moment(event.at_ms, JobState.CANCELLED, CANCELLED_AS[event.too_late]))

    def _release_held(self, event: JobReleased) -> None:
        card = self._card(event.job)
        if card.state is not JobState.HELD:
            return
        self._held.pop(event.job, None)
        if card.release_at_ms is None and card.submitted.not_before_ms > event.at_ms:
            self._hold_until_its_time(card, event.at_ms)
            return
        self._releases.drop(event.job)
        card.release_at_ms = None
        transitions.put_in_queue(self.columns, card.row)
        self._move(card, Moment(event.at_ms, JobState.QUEUED, MomentCode.MAY_START))

    def _note_started(self, event: AttemptStarted) -> None:
        card = self._card(event.job)
        if card.attempt == event.attempt and card.state is JobState.STARTING:
            self._move(card, Moment(event.at_ms, JobState.RUNNING, MomentCode.RUNNING))

    def _end_attempt(self, event: AttemptEnded) -> None:
        card = self._card(event.job)
        if card.attempt != event.attempt or card.state.is_waiting or card.state.is_final:
            return
        transitions.release(self.columns, card.row, event.at_ms)
        card.exit_code = event.exit_code
        left_for, card.reservation = card.reservation, ""
        card.placements, card.claimant, card.stop_at_ms = (), "", None
        match event.outcome:
            case Outcome.SUCCEEDED:
                self._finish(card, Moment(event.at_ms, JobState.SUCCEEDED, MomentCode.SUCCEEDED))
            case Outcome.CANCELLED:
                self._finish(card, Moment(event.at_ms, JobState.CANCELLED, MomentCode.CANCELLED))
            case Outcome.TIME_LIMIT:
                self._finish(card, Moment(event.at_ms, JobState.FAILED, MomentCode.TIME_LIMIT_REACHED))
            case Outcome.FAILED:
                self._fail(card, event)
            case Outcome.PREEMPTED | Outcome.NODE_LOST | Outcome.NEVER_STARTED:
                self._requeue(card, event, left_for)
            case _:
                assert_never(event.outcome)

    def _fail(self, card: JobCard, event: AttemptEnded) -> None:
        card.failures += 1
        if card.cancel_requested:
            self._finish(card, Moment(event.at_ms, JobState.CANCELLED, MomentCode.CANCELLED))
        elif card.failures > card.submitted.retry_limit:
            self._finish(card, _failure(event, JobState.FAILED, MomentCode.ATTEMPT_FAILED))
        else:
            backoff_ms = card.submitted.retry_backoff_ms << min(card.failures - 1, 16)
            self._release_at(card, event.at_ms + backoff_ms)
            self.columns.jobs[card.row].state = HELD
            self._move(card, _failure(event, JobState.HELD, MomentCode.ATTEMPT_FAILED_TRIES_AGAIN))

    def _requeue(self, card: JobCard, event: AttemptEnded, left_for: str) -> None:
        if card.cancel_requested:
            self._finish(card, Moment(event.at_ms, JobState.CANCELLED, MomentCode.CANCELLED))
            return
        if event.outcome is Outcome.PREEMPTED:
            card.preemptions += 1
            # Who made way for a reservation lost nothing borrowed, and may take its guarantee back elsewhere.
            self.columns.jobs[card.row].times_reclaimed += 0 if left_for else 1
        transitions.put_in_queue(self.columns, card.row)
        self._move(card, Moment(event.at_ms, JobState.QUEUED, REQUEUED[event.outcome], attempt=event.attempt))

    def _finish(self, card: JobCard, moment: Moment) -> None:
        card.ended_at_ms = moment.at_ms
        card.placements, card.claimant = (), ""
        self._held.pop(card.job, None)
        self._releases.drop(card.job)
        self.columns.jobs[card.row].state = GONE
        self._ranks -= card.submitted.nodes
        self._free_rows.append(card.row)
        self._job_at_row[card.row] = ""
        card.row = NONE
        self._move(card, moment)
        self._final.append(card.job)
        if len(self._final) > FINAL_JOBS_KEPT:
            old = self._final.popleft()
            self.jobs.pop(old, None)
            self._dependents.pop(old, None)

    def _change_node(self, event: NodeChanged) -> None:
        node = self.atlas.node_index(event.node)
        state = NODE_STATE_CODES[event.state]
        claims = [row for row in self._jobs_on(node) if self.columns.jobs[row].state == CLAIMED]
        change_node(self.columns, node, state, event.at_ms)
        for row in claims if state != NODE_UP else ():
            self._note_lost_claim(row, event.at_ms)

    def _give_up_claim(self, row: int, at_ms: int) -> None:
        transitions.dissolve(self.columns, row, at_ms)
        transitions.put_in_queue(self.columns, row)
        self._note_lost_claim(row, at_ms)

    def _note_lost_claim(self, row: int, at_ms: int) -> None:
        card = self._card(self._job_at_row[row])
        card.placements = ()
        self._move(card, Moment(at_ms, JobState.QUEUED, MomentCode.LOST_CLAIM))

    def _apply_nation(self, event: NationApplied) -> None:
        """Build new columns for the new declaration and bring every job over, as it is."""
        for row, job in enumerate(self._job_at_row):
            if job and self.columns.jobs[row].state == CLAIMED:
                self._give_up_claim(row, event.at_ms)
        old, old_atlas = self.columns, self.atlas
        self.atlas = Atlas(event.nation)
        room = max(_FIRST_ROOM, len(old.jobs))
        self.columns = building.with_allocations_for(building.build(self.atlas.shape(), room), self._ranks)
        self.columns.jobs[:] = building.empty_jobs(room)
        # A row that was given back stands for a job that is gone, not for one that waits.
        self.columns.jobs["state"] = GONE
        self.atlas.carry_over_usage(old_atlas, old, self.columns)
        for node, state in old_atlas.node_states(old):
            if self.atlas.has_node(node):
                set_node_state(self.columns, self.atlas.node_index(node), state)
        rows = [row for row, job in enumerate(self._job_at_row) if job]
        for row in sorted(rows, key=lambda row: int(old.jobs[row].sequence)):
            self._bring_over(row, old, event.at_ms)

    def _bring_over(self, row: int, old: Columns, at_ms: int) -> None:
        card = self._card(self._job_at_row[row])
        before = old.jobs[row]
        self._fill_row(row, card.submitted, int(before.sequence))
        now = self.columns.jobs[row]
        now.attempt, now.times_reclaimed = before.attempt, before.times_reclaimed
        now.first_started_ms, now.submitted_ms = before.first_started_ms, before.submitted_ms
        if before.state == QUEUED:
            transitions.put_in_queue(self.columns, row)
            return
        now.state = before.state
        if before.state == HELD:
            return
        now.gpu_class = self._class_at(card.placements[0])
        self._hold(row, card.placements)
        now.started_ms, now.expected_end_ms = before.started_ms, before.expected_end_ms
        now.borrowed, now.stop_reason = before.borrowed, before.stop_reason
        now.pool = self.columns.nodes[self.atlas.node_index(card.placements[0].node)].pool
        transitions.set_charged(self.columns, row, int(before.charged), at_ms)
        if before.state == RUNNING and now.preemptible == 1:
            add_preemptible(self.columns, row, transitions.share_row(self.columns, row, int(now.gpu_class)))
        if before.state in (RUNNING, WARNED):
            # A warned job has lost its claimant with the old columns, so it is looked at (and spared) at once.
            at_once = before.state == WARNED or before.stop_reason != STOP_NONE
            due_ms = at_ms if at_once else int(now.expected_end_ms)
            if before.stop_reason == STOP_RESERVED:
                due_ms = self._bring_over_leaving(card, at_ms)
            transitions.set_timer(self.columns, row, due_ms)

    def _bring_over_leaving(self, card: JobCard, at_ms: int) -> int:
        """When a job that must leave its node is looked at next: at once, and spared, if it may stay after all."""
        record = self.columns.jobs[card.row]
        limit_ms = int(record.started_ms + record.limit_ms)
        nodes = [self.atlas.node_index(placement.node) for placement in card.placements]
        if any(booked_until(self.columns, card.row, node, at_ms, limit_ms) != NONE for node in nodes):
            return min(limit_ms, card.stop_at_ms or at_ms)
        record.stop_reason = STOP_NONE
        return at_ms

    def _jobs_on(self, node: int) -> list[int]:
        rows = []
        at = int(self.columns.nodes[node].first_allocation)
        while at != NONE:
            rows.append(int(self.columns.allocations[at].job))
            at = int(self.columns.allocations[at].next_of_node)
        return rows

    # Rows and cards.

    def _new_row(self, job: str) -> int:
        if self._free_rows:
            row = self._free_rows.pop()
            self._job_at_row[row] = job
            return row
        row = len(self._job_at_row)
        self._job_at_row.append(job)
        if row >= len(self.columns.jobs):
            self.columns = building.with_room_for(self.columns, 2 * len(self.columns.jobs))
        return row

    def _fill_row(self, row: int, event: JobSubmitted, sequence: int) -> None:
        """Write the whole record at once: a record array takes longer to find one field than to take them all."""
        asked = {
            "share": self.atlas.share_index_of(event.project),
            "choices": self.atlas.pack_choices([name for name, _ in event.gpus]),
            "sites": self.atlas.site_mask(event.sites),
            "nodes": event.nodes,
            "gpus_milli": event.gpus[0][1] if event.gpus else 0,
            "cpus_milli": event.cpus * 1000,
            "memory_mib": event.memory_mib,
            **self.atlas.slices_wanted(event),
            "limit_ms": event.time_ms,
            "preemptible": int(event.preemptible),
            "checkpoint_every_ms": event.checkpoint_every_ms,
            "saves_when_warned": int(event.saves_when_warned),
            "priority": event.priority,
            "sequence": sequence,
            "submitted_ms": event.at_ms,
        }
        self.columns.jobs[row] = tuple((_EMPTY_JOB | asked).values())

    @property
    def rows(self) -> int:
        """Rows of the columns' jobs that were ever in use; those after them stand for no job."""
        return len(self._job_at_row)

    def job_at(self, row: int) -> str:
        """Id of the job in a row of the columns."""
        return self._job_at_row[row]

    def _card(self, job: str) -> JobCard:
        """A card that may be changed."""
        card = self.jobs[job]
        if job in self._shared_cards:
            card = copying.copy(card)
            card.timeline = list(card.timeline)
            self.jobs[job] = card
            self._shared_cards.discard(job)
        return card

    def _move(self, card: JobCard, moment: Moment) -> None:
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

    # What people ask the world.

    def placements_of(self, row: int) -> tuple[Placement, ...]:
        """The GPUs a job holds, in rank order."""
        placements = []
        at = int(self.columns.jobs[row].first_allocation)
        while at != NONE:
            record = self.columns.allocations[at]
            mask = int(record.gpu_mask)
            gpus = tuple(gpu for gpu in range(MOST_GPUS) if mask >> gpu & 1)
            node = self.atlas.node_name(int(record.node))
            placement = Placement(node=node, gpus=gpus, milli=int(record.milli))
            placements.append(self._with_slices(placement, row, int(record.slices)) if record.slices else placement)
            at = int(record.next_of_job)
        return tuple(placements)

    def _with_slices(self, placement: Placement, row: int, mask: int) -> Placement:
        event = self.jobs[self._job_at_row[row]].submitted
        classes = [name for name, _ in event.gpus]
        profile = event.mig[classes.index(self.atlas.class_name(int(self.columns.jobs[row].gpu_class)))]
        slices = tuple(each for each in range(SLICES) if mask >> each & 1) if placement.gpus else ()
        return replace(placement, profile=profile, slices=slices)

    def shares(self) -> list[ShareCard]:
        """Every share and class, parents first, in the order of the nation's document."""
        return self.atlas.share_cards(self.columns)

    def nodes(self) -> list[NodeCard]:
        """Every node, in placement order."""
        return [self.atlas.node_card(self.columns, node, self._names_on(node)) for node in range(self.atlas.node_count)]

    def _names_on(self, node: int) -> tuple[str, ...]:
        return tuple(sorted(self._job_at_row[row] for row in self._jobs_on(node)))

    def queue(self) -> list[JobCard]:
        """Jobs that hold no GPUs but want some (held, queued, claimed), in the order in which they will be tried."""
        rows = queue_order(self.columns, self.rows)
        return [self.jobs[self._job_at_row[row]] for row in rows.tolist()]

    def running(self) -> list[JobCard]:
        """Jobs that hold GPUs (starting, running, warned, stopping), oldest start first."""
        running = [card for card in self._active_cards() if not card.state.is_waiting]
        return sorted(running, key=lambda card: (card.started_at_ms or 0, card.row))

    def latest_final(self, most: int) -> Iterator[JobCard]:
        """The jobs that became final last, latest first."""
        return (self.jobs[job] for job in islice(reversed(self._final), most))

    def _active_cards(self) -> Iterator[JobCard]:
        return (self.jobs[job] for job in self._job_at_row if job)

    def due_releases(self, now_ms: int) -> list[str]:
        """Held jobs whose dependencies all succeeded, or whose time has come: each wants a `JobReleased`.

        One that waited for both is held until its time when the first is applied, and wants a second one then.
        """
        freed = [job for job in self._held if all(map(self._has_succeeded, self.jobs[job].submitted.depends))]
        return freed + self._releases.due(now_ms)

    def too_late(self, now_ms: int) -> list[tuple[str, TooLate]]:
        """Waiting jobs that can no longer keep a date of their own: each wants a `CancelRequested` that says which."""
        return [(job, self.jobs[job].too_late) for job in self._last_calls.due(now_ms - 1)]

    def doomed(self) -> list[str]:
        """Held jobs of which a dependency failed or was cancelled: each wants a `CancelRequested`."""
        return [job for job in self._held if any(self._has_failed(each) for each in self.jobs[job].submitted.depends)]

    def _has_failed(self, job: str) -> bool:
        card = self.jobs.get(job)
        return card is None or card.state in {JobState.FAILED, JobState.CANCELLED}

    def next_wake_ms(self) -> int | None:
        """The earliest time at which deciding, releasing a held job or giving one up could change something."""
        due = int(transitions.next_due_ms(self.columns))
        if (release_ms := self._releases.next_ms()) is not None:
            due = min(due, release_ms)
        if (last_call_ms := self._last_calls.next_ms()) is not None:
            due = min(due, last_call_ms + 1)
        return None if due >= NEVER else due

    def share_of(self, project: str) -> str:
        """Name of the share the project's jobs run under; empty when it has none."""
        share = self.nation.share_of(project)
        return share.name if share else ""

    def fork(self) -> World:
        """A copy that can be decided on and thrown away. Cards are copied only when they change."""
        other = World.__new__(World)
        other.atlas = self.atlas
        other.columns = building.copy(self.columns)
        other.jobs = dict(self.jobs)
        other.touched = set()
        other.now_ms = self.now_ms
        other.submitted = self.submitted
        other._ranks = self._ranks
        other._job_at_row = list(self._job_at_row)
        other._free_rows = list(self._free_rows)
        other._final = deque(self._final)
        other._held = dict(self._held)
        other._releases, other._last_calls = self._releases.copy(), self._last_calls.copy()
        other._dependents = {job: list(jobs) for job, jobs in self._dependents.items()}
        other._shared_cards = set(self.jobs)
        return other


def _failure(event: AttemptEnded, state: JobState, what: MomentCode) -> Moment:
    return Moment(event.at_ms, state, what, attempt=event.attempt, exit_code=event.exit_code)
