"""Reasons and expectations in words, for `dure why` and `dure plan`."""

from __future__ import annotations

import click

from dure.model.blockers import Blocker, Why
from dure.reports.wording import ago, short_reason


def print_why(why: Why, now_ms: int) -> None:
    """Every blocker with who holds what is missing and what would unblock it, then the expected start."""
    for number, blocker in enumerate(why.blockers, 1):
        _print_blocker(number, blocker, now_ms)
    if why.earliest_start_ms is not None:
        click.echo(f"  expected start: {_expectation(why, now_ms)}")
        if why.method:
            click.echo(f"    {why.method}")


def _print_blocker(number: int, blocker: Blocker, now_ms: int) -> None:
    until = f" (until {ago(blocker.until_ms, now_ms)})" if blocker.until_ms is not None else ""
    click.echo(f"  {number}. {blocker.code}: {short_reason(blocker)}{until}")
    if blocker.holders:
        click.echo(f"     held by {', '.join(blocker.holders)}")
    if blocker.unblock:
        click.echo(f"     {blocker.unblock}")


def _expectation(why: Why, now_ms: int) -> str:
    first, last = ago(why.earliest_start_ms, now_ms), ago(why.latest_start_ms, now_ms)
    return first if last in (first, "-") else f"{first} to {last}"
