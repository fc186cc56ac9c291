"""Agreements in the Open Digital Rights Language, for programs of other data spaces.

Written against the ODRL Information Model 2.2 and its JSON-LD context (W3C Recommendations, 15 February 2018). What
ODRL has no word for is in a profile of ours: the operations, the conditions, the bases of a transfer, and a closed
vocabulary of purposes with their legal wording. ODRL has no agreed meaning for constraints that change with time: what
an agreement allows at a moment is what the platform decides then, and the document says what was agreed.
"""

from __future__ import annotations

from dure.model.agreements import Agreement, AgreementState, Condition, ExportClearance, Operation, Terms, TransferBasis
from dure.model.datasets import PURPOSE_WORDING, Purpose
from dure.model.dates import format_moment
from dure.model.nation import Nation

Document = dict[str, object]

CONTEXT = "http://www.w3.org/ns/odrl.jsonld"
PROFILE = "urn:dure:odrl:profile:1"
_NAMESPACES: Document = {
    "dure": "urn:dure:odrl:",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "dct": "http://purl.org/dc/terms/",
}

ACTIONS: dict[Operation, str] = {
    Operation.COMPUTE: "dure:compute",
    Operation.VIEW_RESULTS: "dure:viewResults",
    Operation.TAKE_RESULTS: "dure:takeResults",
    Operation.COPY: "reproduce",
}
"""Only copying means what ODRL's own vocabulary means by it; the others are narrower than `use`, and included in it."""


def odrl_policy(agreement: Agreement, nation: Nation) -> Document:
    """The agreement as an ODRL policy: an `Agreement` once both sides have agreed, an `Offer` before."""
    terms = agreement.terms
    # ODRL cannot say that a policy is over, so one that is grants nothing to whoever reads it later.
    is_over = agreement.state in (AgreementState.DECLINED, AgreementState.ENDED)
    granted = () if is_over else terms.operations
    return {
        "@context": [CONTEXT, _NAMESPACES],
        "@type": "Agreement" if agreement.state is AgreementState.AGREED else "Offer",
        "uid": f"urn:dure:agreement:{agreement.id}:{agreement.version}",
        "profile": PROFILE,
        "dure:state": agreement.state.value,
        "permission": [_permission(operation, terms, nation) for operation in granted],
        "prohibition": [_rule(operation, terms) for operation in Operation if operation not in granted],
        "dure:vocabulary": [_purpose(each) for each in terms.purposes],
    }


def _permission(operation: Operation, terms: Terms, nation: Nation) -> Document:
    duties = [_duty(each) for each in _duties(terms)]
    return _rule(operation, terms) | {"constraint": _constraints(terms, nation)} | ({"duty": duties} if duties else {})


def _rule(operation: Operation, terms: Terms) -> Document:
    return {
        "assigner": _party(terms.provider),
        "assignee": _party(terms.recipient),
        "target": [f"urn:dure:dataset:{each}" for each in terms.datasets],
        "action": ACTIONS[operation],
    }


def _constraints(terms: Terms, nation: Nation) -> list[Document]:
    countries = sorted({site.country for site in nation.sites if site.name in terms.sites})
    constraints = [
        _constraint("purpose", "isAnyOf", [_named(f"dure:purpose:{each.value}") for each in terms.purposes]),
        _constraint("dure:site", "isAnyOf", [_named(f"urn:dure:site:{each}") for each in terms.sites]),
        _constraint("dateTime", "gteq", _moment(terms.from_ms)),
        _constraint("dateTime", "lt", _moment(terms.until_ms)),
    ]
    if countries:
        constraints.append(
            _constraint("spatial", "isAnyOf", [_named(f"urn:iso:std:iso:3166:{each}") for each in countries])
        )
    return constraints


def _constraint(left: str, operator: str, right: object) -> Document:
    return {"leftOperand": left, "operator": operator, "rightOperand": right}


def _named(identifier: str) -> Document:
    return {"@id": identifier}


def _moment(at_ms: int) -> Document:
    return {"@value": format_moment(at_ms), "@type": "xsd:dateTime"}


def _duties(terms: Terms) -> list[tuple[str, Document]]:
    """What must be so for any of it to be allowed."""
    duties: list[tuple[str, Document]] = [(f"dure:condition:{each.value}", {}) for each in terms.conditions]
    if terms.transfer_basis is not None:
        duties.append((f"dure:transferBasis:{terms.transfer_basis.value}", {}))
    if terms.clearance is not None:
        reference: Document = {"dct:identifier": terms.clearance_reference} if terms.clearance_reference else {}
        duties.append((f"dure:clearance:{terms.clearance.value}", reference))
    return duties


def _duty(duty: tuple[str, Document]) -> Document:
    action, about = duty
    return {"action": action} | about


def _party(organisation: str) -> str:
    return f"urn:dure:organisation:{organisation}"


def _purpose(purpose: Purpose) -> Document:
    wording = PURPOSE_WORDING[purpose]
    return {
        "@id": f"dure:purpose:{purpose.value}",
        "@type": "skos:Concept",
        "skos:definition": [
            {"@value": wording.ko, "@language": "ko"},
            {"@value": wording.en, "@language": "en"},
        ],
    }


PROFILE_TERMS: dict[str, tuple[str, ...]] = {
    "purpose": tuple(each.value for each in Purpose),
    "condition": tuple(each.value for each in Condition),
    "transferBasis": tuple(each.value for each in TransferBasis),
    "clearance": tuple(each.value for each in ExportClearance),
}
"""Every word of the profile by kind: `dure:purpose:research` and so on."""
