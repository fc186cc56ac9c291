"""What an operation of the interface is: method, path, who may call it, what goes in and what comes out.

The table of all operations is in `table`; routes, access checks and the OpenAPI document are all made from it, so none
of them can forget one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct
from starlette.requests import Request

from dure.api.platform import Platform
from dure.api.problems import problem
from dure.control.access import Caller, Permission
from dure.intake.refusals import Problem as FieldProblem

LARGEST_BODY = 1 << 20
"""Bytes; a job file or a nation is text that somebody wrote."""


class Parameter(Struct, frozen=True, kw_only=True):
    """A parameter of the query or of the headers. `type` is a JSON Schema type."""

    name: str
    description: str
    type: str = "string"
    place: str = "query"
    required: bool = False


class Call(Struct, frozen=True, kw_only=True):
    """One request that passed the access check."""

    request: Request
    caller: Caller
    body: bytes

    def path(self, name: str) -> str:
        """A parameter of the path."""
        return str(self.request.path_params[name])

    def text(self, name: str, default: str = "") -> str:
        """A parameter of the query."""
        # Most requests have none, and finding that out by parsing takes longer than reading the caller's token.
        return self.request.query_params.get(name, default) if self.request.scope["query_string"] else default

    def flag(self, name: str, default: str = "false") -> bool:
        """A parameter of the query that is `true` or `false`. Raises a problem for anything else."""
        value = self.text(name, default).lower()
        if value not in ("true", "false"):
            raise bad_parameter(name, value, "write true or false")
        return value == "true"

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number from 0 to `most` in the query. Raises a problem for anything else."""
        value = self.text(name, str(default))
        if not (value.isascii() and value.isdigit() and len(value) <= 18 and int(value) <= most):
            raise bad_parameter(name, value, f"write a whole number from 0 to {most}")
        return int(value)


Handler = Callable[[Platform, Call], Awaitable[Any]]
"""Returns a struct, which is sent as JSON, or a whole `Response`."""


class Operation(Struct, frozen=True, kw_only=True):
    """One operation. `permission` None means that anybody may call it without a token."""

    method: str
    path: str
    summary: str
    permission: Permission | None
    handler: Handler
    answer: Any = None
    """Type of the JSON answer; None for an answer that is not JSON."""
    answer_media_type: str = "application/json"
    status: int = 200
    parameters: tuple[Parameter, ...] = ()
    bodies: Mapping[str, Any] = {}
    """Accepted media types and the type each is read as (None for text)."""
    largest_body: int = LARGEST_BODY
    watches_the_platform: bool = False
    """It is answered as well as can be when nothing can be made durable: then it is needed most."""
    is_form: bool = False
    """A page of ours posts it as a form, so a browser's session may stand for a token."""

    @property
    def tells_the_state(self) -> bool:
        """Whether what it read must be durable before it is told."""
        return self.method == "GET" and self.permission is not None and not self.watches_the_platform


def bad_parameter(name: str, value: str, hint: str) -> Exception:
    """The problem of a query parameter that cannot be read."""
    wrong = FieldProblem(field=name, value=value[:100], message="not a possible value", hint=hint)
    return problem(400, "bad-parameter", f"The parameter {name} cannot be read.", (wrong,))
