"""Entries of the ledger about results that wait in the airlock. Names and contents are not among them."""

from __future__ import annotations

from dure.model.event import Event
from dure.model.results import HeldResult


class ResultsHeld(Event, frozen=True, kw_only=True, omit_defaults=True, tag="results-held"):
    """A job on restricted data is over, and what it left was inspected. It waits in the airlock."""

    job: str
    recipient: str
    """The organisation whose job it was."""
    datasets: tuple[str, ...]
    """The restricted data of others that it read."""
    results: tuple[HeldResult, ...]
    keep_until_ms: int
    """When the results are deleted, whatever became of them."""


class ResultsReleased(Event, frozen=True, kw_only=True, omit_defaults=True, tag="results-released"):
    """A steward lets the recipient have these results, by number, as far as its agreement goes."""

    job: str
    numbers: tuple[int, ...]
    by: str
    reason: str


class ResultsRefused(Event, frozen=True, kw_only=True, omit_defaults=True, tag="results-refused"):
    """A steward refused these results for good: they are deleted."""

    job: str
    numbers: tuple[int, ...]
    by: str
    reason: str


class ResultsWiped(Event, frozen=True, kw_only=True, omit_defaults=True, tag="results-wiped"):
    """Their time is over: everything that the job left is deleted."""

    job: str


ResultEvent = ResultsHeld | ResultsReleased | ResultsRefused | ResultsWiped
