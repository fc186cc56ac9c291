"""Operations on what jobs leave in their output folders: list it, and fetch a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import quote

from msgspec import Struct
from starlette.responses import StreamingResponse

from dure.api.jobs import STREAM_HEADERS, no_longer_kept, own_card
from dure.api.operations import Call, bad_parameter
from dure.api.platform import Platform
from dure.api.problems import SECURITY_HEADERS, problem
from dure.control.attempts import attempt_id
from dure.control.holding import are_results_held
from dure.control.launching import engine_of
from dure.control.ports import ExecutorError
from dure.model.outputs import OutputFile
from dure.world.cards import JobCard


class OutputsReport(Struct, frozen=True, kw_only=True):
    """What an attempt of a job left in its output folder. Digests and types are there once the attempt is over."""

    job: str
    attempt: int
    files: tuple[OutputFile, ...]
    is_complete: bool
    """False when there is more than is listed."""


async def listing(platform: Platform, call: Call) -> OutputsReport:
    """The files of one attempt."""
    card = own_card(platform, call)
    attempt = _attempt(platform, call, card)
    engine, name = engine_of(platform.world, card), attempt_id(card.job, attempt)
    found = await asyncio.to_thread(platform.engines.outputs, engine, name) if attempt else None
    files = found.files if found else ()
    return OutputsReport(job=card.job, attempt=attempt, files=files, is_complete=found is None or found.is_complete)


async def fetch(platform: Platform, call: Call) -> StreamingResponse:
    """The content of one file."""
    card = own_card(platform, call)
    attempt = _attempt(platform, call, card)
    path = call.text("path")
    pieces = platform.engines.output(engine_of(platform.world, card), attempt_id(card.job, attempt), path)
    try:
        first = await asyncio.to_thread(next, pieces, b"")
    except ExecutorError as error:
        raise problem(404, "unknown-output", f"{card.job}: {error}; `dure outputs {card.job}` lists them.") from None
    return attachment(path, first, pieces)


def attachment(path: str, first: bytes, rest: Iterator[bytes]) -> StreamingResponse:
    """A file as browsers take it: to be saved, never to be shown or run."""
    name = quote(path.rpartition("/")[2], safe="")
    headers = SECURITY_HEADERS | STREAM_HEADERS | {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return StreamingResponse(_pieces(first, rest), media_type="application/octet-stream", headers=headers)


async def _pieces(first: bytes, rest: Iterator[bytes]) -> AsyncIterator[bytes]:
    piece = first
    while piece:
        yield piece
        piece = await asyncio.to_thread(next, rest, b"")


def _attempt(platform: Platform, call: Call, card: JobCard) -> int:
    """The attempt that is meant, whose outputs are there and may be seen."""
    attempt = call.number("attempt", 0, 1 << 30)
    if attempt > max(1, card.attempt):
        raise bad_parameter("attempt", str(attempt), f"{card.job} has had {card.attempt} so far")
    if are_results_held(platform.world.nation, card):
        detail = f"{card.job} reads restricted data of another organisation: what it leaves is not handed out."
        raise problem(403, "results-are-held", detail)
    if platform.control.memory.outputs.are_gone(card):
        raise no_longer_kept(card, platform.control.memory.outputs.most)
    return attempt or card.attempt
