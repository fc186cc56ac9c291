"""What policy is asked, and what it answers."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from dure.model.datasets import Purpose

NO_PERMIT = "no-permit"
"""The rule id of a denial when no rule permitted the action and none forbade it."""
UNKNOWN_FACT = "unknown-fact"
"""The rule id of a denial when the question names something the nation does not declare."""
POLICY_ERROR = "policy-error"
"""The rule id of a denial because evaluating the rules failed. Someone should look at the diagnostics."""


class Action(StrEnum):
    """What someone wants to do: run a program at a site, or read a dataset there."""

    RUN = "run"
    READ = "read"


class Question(Struct, frozen=True, kw_only=True):
    """May `organisation` do this at `site`, for this purpose? Everything is named; the nation supplies the facts."""

    organisation: str
    action: Action
    purpose: Purpose
    site: str
    dataset: str | None = None
    """What is read; None when running without data."""


class Decision(Struct, frozen=True, kw_only=True):
    """The answer. Check `allowed is True`, never "not denied".

    `rules` are the ids of the rules that decided: the permits when allowed; when not, the forbids (or `no-permit`,
    `unknown-fact`, `policy-error`). `diagnostics` are what went wrong while deciding; there are none when allowed.
    """

    allowed: bool
    rules: tuple[str, ...]
    diagnostics: tuple[str, ...] = ()
