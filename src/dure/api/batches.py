"""Many jobs in one request: one job file as JSON per line, each accepted or refused by itself.

Reading and accepting a job takes a while in which nobody else is served, so a batch is read a few lines at a time, and
accepted in pieces. Each piece is durable before the next is handed in, and has an idempotency key of its own made from
the batch's. While one piece is being made durable, the next is read.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from itertools import accumulate

from dure.api.bodies import LINES, default_project, idempotency_key, media_type, unsupported
from dure.api.operations import LARGEST_BODY, Call
from dure.api.platform import Platform
from dure.api.problems import problem
from dure.api.replies import done
from dure.control.requests import JobNotAccepted, SubmitJobs, SubmittedJobs
from dure.intake.jobfile import job_from_json
from dure.intake.refusals import BadInput
from dure.model.jobs import JobSpec

MOST_JOBS = 10_000
LARGEST_BATCH = 16 * LARGEST_BODY
"""Bytes of all lines together. One line may be as large as a job file by itself."""
PIECE = 250
"""Jobs that are accepted at a time: some milliseconds' work."""
READ_AT_ONCE = 8 * 1024
"""Bytes of lines: a fraction of a millisecond's work."""

Read = JobSpec | JobNotAccepted


async def submit(platform: Platform, call: Call) -> SubmittedJobs:
    """Accept each job of a batch, or say why not, in the order of the lines. Sent again with its key, it makes no more.

    A batch has at most 10,000 lines and 16 MiB. When it cannot go on in the middle, the problem says why; send the same
    again with the same key.
    """
    if media_type(call) != LINES:
        raise unsupported(media_type(call), (LINES,))
    key = idempotency_key(call)
    lines = [line for line in call.body.splitlines() if line.strip()]
    if not lines or len(lines) > MOST_JOBS:
        raise problem(422, "bad-document", f"A batch has 1 to {MOST_JOBS:,} lines with a job each, not {len(lines):,}.")
    # The request itself was counted at the door.
    platform.admission.charge(call.caller, len(lines) - 1)
    defaults = default_project(call)
    jobs: list[str | JobNotAccepted] = []
    read = await _read(lines[:PIECE], defaults)
    for first in range(0, len(lines), PIECE):
        piece = lines[first : first + PIECE]
        request = _request(call, piece, read, key and f"{key}#{first}")
        accepted, following = await asyncio.gather(
            platform.ask(request), _read(lines[first + PIECE : first + 2 * PIECE], defaults)
        )
        answer = done(accepted)
        assert isinstance(answer, SubmittedJobs), answer
        ids = iter(answer.jobs)
        jobs += [next(ids) if isinstance(each, JobSpec) else each for each in read]
        read = following
    return SubmittedJobs(jobs=tuple(jobs))


def _request(call: Call, lines: Sequence[bytes], read: Sequence[Read], key: str) -> SubmitJobs:
    specs = tuple(each for each in read if isinstance(each, JobSpec))
    digest = hashlib.sha256(b"\0".join((call.text("project").encode(), *lines))).hexdigest() if key else ""
    return SubmitJobs(caller=call.caller, specs=specs, key=key, digest=digest)


async def _read(lines: Sequence[bytes], defaults: Mapping[str, object] | None) -> list[Read]:
    """What the lines say; others are served in between."""
    read = []
    sizes = accumulate(map(len, lines))
    for line, size in zip(lines, sizes, strict=True):
        read.append(_read_line(line, defaults))
        if size // READ_AT_ONCE != (size - len(line)) // READ_AT_ONCE:
            await asyncio.sleep(0)
    return read


def _read_line(line: bytes, defaults: Mapping[str, object] | None) -> Read:
    if len(line) > LARGEST_BODY:
        message = f"a job may have at most {LARGEST_BODY >> 20} MiB"
        return JobNotAccepted(code="bad-document", message=message)
    try:
        return job_from_json(line, defaults)
    except BadInput as bad:
        first = bad.problems[0]
        message = f"{first.message}; {first.hint}" if first.hint else first.message
        return JobNotAccepted(code="bad-document", message=message, field=first.field)
