"""What would happen: the real intake, decision and reasons on a copy of the world, with the write left out."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from dure import kernel
from dure.control.access import Caller
from dure.control.memory import Memory
from dure.control.oversight.training import foresee
from dure.control.requests import NotDone
from dure.control.submission import judge, missing_secret, out_of_scope
from dure.intake.refusals import Refusal
from dure.model.blockers import Why
from dure.model.jobs import JobSpec, JobState
from dure.model.plan import Placement, Warn
from dure.world.cards import JobCard
from dure.world.templates import split_copy
from dure.world.world import World


class Preview(Struct, frozen=True, kw_only=True):
    """What would become of a job submitted now; of an array or service, of its first task or replica.

    `tasks` and `starting` count all of them.
    """

    at_ms: int
    state: JobState
    tasks: int
    starting: int
    site: str
    gpu_class: str
    placements: tuple[Placement, ...]
    max_nodes: int | None = None
    """Of an elastic job, the most it may have."""
    borrowed: bool
    warned: tuple[str, ...]
    """Borrowers that would be told to give GPUs back for it."""
    allowed_sites: tuple[str, ...]
    agreements: tuple[str, ...] = ()
    """By which it may read its data there."""
    why: Why | None
    """Everything that would keep it, or tasks of it, waiting; null when all would start at once."""
    warnings: tuple[str, ...] = ()
    """What to know before it is submitted: thresholds of the law that the model it trains may cross."""


class Trial(NamedTuple):
    """A preview, and the copy of the world it was made in, with its (first) job."""

    preview: Preview
    world: World
    card: JobCard


def preview(memory: Memory, caller: Caller, spec: JobSpec, now_ms: int) -> Preview | Refusal | NotDone:
    """What would become of a job submitted now."""
    tried = try_out(memory, caller, spec, now_ms)
    return tried.preview if isinstance(tried, Trial) else tried


def try_out(memory: Memory, caller: Caller, spec: JobSpec, now_ms: int) -> Trial | Refusal | NotDone:
    """Submit to a copy of the world and decide there."""
    no = out_of_scope(spec, caller) or missing_secret(spec, memory)
    if no is not None:
        return no
    event = judge(spec, caller, memory, memory.upcoming_job(), now_ms, commitment="")
    if isinstance(event, Refusal):
        return event
    world = memory.world.fork()
    world.apply(event)
    plan = kernel.decide(world, now_ms)
    ours = {event.job, *(each.job for each in plan.decisions if split_copy(each.job)[0] == event.job)}
    warned = tuple(each.job for each in plan.decisions if isinstance(each, Warn) and each.claimant in ours)
    first = next((each for each in plan.decisions if each.job in ours), None)
    card = world.jobs[first.job if first else event.job]
    shown = _preview(world, world.jobs[event.job], card, warned, now_ms)
    shown = replace(shown, warnings=foresee(spec, event, memory, now_ms).warnings)
    return Trial(shown, world, world.jobs[event.job])


def _preview(world: World, card: JobCard, first: JobCard, warned: tuple[str, ...], now_ms: int) -> Preview:
    copies = world.copies_of(card)
    is_started = not card.state.is_waiting
    return Preview(
        at_ms=now_ms,
        state=first.state,
        tasks=copies.total if copies else 1,
        starting=copies.running if copies else int(is_started),
        site=first.site,
        gpu_class=first.gpu_class,
        placements=first.placements,
        max_nodes=first.submitted.nodes if first.submitted.min_nodes else None,
        borrowed=first.borrowed,
        warned=warned,
        allowed_sites=first.submitted.sites,
        agreements=first.submitted.agreements,
        why=kernel.explain(world, card.job, now_ms) if world.waits(card) else None,
    )
