"""What follows the end of an attempt: the job is over, queues again, waits to be tried again, or looks elsewhere."""

from __future__ import annotations

from typing import assert_never

from dure.model.events import AttemptEnded
from dure.model.jobs import JobState, Outcome
from dure.model.plan import StopReason
from dure.model.units import MINUTE_MS
from dure.world import transitions
from dure.world.cards import REQUEUED, JobCard, Moment, MomentCode
from dure.world.columns import HELD
from dure.world.fleet_changes import judge_nodes
from dure.world.state import State

STEADY_AFTER_MS = 10 * MINUTE_MS
"""A replica that ran for so long is not one that keeps ending at once."""
LONGEST_RESTART_MS = 5 * MINUTE_MS


def end_attempt(world: State, event: AttemptEnded) -> None:
    """Let its GPUs go, and have the job end, go back to the queue or wait to be tried again."""
    card = world.card_to_change(event.job)
    if card.attempt != event.attempt or card.state.is_waiting or card.state.is_final:
        return
    judge_nodes(world, card.row, event)
    transitions.release(world.columns, card.row, event.at_ms)
    card.exit_code = event.exit_code
    left_for, card.reservation = card.reservation, ""
    card.placements, card.claimant, card.resizes, card.stop_at_ms = (), "", False, None
    world.look_at_service_of(card, event.at_ms)
    if card.stop_reason is StopReason.SCALED_DOWN:
        world.finish(card, Moment(event.at_ms, JobState.SUCCEEDED, MomentCode.SCALED_DOWN))
        return
    match event.outcome:
        case Outcome.SUCCEEDED | Outcome.FAILED if card.submitted.replicas is not None:
            _start_again(world, card, event)
        case Outcome.SUCCEEDED | Outcome.SCALED_DOWN:
            world.finish(card, Moment(event.at_ms, JobState.SUCCEEDED, MomentCode.SUCCEEDED))
        case Outcome.CANCELLED:
            world.finish(card, Moment(event.at_ms, JobState.CANCELLED, MomentCode.CANCELLED))
        case Outcome.TIME_LIMIT:
            world.finish(card, Moment(event.at_ms, JobState.FAILED, MomentCode.TIME_LIMIT_REACHED))
        case Outcome.FAILED:
            _fail(world, card, event)
        case Outcome.REFUSED:
            _look_elsewhere(world, card, event, left_for)
        case Outcome.PREEMPTED | Outcome.RESIZED | Outcome.NODE_LOST | Outcome.DRAINED | Outcome.NEVER_STARTED:
            _requeue(world, card, event, left_for)
        case _:
            assert_never(event.outcome)


def _fail(world: State, card: JobCard, event: AttemptEnded) -> None:
    card.failures += 1
    if card.cancel_requested:
        world.finish(card, Moment(event.at_ms, JobState.CANCELLED, MomentCode.CANCELLED))
    elif card.failures > card.submitted.retry_limit:
        world.finish(card, _failure(event, JobState.FAILED, MomentCode.ATTEMPT_FAILED))
    else:
        backoff_ms = card.submitted.retry_backoff_ms << min(card.failures - 1, 16)
        _hold_back(world, card, _failure(event, JobState.HELD, MomentCode.ATTEMPT_FAILED_TRIES_AGAIN), backoff_ms)


def _start_again(world: State, card: JobCard, event: AttemptEnded) -> None:
    """A replica ended by itself: it starts again, after a wait that doubles while it keeps ending at once."""
    if card.cancel_requested:
        world.finish(card, Moment(event.at_ms, JobState.CANCELLED, MomentCode.CANCELLED))
        return
    ran_ms = event.at_ms - (card.started_at_ms or 0)
    card.failures = 1 if ran_ms >= STEADY_AFTER_MS else card.failures + 1
    backoff_ms = min(card.submitted.retry_backoff_ms << min(card.failures - 1, 16), LONGEST_RESTART_MS)
    _hold_back(world, card, _failure(event, JobState.HELD, MomentCode.ATTEMPT_ENDED_STARTS_AGAIN), backoff_ms)


def _hold_back(world: State, card: JobCard, moment: Moment, backoff_ms: int) -> None:
    """Keep a job out of the queue for a while."""
    world.release_at(card, moment.at_ms + backoff_ms)
    world.columns.jobs[card.row].state = HELD
    world.move(card, moment)


def _requeue(world: State, card: JobCard, event: AttemptEnded, left_for: str) -> None:
    if card.cancel_requested:
        world.finish(card, Moment(event.at_ms, JobState.CANCELLED, MomentCode.CANCELLED))
        return
    if event.outcome is Outcome.PREEMPTED:
        card.preemptions += 1
        # Who made way for a reservation lost nothing borrowed, and may take its guarantee back elsewhere.
        world.columns.jobs[card.row].times_reclaimed += 0 if left_for else 1
    transitions.put_in_queue(world.columns, card.row)
    where = card.site if event.outcome is Outcome.REFUSED else ""
    what = REQUEUED[event.outcome]
    world.move(card, Moment(event.at_ms, JobState.QUEUED, what, site=where, attempt=event.attempt, detail=event.detail))


def _look_elsewhere(world: State, card: JobCard, event: AttemptEnded, left_for: str) -> None:
    """A job goes where no engine has refused it yet; when there is no such site, it has failed."""
    card.refused_at = (*card.refused_at, card.site)
    if card.sites or card.cancel_requested:
        world.columns.jobs[card.row].sites = world.atlas.site_mask(card.sites)
        _requeue(world, card, event, left_for)
    else:
        world.finish(card, _failure(event, JobState.FAILED, MomentCode.REFUSED_EVERYWHERE))


def _failure(event: AttemptEnded, state: JobState, what: MomentCode) -> Moment:
    return Moment(event.at_ms, state, what, attempt=event.attempt, exit_code=event.exit_code, detail=event.detail)
