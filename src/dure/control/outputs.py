"""Whose output is kept: that of the latest jobs to end. Older output is deleted, and whoever asks for it is told so."""

from __future__ import annotations

from collections.abc import Iterable

from dure.control.attempts import attempt_id, split_attempt_id
from dure.control.launching import engine_of
from dure.control.orders import EngineAddress, ForgetOrder
from dure.world.cards import JobCard
from dure.world.state import FINAL_JOBS_KEPT
from dure.world.world import World

OUTPUTS_KEPT = 1_000
"""Jobs that are over and whose output can still be read."""

assert OUTPUTS_KEPT < FINAL_JOBS_KEPT, "the attempts of a job can only be named while its card is in memory"


class Outputs:
    """The jobs that are over and whose output is kept, in the order in which they ended."""

    def __init__(self, most: int = OUTPUTS_KEPT) -> None:
        self.most = most
        self._kept: dict[str, None] = {}

    def note(self, world: World) -> list[ForgetOrder]:
        """Take in the jobs that the latest event ended. Returns what engines may forget for it."""
        orders: list[ForgetOrder] = []
        for job in world.ended:
            card = world.jobs.get(job)
            if card is not None and card.attempt > 0:
                self._kept[job] = None
        while len(self._kept) > self.most:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            orders.extend(_forget(world, oldest))
        return orders

    def are_gone(self, card: JobCard) -> bool:
        """True when the job had output that is no longer kept."""
        return card.state.is_final and card.attempt > 0 and card.job not in self._kept

    def left_over(self, engine: EngineAddress, attempts: Iterable[str], world: World) -> list[ForgetOrder]:
        """What an engine should have forgotten of attempts that are over, and may not have before a restart."""
        return [
            ForgetOrder(engine=engine, attempt_id=name)
            for name in attempts
            if self._is_left_over(split_attempt_id(name)[0], world)
        ]

    def _is_left_over(self, job: str, world: World) -> bool:
        card = world.jobs.get(job)
        return job not in self._kept and (card is None or card.state.is_final)


def _forget(world: World, job: str) -> list[ForgetOrder]:
    card = world.jobs.get(job)
    if card is None:
        return []  # So much ended at once that its card is gone; the next start forgets its output.
    engine = engine_of(world, card)
    return [
        ForgetOrder(engine=engine, attempt_id=attempt_id(card.job, attempt)) for attempt in range(1, card.attempt + 1)
    ]
