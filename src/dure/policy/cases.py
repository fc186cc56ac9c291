"""Questions with the answers that a programme expects, so that its rules can be tried before they are in force."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from dure.model.agreements import Agreement
from dure.model.datasets import Purpose
from dure.model.stop_orders import StopOrder
from dure.policy.deciding import questions_about
from dure.policy.in_force import PolicyInForce
from dure.policy.questions import PermittedSites


class Case(Struct, frozen=True, kw_only=True):
    """One question and what is expected of the answer; what is None is not looked at."""

    name: str
    organisation: str
    purpose: Purpose
    data: tuple[str, ...]
    allowed: bool
    site: str = ""
    """Where it is to be; at any site when empty."""
    rules: tuple[str, ...] | None = None
    """The rules that deny it, all of them."""
    sites: tuple[str, ...] | None = None
    """Where it is allowed, in the nation's order."""
    agreements: tuple[str, ...] | None = None
    """The agreements that it is allowed on."""


class CaseFile(Struct, frozen=True, kw_only=True):
    """Cases, and under which facts they are asked. Files are named as they stand in it, relative to its own place."""

    nation_file: str
    policies_folder: str = ""
    """The programme's own rules; without any when empty."""
    at_ms: int
    agreements: tuple[Agreement, ...] = ()
    stop_orders: tuple[StopOrder, ...] = ()
    cases: tuple[Case, ...]


class CaseOutcome(Struct, frozen=True, kw_only=True):
    """What became of a case. It holds when there is no fault."""

    case: Case
    found: PermittedSites
    faults: tuple[str, ...]


def try_case(policy: PolicyInForce, case: Case) -> CaseOutcome:
    """Ask what the case asks, and compare."""
    found = _found_at(policy, case) if case.site else policy.permitted_sites(case.organisation, case.purpose, case.data)
    return CaseOutcome(case=case, found=found, faults=tuple(_faults(case, found)))


def _found_at(policy: PolicyInForce, case: Case) -> PermittedSites:
    decisions = policy.decide_all(questions_about(case.organisation, case.purpose, case.data, (case.site,)))
    denials = [each for each in decisions if each.allowed is not True]
    return PermittedSites(
        sites=() if denials else (case.site,),
        rules=tuple(sorted({rule for each in denials for rule in each.rules})),
        diagnostics=tuple(dict.fromkeys(line for each in denials for line in each.diagnostics)),
        agreements=() if denials else tuple(sorted({each.agreement for each in decisions if each.agreement})),
    )


def _faults(case: Case, found: PermittedSites) -> Iterator[str]:
    allowed = bool(found.sites)
    if allowed != case.allowed:
        by = f" by {', '.join(found.rules)}" if not allowed else f" at {', '.join(found.sites)}"
        yield f"is {'allowed' if allowed else 'denied'}{by}"
        return
    if case.rules is not None and not allowed and set(case.rules) != set(found.rules):
        yield f"is denied by {', '.join(found.rules)} and not by {', '.join(case.rules)}"
    if case.sites is not None and case.sites != found.sites:
        yield f"is allowed at {', '.join(found.sites) or 'no site'} and not at {', '.join(case.sites) or 'no site'}"
    if case.agreements is not None and set(case.agreements) != set(found.agreements):
        used, expected = ", ".join(found.agreements), ", ".join(case.agreements)
        yield f"relies on {used or 'no agreement'} and not on {expected or 'none'}"
