"""How attempts end, and the rows that remember them.

What an engine saw is one thing, what it means another: an attempt that ends while a stop order stands ended for that
reason, whatever its exit code says.
"""

from __future__ import annotations

import os
from typing import assert_never

import msgspec

from dure.control.ports import Ended, NeverStarted, Observation, Refused, Started
from dure.model.events import AttemptEnded, AttemptStarted, FleetEvent
from dure.model.jobs import JobState, Outcome
from dure.model.plan import StopReason
from dure.world.cards import JobCard
from dure.world.world import World

EXIT_YIELDED = os.EX_TEMPFAIL
"""By this exit code (75) a job that was warned says that it saved its work and wants to be run again."""

NO_EXIT_CODE = -1
FAILED_EXIT_CODE = 1
"""Of every job on restricted data that failed, whatever its own was."""
MOST_FALSE_STARTS = 3

_STOPPED_AS = {
    StopReason.RECLAIMED: Outcome.PREEMPTED,
    StopReason.TIME_LIMIT: Outcome.TIME_LIMIT,
    StopReason.CANCELLED: Outcome.CANCELLED,
    StopReason.NODE_LOST: Outcome.NODE_LOST,
    StopReason.RESERVED: Outcome.PREEMPTED,
    StopReason.SCALED_DOWN: Outcome.SCALED_DOWN,
    StopReason.DRAINED: Outcome.DRAINED,
    StopReason.RESIZED: Outcome.RESIZED,
}


def attempt_id(job: str, attempt: int) -> str:
    """The name engines know an attempt by."""
    return f"{job}.{attempt}"


def split_attempt_id(name: str) -> tuple[str, int]:
    """Job and number of an attempt."""
    job, _, attempt = name.rpartition(".")
    return job, int(attempt)


def holds_gpus(card: JobCard) -> bool:
    """True while an attempt of the job is open."""
    return not card.state.is_final and not card.state.is_waiting


def outcome_of(card: JobCard, exit_code: int) -> Outcome:
    """What the end of the job's running attempt means."""
    if card.state is JobState.STOPPING and card.stop_reason is not None:
        return _STOPPED_AS[card.stop_reason]
    if card.state is JobState.WARNED and exit_code == EXIT_YIELDED:
        return Outcome.RESIZED if card.resizes else Outcome.PREEMPTED
    return Outcome.SUCCEEDED if exit_code == 0 else Outcome.FAILED


def event_of(world: World, seen: Observation, false_starts: int, latest_ms: int, now_ms: int) -> FleetEvent | None:
    """What an observation means for the world; None for what is already known or no longer matters.

    `latest_ms` is the time of the ledger's last entry.

    `false_starts` is how often in a row the job could not be started before. An engine that fails at it again and again
    must not keep the loop busy, so at last the job has failed.
    """
    job, attempt = split_attempt_id(seen.attempt_id)
    card = world.jobs.get(job)
    if card is None or card.attempt != attempt or not holds_gpus(card):
        return None
    # An engine's clock is its own: time in the ledger goes neither back nor into the future.
    at_ms = min(now_ms, max(latest_ms, seen.at_ms))
    match seen:
        case Started():
            if card.state is not JobState.STARTING:
                return None
            return AttemptStarted(at_ms=at_ms, job=job, attempt=attempt, nodes=seen.nodes)
        case Ended():
            outcome = outcome_of(card, seen.exit_code)
            if seen.was_lost and outcome is Outcome.FAILED:
                outcome = Outcome.NODE_LOST
            return AttemptEnded(at_ms=at_ms, job=job, attempt=attempt, outcome=outcome, exit_code=seen.exit_code)
        case NeverStarted():
            stopped = card.state is JobState.STOPPING and card.stop_reason is not None
            gives_up = stopped or false_starts + 1 >= MOST_FALSE_STARTS
            outcome = outcome_of(card, NO_EXIT_CODE) if gives_up else Outcome.NEVER_STARTED
            return AttemptEnded(at_ms=at_ms, job=job, attempt=attempt, outcome=outcome, exit_code=NO_EXIT_CODE)
        case Refused():
            stopped = card.state is JobState.STOPPING and card.stop_reason is not None
            outcome = outcome_of(card, NO_EXIT_CODE) if stopped else Outcome.REFUSED
            return AttemptEnded(
                at_ms=at_ms,
                job=job,
                attempt=attempt,
                outcome=outcome,
                exit_code=NO_EXIT_CODE,
                detail="" if stopped else seen.reason,
            )
        case _:
            assert_never(seen)


def without_exit_code(event: FleetEvent | None) -> FleetEvent | None:
    """The same end with 1 for every exit code but 0: eight bits that a job chooses would tell of the data it read."""
    if not isinstance(event, AttemptEnded) or event.exit_code == 0:
        return event
    return msgspec.structs.replace(event, exit_code=FAILED_EXIT_CODE)
