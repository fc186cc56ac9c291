"""What can go wrong for a user, worded once.

click.ClickException
├── BadInput      what was asked cannot be read or makes no sense    exit code 2
└── Refused       it was understood and not done                     exit code 1
    ├── NotAccepted   the server does not accept the token          exit code 1
    └── Unreachable   nobody answers at the server's address        exit code 1
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click


class BadInput(click.ClickException):
    """The request itself is wrong: a field, a file, an option."""

    exit_code = 2


class Refused(click.ClickException):
    """The request was understood and not carried out."""

    exit_code = 1


class NotAccepted(Refused):
    """The server does not know the token, or not any more."""


class Unreachable(Refused):
    """No server answers."""


def problem_text(problem: Mapping[str, Any]) -> str:
    """A problem+json document as one message that names each field, its value and what to do."""
    heading = str(problem.get("detail") or problem.get("title") or "the server refused the request")
    listed = problem.get("problems")
    fields = [field for field in listed if isinstance(field, Mapping)] if isinstance(listed, list) else []
    if len(fields) == 1 and fields[0].get("message") == heading:
        return f"{fields[0].get('field')}: {heading}"
    return "\n".join([heading, *(_field_text(field) for field in fields)])


def _field_text(field: Mapping[str, Any]) -> str:
    where, value = str(field.get("field") or ""), str(field.get("value") or "")
    named = f"{where} = {value}" if where and value else where or value
    said = ": ".join(part for part in (named, str(field.get("message") or "")) if part)
    hint = str(field.get("hint") or "")
    return f"  {said}; {hint}" if hint else f"  {said}"
