"""Drives a small world as the live loop does, with the audit looking on."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from dure.audit import Books
from dure.kernel import decide, explain
from dure.model.blockers import Blocker, BlockerCode, Why
from dure.model.events import (
    AttemptEnded,
    CancelRequested,
    FleetEvent,
    JobReleased,
    JobSubmitted,
    NationApplied,
    NodeChanged,
    Planned,
)
from dure.model.jobs import JobState, Outcome
from dure.model.nation import Nation
from dure.model.plan import Claim, Decision, Plan, Start, StopReason, Warn
from dure.twin.scenario import Decide, Step
from dure.world.cards import JobCard
from dure.world.world import World

ENDS = {
    StopReason.RECLAIMED: Outcome.PREEMPTED,
    StopReason.TIME_LIMIT: Outcome.TIME_LIMIT,
    StopReason.CANCELLED: Outcome.CANCELLED,
    StopReason.NODE_LOST: Outcome.NODE_LOST,
    StopReason.RESERVED: Outcome.PREEMPTED,
    StopReason.SCALED_DOWN: Outcome.SCALED_DOWN,
    StopReason.DRAINED: Outcome.DRAINED,
    StopReason.RESIZED: Outcome.RESIZED,
}


class Story:
    """Drives a world as the live loop does, and keeps the books and every event beside it."""

    def __init__(self, declared: Nation, watch: Callable[[Story, Plan], None] | None = None) -> None:
        self.world = World()
        self.books = Books()
        self.events: list[FleetEvent] = []
        self.steps: list[Step] = []
        """What happened and when it was decided: a scenario that `dure twin replay-scenario` plays again."""
        self.plans: list[Plan] = []
        self.now_ms = 0
        self._watch = watch
        self.happen(NationApplied(at_ms=0, by="test", nation=declared))

    def happen(self, event: FleetEvent) -> None:
        self.events.append(event)
        self.steps.append(event)
        self.world.apply(event)
        self.books.apply(event)

    def decide(self) -> Plan:
        for name, too_late in self.world.too_late(self.now_ms):
            self.happen(CancelRequested(at_ms=self.now_ms, job=name, by="platform", too_late=too_late))
        for name in self.world.due_releases(self.now_ms):
            self.happen(JobReleased(at_ms=self.now_ms, job=name))
        self.steps.append(Decide(at_ms=self.now_ms))
        plan = decide(self.world, self.now_ms)
        violations = self.books.check(plan, self.now_ms)
        assert not violations, "\n".join(map(str, violations))
        event = Planned(at_ms=self.now_ms, plan=plan)
        self.events.append(event)
        self.books.apply(event)
        self.plans.append(plan)
        if self._watch is not None:
            self._watch(self, plan)
        return plan

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass, deciding whenever the world asks for it."""
        until_ms = self.now_ms + milliseconds
        while (wake_ms := self.world.next_wake_ms()) is not None and wake_ms <= until_ms:
            self.now_ms = max(self.now_ms, wake_ms)
            self.decide()
            self.finish_stopping()
        self.now_ms = until_ms

    def finish_stopping(self) -> None:
        """Stopped attempts end at once."""
        for card in self.world.running():
            if card.state is JobState.STOPPING:
                assert card.stop_reason is not None
                self.end(card.job, ENDS[card.stop_reason])
        self.decide()

    def end(self, name: str, outcome: Outcome) -> None:
        attempt = self.world.jobs[name].attempt
        exit_code = 0 if outcome is Outcome.SUCCEEDED else 1
        self.happen(AttemptEnded(at_ms=self.now_ms, job=name, attempt=attempt, outcome=outcome, exit_code=exit_code))

    # Short forms for stories told by hand.

    def submit(self, *jobs: JobSubmitted) -> Plan:
        """Submit jobs at once, at this story's time, and decide."""
        for each in jobs:
            self.happen(replace(each, at_ms=self.now_ms))
        return self.decide()

    def cancel(self, *names: str) -> Plan:
        for name in names:
            self.happen(CancelRequested(at_ms=self.now_ms, job=name, by="test"))
        return self.decide()

    def finish(self, *names: str, outcome: Outcome = Outcome.SUCCEEDED) -> Plan:
        """Attempts end by themselves."""
        for name in names:
            self.end(name, outcome)
        return self.decide()

    def set_node(self, node: str, state: str) -> Plan:
        self.happen_to(node, state)
        return self.decide()

    def happen_to(self, node: str, state: str) -> None:
        """A node changes, and nobody decides yet."""
        self.happen(NodeChanged(at_ms=self.now_ms, node=node, state=state, by="test"))

    def declare(self, declared: Nation) -> Plan:
        self.happen(NationApplied(at_ms=self.now_ms, by="test", nation=declared))
        return self.decide()

    def wait(self, milliseconds: int) -> Plan:
        """Let time pass without deciding on the way, then decide."""
        self.now_ms += milliseconds
        return self.decide()

    def card(self, name: str) -> JobCard:
        return self.world.jobs[name]

    def holds(self, name: str) -> bool:
        """True while a job has its GPUs and nobody wants them back."""
        return self.card(name).state in {JobState.STARTING, JobState.RUNNING}

    def holding(self) -> set[str]:
        return {name for name in self.world.jobs if self.holds(name)}

    def nodes_of(self, name: str) -> list[str]:
        return [placement.node for placement in self.card(name).placements]

    def why(self, name: str) -> Why:
        return explain(self.world, name, self.now_ms)

    def blocker(self, name: str, code: BlockerCode) -> Blocker:
        found = [each for each in self.why(name).blockers if each.code is code]
        assert len(found) == 1, self.why(name)
        return found[0]


def started(plan: Plan) -> list[str]:
    return [each.job for each in plan.decisions if isinstance(each, Start)]


def claimed(plan: Plan) -> list[str]:
    return [each.job for each in plan.decisions if isinstance(each, Claim)]


def warned(plan: Plan) -> list[str]:
    return [each.job for each in plan.decisions if isinstance(each, Warn)]


def decision(plan: Plan, name: str) -> Decision:
    """The only decision of a plan about a job."""
    found = [each for each in plan.decisions if each.job == name]
    assert len(found) == 1, plan
    return found[0]
