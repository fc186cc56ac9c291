"""Agreements as ODRL and datasets as Croissant: what their specifications ask for, and nothing beyond the terms."""

from __future__ import annotations

from typing import Any, cast

import pytest
from msgspec.structs import replace

from dure.governance.croissant import croissant
from dure.governance.odrl import ACTIONS, odrl_policy
from dure.intake.nationfile import nation_from_yaml
from dure.model.agreements import (
    Agreement,
    AgreementState,
    Condition,
    ExportClearance,
    Operation,
    Terms,
    TransferBasis,
)
from dure.model.datasets import Purpose

NATION = nation_from_yaml("""
sites: [{name: pyeongtaek, country: KR, owner: fab}]
organisations:
  - {name: fab, kind: enterprise, country: KR, title: {ko: 팹, en: The Fab}}
  - {name: oslo-lab, kind: partner, country: "NO"}
datasets:
  - {name: yields, title: {ko: 수율, en: Yields}, owner: fab, classes: [national-core-technology], jurisdiction: KR,
     purposes: [research], sites: [pyeongtaek], size_bytes: 4096,
     digest: 0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a}
  - {name: maps, owner: fab, classes: [public], jurisdiction: KR, purposes: [research], sites: [pyeongtaek]}
""")
AGREEMENT = Agreement(
    id="a1",
    terms=Terms(
        provider="fab",
        recipient="oslo-lab",
        datasets=("yields",),
        purposes=(Purpose.RESEARCH, Purpose.STATISTICS),
        operations=(Operation.COMPUTE, Operation.VIEW_RESULTS),
        sites=("pyeongtaek",),
        from_ms=1_798_761_600_000,
        until_ms=1_830_297_600_000,
        transfer_basis=TransferBasis.CONTRACT,
        clearance=ExportClearance.APPROVED,
        clearance_reference="2027-11",
        conditions=(Condition.SANDBOX,),
    ),
    state=AgreementState.AGREED,
    offered_by="fab",
)


def odrl(agreement: Agreement = AGREEMENT) -> dict[str, Any]:
    return cast("dict[str, Any]", odrl_policy(agreement, NATION))


def test_every_operation_is_either_permitted_or_prohibited() -> None:
    policy = odrl()
    permitted = {rule["action"] for rule in policy["permission"]}
    prohibited = {rule["action"] for rule in policy["prohibition"]}
    assert permitted == {"dure:compute", "dure:viewResults"}
    assert permitted | prohibited == set(ACTIONS.values())
    assert not permitted & prohibited


def test_an_odrl_agreement_has_what_the_information_model_asks_for() -> None:
    policy = odrl()
    assert policy["@context"][0] == "http://www.w3.org/ns/odrl.jsonld"
    assert policy["@type"] == "Agreement"
    assert policy["uid"] == "urn:dure:agreement:a1:1"
    for rule in (*policy["permission"], *policy["prohibition"]):
        assert rule["assigner"] == "urn:dure:organisation:fab"
        assert rule["assignee"] == "urn:dure:organisation:oslo-lab"
        assert rule["target"] == ["urn:dure:dataset:yields"]


def test_a_permission_is_bound_to_purpose_site_country_and_time() -> None:
    constraints = {
        (each["leftOperand"], each["operator"]): each["rightOperand"] for each in odrl()["permission"][0]["constraint"]
    }
    assert constraints == {
        ("purpose", "isAnyOf"): [{"@id": "dure:purpose:research"}, {"@id": "dure:purpose:statistics"}],
        ("dure:site", "isAnyOf"): [{"@id": "urn:dure:site:pyeongtaek"}],
        ("spatial", "isAnyOf"): [{"@id": "urn:iso:std:iso:3166:KR"}],
        ("dateTime", "gteq"): {"@value": "2027-01-01T00:00:00Z", "@type": "xsd:dateTime"},
        ("dateTime", "lt"): {"@value": "2028-01-01T00:00:00Z", "@type": "xsd:dateTime"},
    }


def test_conditions_basis_and_clearance_are_duties_of_every_permission() -> None:
    for rule in odrl()["permission"]:
        assert rule["duty"] == [
            {"action": "dure:condition:sandbox"},
            {"action": "dure:transferBasis:contract"},
            {"action": "dure:clearance:approved", "dct:identifier": "2027-11"},
        ]


def test_the_legal_wording_of_its_purposes_goes_along_in_both_languages() -> None:
    vocabulary = {each["@id"]: each["skos:definition"] for each in odrl()["dure:vocabulary"]}
    assert set(vocabulary) == {"dure:purpose:research", "dure:purpose:statistics"}
    for wording in vocabulary.values():
        assert [each["@language"] for each in wording] == ["ko", "en"]
        assert all(each["@value"] for each in wording)


@pytest.mark.parametrize("state", [AgreementState.OFFERED, AgreementState.NEGOTIATING])
def test_what_is_not_agreed_is_an_offer(state: AgreementState) -> None:
    assert odrl(replace(AGREEMENT, state=state))["@type"] == "Offer"


@pytest.mark.parametrize("state", [AgreementState.DECLINED, AgreementState.ENDED])
def test_what_is_over_grants_nothing(state: AgreementState) -> None:
    policy = odrl(replace(AGREEMENT, state=state))
    assert (policy["@type"], policy["permission"]) == ("Offer", [])
    assert {rule["action"] for rule in policy["prohibition"]} == set(ACTIONS.values())


def test_a_dataset_is_described_as_croissant_asks() -> None:
    document = cast("dict[str, Any]", croissant(NATION.datasets[0], NATION))
    assert document["@type"] == "sc:Dataset"
    assert "http://mlcommons.org/croissant/1.0" in document["conformsTo"]
    for needed in ("name", "description", "license", "url", "creator"):
        assert document[needed], needed
    assert document["creator"]["name"] == "The Fab"
    assert document["alternateName"] == {"@value": "수율", "@language": "ko"}
    assert document["rai:personalSensitiveInformation"] == ["national-core-technology"]
    assert document["size"] == "4096 B"
    (manifest,) = document["distribution"]
    assert manifest["@type"] == "cr:FileObject"
    assert manifest["sha256"] == "0a" * 32
    assert manifest["encodingFormat"] == "text/plain"


def test_every_name_in_a_croissant_document_is_in_its_context_or_of_schema_org() -> None:
    document = cast("dict[str, Any]", croissant(NATION.datasets[0], NATION))
    prefixes = {key for key, value in document["@context"].items() if isinstance(value, str) and value.endswith("/")}
    of_schema_org = {
        "name", "description", "url", "license", "conditionsOfAccess", "isAccessibleForFree", "creator", "keywords",
        "spatialCoverage", "alternateName", "size", "distribution", "contentUrl", "encodingFormat", "sha256",
    }  # fmt: skip

    def names(value: object) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(names, value))
        if isinstance(value, dict):
            return {key for key in value if not key.startswith("@")}.union(*map(names, value.values()))
        return set()

    for name in names({key: value for key, value in document.items() if key != "@context"}):
        assert name in of_schema_org or name in document["@context"] or name.partition(":")[0] in prefixes, name


def test_what_nobody_declared_is_not_made_up() -> None:
    document = croissant(NATION.datasets[1], NATION)
    assert not {"size", "distribution", "alternateName", "datePublished"} & set(document)
