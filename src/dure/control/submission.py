"""Submissions: a job is accepted once per idempotency key, and what it runs is committed to, not shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dure.control.access import Caller
from dure.control.draft import Draft
from dure.control.memory import Memory
from dure.control.oversight.training import note_training
from dure.control.ports import Row
from dure.control.requests import (
    JobNotAccepted,
    NotDone,
    NotDoneCode,
    Reply,
    Request,
    SubmitJob,
    SubmitJobs,
    Submitted,
    SubmittedJobs,
)
from dure.control.used_keys import UsedKeys
from dure.intake.refusals import Refusal
from dure.intake.submission import accept_job, likeness
from dure.model.events import AccessRefused, JobSubmitted
from dure.model.jobs import JobSpec


class Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Row `requests/{caller}:{key}`: what was asked under this key, and what was answered."""

    digest: str
    answer: Submitted | None = None
    answers: SubmittedJobs | None = None
    """To a request for many jobs."""


_KEPT = msgspec.json.Decoder(Kept)


def submit(request: SubmitJob, memory: Memory, draft: Draft) -> Reply:
    """Accept a job, or say why not."""
    kept = _kept(request, draft)
    if isinstance(kept, NotDone):
        return kept
    if kept is not None:
        return kept.answer or _reused()
    job = _accept(request.spec, request.caller, memory, draft)
    if not isinstance(job, _Accepted):
        return job
    warnings = (*request.warnings, *job.warnings)
    answer = Submitted(jobs=(job.job,), array=request.spec.array, warnings=warnings)
    _keep(request, Kept(digest=request.digest, answer=answer), draft)
    return answer


def submit_all(request: SubmitJobs, memory: Memory, draft: Draft) -> Reply:
    """Accept each of many jobs, or say of each why not."""
    kept = _kept(request, draft)
    if isinstance(kept, NotDone):
        return kept
    if kept is not None:
        return kept.answers or _reused()
    jobs = [_accept(spec, request.caller, memory, draft) for spec in request.specs]
    answers = SubmittedJobs(jobs=tuple(job.job if isinstance(job, _Accepted) else _why_not(job) for job in jobs))
    _keep(request, Kept(digest=request.digest, answers=answers), draft)
    return answers


def _why_not(no: Refusal | NotDone) -> JobNotAccepted:
    field = no.field if isinstance(no, Refusal) else ""
    return JobNotAccepted(code=no.code.value, message=no.message, field=field)


class _Accepted(NamedTuple):
    """The id of a job that was accepted, and what to know about it."""

    job: str
    warnings: tuple[str, ...]


def _accept(spec: JobSpec, caller: Caller, memory: Memory, draft: Draft) -> _Accepted | Refusal | NotDone:
    """The accepted job, or why it is not accepted."""
    no = out_of_scope(spec, caller) or missing_secret(spec, memory)
    if no is not None:
        return no
    job = memory.next_job()
    commitment, row = memory.specs.add(job, spec)
    if spec.depends:
        draft.settle()
    event = judge(spec, caller, memory, job, draft.now_ms, commitment)
    if isinstance(event, Refusal):
        memory.take_back_job(job)
        _note_denial(spec, caller, event, draft)
        return event
    draft.record(event)
    draft.rows.append(row)
    if spec.trains:
        draft.settle()
    return _Accepted(job, note_training(spec, event, memory, draft))


def judge(
    spec: JobSpec, caller: Caller, memory: Memory, job: str, now_ms: int, commitment: str
) -> JobSubmitted | Refusal:
    """The event that accepts a job, or why it is refused. An operator submits for whoever has the project."""
    owner = memory.nation_index.organisation_of(spec.project)
    acts_for_owner = owner is not None and caller.acts_for(owner.name, spec.project)
    organisation = owner.name if owner and acts_for_owner else caller.organisation
    alike = likeness(spec, organisation)
    if alike is not None and (accepted := memory.accepted.get(alike)) is not None:
        return replace(accepted, at_ms=now_ms, job=job, by=caller.id, commitment=commitment)
    event = accept_job(
        spec,
        nation=memory.nation_index,
        policy=memory.policy,
        by=caller.id,
        principal_organisation=organisation,
        known_jobs=memory.world.jobs,
        job_id=job,
        at_ms=now_ms,
        commitment=commitment,
    )
    if alike is not None and isinstance(event, JobSubmitted):
        memory.remember_accepted(alike, event)
    return event


def out_of_scope(spec: JobSpec, caller: Caller) -> NotDone | None:
    """A token for one project submits to no other."""
    if not caller.project or spec.project == caller.project:
        return None
    message = f"This token is for the project {caller.project} only."
    return NotDone(code=NotDoneCode.NOT_YOUR_PROJECT, message=message)


def missing_secret(spec: JobSpec, memory: Memory) -> NotDone | None:
    """A job must not start only to find that a secret it counts on is not there."""
    for name in spec.secrets:
        if not memory.secrets.has(spec.project, name):
            message = f"The project {spec.project} has no secret {name}; set it first: dure secret set {name}"
            return NotDone(code=NotDoneCode.MISSING_CREDENTIAL, message=message)
    return None


def _kept(request: SubmitJob | SubmitJobs, draft: Draft) -> Kept | NotDone | None:
    """What was answered before under this key."""
    if not request.key:
        return None
    body = draft.kept_answers.get(_row_key(request))
    if body is None:
        return None
    kept = _KEPT.decode(body)
    return kept if kept.digest == request.digest else _reused()


def answers_kept(requests: Sequence[Request], memory: Memory, used_keys: UsedKeys) -> dict[str, bytes]:
    """Rows of what was answered before under the keys of these requests, which count as used from now on.

    One question to the ledger, if any.
    """
    submissions = (request for request in requests if isinstance(request, SubmitJob | SubmitJobs))
    keys = [_row_key(each) for each in submissions if each.key]
    in_doubt = [key for key in keys if used_keys.may_have(key)]
    used_keys.note(keys)
    return memory.ledger.rows_of("requests", in_doubt) if in_doubt else {}


def _reused() -> NotDone:
    message = "This idempotency key was used for another document; use a new key for a new job."
    return NotDone(code=NotDoneCode.IDEMPOTENCY_KEY_REUSED, message=message)


def _keep(request: SubmitJob | SubmitJobs, kept: Kept, draft: Draft) -> None:
    if not request.key:
        return
    body = msgspec.json.encode(kept)
    # The same request may be in this batch twice, before the row of the first can be read.
    draft.kept_answers[_row_key(request)] = body
    draft.rows.append(Row("requests", _row_key(request), body))


def _row_key(request: SubmitJob | SubmitJobs) -> str:
    return f"{request.caller.id}:{request.key}"


def _note_denial(spec: JobSpec, caller: Caller, refusal: Refusal, draft: Draft) -> None:
    """Denials by policy are evidence; other refusals are nobody's business but the caller's."""
    if refusal.rules and refusal.is_forbidden:
        draft.record(
            AccessRefused(
                at_ms=draft.now_ms,
                by=caller.id,
                project=spec.project,
                data=spec.data,
                purpose=spec.purpose.value,
                rules=refusal.rules,
            )
        )
