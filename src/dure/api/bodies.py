"""Request bodies: which media types mean what, and bodies that cannot be read as problems."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from dure.api.operations import Call
from dure.api.problems import ProblemRaised, problem
from dure.intake.jobfile import job_from_json, job_from_yaml
from dure.intake.refusals import BadInput
from dure.intake.refusals import Problem as FieldProblem
from dure.intake.sbatch import job_from_sbatch
from dure.model.jobs import JobSpec

JSON = "application/json"
YAML = "application/yaml"
SCRIPT = "text/x-shellscript"
LINES = "application/x-ndjson"
OCTETS = "application/octet-stream"
FORM = "application/x-www-form-urlencoded"
LONGEST_KEY = 200

T = TypeVar("T", bound=Struct)


class JobDocument(Struct, frozen=True, kw_only=True):
    """A job as it was read from a body."""

    spec: JobSpec
    warnings: tuple[str, ...]
    digest: str
    """Hexadecimal SHA-256 of media type, default project and body: the same document sent again has the same."""


def media_type(call: Call) -> str:
    """The body's media type without its parameters."""
    return call.request.headers.get("content-type", "").partition(";")[0].strip().lower()


def read_job(call: Call) -> JobDocument:
    """The job in a body: a job file as YAML or JSON, or a script with `#SBATCH` lines."""
    kind = media_type(call)
    reader = _READERS.get(kind)
    if reader is None:
        raise unsupported(kind, tuple(_READERS))
    try:
        spec, warnings = reader(call)
    except BadInput as bad:
        raise bad_document("The job", bad) from None
    meant = b"\0".join((kind.encode(), call.text("project").encode(), call.body))
    return JobDocument(spec=spec, warnings=warnings, digest=hashlib.sha256(meant).hexdigest())


def read_struct(call: Call, kind: type[T]) -> T:
    """A small JSON body of a known shape."""
    if media_type(call) != JSON:
        raise unsupported(media_type(call), (JSON,))
    try:
        return msgspec.json.decode(call.body, type=kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        wrong = FieldProblem(field=path.strip("`.") or "", value="", message=message)
        raise problem(422, "bad-document", "The body cannot be used.", (wrong,)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise problem(422, "bad-document", f"The body is not readable as JSON: {error}.") from None
    except RecursionError:
        raise problem(422, "bad-document", "The body is nested too deeply.") from None


def text_of(call: Call) -> str:
    """The body as text."""
    try:
        return call.body.decode()
    except UnicodeDecodeError as error:
        message = f"The body is not text in UTF-8 (byte {error.start}); save the file as UTF-8."
        raise problem(422, "bad-document", message) from None


def bad_document(what: str, bad: BadInput) -> ProblemRaised:
    """All that is wrong with a document, as one problem."""
    count = len(bad.problems)
    detail = f"{what} cannot be used: {count} {'problem' if count == 1 else 'problems'}."
    return problem(422, "bad-document", detail, bad.problems)


def unsupported(kind: str, accepted: tuple[str, ...]) -> ProblemRaised:
    """The problem of a body in a media type that is not read here."""
    given = kind or "no media type"
    return problem(415, "unsupported-media-type", f"A body with {given} is not read here; send {', '.join(accepted)}.")


def idempotency_key(call: Call) -> str:
    """The key under which a submission is done only once; empty when none was sent."""
    key = call.request.headers.get("idempotency-key", "")
    if len(key) > LONGEST_KEY or not (key.isascii() and key.isprintable()):
        message = f"An Idempotency-Key has at most {LONGEST_KEY} printable ASCII characters."
        raise problem(400, "bad-idempotency-key", message)
    return key


def default_project(call: Call) -> dict[str, object] | None:
    """The project of jobs that name none, if the request says so."""
    project = call.text("project")
    return {"project": project} if project else None


def _from_json(call: Call) -> tuple[JobSpec, tuple[str, ...]]:
    return job_from_json(call.body, default_project(call)), ()


def _from_yaml(call: Call) -> tuple[JobSpec, tuple[str, ...]]:
    return job_from_yaml(text_of(call), default_project(call)), ()


def _from_script(call: Call) -> tuple[JobSpec, tuple[str, ...]]:
    job = job_from_sbatch(text_of(call), default_project(call))
    return job.spec, job.warnings


_READERS: dict[str, Callable[[Call], tuple[JobSpec, tuple[str, ...]]]] = {
    JSON: _from_json,
    YAML: _from_yaml,
    "application/x-yaml": _from_yaml,
    "text/yaml": _from_yaml,
    SCRIPT: _from_script,
}
