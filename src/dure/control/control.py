"""The loop itself, without clock, threads or wire: requests and observations in, one step out.

`step` handles what arrived against the world, decides once, has the decision audited, and returns everything that must
become durable before anybody is answered and any engine is ordered. `commit` makes it durable. When that fails the
caller calls `rebuild`: the world is thrown away and made again from the ledger, so there is no undo and no split brain.
Given the same ledger, requests, observations, times and random streams, it writes the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from dure import kernel
from dure.control.access import PLATFORM
from dure.control.attempts import event_of, holds_gpus, split_attempt_id, without_exit_code
from dure.control.draft import Draft, Step
from dure.control.handling import handle
from dure.control.history import History
from dure.control.holding import are_results_held
from dure.control.launching import Launching, engine_of
from dure.control.memory import Memory, RandomStreams
from dure.control.orders import Seen, StopOrder
from dure.control.oversight.redeciding import redecide
from dure.control.ports import Ledger, LedgerError, Started
from dure.control.requests import Request, SubmitJob, SubmitJobs
from dure.control.submission import answers_kept
from dure.control.used_keys import UsedKeys
from dure.model.events import AttemptEnded, CancelRequested, JobReleased, NodeChanged, NodeReason, encode_all
from dure.model.jobs import Outcome
from dure.model.oversight import PersonForgotten
from dure.policy import PolicySet
from dure.world.world import World

log = logging.getLogger(__name__)


_WORTH_A_LINE = frozenset({Outcome.NEVER_STARTED, Outcome.REFUSED, Outcome.NODE_LOST})
"""Ends of attempts that an operator may want to look into; all others are their members' business."""


class PlanRefused(Exception):
    """The audit found that a plan breaks a promise: it is not written and not carried out."""


def nothing_kept(_: Ledger) -> History:
    """The history of a platform that keeps no snapshots: everything is replayed."""
    return History()


class Control:
    """The platform's one writer. Not thread-safe: `step`, `commit` and `rebuild` are called one after the other."""

    def __init__(
        self,
        ledger: Ledger,
        policy_set: PolicySet,
        vault_key: bytes,
        random: RandomStreams,
        checkpoint_root: str,
        latest_snapshot: Callable[[Ledger], History] = nothing_kept,
    ) -> None:
        self.ledger = ledger
        self.used_keys = UsedKeys()
        self.halted = ""
        """Why nothing is started any more: the audit refused a plan. Empty when all is well."""
        self._policy_set = policy_set
        self._vault_key = vault_key
        self._random = random
        self._checkpoint_root = checkpoint_root
        self._latest_snapshot = latest_snapshot
        self.rebuild()

    @property
    def world(self) -> World:
        """The state as of the latest step, which may not be durable yet."""
        return self.memory.world

    @property
    def position(self) -> int:
        """Size of the ledger this writer has seen: the next batch goes there."""
        return self.memory.history.position

    def next_wake_ms(self) -> int | None:
        """When there is something to do without anybody asking: in the world, or when policy answers otherwise."""
        moments = (self.world.next_wake_ms(), self.memory.policy.next_change_ms)
        return min((moment for moment in moments if moment is not None), default=None)

    def rebuild(self) -> None:
        """Make everything in memory again from the ledger. Raises `LedgerError` when it cannot be gone on with."""
        self.ledger.resume()
        history = self._latest_snapshot(self.ledger)
        self.replayed_from = history.position
        """The position of the snapshot that it all was made from."""
        self.memory = Memory(self.ledger, self._policy_set, self._vault_key, self._random, history)
        self.launching = Launching(
            self.memory.specs.of, self.memory.secrets.value, self._checkpoint_root, self.memory.register
        )

    def step(self, requests: Sequence[Request], observations: Sequence[Seen], now_ms: int) -> Step:
        """One turn of the loop at `now_ms`. After an exception the world is spoilt: call `rebuild`."""
        try:
            return self._step(requests, observations, now_ms)
        except PlanRefused as refused:
            # Requests and observations are facts and still count; only what the kernel wanted is not done. It would
            # want the same again, so nothing is started until somebody has looked.
            self.halted = str(refused)
            log.critical("the audit refused a plan; nothing is started from now on: %s", refused)
            self.rebuild()
            return self._step(requests, observations, now_ms)

    def commit(self, step: Step) -> None:
        """Make a step durable: its entries and rows together, at the position it was based on, or not at all."""
        self.ledger.append(self.position, encode_all(step.events), step.rows, step.at_ms)
        self.memory.history.position += len(step.events)
        if step.events:
            self.memory.history.latest_ms = step.events[-1].at_ms
        self.memory.specs.forget_oldest()
        if any(isinstance(event, PersonForgotten) for event in step.events):
            self._scrub()

    def _scrub(self) -> None:
        """What was erased must not linger in the storage; that it does for a while undoes nothing that is durable."""
        try:
            self.ledger.scrub()
        except LedgerError as error:
            log.error("what was erased may still lie in the storage: %s", error)

    def _step(self, requests: Sequence[Request], observations: Sequence[Seen], now_ms: int) -> Step:
        memory = self.memory
        # The ledger's time never goes back, not even when the machine's clock was behind at a restart.
        now_ms = max(now_ms, memory.history.latest_ms)
        draft = Draft(memory.history, now_ms, answers_kept(requests, memory, self.used_keys))
        # 1. What engines saw has happened already, so it comes before what people want.
        for seen in sorted(observations, key=lambda each: each.what.at_ms):
            self._take_in(seen, draft)
        # 2. Each request sees the effects of those before it, and so do jobs that may not go on because of it.
        redecide(memory, draft)
        for request in requests:
            if not isinstance(request, SubmitJob | SubmitJobs):
                draft.settle()
            draft.answers.append(handle(request, memory, draft))
            redecide(memory, draft)
        draft.settle()
        # 3. Held jobs whose time has come, or will never come.
        self._release(draft)
        # 4. Nodes that failed too often, and those that were set aside long enough.
        self._watch_nodes(draft)
        # 5. One decision for all of it, checked by code that did not make it.
        if not self.halted:
            self._decide(draft)
        draft.rows.extend(memory.tokens.uses())
        return draft.finish(self.memory.specs.of)

    def _take_in(self, seen: Seen, draft: Draft) -> None:
        """Record what an engine saw, if it is news. What runs though nobody wants it there any more is stopped."""
        job, attempt = split_attempt_id(seen.what.attempt_id)
        card = draft.world.jobs.get(job)
        is_open = card is not None and holds_gpus(card) and card.attempt == attempt
        is_its_own = is_open and card is not None and engine_of(draft.world, card) == seen.engine
        if is_open and not is_its_own:
            about = {"attempt": seen.what.attempt_id}
            log.error("engine %s spoke of an attempt that is not its own", seen.engine, extra=about)
        event = None
        if is_its_own:
            latest_ms = self.memory.history.latest_ms
            event = event_of(draft.world, seen.what, self.memory.false_starts(job), latest_ms, draft.now_ms)
            if card is not None and are_results_held(draft.world.nation, draft.register, card):
                event = without_exit_code(event)
        if event is not None:
            draft.record(event)
            self.memory.history.note(event)
            if isinstance(event, AttemptEnded) and event.outcome in _WORTH_A_LINE:
                what = f"attempt ended: {event.outcome.value}"
                log.warning("%s: %s", what, event.detail or seen.engine, extra={"attempt": seen.what.attempt_id})
        elif isinstance(seen.what, Started) and not is_its_own:
            grace_ms = draft.world.nation.timing.grace_ms
            draft.orders.append(StopOrder(engine=seen.engine, attempt_id=seen.what.attempt_id, grace_ms=grace_ms))

    def _release(self, draft: Draft) -> None:
        """Queue held jobs that may go on; cancel those that are too late, or whose dependency failed, down the line."""
        for job, too_late in draft.world.too_late(draft.now_ms):
            draft.record(CancelRequested(at_ms=draft.now_ms, job=job, by=PLATFORM.id, too_late=too_late))
        while doomed := draft.world.doomed():
            for job in doomed:
                draft.record(CancelRequested(at_ms=draft.now_ms, job=job, by=PLATFORM.id))
        for job in draft.world.due_releases(draft.now_ms):
            draft.record(JobReleased(at_ms=draft.now_ms, job=job))

    def _watch_nodes(self, draft: Draft) -> None:
        """Set suspect nodes aside for their probation, and take them back after it."""
        world, at_ms = draft.world, draft.now_ms
        for node in world.over_probation(at_ms):
            reason = NodeReason.PROBATION_OVER
            draft.record(NodeChanged(at_ms=at_ms, node=node, state="up", by=PLATFORM.id, reason=reason))
        for node in world.suspects():
            reason = NodeReason.REPEATED_FAILURES
            draft.record(NodeChanged(at_ms=at_ms, node=node, state="suspect", by=PLATFORM.id, reason=reason))

    def _decide(self, draft: Draft) -> None:
        plan = kernel.decide(draft.world, draft.now_ms)
        if not plan.decisions and plan.reserved is None:
            return
        violations = draft.books.check(plan, draft.now_ms)
        if violations:
            raise PlanRefused("; ".join(str(each) for each in violations))
        draft.record_plan(plan)
        orders = (self.launching.order_for(draft.world, decision) for decision in plan.decisions)
        draft.orders.extend(order for order in orders if order is not None)
