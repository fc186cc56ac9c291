"""Whose output is kept: that of the latest jobs to end. Older output is deleted, and whoever asks for it is told so."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from dure.control.attempts import attempt_id, split_attempt_id
from dure.control.holding import are_results_held
from dure.control.launching import engine_of
from dure.control.orders import EngineAddress, ForgetOrder
from dure.governance.register import Register
from dure.model.oversight import OversightEvent
from dure.model.result_events import ResultsWiped
from dure.world.cards import JobCard
from dure.world.state import FINAL_JOBS_KEPT
from dure.world.world import World

OUTPUTS_KEPT = 1_000
"""Jobs that are over and whose output can still be read."""

assert OUTPUTS_KEPT < FINAL_JOBS_KEPT, "the attempts of a job can only be named while its card is in memory"


class HeldOutput(Struct, frozen=True, kw_only=True):
    """Where the output of a job lies that waits in the airlock, also when nothing else is known of the job any more."""

    engine: EngineAddress
    attempts: int
    site: str


class Outputs:
    """The jobs that are over and whose output is kept, in the order in which they ended.

    What waits in the airlock counts by itself: it is kept until its own time is over.
    """

    def __init__(self, most: int = OUTPUTS_KEPT) -> None:
        self.most = most
        self._kept: dict[str, None] = {}
        self.held: dict[str, HeldOutput] = {}

    def note(self, world: World, register: Register) -> list[ForgetOrder]:
        """Take in the jobs that the latest event ended. Returns what engines may forget for it."""
        orders: list[ForgetOrder] = []
        for job in world.ended:
            card = world.jobs.get(job)
            if card is None or card.attempt == 0:
                continue
            if are_results_held(world.nation, register, card):
                self.held[job] = HeldOutput(engine=engine_of(world, card), attempts=card.attempt, site=card.site)
            else:
                self._kept[job] = None
        while len(self._kept) > self.most:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            orders.extend(_forget(world, oldest))
        return orders

    def follow(self, event: OversightEvent) -> list[ForgetOrder]:
        """Take in what became of results in the airlock. Returns what engines may forget for it."""
        if not isinstance(event, ResultsWiped) or (output := self.held.pop(event.job, None)) is None:
            return []
        return [
            ForgetOrder(engine=output.engine, attempt_id=attempt_id(event.job, attempt))
            for attempt in range(1, output.attempts + 1)
        ]

    def are_gone(self, card: JobCard) -> bool:
        """True when the job had output that is no longer kept."""
        return card.state.is_final and card.attempt > 0 and card.job not in self._kept and card.job not in self.held

    def left_over(self, engine: EngineAddress, attempts: Iterable[str], world: World) -> list[ForgetOrder]:
        """What an engine should have forgotten of attempts that are over, and may not have before a restart."""
        return [
            ForgetOrder(engine=engine, attempt_id=name)
            for name in attempts
            if self._is_left_over(split_attempt_id(name)[0], world)
        ]

    def _is_left_over(self, job: str, world: World) -> bool:
        card = world.jobs.get(job)
        return job not in self._kept and job not in self.held and (card is None or card.state.is_final)


def _forget(world: World, job: str) -> list[ForgetOrder]:
    card = world.jobs.get(job)
    if card is None:
        return []  # So much ended at once that its card is gone; the next start forgets its output.
    engine = engine_of(world, card)
    return [
        ForgetOrder(engine=engine, attempt_id=attempt_id(card.job, attempt)) for attempt in range(1, card.attempt + 1)
    ]
