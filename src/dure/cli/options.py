"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def as_json(command: Command) -> Command:
    """Add `--json`, which prints exactly what the API answers."""
    return click.option("--json", "json_wanted", is_flag=True, help="Print the API's JSON.")(command)


def quoted(name: str) -> str:
    """A name as one segment of a path: whatever is typed stays inside its place in the address."""
    return quote(name, safe="")
