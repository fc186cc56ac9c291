"""The file of policy cases: questions, and the answers that are expected. Read with all its mistakes told at once."""

from __future__ import annotations

from enum import StrEnum

from dure.intake.agreements import FIELDS as TERMS
from dure.intake.agreements import read_terms
from dure.intake.documents import read_yaml
from dure.intake.fields import Entry, Problems, choice, listing, moment, name, one_or_more, title
from dure.model.agreements import Agreement, AgreementState
from dure.model.datasets import Purpose
from dure.model.stop_orders import StopOrder
from dure.policy.cases import Case, CaseFile

MOST_CASES = 10_000
MOST_NAMED = 1_000

_FILE = ("nation", "policies", "at", "agreements", "stop_orders", "cases")
_ORDER = ("id", "recipient", "country", "dataset")
_CASE = ("name", "organisation", "purpose", "data", "site", "expect", "rules", "sites", "agreements")


class Expected(StrEnum):
    """What a case expects."""

    ALLOW = "allow"
    DENY = "deny"


def cases_from_yaml(document: str) -> CaseFile:
    """The cases in a file, and the facts they are asked under. Raises `BadInput` with all that is wrong."""
    problems = Problems()
    entry = Entry(problems, "", read_yaml(document), _FILE)
    no_cases: tuple[Case, ...] = ()
    found = CaseFile(
        nation_file=entry.required("nation", title, "name the nation file that is asked about", ""),
        policies_folder=entry.optional("policies", title, ""),
        at_ms=entry.required("at", moment, "say as of when, like 2027-03-02T09:00:00+09:00", 1),
        agreements=entry.optional("agreements", _agreements, ()),
        stop_orders=entry.optional("stop_orders", _stop_orders, ()),
        cases=entry.required("cases", _cases, "write at least one case", no_cases),
    )
    if not found.cases and not problems.found:
        problems.add_about_field("cases", "is empty, so nothing would be tried", "write at least one case")
    problems.raise_if_any()
    return found


def _agreements(problems: Problems, field: str, value: object) -> tuple[Agreement, ...]:
    return tuple(listing(problems, field, value, _agreement, MOST_CASES))


def _agreement(problems: Problems, field: str, value: object) -> Agreement:
    entry = Entry(problems, field, value, ("id", *TERMS))
    terms = read_terms(entry)
    return Agreement(
        id=entry.required("id", name, "give it an id, like a1", ""),
        terms=terms,
        state=AgreementState.AGREED,
        offered_by=terms.provider,
        approved=True,
    )


def _stop_orders(problems: Problems, field: str, value: object) -> tuple[StopOrder, ...]:
    return tuple(listing(problems, field, value, _stop_order, MOST_CASES))


def _stop_order(problems: Problems, field: str, value: object) -> StopOrder:
    entry = Entry(problems, field, value, _ORDER)
    return StopOrder(
        id=entry.required("id", name, "give it an id, like s1", ""),
        within_ms=1,
        reason="",
        recipient=entry.optional("recipient", name, ""),
        country=entry.optional("country", title, ""),
        dataset=entry.optional("dataset", name, ""),
    )


def _cases(problems: Problems, field: str, value: object) -> tuple[Case, ...]:
    return tuple(listing(problems, field, value, _case, MOST_CASES))


def _case(problems: Problems, field: str, value: object) -> Case:
    entry = Entry(problems, field, value, _CASE)
    expected = entry.required("expect", choice(Expected), "say what you expect: allow or deny", Expected.DENY)
    case = Case(
        name=entry.required("name", title, "say in a few words what it shows", ""),
        organisation=entry.required("organisation", name, "name who asks", ""),
        purpose=entry.optional("purpose", choice(Purpose), Purpose.RESEARCH),
        data=entry.optional("data", _names, ()),
        allowed=expected is Expected.ALLOW,
        site=entry.optional("site", name, ""),
        rules=entry.optional("rules", _names, None),
        sites=entry.optional("sites", _names, None),
        agreements=entry.optional("agreements", _names, None),
    )
    if case.allowed and case.rules is not None:
        message = "rules are named where something is denied, and this is to be allowed"
        problems.add_about_field(f"{field}.rules", message, "remove it, or expect deny")
    return case


def _names(problems: Problems, field: str, value: object) -> tuple[str, ...]:
    return one_or_more(problems, field, value, name, MOST_NAMED)
