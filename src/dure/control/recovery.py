"""After a restart: what became of the attempts that were open, and what an engine may not have been told.

An order may have been committed and never sent, because the server died in between; or sent, and its effect never
observed. Orders are idempotent, so they are sent again. Nothing is started a second time: an attempt is only sent again
when its engine proves that it never ran, and one whose fate nobody knows is waited for.

The engine is asked on its own thread, while the loop may go on; so what it says is set against the world as it is when
the answer comes.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from dure.control.attempts import attempt_id, holds_gpus, split_attempt_id
from dure.control.control import Control
from dure.control.launching import engine_of, stop
from dure.control.orders import EngineAddress, Engines, Order, Seen, SpareOrder
from dure.control.ports import Ended, NeverStarted, Observation, Refused, Started
from dure.model.jobs import JobState
from dure.world.cards import JobCard
from dure.world.world import World


class Known(Struct, frozen=True, kw_only=True):
    """What an engine knows: of each attempt it was asked about, and which ended ones it still keeps something of."""

    attempts: dict[str, Observation | None]
    over: list[str]
    never_started: frozenset[str]
    """Attempts of which it was heard before that they never started; that may be on its way to the world."""


class Found(Struct, frozen=True, kw_only=True):
    """What recovery found: things that happened meanwhile, and orders to send again."""

    observations: list[Seen]
    orders: list[Order]


def open_attempts(world: World, engine: EngineAddress) -> list[str]:
    """Every attempt that the engine should know of."""
    return [attempt_id(card.job, card.attempt) for card in world.running() if engine_of(world, card) == engine]


def ask_engine(engines: Engines, engine: EngineAddress, attempt_ids: Sequence[str]) -> Known:
    """Have the engine say what it knows. May take long, or fail."""
    return Known(
        attempts=engines.recover(engine, attempt_ids),
        over=engines.over(engine),
        never_started=engines.never_started(engine),
    )


def sort_out(control: Control, engine: EngineAddress, known: Known) -> Found:
    """Set what an engine knows against the world."""
    found = Found(observations=[], orders=[])
    for name, seen in known.attempts.items():
        job, attempt = split_attempt_id(name)
        card = control.world.jobs.get(job)
        if card is not None and card.attempt == attempt and holds_gpus(card):
            _sort_out(control, card, engine, seen, name in known.never_started, found)
    found.orders.extend(control.memory.outputs.left_over(engine, known.over, control.world))
    return found


def _sort_out(
    control: Control, card: JobCard, engine: EngineAddress, seen: Observation | None, was_heard: bool, found: Found
) -> None:
    """One open attempt: it ended meanwhile, it runs (or may run), or it never did.

    With `was_heard`, it was heard before that it never did, and so it is over: were it sent again, it would run beside
    the attempt that follows.
    """
    match seen:
        case Ended() | Refused():
            found.observations.append(Seen(engine, seen))
        case Started():
            found.observations.append(Seen(engine, seen))
            found.orders.extend(_standing_orders(control, card))
        case NeverStarted() if was_heard or card.state is JobState.STOPPING:
            found.observations.append(Seen(engine, seen))
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
