"""A run's ledger: the same entries that a live platform would have written, from the event loop's log.

Times are milliseconds since the start of the run. Applying the entries to a `World` gives the run's final state, and
the audit can judge each plan as it does live.
"""

from __future__ import annotations

from collections.abc import Iterator

from dure.model.events import AttemptEnded, FleetEvent, JobSubmitted, NationApplied, NodeChanged, NodeReason, Planned
from dure.model.jobs import ArrayRange, Outcome, Replicas
from dure.model.plan import Claim, Decision, Placement, Plan, Spare, Start, Stop, StopReason, Warn
from dure.sources.trace import unpack_choices
from dure.twin import events as log
from dure.twin.scene import Scene
from dure.world.atlas import NODE_STATES, Atlas
from dure.world.columns import MOST_GPUS
from dure.world.enacting import STOP_CODES
from dure.world.templates import copy_name

BY = "twin"
_STOP_REASONS = {code: reason for reason, code in STOP_CODES.items()}
_OUTCOMES = {
    log.LOG_FINISHED: Outcome.SUCCEEDED,
    log.LOG_YIELDED: Outcome.PREEMPTED,
    log.LOG_OVER_TIME: Outcome.TIME_LIMIT,
    log.LOG_NODE_LOST: Outcome.NODE_LOST,
    log.LOG_SCALED_DOWN: Outcome.SCALED_DOWN,
    log.LOG_RESIZED: Outcome.RESIZED,
}

_NODE_REASONS = {
    log.WHY_FAILED: NodeReason.FAILED,
    log.WHY_REPAIRED: NodeReason.REPAIRED,
    log.WHY_REPEATED_FAILURES: NodeReason.REPEATED_FAILURES,
    log.WHY_PROBATION_OVER: NodeReason.PROBATION_OVER,
}


class Diary:
    """Turns log rows into events; keeps only what one decision needs."""

    def __init__(self, scene: Scene, atlas: Atlas) -> None:
        self._scene = scene
        self._trace = scene.declared.trace
        self._atlas = atlas
        self._decisions: list[Decision] = []
        self._placements: list[Placement] = []
        self._at_ms = 0
        self._copies: dict[int, tuple[int, str]] = {}
        """Rows of tasks and replicas: the row of their array or service, and what they are called."""

    def opening(self) -> NationApplied:
        """The first entry."""
        return NationApplied(at_ms=0, by=BY, nation=self._scene.nation())

    def write(self, run: log.Run) -> Iterator[FleetEvent]:
        """The events in the log so far, which is emptied."""
        clock = run.clock[0]
        for row in run.log[: clock.log_rows].tolist():
            at_ms, kind, job, attempt, other, value = row
            if kind == log.LOG_COPY:
                self._copies[job] = (other, copy_name(f"j{other + 1}", value))
            elif kind == log.LOG_HELD:
                self._hold(other, value)
            elif kind == log.LOG_DECIDED:
                yield from self.close()
            elif kind == log.LOG_ARRIVED:
                yield self._submitted(at_ms, job)
            elif kind in _OUTCOMES:
                yield self._ended(at_ms, job, attempt, kind)
            elif kind == log.LOG_NODE_CHANGED:
                yield self._node_changed(at_ms, other, value, attempt)
            else:
                self._at_ms = at_ms
                self._decisions.append(self._decision(kind, job, attempt, other, value))
        clock.log_rows = 0

    def _node_changed(self, at_ms: int, node: int, state: int, why: int) -> NodeChanged:
        name = self._atlas.node_name(node)
        return NodeChanged(at_ms=at_ms, node=name, state=NODE_STATES[state], by=BY, reason=_NODE_REASONS[why])

    def close(self) -> Iterator[Planned]:
        """The plan of the decision that just ended, if it decided anything."""
        if self._decisions:
            plan = Plan(at_ms=self._at_ms, decisions=tuple(self._decisions))
            self._decisions.clear()
            yield Planned(at_ms=plan.at_ms, plan=plan)

    def _name(self, job: int) -> str:
        """The id of the job in a row."""
        return self._copies[job][1] if job in self._copies else f"j{job + 1}"

    def _in_trace(self, job: int) -> int:
        """Which job of the trace a row is of."""
        return self._copies[job][0] if job in self._copies else job

    def _hold(self, node: int, mask: int) -> None:
        gpus = tuple(gpu for gpu in range(MOST_GPUS) if mask >> gpu & 1)
        milli = mask >> MOST_GPUS
        self._placements.append(Placement(node=self._atlas.node_name(node), gpus=gpus, milli=milli))

    def _submitted(self, at_ms: int, job: int) -> JobSubmitted:
        trace = self._trace
        milli = int(trace.gpus_milli[job])
        what = self._scene.copies.get(job)
        replicas = what if isinstance(what, Replicas) else None
        classes = [self._atlas.class_name(index) for index in unpack_choices(int(trace.choices[job]))]
        return JobSubmitted(
            at_ms=at_ms,
            job=f"j{job + 1}",
            project=trace.shares[int(trace.share[job])],
            by=BY,
            commitment="",
            gpus=tuple((name, milli) for name in classes) if milli else (),
            nodes=int(trace.nodes[job]),
            min_nodes=self._scene.elastic.get(job, 0),
            saves_when_warned=job in self._scene.elastic,
            cpus=int(trace.cpus_milli[job]) // 1000,
            memory_mib=int(trace.memory_mib[job]),
            time_ms=0 if replicas else int(trace.limit_ms[job]),
            within="site",
            priority=0,
            preemptible=True,
            checkpoint_every_ms=0 if replicas else self._scene.checkpoint_every_ms,
            retry_limit=0,
            retry_backoff_ms=0,
            depends=(),
            data=(),
            purpose="research",
            sites=self._scene.fleet.sites,
            array=what if isinstance(what, ArrayRange) else None,
            replicas=replicas,
        )

    def _ended(self, at_ms: int, job: int, attempt: int, kind: int) -> AttemptEnded:
        outcome = _OUTCOMES[kind]
        exit_code = 0 if outcome is Outcome.SUCCEEDED else 1
        return AttemptEnded(at_ms=at_ms, job=self._name(job), attempt=attempt, outcome=outcome, exit_code=exit_code)

    def _decision(self, kind: int, job: int, attempt: int, other: int, value: int) -> Decision:
        name = self._name(job)
        if kind == log.LOG_WARN:
            return Warn(job=name, attempt=attempt, claimant=self._name(other), stop_at_ms=value)
        if kind == log.LOG_WARN_OF_RESIZE:
            return Warn(job=name, attempt=attempt, claimant="", stop_at_ms=value, resizes=True)
        if kind == log.LOG_SPARE:
            return Spare(job=name, attempt=attempt)
        if kind == log.LOG_STOP:
            reason: StopReason = _STOP_REASONS[value]
            return Stop(job=name, attempt=attempt, reason=reason, grace_ms=self._scene.timing.grace_ms)
        placements = tuple(self._placements)
        self._placements.clear()
        site = self._atlas.site_of_node(placements[0].node)
        gpu_class = self._atlas.class_name(other) if self._trace.gpus_milli[self._in_trace(job)] else ""
        if kind == log.LOG_CLAIM:
            return Claim(job=name, site=site, gpu_class=gpu_class, placements=placements)
        assert kind == log.LOG_START
        return Start(
            job=name, attempt=attempt, site=site, gpu_class=gpu_class, placements=placements, borrowed=value == 1
        )
