"""Reasons and expectations in words, for `dure why` and `dure plan`."""

from __future__ import annotations

import click

from dure.model.blockers import Blocker, NoEta, Why
from dure.reports.wording import ago, expected_start, how_expected, short_reason, unblock


def print_why(why: Why, now_ms: int) -> None:
    """Every blocker with who holds what is missing and what would unblock it, then the expected start."""
    for number, blocker in enumerate(why.blockers, 1):
        _print_blocker(number, blocker, now_ms)
    if why.eta is None and why.no_eta in (None, NoEta.NOT_ASKED, NoEta.NOT_WAITING):
        return
    click.echo(f"  expected start: {expected_start(why, now_ms)}")
    if why.eta is not None:
        if why.eta.starts_first:
            click.echo(f"    {why.eta.starts_first} waiting job(s) start before it")
        for phrase in how_expected(why.eta):
            click.echo(f"    {phrase}")


def _print_blocker(number: int, blocker: Blocker, now_ms: int) -> None:
    until = f" (until {ago(blocker.until_ms, now_ms)})" if blocker.until_ms is not None else ""
    click.echo(f"  {number}. {blocker.code}: {short_reason(blocker)}{until}")
    if blocker.holders:
        click.echo(f"     held by {', '.join(blocker.holders)}")
    click.echo(f"     {unblock(blocker)}")
