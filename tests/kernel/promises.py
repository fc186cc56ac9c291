"""Follows what every waiting job was promised, and holds the kernel to it.

Knows nothing of how the kernel keeps its reservations: whether all of them together can be kept is worked out from who
runs where until when, and from how many nodes each wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from dure.model.events import JobSubmitted
from dure.model.jobs import JobState, Outcome
from dure.model.plan import Plan, Start
from dure.world.columns import NONE
from tests.kernel.story import Story


class Kept(NamedTuple):
    """A reservation: so many of the nodes of a pool, or a domain of it, with so many GPUs, from its shadow time on."""

    job: str
    among: range
    nodes: int
    gpus: int
    at_ms: int
    until_ms: int


class Promises:
    """The earliest start that each job was ever promised; `broken` are those that got a later one."""

    def __init__(self) -> None:
        self.first_ms: dict[str, int] = {}
        self.broken: list[tuple[str, int, int]] = []

    def watch(self, story: Story, plan: Plan) -> None:
        """After a decision: all reservations can be kept together, and none is later than it ever was."""
        kept = reservations(story)
        for each in kept:
            self._compare(each.job, each.at_ms)
            ready = _ready_nodes(story, each)
            others = sum(other.nodes for other in kept if other.job != each.job and _lasts_at(other, each))
            assert ready - others >= each.nodes, (each, ready, kept)
        for decision in plan.decisions:
            if isinstance(decision, Start):
                self._compare(decision.job, story.now_ms)
                self.first_ms.pop(decision.job, None)

    def _compare(self, job: str, at_ms: int) -> None:
        promised_ms = self.first_ms.setdefault(job, at_ms)
        self.first_ms[job] = min(promised_ms, at_ms)
        if at_ms > promised_ms:
            self.broken.append((job, promised_ms, at_ms))


def _lasts_at(other: Kept, each: Kept) -> bool:
    meets = other.among.start < each.among.stop and each.among.start < other.among.stop
    return meets and other.at_ms <= each.at_ms < other.until_ms


def reservations(story: Story) -> list[Kept]:
    """What waiting jobs are promised, by class and number."""
    found = []
    for record in story.world.columns.reservations:
        job = story.world.job_at(int(record.job)) if record.job != NONE and record.pool != NONE else ""
        if job and story.card(job).state is JobState.QUEUED:
            until_ms = int(record.shadow_ms) + story.card(job).submitted.time_ms
            among = range(int(record.first_node), int(record.last_node))
            found.append(Kept(job, among, int(record.nodes), int(record.gpus), int(record.shadow_ms), until_ms))
    return found


def _ready_nodes(story: Story, kept: Kept) -> int:
    """Nodes that have enough idle GPUs at a time, if whoever runs uses its whole time limit."""
    names = [story.world.atlas.node_name(node) for node in kept.among]
    held = {name: set[int]() for name in names}
    for card in story.world.running():
        for placement in card.placements:
            if placement.node in held and (card.started_at_ms or 0) + card.submitted.time_ms > kept.at_ms:
                held[placement.node].update(placement.gpus)
    gpus = {card.name: card.gpus if card.state == "up" else 0 for card in story.world.nodes()}
    return sum(gpus[name] - len(held[name]) >= kept.gpus for name in names)


def run_exactly(story: Story, arrivals: Sequence[tuple[int, JobSubmitted, int]]) -> None:
    """Play (time, job, how long it runs) until nobody waits: every attempt ends when it is to end."""
    moments: list[tuple[int, int, str]] = []
    submitted = {job.job: job for _, job, _ in arrivals}
    runs_ms = {job.job: ms for _, job, ms in arrivals}
    for at_ms, job, _ in arrivals:
        heappush(moments, (at_ms, 1, job.job))
    while moments:
        wake_ms = story.world.next_wake_ms()
        story.now_ms = moments[0][0] if wake_ms is None else min(moments[0][0], max(wake_ms, story.now_ms))
        while moments and moments[0][0] == story.now_ms:
            _, arrives, name = heappop(moments)
            if arrives:
                story.happen(submitted[name])
            else:
                story.end(name, Outcome.SUCCEEDED)
        for decision in story.decide().decisions:
            if isinstance(decision, Start):
                heappush(moments, (story.now_ms + runs_ms[decision.job], 0, decision.job))
