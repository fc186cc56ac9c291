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
    agreement: str = ""
    """Id of the agreement that it is allowed by, or that comes closest; empty when there is none, or no need of one."""

    @property
    def is_error(self) -> bool:
        """True for a denial that is no refusal, but a fault of the rules or of the platform."""
        return POLICY_ERROR in self.rules


class PermittedSites(Struct, frozen=True, kw_only=True):
    """Where something may be done, in the order asked, and the rules that forbade the other sites.

    When it may be done nowhere, only the rules of the sites that come closest are named: those with the fewest.
    """

    sites: tuple[str, ...]
    rules: tuple[str, ...]
    diagnostics: tuple[str, ...] = ()
    agreements: tuple[str, ...] = ()
    """The agreements by which it may be done at one of `sites` or more, in order of id."""
