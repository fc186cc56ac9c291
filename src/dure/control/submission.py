"""Submissions: a job is accepted once per idempotency key, and what it runs is committed to, not shown."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from dure.control.access import Caller
from dure.control.draft import Draft
from dure.control.memory import Memory
from dure.control.ports import Row
from dure.control.requests import NotDone, NotDoneCode, Reply, SubmitJob, Submitted
from dure.intake.refusals import Refusal
from dure.intake.submission import accept_job
from dure.model.events import AccessRefused, JobSubmitted
from dure.model.jobs import JobSpec


class Kept(Struct, frozen=True, kw_only=True):
    """Row `requests/{caller}:{key}`: what was asked under this key, and what was answered."""

    digest: str
    answer: Submitted


_KEPT = msgspec.json.Decoder(Kept)


def submit(request: SubmitJob, memory: Memory, draft: Draft) -> Reply:
    """Accept a job, or say why not."""
    kept = _kept(request, memory)
    if kept is not None:
        return kept
    missing = missing_secret(request.spec, memory)
    if missing is not None:
        return missing
    job = memory.next_job()
    commitment, row = memory.specs.add(job, request.spec)
    event = judge(request.spec, request.caller, memory, job, draft.now_ms, commitment)
    if isinstance(event, Refusal):
        memory.take_back_job(job)
        _note_denial(request, event, draft)
        return event
    draft.record(event)
    draft.rows.append(row)
    answer = Submitted(jobs=(job,), array=request.spec.array, warnings=request.warnings)
    _keep(request, answer, memory, draft)
    return answer


def judge(
    spec: JobSpec, caller: Caller, memory: Memory, job: str, now_ms: int, commitment: str
) -> JobSubmitted | Refusal:
    """The event that accepts a job, or why it is refused. An operator submits for whoever has the project."""
    owner = memory.nation_index.organisation_of(spec.project)
    acts_for_owner = owner is not None and caller.speaks_for(owner.name)
    return accept_job(
        spec,
        nation=memory.nation_index,
        policy=memory.policy,
        by=caller.id,
        principal_organisation=owner.name if owner and acts_for_owner else caller.organisation,
        known_jobs=memory.world.jobs,
        job_id=job,
        at_ms=now_ms,
        commitment=commitment,
    )


def missing_secret(spec: JobSpec, memory: Memory) -> NotDone | None:
    """A job must not start only to find that a secret it counts on is not there."""
    for name in spec.secrets:
        if not memory.secrets.has(spec.project, name):
            message = f"The project {spec.project} has no secret {name}; set it first: dure secret set {name}"
            return NotDone(code=NotDoneCode.MISSING_CREDENTIAL, message=message)
    return None


def _kept(request: SubmitJob, memory: Memory) -> Reply | None:
    """The answer given before under this key."""
    if not request.key:
        return None
    row_key = _row_key(request)
    body = memory.kept_answers.get(row_key) or memory.ledger.row("requests", row_key)
    if body is None:
        return None
    kept = _KEPT.decode(body)
    if kept.digest != request.digest:
        message = "This idempotency key was used for another document; use a new key for a new job."
        return NotDone(code=NotDoneCode.IDEMPOTENCY_KEY_REUSED, message=message)
    return kept.answer


def _keep(request: SubmitJob, answer: Submitted, memory: Memory, draft: Draft) -> None:
    if not request.key:
        return
    body = msgspec.json.encode(Kept(digest=request.digest, answer=answer))
    # The same request may be in this batch twice, before the row of the first can be read.
    memory.kept_answers[_row_key(request)] = body
    draft.rows.append(Row("requests", _row_key(request), body))


def _row_key(request: SubmitJob) -> str:
    return f"{request.caller.id}:{request.key}"


def _note_denial(request: SubmitJob, refusal: Refusal, draft: Draft) -> None:
    """Denials by policy are evidence; other refusals are nobody's business but the caller's."""
    if refusal.rules and refusal.is_forbidden:
        draft.record(
            AccessRefused(
                at_ms=draft.now_ms,
                by=request.caller.id,
                project=request.spec.project,
                data=request.spec.data,
                purpose=request.spec.purpose.value,
                rules=refusal.rules,
            )
        )
