"""The world: columns for the kernel, cards for people, and the one function that changes both."""

from __future__ import annotations

import copy as copying
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import assert_never

import numpy as np
from msgspec.structs import replace

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
    NodeReason,
    Planned,
    SecretStored,
    SiteContact,
    SiteContactChanged,
    TokenIssued,
    TokenRevoked,
    TooLate,
)
from dure.model.jobs import JobState, Outcome
from dure.model.nation import Nation
from dure.model.plan import Claim, Decision, Placement, Plan, Reserved, Spare, Start, Stop, StopReason, Warn
from dure.model.units import MINUTE_MS
from dure.world import building, templates, transitions
from dure.world.agenda import Agenda
from dure.world.atlas import NODE_STATE_CODES, Atlas
from dure.world.bookings import booked_until
from dure.world.capacity import hold, hold_part, set_node_state
from dure.world.cards import (
    CANCELLED_AS,
    LONGEST_TIMELINE,
    REQUEUED,
    STOPPED,
    Copies,
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
    NODE_SUSPECT,
    NODE_UNREACHABLE,
    NODE_UP,
    NONE,
    QUEUED,
    RUNNING,
    SPENT,
    STOP_CANCELLED,
    STOP_DRAINED,
    STOP_NODE_LOST,
    STOP_NONE,
    STOP_RECLAIMED,
    STOP_RESERVED,
    STOP_RESIZED,
    STOP_SCALED_DOWN,
    STOP_TIME_LIMIT,
    STOPPING,
    WARNED,
    WITHIN_BLOCK,
    WITHIN_DOMAIN,
    WITHIN_RACK,
    WITHIN_SITE,
    Columns,
)
from dure.world.node_states import SUSPECT_PART, change_node
from dure.world.parts import SLICES
from dure.world.reserving import lay_reservations, reserved_in
from dure.world.running import add_preemptible
from dure.world.suspicion import forget_failures, is_suspect, note_bad_end, note_good_end, put_on_trial
from dure.world.templates import copy_name, split_copy
from dure.world.turns import queue_order

FINAL_JOBS_KEPT = 10_000
STEADY_AFTER_MS = 10 * MINUTE_MS
"""A replica that ran for so long is not one that keeps ending at once."""
LONGEST_RESTART_MS = 5 * MINUTE_MS
_FIRST_ROOM = 1_024
_TEMPLATE_FIELDS = (
    "template",
    "copies",
    "number",
    "live_copies",
    "first_copy",
    "next_copy",
    "previous_copy",
    "first_skipped",
    "step",
)

_WITHIN_CODES = {"domain": WITHIN_DOMAIN, "rack": WITHIN_RACK, "block": WITHIN_BLOCK}
"""A job within one node has one node, and every gang stays within a site."""

_EMPTY_JOB: dict[str, int] = {name: int(building.empty_jobs(1)[name][0]) for name in JOB.names or ()}

STOP_CODES = {
    StopReason.RECLAIMED: STOP_RECLAIMED,
    StopReason.TIME_LIMIT: STOP_TIME_LIMIT,
    StopReason.CANCELLED: STOP_CANCELLED,
    StopReason.NODE_LOST: STOP_NODE_LOST,
    StopReason.RESERVED: STOP_RESERVED,
    StopReason.SCALED_DOWN: STOP_SCALED_DOWN,
    StopReason.DRAINED: STOP_DRAINED,
    StopReason.RESIZED: STOP_RESIZED,
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

    def __init__(self) -> None:
        self.atlas = Atlas(Nation())
        self.columns = building.build(self.atlas.shape(), _FIRST_ROOM)
        self.jobs = {}
        self.touched = set()
        self.ended = []
        self.now_ms = 0
        self.submitted = 0
        self.reserved = ()
        self._ranks = 0
        self._job_at_row = [""] * _FIRST_ROOM
        self._services: dict[str, None] = {}
        self._final: deque[str] = deque()
        self._held: dict[str, None] = {}
        """Jobs that wait for others to succeed."""
        self._accused: dict[int, None] = {}
        """Nodes on which attempts ended badly, so that they may have become suspect."""
        self.suspect_until_ms = {}
        self.lost_sites = {}
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

    def apply(self, event: FleetEvent) -> None:
        """Change the state as the event says."""
        self.ended = []
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
                self.follow_profiles(event.plan.at_ms)
                for decision in event.plan.decisions:
                    self._enact(decision, event.plan.at_ms)
                self.record(event.plan)
                if event.plan.reserved is not None:
                    rows = {each.job: self.jobs[each.job].row for each in event.plan.reserved}
                    lay_reservations(self.columns, self.atlas, event.plan.reserved, rows.__getitem__)
            case AttemptStarted():
                self._note_started(event)
            case AttemptEnded():
                self._end_attempt(event)
            case NodeChanged():
                self._change_node(event)
            case SiteContactChanged():
                self._change_contact(event)
            case AccessRefused() | TokenIssued() | TokenRevoked() | SecretStored() | LedgerRestored():
                pass
            case AccountAdded() | AccountChanged() | AccountRemoved():
                pass
            case _:
                assert_never(event)

    def record(self, plan: Plan) -> None:
        """Bring the cards up to date with a plan that is already in effect in the columns."""
        self.ended = []
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
                    card.claimant, card.reservation, card.resizes, card.stop_at_ms = "", "", False, None
                    self._move(card, Moment(plan.at_ms, JobState.RUNNING, MomentCode.SPARED))
                case Stop():
                    card.stop_reason = decision.reason
                    if card.state.is_waiting:
                        self._finish(card, Moment(plan.at_ms, JobState.SUCCEEDED, MomentCode.SCALED_DOWN))
                    else:
                        self._move(card, Moment(plan.at_ms, JobState.STOPPING, STOPPED[decision.reason]))
                case _:
                    assert_never(decision)
        self._show_arrays(plan)
        if plan.reserved is not None:
            self.reserved = plan.reserved

    def _record_warning(self, card: JobCard, warning: Warn, at_ms: int) -> None:
        card.claimant, card.reservation, card.stop_at_ms = warning.claimant, warning.reservation, warning.stop_at_ms
        card.resizes = warning.resizes
        if warning.resizes:
            self._move(card, Moment(at_ms, JobState.WARNED, MomentCode.MAY_GROW))
        elif warning.reservation:
            leaves_for = warning.reservation
            self._move(card, Moment(at_ms, JobState.WARNED, MomentCode.MUST_LEAVE, reservation=leaves_for))
        else:
            self._move(card, Moment(at_ms, JobState.WARNED, MomentCode.MUST_YIELD, jobs=(warning.claimant,)))

    def _record_start(self, card: JobCard, start: Start, at_ms: int) -> None:
        card.attempt, card.site, card.gpu_class = start.attempt, start.site, start.gpu_class
        card.placements, card.borrowed = start.placements, start.borrowed
        card.started_at_ms, card.stop_at_ms, card.stop_reason = at_ms, None, None
        card.exit_code, card.engine_nodes = None, ()
        if card.first_started_at_ms is None:
            card.first_started_at_ms = at_ms
        what = MomentCode.ATTEMPT_STARTED
        self._move(card, Moment(at_ms, JobState.STARTING, what, site=start.site, attempt=start.attempt))

    def _enact(self, decision: Decision, at_ms: int) -> None:
        """Put one decision of a recorded plan into effect in the columns, as the kernel did when it made it."""
        row = self._row_of(decision)
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
            case Warn() if decision.resizes:
                transitions.warn_of_resize(self.columns, row, decision.stop_at_ms)
            case Warn() if decision.reservation:
                transitions.warn_of_booking(self.columns, row, decision.stop_at_ms)
            case Warn():
                claimant = self.jobs[decision.claimant].row
                transitions.warn(self.columns, row, claimant, decision.stop_at_ms, at_ms)
            case Spare():
                transitions.spare(self.columns, row, at_ms)
            case Stop(reason=StopReason.SCALED_DOWN):
                templates.scale_down(self.columns, row, at_ms)
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
        self.columns.jobs[row].nodes = len(placements)
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
        self._become_template(card)
        waits_for = [job for job in event.depends if not self.has_succeeded(job)]
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
            self._let_in(card, Moment(event.at_ms, JobState.QUEUED, MomentCode.SUBMITTED))

    def _hold_until_its_time(self, card: JobCard, at_ms: int) -> None:
        self.columns.jobs[card.row].state = HELD
        self._release_at(card, card.submitted.not_before_ms)
        self._move(card, Moment(at_ms, JobState.HELD, MomentCode.WAITS_FOR_ITS_TIME))

    def _release_at(self, card: JobCard, at_ms: int) -> None:
        card.release_at_ms = at_ms
        self._releases.put(card.job, at_ms)

    def _become_template(self, card: JobCard) -> None:
        """Give the row of an array or service what its tasks or replicas are counted by."""
        record = self.columns.jobs[card.row]
        if (array := card.submitted.array) is not None:
            card.copies = Copies(total=array.last - array.first + 1)
            record.copies, record.number = card.copies.total, array.first
        if (replicas := card.submitted.replicas) is not None:
            self.columns = building.with_steps_for(self.columns, len(replicas.steps))
            templates.lay_steps(self.columns, card.row, replicas.steps)
            templates.follow_profile(self.columns, card.row, card.submitted.at_ms)
            card.copies = Copies(total=0)
            self._services[card.job] = None

    def _let_in(self, card: JobCard, moment: Moment) -> None:
        """A job may start: it queues. A service is in force from now on, however many replicas it has."""
        if card.copies is None:
            transitions.put_in_queue(self.columns, card.row)
        else:
            templates.let_in(self.columns, card.row)
        is_service = card.submitted.replicas is not None and not card.template
        self._move(card, Moment(moment.at_ms, JobState.RUNNING, moment.what) if is_service else moment)
        self._show_array(card, moment.at_ms)

    def has_succeeded(self, job: str) -> bool:
        """True when nobody needs to wait for a job any more.

        Also of what is long forgotten: whoever waited for a job that failed was cancelled there and then.
        """
        card = self.jobs.get(job)
        return card.state is JobState.SUCCEEDED if card is not None else self.not_begun(job) is None

    def _cancel(self, event: CancelRequested) -> None:
        card = self._card(event.job) if event.job in self.jobs else None
        moment = Moment(event.at_ms, JobState.CANCELLED, CANCELLED_AS[event.too_late])
        if card is None:
            self._cancel_before_it_began(event.job, moment)
        elif card.state.is_final:
            return
        elif event.too_late is not None and card.copies is not None and card.copies.active > 0:
            self._start_no_more(card, card.copies, moment)
        else:
            self._withdraw(card, moment)

    def _start_no_more(self, card: JobCard, copies: Copies, moment: Moment) -> None:
        """It is too late for what has not begun of an array; the tasks that have begun go on."""
        transitions.withdraw(self.columns, card.row, moment.at_ms, STOP_CANCELLED)
        templates.retire(self.columns, card.row)
        never = copies.total - copies.begun
        card.copies = replace(copies, begun=copies.total, cancelled=copies.cancelled + never)
        self._move(card, Moment(moment.at_ms, JobState.RUNNING, moment.what))

    def _withdraw(self, card: JobCard, moment: Moment) -> None:
        """Have a job gone, and of an array or service all that has begun."""
        card.cancel_requested = True
        self.touched.add(card.job)
        state = transitions.withdraw(self.columns, card.row, moment.at_ms, STOP_CANCELLED)
        if card.copies is not None:
            self._withdraw_copies(card, card.copies, moment)
        elif state == GONE:
            self._finish(card, moment)

    def _withdraw_copies(self, card: JobCard, copies: Copies, moment: Moment) -> None:
        templates.retire(self.columns, card.row)
        self._services.pop(card.job, None)
        never = copies.total - copies.begun
        card.copies = replace(copies, begun=copies.total, cancelled=copies.cancelled + never)
        if copies.active:
            self._move(card, Moment(moment.at_ms, JobState.STOPPING, MomentCode.STOPPED_CANCELLED))
        for job in self._active_copies(card):
            self._withdraw(self._card(job), moment)
        self._finish_with_last_copy(card.job, moment.at_ms)

    def _cancel_before_it_began(self, job: str, moment: Moment) -> None:
        """A task of an array that has no row yet will never get one."""
        card = self.not_begun(job)
        if card is None:
            return
        self._make_room()
        if not templates.skip_number(self.columns, self.jobs[card.template].row, split_copy(job)[1]):
            return
        self.jobs[job] = card
        self._count_begun(card.template)
        card.row = NONE
        self._finish(card, moment)

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
        self._let_in(card, Moment(event.at_ms, JobState.QUEUED, MomentCode.MAY_START))
        self._look_at_service_of(card, event.at_ms)

    def _note_started(self, event: AttemptStarted) -> None:
        card = self._card(event.job)
        if card.attempt == event.attempt and card.state is JobState.STARTING:
            card.engine_nodes = event.nodes
            self._move(card, Moment(event.at_ms, JobState.RUNNING, MomentCode.RUNNING))

    def _end_attempt(self, event: AttemptEnded) -> None:
        card = self._card(event.job)
        if card.attempt != event.attempt or card.state.is_waiting or card.state.is_final:
            return
        self._judge_nodes(card.row, event)
        transitions.release(self.columns, card.row, event.at_ms)
        card.exit_code = event.exit_code
        left_for, card.reservation = card.reservation, ""
        card.placements, card.claimant, card.resizes, card.stop_at_ms = (), "", False, None
        self._look_at_service_of(card, event.at_ms)
        if card.stop_reason is StopReason.SCALED_DOWN:
            self._finish(card, Moment(event.at_ms, JobState.SUCCEEDED, MomentCode.SCALED_DOWN))
            return
        match event.outcome:
            case Outcome.SUCCEEDED | Outcome.FAILED if card.submitted.replicas is not None:
                self._start_again(card, event)
            case Outcome.SUCCEEDED | Outcome.SCALED_DOWN:
                self._finish(card, Moment(event.at_ms, JobState.SUCCEEDED, MomentCode.SUCCEEDED))
            case Outcome.CANCELLED:
                self._finish(card, Moment(event.at_ms, JobState.CANCELLED, MomentCode.CANCELLED))
            case Outcome.TIME_LIMIT:
                self._finish(card, Moment(event.at_ms, JobState.FAILED, MomentCode.TIME_LIMIT_REACHED))
            case Outcome.FAILED:
                self._fail(card, event)
            case Outcome.REFUSED:
                self._look_elsewhere(card, event, left_for)
            case Outcome.PREEMPTED | Outcome.RESIZED | Outcome.NODE_LOST | Outcome.DRAINED | Outcome.NEVER_STARTED:
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
            self._hold_back(card, _failure(event, JobState.HELD, MomentCode.ATTEMPT_FAILED_TRIES_AGAIN), backoff_ms)

    def _start_again(self, card: JobCard, event: AttemptEnded) -> None:
        """A replica ended by itself: it starts again, after a wait that doubles while it keeps ending at once."""
        if card.cancel_requested:
            self._finish(card, Moment(event.at_ms, JobState.CANCELLED, MomentCode.CANCELLED))
            return
        ran_ms = event.at_ms - (card.started_at_ms or 0)
        card.failures = 1 if ran_ms >= STEADY_AFTER_MS else card.failures + 1
        backoff_ms = min(card.submitted.retry_backoff_ms << min(card.failures - 1, 16), LONGEST_RESTART_MS)
        self._hold_back(card, _failure(event, JobState.HELD, MomentCode.ATTEMPT_ENDED_STARTS_AGAIN), backoff_ms)

    def _hold_back(self, card: JobCard, moment: Moment, backoff_ms: int) -> None:
        """Keep a job out of the queue for a while."""
        self._release_at(card, moment.at_ms + backoff_ms)
        self.columns.jobs[card.row].state = HELD
        self._move(card, moment)

    def _requeue(self, card: JobCard, event: AttemptEnded, left_for: str) -> None:
        if card.cancel_requested:
            self._finish(card, Moment(event.at_ms, JobState.CANCELLED, MomentCode.CANCELLED))
            return
        if event.outcome is Outcome.PREEMPTED:
            card.preemptions += 1
            # Who made way for a reservation lost nothing borrowed, and may take its guarantee back elsewhere.
            self.columns.jobs[card.row].times_reclaimed += 0 if left_for else 1
        transitions.put_in_queue(self.columns, card.row)
        where = card.site if event.outcome is Outcome.REFUSED else ""
        what = REQUEUED[event.outcome]
        self._move(
            card, Moment(event.at_ms, JobState.QUEUED, what, site=where, attempt=event.attempt, detail=event.detail)
        )

    def _look_elsewhere(self, card: JobCard, event: AttemptEnded, left_for: str) -> None:
        """A job goes where no engine has refused it yet; when there is no such site, it has failed."""
        card.refused_at = (*card.refused_at, card.site)
        if card.sites or card.cancel_requested:
            self.columns.jobs[card.row].sites = self.atlas.site_mask(card.sites)
            self._requeue(card, event, left_for)
        else:
            self._finish(card, _failure(event, JobState.FAILED, MomentCode.REFUSED_EVERYWHERE))

    def _finish(self, card: JobCard, moment: Moment) -> None:
        card.ended_at_ms = moment.at_ms
        card.placements, card.claimant = (), ""
        self._held.pop(card.job, None)
        self._releases.drop(card.job)
        if moment.what is not MomentCode.SCALED_DOWN:
            self._look_at_service_of(card, moment.at_ms)
        self._give_row_back(card)
        self._move(card, moment)
        self._final.append(card.job)
        self.ended.append(card.job)
        if card.template:
            self._finish_with_last_copy(card.template, moment.at_ms)
        if len(self._final) > FINAL_JOBS_KEPT:
            old = self._final.popleft()
            self.jobs.pop(old, None)
            self._dependents.pop(old, None)

    def _change_node(self, event: NodeChanged) -> None:
        node = self.atlas.node_index(event.node)
        state = NODE_STATE_CODES[event.state]
        is_out_of_contact = self.atlas.site_of_node(event.node) in self.lost_sites
        state = NODE_UNREACHABLE if state == NODE_UP and is_out_of_contact else state
        claims = [row for row in self._jobs_on(node) if self.columns.jobs[row].state == CLAIMED]
        change_node(self.columns, node, state, event.at_ms)
        for row in claims if state != NODE_UP else ():
            self._note_lost_claim(row, event.at_ms)
        self.suspect_until_ms.pop(event.node, None)
        if state == NODE_SUSPECT:
            self.suspect_until_ms[event.node] = event.at_ms + self.nation.timing.probation_ms
        elif event.state == "up" and event.reason is NodeReason.ASKED:
            forget_failures(self.columns, node)
        elif event.reason is NodeReason.PROBATION_OVER:
            put_on_trial(self.columns, node, event.at_ms)

    def _change_contact(self, event: SiteContactChanged) -> None:
        """Take the nodes of a site that cannot be reached out of service, or those back that were up before."""
        is_lost = event.contact is SiteContact.LOST
        if is_lost:
            self.lost_sites[event.site] = event.detail
        else:
            self.lost_sites.pop(event.site, None)
        before, after = (NODE_UP, NODE_UNREACHABLE) if is_lost else (NODE_UNREACHABLE, NODE_UP)
        # A site may have thousands of nodes, so its claims are not looked for on each of them.
        claims = [card.row for card in self.claiming() if card.site == event.site]
        for node in self.atlas.nodes_of_site(event.site):
            if self.columns.nodes[node].state == before:
                change_node(self.columns, node, after, event.at_ms)
        for row in claims:
            if self.columns.jobs[row].state != CLAIMED:
                self._note_lost_claim(row, event.at_ms)

    def _judge_nodes(self, row: int, event: AttemptEnded) -> None:
        """Count for or against its nodes how an attempt ended."""
        if event.outcome is Outcome.SUCCEEDED:
            note_good_end(self.columns, row)
        elif event.outcome in {Outcome.FAILED, Outcome.NEVER_STARTED}:
            found = note_bad_end(self.columns, row, event.at_ms)
            self._accused.update(dict.fromkeys(self.columns.chosen[:found].tolist()))

    def _give_up_claim(self, row: int, at_ms: int) -> None:
        transitions.dissolve(self.columns, row, at_ms)
        transitions.put_in_queue(self.columns, row)
        self._note_lost_claim(row, at_ms)

    def _note_lost_claim(self, row: int, at_ms: int) -> None:
        card = self._card(self._job_at_row[row])
        self._look_at_service_of(card, at_ms)
        card.placements = ()
        self._move(card, Moment(at_ms, JobState.QUEUED, MomentCode.LOST_CLAIM))

    def _apply_nation(self, event: NationApplied) -> None:
        """Build new columns for the new declaration and bring every job over, as it is."""
        for row, job in enumerate(self._job_at_row):
            if job and self.columns.jobs[row].state == CLAIMED:
                self._give_up_claim(row, event.at_ms)
        old, old_atlas = self.columns, self.atlas
        self.reserved = ()
        self.atlas = Atlas(event.nation)
        room = max(_FIRST_ROOM, len(old.jobs))
        self.columns = building.with_allocations_for(building.build(self.atlas.shape(), room), self._ranks)
        self.columns.jobs[:] = building.empty_jobs(room)
        # A row that was given back stands for a job that is gone, not for one that waits.
        self.columns.jobs["state"] = GONE
        self.atlas.carry_over_usage(old_atlas, old, self.columns)
        self._carry_over_nodes(old_atlas, old)
        self._bring_rows_over(old)
        rows = [row for row, job in enumerate(self._job_at_row) if job]
        for row in sorted(rows, key=lambda row: int(old.jobs[row].sequence)):
            self._bring_over(row, old, event.at_ms)

    def _bring_rows_over(self, old: Columns) -> None:
        """Free rows, skipped numbers and load profiles do not depend on what was declared."""
        self.columns = self.columns.replace(steps=old.steps)
        for name in ("first_free_job", "first_free_step"):
            self.columns.counters[name] = old.counters[name]
        named = np.array([job != "" for job in self._job_at_row])
        self.columns.jobs[~named] = old.jobs[~named]

    def _bring_over(self, row: int, old: Columns, at_ms: int) -> None:
        card = self._card(self._job_at_row[row])
        before = old.jobs[row]
        self._fill_row(row, card.submitted, int(before.sequence))
        now = self.columns.jobs[row]
        now.sites = self.atlas.site_mask(card.sites)
        now.attempt, now.times_reclaimed = before.attempt, before.times_reclaimed
        now.first_started_ms, now.submitted_ms = before.first_started_ms, before.submitted_ms
        for name in _TEMPLATE_FIELDS:
            now[name] = before[name]
        now.state = before.state
        if before.state == QUEUED:
            transitions.put_in_queue(self.columns, row)
        if before.step != NONE:
            templates.follow_profile(self.columns, row, at_ms)
        if before.state in (QUEUED, HELD, SPENT, GONE):
            return
        now.gpu_class = self._class_at(card.placements[0])
        self._hold(row, card.placements)
        now.started_ms, now.expected_end_ms = before.started_ms, before.expected_end_ms
        now.borrowed, now.stop_reason = before.borrowed, before.stop_reason
        now.resize_at_ms = before.resize_at_ms
        if before.state == WARNED and before.stop_reason == STOP_RESIZED:
            # Whether it would still grow is asked anew: it is spared first.
            now.stop_reason = STOP_NONE
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

    def _carry_over_nodes(self, before: Atlas, old: Columns) -> None:
        """Nodes that go on under a new declaration keep their state, and what makes them suspect."""
        self._accused.clear()
        for name, state in before.node_states(old):
            if self.atlas.has_node(name) and state != NODE_UNREACHABLE:
                set_node_state(self.columns, self.atlas.node_index(name), state)
        declared = {site.name for site in self.nation.sites}
        self.lost_sites = {site: detail for site, detail in self.lost_sites.items() if site in declared}
        for site in self.lost_sites:
            for node in self.atlas.nodes_of_site(site):
                if self.columns.nodes[node].state == NODE_UP:
                    set_node_state(self.columns, node, NODE_UNREACHABLE)
        for name in [name for name in self.suspect_until_ms if not self.atlas.has_node(name)]:
            del self.suspect_until_ms[name]
        self.atlas.carry_over_failures(before, old, self.columns)

    def _jobs_on(self, node: int) -> list[int]:
        rows = []
        at = int(self.columns.nodes[node].first_allocation)
        while at != NONE:
            rows.append(int(self.columns.allocations[at].job))
            at = int(self.columns.allocations[at].next_of_node)
        return rows

    # Rows and cards.

    def _new_row(self, job: str) -> int:
        self._make_room()
        row = int(templates.take_row(self.columns))
        self._job_at_row[row] = job
        return row

    def _make_room(self) -> None:
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
        self._ranks -= card.submitted.nodes
        self._job_at_row[card.row] = ""
        card.row = NONE

    def _fill_row(self, row: int, event: JobSubmitted, sequence: int) -> None:
        """Write the whole record at once: a record array takes longer to find one field than to take them all."""
        asked = {
            "share": self.atlas.share_index_of(event.project),
            "choices": self.atlas.pack_choices([name for name, _ in event.gpus]),
            "sites": self.atlas.site_mask(event.sites),
            "nodes": event.min_nodes or event.nodes,
            "least_nodes": event.min_nodes,
            "most_nodes": event.nodes,
            "within": _WITHIN_CODES.get(event.within, WITHIN_SITE) if event.nodes > 1 else WITHIN_SITE,
            "gpus_milli": event.gpus[0][1] if event.gpus else 0,
            "cpus_milli": event.cpus * 1000,
            "memory_mib": event.memory_mib,
            **self.atlas.slices_wanted(event),
            "limit_ms": event.time_ms or NEVER,
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
        """Rows of the columns' jobs, in use or free."""
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

    # Arrays and services.

    def _row_of(self, decision: Decision) -> int:
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
        self._ranks += submitted.nodes
        self._count_begun(template)

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

    def _active_copies(self, card: JobCard) -> list[str]:
        jobs, rows = self.columns.jobs, []
        at = int(jobs[card.row].first_copy)
        while at != NONE:
            rows.append(at)
            at = int(jobs[at].next_copy)
        return [self._job_at_row[row] for row in reversed(rows)]

    def _copies_of(self, card: JobCard) -> Copies:
        assert card.copies is not None, f"{card.job} is neither an array nor a service"
        return card.copies

    def _count_begun(self, template: str) -> None:
        card = self._card(template)
        copies = self._copies_of(card)
        total = copies.total + (card.submitted.replicas is not None)
        card.copies = replace(copies, begun=copies.begun + 1, total=total)

    def _count_move(self, card: JobCard, after: JobState) -> None:
        """Keep an array's or service's counts when one of its tasks or replicas goes on."""
        template = self._card(card.template)
        counts = {name: getattr(template.copies, name) for name in ("running", "succeeded", "failed", "cancelled")}
        for state, change in ((card.state, -1), (after, 1)):
            name = state.value if state.is_final else "running" if not state.is_waiting else ""
            if name:
                counts[name] += change
        template.copies = replace(self._copies_of(template), **counts)
        self.touched.add(template.job)

    def _show_array(self, card: JobCard, at_ms: int) -> None:
        """Have the card of an array say when all its tasks have started. A service is never done with starting."""
        if card.submitted.array is None or card.state is not JobState.QUEUED or card.template:
            return
        if self.columns.jobs[card.row].state == SPENT:
            self._move(card, Moment(at_ms, JobState.RUNNING, MomentCode.ALL_STARTED))

    def _finish_with_last_copy(self, template: str, at_ms: int) -> None:
        """An array is over with its last task; a service that was cancelled, with its last replica."""
        card = self._card(template)
        copies = self._copies_of(card)
        if card.state.is_final or copies.active > 0:
            return
        if card.cancel_requested:
            self._finish(card, Moment(at_ms, JobState.CANCELLED, MomentCode.CANCELLED))
        elif card.submitted.array is not None and copies.ended == copies.total:
            if copies.failed:
                self._finish(card, Moment(at_ms, JobState.FAILED, MomentCode.TASKS_FAILED))
            elif copies.cancelled:
                self._finish(card, Moment(at_ms, JobState.CANCELLED, MomentCode.CANCELLED))
            else:
                self._finish(card, Moment(at_ms, JobState.SUCCEEDED, MomentCode.SUCCEEDED))

    def _look_at_service_of(self, card: JobCard, at_ms: int) -> None:
        """Have the next decision see whether a service still wants all its replicas, or another."""
        if card.template in self._services:
            transitions.set_timer(self.columns, self.jobs[card.template].row, at_ms)

    def follow_profiles(self, at_ms: int) -> None:
        """Have every service want what its load profile says. The kernel does so itself when it decides."""
        for service in self._services:
            templates.follow_profile(self.columns, self.jobs[service].row, at_ms)

    def _show_arrays(self, plan: Plan) -> None:
        for job in dict.fromkeys(split_copy(decision.job)[0] for decision in plan.decisions):
            card = self.jobs.get(job)
            if card is not None and card.copies is not None:
                self._show_array(self._card(job), plan.at_ms)

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
        return [self.node(name) for name in self.atlas.node_names]

    def node(self, name: str) -> NodeCard:
        """One node of the fleet."""
        node = self.atlas.node_index(name)
        return self.atlas.node_card(self.columns, node, self._names_on(node), self.suspect_until_ms.get(name))

    def _names_on(self, node: int) -> tuple[str, ...]:
        return tuple(sorted(self._job_at_row[row] for row in self._jobs_on(node)))

    def queue(self) -> list[JobCard]:
        """Jobs that hold no GPUs but want some (held, queued, claimed), in the order in which they will be tried."""
        rows = queue_order(self.columns, self.rows)
        return [self.jobs[self._job_at_row[row]] for row in rows.tolist()]

    def claiming(self) -> list[JobCard]:
        """Jobs that wait for GPUs which are being given back to them, in no particular order."""
        rows = np.flatnonzero(self.columns.jobs["state"][: self.rows] == CLAIMED)
        return [self.jobs[self._job_at_row[row]] for row in rows.tolist()]

    def waits(self, card: JobCard) -> bool:
        """True when a job holds no GPUs but wants some, and when a service wants more replicas than it has."""
        if card.state.is_waiting or card.copies is None or card.row == NONE:
            return card.state.is_waiting
        return bool(self.columns.jobs[card.row].state == QUEUED)

    def copies_of(self, card: JobCard) -> Copies | None:
        """How the tasks or replicas of a job stand; of a service, those that it wants and does not have wait, too."""
        copies = card.copies
        if copies is None or card.row == NONE or card.submitted.replicas is None:
            return copies
        return replace(copies, total=copies.begun + int(self.columns.jobs[card.row].copies))

    def running(self) -> list[JobCard]:
        """Jobs that hold GPUs (starting, running, warned, stopping), oldest start first."""
        holds = np.isin(self.columns.jobs["state"][: self.rows], (RUNNING, WARNED, STOPPING))
        cards = (self.jobs[self._job_at_row[row]] for row in np.flatnonzero(holds).tolist() if self._job_at_row[row])
        running = [card for card in cards if not card.state.is_waiting and card.copies is None]
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
        freed = [job for job in self._held if all(map(self.has_succeeded, self.jobs[job].submitted.depends))]
        return freed + self._releases.due(now_ms)

    def too_late(self, now_ms: int) -> list[tuple[str, TooLate]]:
        """Waiting jobs that can no longer keep a date of their own: each wants a `CancelRequested` that says which."""
        return [(job, self.jobs[job].too_late) for job in self._last_calls.due(now_ms - 1)]

    def suspects(self) -> list[str]:
        """Nodes that failed too often to be given more: each wants a `NodeChanged` that sets it aside.

        No more than a tenth of all nodes (but one) is ever set aside: when everything fails, it is not the nodes.
        """
        room = max(1, self.atlas.node_count // SUSPECT_PART) - len(self.suspect_until_ms)
        accused = [node for node in sorted(self._accused) if is_suspect(self.columns, node)]
        self._accused = dict.fromkeys(accused)
        up = [node for node in accused if self.columns.nodes[node].state == NODE_UP]
        return [self.atlas.node_name(node) for node in up[: max(0, room)]]

    def over_probation(self, now_ms: int) -> list[str]:
        """Suspect nodes whose probation is over: each wants a `NodeChanged` that takes it back."""
        return [node for node, until_ms in self.suspect_until_ms.items() if until_ms <= now_ms]

    def doomed(self) -> list[str]:
        """Held jobs of which a dependency failed or was cancelled: each wants a `CancelRequested`."""
        return [job for job in self._held if any(self._has_failed(each) for each in self.jobs[job].submitted.depends)]

    def _has_failed(self, job: str) -> bool:
        card = self.jobs.get(job)
        if card is None:
            return False
        lost = card.copies is not None and card.copies.failed + card.copies.cancelled > 0
        return lost or card.state in {JobState.FAILED, JobState.CANCELLED}

    def next_wake_ms(self) -> int | None:
        """The earliest time at which something could change by itself.

        Deciding, releasing a held job, giving one up, or taking back a suspect node.
        """
        due = int(transitions.next_due_ms(self.columns))
        if (release_ms := self._releases.next_ms()) is not None:
            due = min(due, release_ms)
        if (last_call_ms := self._last_calls.next_ms()) is not None:
            due = min(due, last_call_ms + 1)
        due = min([due, *self.suspect_until_ms.values()])
        return None if due >= NEVER else due

    def share_of(self, project: str) -> str:
        """Name of the share the project's jobs run under; empty when it has none."""
        share = self.nation.share_of(project)
        return share.name if share else ""

    def newly_reserved(self) -> tuple[Reserved, ...] | None:
        """The starts reserved for waiting jobs, where a nation has several, if they differ from what was told last."""
        if self.columns.counters[0].backfill_reservations == 1:
            return None
        reserved = reserved_in(self.columns, self.atlas, self.job_at)
        return None if reserved == self.reserved else reserved

    def fork(self) -> World:
        """A copy that can be decided on and thrown away. Cards are copied only when they change."""
        other = World.__new__(World)
        other.atlas = self.atlas
        other.columns = building.copy(self.columns)
        other.jobs = dict(self.jobs)
        other.touched = set()
        other.now_ms = self.now_ms
        other.submitted = self.submitted
        other.reserved = self.reserved
        other._ranks = self._ranks
        other.ended = []
        other._job_at_row = list(self._job_at_row)
        other._services = dict(self._services)
        other._final = deque(self._final)
        other._held = dict(self._held)
        other._accused = dict(self._accused)
        other.suspect_until_ms = dict(self.suspect_until_ms)
        other._releases, other._last_calls = self._releases.copy(), self._last_calls.copy()
        other._dependents = {job: list(jobs) for job, jobs in self._dependents.items()}
        other._shared_cards = set(self.jobs)
        return other


def _failure(event: AttemptEnded, state: JobState, what: MomentCode) -> Moment:
    return Moment(event.at_ms, state, what, attempt=event.attempt, exit_code=event.exit_code, detail=event.detail)
