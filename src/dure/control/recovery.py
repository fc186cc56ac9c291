"""After a restart: what became of the attempts that were open, and what engines may not have been told.

An order may have been committed and never sent, because the server died in between; or sent, and its effect never
observed. Orders are idempotent, so they are sent again. Nothing is started a second time: an attempt is only sent again
when its engine proves that it never ran, and one whose fate nobody knows is waited for.
"""

from __future__ import annotations

from collections import defaultdict

from msgspec import Struct

from dure.control.attempts import attempt_id
from dure.control.control import Control
from dure.control.launching import engine_of, stop
from dure.control.orders import Engines, Order, SpareOrder
from dure.control.ports import Ended, NeverStarted, Observation, Refused, Started
from dure.model.fleet import Engine
from dure.model.jobs import JobState
from dure.world.cards import JobCard


class Found(Struct, frozen=True, kw_only=True):
    """What recovery found: things that happened meanwhile, and orders to send again."""

    observations: list[Observation]
    orders: list[Order]


def recover(control: Control, engines: Engines) -> Found:
    """Ask every engine about every open attempt."""
    found = Found(observations=[], orders=[])
    open_attempts: dict[Engine, list[JobCard]] = defaultdict(list)
    for card in control.world.running():
        open_attempts[engine_of(control.world, card)].append(card)
    for engine, cards in open_attempts.items():
        known = engines.recover(engine, [attempt_id(card.job, card.attempt) for card in cards])
        for card in cards:
            _sort_out(control, card, known[attempt_id(card.job, card.attempt)], found)
    found.orders.extend(control.memory.outputs.left_over(engines.over(), control.world))
    return found


def _sort_out(control: Control, card: JobCard, seen: Observation | None, found: Found) -> None:
    """One open attempt: it ended meanwhile, it runs (or may run), or it never did."""
    match seen:
        case Ended() | Refused():
            found.observations.append(seen)
        case Started():
            found.observations.append(seen)
            found.orders.extend(_standing_orders(control, card))
        case NeverStarted() if card.state is JobState.STOPPING:
            found.observations.append(seen)
        case NeverStarted():
            found.orders.append(control.launching.launch(control.world, card))
            found.orders.extend(_standing_orders(control, card))
        case None:
            found.orders.extend(_standing_orders(control, card))


def _standing_orders(control: Control, card: JobCard) -> list[Order]:
    """What the attempt's engine must know by now besides that it is to run."""
    world = control.world
    match card.state:
        case JobState.STOPPING:
            return [stop(world, card, world.nation.timing.grace_ms)]
        case JobState.WARNED:
            assert card.stop_at_ms is not None, f"{card.job} is warned, so it has a time to stop"
            return [control.launching.warn(world, card, card.stop_at_ms)]
        case _:
            name = attempt_id(card.job, card.attempt)
            return [SpareOrder(engine=engine_of(world, card), attempt_id=name)]
