"""Many jobs in one request: one job file as JSON per line, each accepted or refused by itself.

Reading and accepting a job takes a while in which nobody else is served, so a batch is taken in pieces. Each piece is
durable before the next begins, and has an idempotency key of its own made from the batch's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from dure.api.bodies import LINES, default_project, idempotency_key, media_type, unsupported
from dure.api.operations import Call
from dure.api.platform import Platform
from dure.api.problems import problem
from dure.api.replies import done
from dure.control.requests import JobNotAccepted, SubmitJobs, SubmittedJobs
from dure.intake.jobfile import job_from_json
from dure.intake.refusals import BadInput
from dure.model.jobs import JobSpec

MOST_JOBS = 10_000
PIECE = 250
"""Jobs that are accepted at a time: some milliseconds' work."""


async def submit(platform: Platform, call: Call) -> SubmittedJobs:
    """Accept each job of a batch, or say why not, in the order of the lines. Sent again with its key, it makes no more.

    When it cannot go on in the middle, the problem says how many lines are done; send the same again with the same key.
    """
    if media_type(call) != LINES:
        raise unsupported(media_type(call), (LINES,))
    key = idempotency_key(call)
    lines = [line for line in call.body.splitlines() if line.strip()]
    if not lines or len(lines) > MOST_JOBS:
        raise problem(422, "bad-document", f"A batch has 1 to {MOST_JOBS:,} lines with a job each, not {len(lines):,}.")
    # The request itself was counted at the door.
    platform.admission.charge(call.caller, len(lines) - 1)
    jobs: list[str | JobNotAccepted] = []
    for first in range(0, len(lines), PIECE):
        piece_key = f"{key}#{first}" if key else ""
        jobs += await _submit_piece(platform, call, lines[first : first + PIECE], piece_key)
    return SubmittedJobs(jobs=tuple(jobs))


async def _submit_piece(
    platform: Platform, call: Call, lines: Sequence[bytes], key: str
) -> Sequence[str | JobNotAccepted]:
    read = [_read(line, call) for line in lines]
    specs = tuple(each for each in read if isinstance(each, JobSpec))
    digest = hashlib.sha256(b"\0".join((call.text("project").encode(), *lines))).hexdigest() if key else ""
    answer = done(await platform.ask(SubmitJobs(caller=call.caller, specs=specs, key=key, digest=digest)))
    assert isinstance(answer, SubmittedJobs), answer
    accepted = iter(answer.jobs)
    return [next(accepted) if isinstance(each, JobSpec) else each for each in read]


def _read(line: bytes, call: Call) -> JobSpec | JobNotAccepted:
    try:
        return job_from_json(line, default_project(call))
    except BadInput as bad:
        first = bad.problems[0]
        message = f"{first.message}; {first.hint}" if first.hint else first.message
        return JobNotAccepted(code="bad-document", message=message, field=first.field)
