"""Follows the reservation of each class's first blocked job, and holds the kernel to it.

Knows nothing of how the kernel finds a reservation: whether it is true is worked out from who runs where until when.
"""

from __future__ import annotations

from dure.model.jobs import JobState
from dure.model.plan import Placement, Plan
from dure.world.columns import NONE
from tests.kernel.story import Story

ROUNDING_MS = 60_000
"""Reservations are told in whole minutes, rounded up."""


class Heads:
    """What the first blocked job of each class was promised, as long as it stays the first.

    With `one_queue` nobody's turn may come before that job's later on, so its reservation gets no later. Among several
    shares it may: whoever used less meanwhile goes first.
    """

    def __init__(self, one_queue: bool) -> None:
        self._one_queue = one_queue
        self._promised: dict[int, tuple[str, int]] = {}

    def watch(self, story: Story, _: Plan) -> None:
        """After a decision, with all that started behind the first: every reservation is true, and none got later."""
        for gpu_class in range(len(story.world.columns.reservations)):
            head = _head(story, gpu_class)
            if head is None:
                self._promised.pop(gpu_class, None)
                continue
            job, shadow_ms = head
            assert _ready_nodes(story, gpu_class, shadow_ms) >= story.card(job).submitted.nodes, (job, shadow_ms)
            before, promised_ms = self._promised.get(gpu_class, ("", 0))
            if self._one_queue and job == before:
                assert shadow_ms <= max(promised_ms, story.now_ms + ROUNDING_MS), (job, shadow_ms)
            self._promised[gpu_class] = (job, shadow_ms)


def _head(story: Story, gpu_class: int) -> tuple[str, int] | None:
    record = story.world.columns.reservations[gpu_class]
    if record.job == NONE or record.pool == NONE:
        return None
    job = story.world.job_at(int(record.job))
    return (job, int(record.shadow_ms)) if job and story.card(job).state is JobState.QUEUED else None


def _ready_nodes(story: Story, gpu_class: int, at_ms: int) -> int:
    """Nodes of the reserved pool that have enough idle GPUs at a time, if whoever runs uses its whole time limit."""
    record = story.world.columns.reservations[gpu_class]
    area = story.world.columns.pools[int(record.pool)]
    names = [story.world.atlas.node_name(int(area.first_node) + index) for index in range(int(area.node_count))]
    held = {name: set[int]() for name in names}
    for placement, until_ms in _held(story):
        if until_ms > at_ms and placement.node in held:
            held[placement.node].update(placement.gpus)
    gpus = {card.name: card.gpus if card.state == "up" else 0 for card in story.world.nodes()}
    return sum(gpus[name] - len(held[name]) >= record.gpus for name in names)


def _held(story: Story) -> list[tuple[Placement, int]]:
    return [
        (placement, (card.started_at_ms or 0) + card.submitted.time_ms)
        for card in story.world.running()
        for placement in card.placements
    ]
