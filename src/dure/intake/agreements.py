"""The agreement file: the terms that one organisation offers another. Read with all its mistakes told at once."""

from __future__ import annotations

from dure.intake.documents import read_yaml
from dure.intake.fields import Entry, Problems, choice, moment, name, one_or_more, title
from dure.model.agreements import Condition, ExportClearance, Operation, Terms, TransferBasis
from dure.model.datasets import Purpose
from dure.model.dates import format_moment

Document = dict[str, object]

MOST_NAMED = 1_000
"""Datasets or sites of one agreement."""

FIELDS = (
    "provider",
    "recipient",
    "datasets",
    "purposes",
    "operations",
    "sites",
    "from",
    "until",
    "transfer_basis",
    "clearance",
    "clearance_reference",
    "conditions",
)


def terms_from_yaml(document: str) -> Terms:
    """The terms in an agreement file. Raises `BadInput` with all that is wrong."""
    problems = Problems()
    terms = read_terms(Entry(problems, "", read_yaml(document), FIELDS))
    if terms.from_ms >= terms.until_ms and not problems.found:
        problems.add("until", format_moment(terms.until_ms), "is not after `from`", "write a later moment")
    for field in ("datasets", "purposes", "operations", "sites"):
        if not getattr(terms, field) and not problems.found:
            problems.add_about_field(field, "is empty, so nothing would be agreed", f"name at least one of the {field}")
    problems.raise_if_any()
    return terms


def terms_to_document(terms: Terms) -> Document:
    """The terms as plain values, in the shape of an agreement file; what goes without saying is left out."""
    written: Document = {
        "provider": terms.provider,
        "recipient": terms.recipient,
        "datasets": list(terms.datasets),
        "purposes": [each.value for each in terms.purposes],
        "operations": [each.value for each in terms.operations],
        "sites": list(terms.sites),
        "from": format_moment(terms.from_ms),
        "until": format_moment(terms.until_ms),
        "transfer_basis": terms.transfer_basis.value if terms.transfer_basis else "",
        "clearance": terms.clearance.value if terms.clearance else "",
        "clearance_reference": terms.clearance_reference,
        "conditions": [each.value for each in terms.conditions],
    }
    return {field: value for field, value in written.items() if value not in ("", [])}


def read_terms(entry: Entry) -> Terms:
    """The terms among the fields of a document, which may have other fields besides `FIELDS`."""
    nobody: tuple[str, ...] = ()
    return Terms(
        provider=entry.required("provider", name, "name the organisation that owns the data", ""),
        recipient=entry.required("recipient", name, "name the organisation that is to use it", ""),
        datasets=entry.required("datasets", _names, "name what is to be used", nobody),
        purposes=entry.required("purposes", _purposes, "say what for, like [research]", ()),
        operations=entry.required("operations", _operations, "say what is allowed, like [compute, view-results]", ()),
        sites=entry.required("sites", _names, "name the sites where it may be used", nobody),
        from_ms=entry.required("from", moment, "say from when, like 2027-03-02T00:00:00+09:00", 1),
        until_ms=entry.required("until", moment, "say until when; an agreement without an end is none", 2),
        transfer_basis=entry.optional("transfer_basis", choice(TransferBasis), None),
        clearance=entry.optional("clearance", choice(ExportClearance), None),
        clearance_reference=entry.optional("clearance_reference", title, ""),
        conditions=entry.optional("conditions", _conditions, ()),
    )


def _names(problems: Problems, field: str, value: object) -> tuple[str, ...]:
    return one_or_more(problems, field, value, name, MOST_NAMED)


def _purposes(problems: Problems, field: str, value: object) -> tuple[Purpose, ...]:
    return one_or_more(problems, field, value, choice(Purpose), len(Purpose))


def _operations(problems: Problems, field: str, value: object) -> tuple[Operation, ...]:
    return one_or_more(problems, field, value, choice(Operation), len(Operation))


def _conditions(problems: Problems, field: str, value: object) -> tuple[Condition, ...]:
    return one_or_more(problems, field, value, choice(Condition), len(Condition))
