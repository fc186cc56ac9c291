"""Errors as people and programs read them: RFC 9457 problem documents with a stable code.

`problems` lists what is wrong field by field, each with the value and what to do about it.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.responses import Response

from dure.intake.refusals import Problem as FieldProblem
from dure.intake.refusals import Reason
from dure.model.datasets import Wording

PROBLEM_JSON = "application/problem+json"

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""What every answer of the interface tells browsers: keep nothing, guess nothing, embed nothing."""


class Problem(Struct, frozen=True, kw_only=True):
    """One refusal. `type` is `about:blank`, so `title` is that of the HTTP status, as the standard asks."""

    title: str
    status: int
    code: str
    detail: str
    problems: tuple[FieldProblem, ...] = ()
    type: str = "about:blank"
    reasons: tuple[Reason, ...] | UnsetType = UNSET
    """Of a refusal by policy: the rules that forbid it, and what each says would help."""
    remedy: Wording | UnsetType = UNSET
    """What would make just this request allowed."""


class ProblemRaised(Exception):
    """Ends the handling of a request with this problem."""

    def __init__(self, problem: Problem, headers: dict[str, str] | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.headers = headers or {}


TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


def problem(
    status: int,
    code: str,
    detail: str,
    problems: tuple[FieldProblem, ...] = (),
    headers: dict[str, str] | None = None,
) -> ProblemRaised:
    """The exception that answers a request with this problem."""
    body = Problem(title=TITLES[status], status=status, code=code, detail=detail, problems=problems)
    return ProblemRaised(body, headers)


def problem_response(raised: ProblemRaised) -> Response:
    """The problem on the wire."""
    return Response(
        msgspec.json.encode(raised.problem),
        status_code=raised.problem.status,
        media_type=PROBLEM_JSON,
        headers=SECURITY_HEADERS | raised.headers,
    )
