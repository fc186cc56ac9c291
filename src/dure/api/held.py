"""Files of jobs on their way out; those from the airlock only if they still are what was inspected."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import quote

from starlette.responses import StreamingResponse

from dure.api.platform import Platform
from dure.api.problems import SECURITY_HEADERS, problem
from dure.api.replies import not_done
from dure.control.attempts import attempt_id
from dure.control.logs import result_pieces
from dure.control.ports import ExecutorError
from dure.control.requests import NotDoneCode
from dure.reports.airlock import ResultLine

NEVER_KEPT = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def verified(platform: Platform, job: str, line: ResultLine) -> StreamingResponse:
    """The content of a result as it was inspected. Raises a problem when it is not what it was."""
    output = platform.control.memory.outputs.held[job]
    name = attempt_id(job, line.attempt)

    def pieces() -> Iterator[bytes]:
        return result_pieces(platform.engines, output.engine, name, line.kind, line.path)

    try:
        digest = await asyncio.to_thread(_digest, pieces)
        if digest != line.sha256:
            raise problem(409, "result-altered", f"Result {line.number} of {job} is not what was inspected.")
        content = pieces()
        first = await asyncio.to_thread(next, content, b"")
    except (ExecutorError, OSError) as error:
        raise not_done(NotDoneCode.UNKNOWN_RESULTS, f"Result {line.number} of {job}: {error}.") from None
    return attachment(line.path, first, content)


def _digest(pieces: Callable[[], Iterator[bytes]]) -> str:
    digest = hashlib.sha256()
    for piece in pieces():
        digest.update(piece)
    return digest.hexdigest()


def attachment(path: str, first: bytes, rest: Iterator[bytes]) -> StreamingResponse:
    """A file as browsers take it: to be saved, never to be shown or run."""
    name = quote(path.rpartition("/")[2], safe="")
    headers = SECURITY_HEADERS | NEVER_KEPT | {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return StreamingResponse(_pieces(first, rest), media_type="application/octet-stream", headers=headers)


async def _pieces(first: bytes, rest: Iterator[bytes]) -> AsyncIterator[bytes]:
    piece = first
    while piece:
        yield piece
        piece = await asyncio.to_thread(next, rest, b"")
