"""Operations on what jobs leave in their output folders: list it, look at a file, and fetch one.

Of a job on restricted data there is only what a steward released, and only as far as its organisation's agreements go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from msgspec import Struct
from starlette.responses import PlainTextResponse, StreamingResponse

from dure.api.held import NEVER_KEPT, attachment, verified
from dure.api.jobs import no_longer_kept, own_card, results_held
from dure.api.operations import Call, bad_parameter
from dure.api.platform import Platform
from dure.api.problems import SECURITY_HEADERS, problem
from dure.api.replies import not_done
from dure.control.attempts import attempt_id
from dure.control.holding import are_results_held
from dure.control.launching import engine_of
from dure.control.ports import ExecutorError
from dure.control.requests import NotDoneCode
from dure.governance.airlock import Holding, ResultState, may_have
from dure.governance.inspection.media_types import TEXTUAL
from dure.model.agreements import Operation
from dure.model.outputs import OutputFile
from dure.model.results import ResultKind
from dure.reports.airlock import ResultLine
from dure.world.cards import JobCard

MOST_VIEWED = 256 * 1024
"""Bytes of a file that are shown; to have more, it must be taken."""


class OutputsReport(Struct, frozen=True, kw_only=True):
    """What an attempt of a job left in its output folder. Digests and types are there once the attempt is over."""

    job: str
    attempt: int
    files: tuple[OutputFile, ...]
    is_complete: bool
    """False when there is more than is listed."""
    in_airlock: bool = False
    """It is a job on restricted data: only what was released is listed."""


async def listing(platform: Platform, call: Call) -> OutputsReport:
    """The files of one attempt."""
    card = own_card(platform, call)
    attempt = _attempt(platform, call, card)
    if _are_held(platform, card):
        holding = platform.control.memory.register.airlock.holdings.get(card.job)
        files = await _released(platform, holding, attempt) if holding else ()
        listed = tuple(_as_file(each) for each in files)
        return OutputsReport(job=card.job, attempt=attempt, files=listed, is_complete=True, in_airlock=True)
    engine, name = engine_of(platform.world, card), attempt_id(card.job, attempt)
    found = await asyncio.to_thread(platform.engines.outputs, engine, name) if attempt else None
    every = found.files if found else ()
    return OutputsReport(job=card.job, attempt=attempt, files=every, is_complete=found is None or found.is_complete)


async def fetch(platform: Platform, call: Call) -> StreamingResponse:
    """The whole content of one file."""
    card = own_card(platform, call)
    attempt = _attempt(platform, call, card)
    path = call.text("path")
    if _are_held(platform, card):
        line = await _received(platform, card, attempt, path, (Operation.TAKE_RESULTS,))
        return await verified(platform, card.job, line)
    pieces = platform.engines.output(engine_of(platform.world, card), attempt_id(card.job, attempt), path)
    return attachment(path, await _first(card, pieces), pieces)


async def view(platform: Platform, call: Call) -> PlainTextResponse:
    """The beginning of a text, to be looked at."""
    card = own_card(platform, call)
    attempt = _attempt(platform, call, card)
    path = call.text("path")
    if _are_held(platform, card):
        see = (Operation.VIEW_RESULTS, Operation.TAKE_RESULTS)
        line = await _received(platform, card, attempt, path, see)
        if line.media_type not in TEXTUAL:
            raise problem(409, "not-a-text", f"{path} is {line.media_type}, which is not shown; it can only be taken.")
    pieces = platform.engines.output(engine_of(platform.world, card), attempt_id(card.job, attempt), path)
    body = (await _first(card, pieces))[:MOST_VIEWED]
    return PlainTextResponse(body.decode(errors="replace"), headers=SECURITY_HEADERS | NEVER_KEPT)


async def _received(
    platform: Platform, card: JobCard, attempt: int, path: str, operations: tuple[Operation, ...]
) -> ResultLine:
    """A released result, if an agreement in force lets the job's organisation do this with it. Raises a problem."""
    memory = platform.control.memory
    holding = memory.register.airlock.holdings.get(card.job)
    released = await _released(platform, holding, attempt) if holding else ()
    line = next((each for each in released if each.path == path), None)
    if holding is None or line is None:
        raise results_held(card.job)
    agreements = memory.register.agreements_in_force(platform.clock.now_ms())
    if not may_have(agreements, holding.recipient, holding.datasets, operations):
        needed = " or ".join(operations)
        message = f"{path} of {card.job} is released, but no agreement in force has the operation {needed}."
        raise not_done(NotDoneCode.OUTPUT_NOT_YOURS_TO_TAKE, message)
    return line


async def _released(platform: Platform, holding: Holding, attempt: int) -> tuple[ResultLine, ...]:
    every = await platform.named_results(holding)
    return tuple(
        each
        for each in every
        if each.state is ResultState.RELEASED and each.kind is ResultKind.OUTPUT and each.attempt == attempt
    )


def _as_file(line: ResultLine) -> OutputFile:
    return OutputFile(path=line.path, size_bytes=line.size_bytes, media_type=line.media_type, sha256=line.sha256)


def _are_held(platform: Platform, card: JobCard) -> bool:
    return are_results_held(platform.nation(), platform.control.memory.register, card)


async def _first(card: JobCard, pieces: Iterator[bytes]) -> bytes:
    try:
        return await asyncio.to_thread(next, pieces, b"")
    except ExecutorError as error:
        raise problem(404, "unknown-output", f"{card.job}: {error}; `dure outputs {card.job}` lists them.") from None


def _attempt(platform: Platform, call: Call, card: JobCard) -> int:
    """The attempt that is meant, whose outputs are there."""
    attempt = call.number("attempt", 0, 1 << 30)
    if attempt > max(1, card.attempt):
        raise bad_parameter("attempt", str(attempt), f"{card.job} has had {card.attempt} so far")
    if platform.control.memory.outputs.are_gone(card):
        raise no_longer_kept(card, platform.control.memory.outputs.most)
    return attempt or card.attempt
