"""Each document of a bundle is what its readers' tools expect."""

from __future__ import annotations

import base64
import json
from uuid import UUID

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from dure.evidence.bill_of_materials import bill_of_materials
from dure.evidence.lineage_events import lineage_events
from dure.evidence.model_card import model_card
from dure.evidence.provenance import EnvelopeError, Signature, open_envelope, provenance, sign
from dure.evidence.subject import Subject, as_json
from dure.model.model_versions import VersionName
from tests.evidence.builders import FIRST, SECOND, SIGNER, STRANGER, subject, with_model


@pytest.fixture(scope="module", params=[FIRST, SECOND], ids=str)
def about(request: pytest.FixtureRequest) -> Subject:
    name: VersionName = request.param
    return subject(with_model(), name)


@pytest.fixture(scope="module")
def first() -> Subject:
    return subject(with_model())


def test_the_bill_of_materials_is_valid_to_the_letter(about: Subject) -> None:
    bill = as_json(bill_of_materials(about)).decode()
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(bill) is None
    wrong = json.loads(bill)
    wrong["metadata"]["component"]["modelCard"]["bogus"] = 1
    assert validator.validate_str(json.dumps(wrong)) is not None, "the validator sees fields that do not exist"


def test_the_bill_names_what_the_version_was_made_of(first: Subject) -> None:
    bill = bill_of_materials(first)
    parts = {each["bom-ref"]: each for each in bill["components"]}
    assert parts["data:corpus"]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert parts["file:model.safetensors"]["hashes"][0]["content"] == "cd" * 32
    assert {"base:elsewhere/base-7b", "source:gitCommit:0123abcd"} < parts.keys()
    card = bill["metadata"]["component"]["modelCard"]
    assert card["modelParameters"]["datasets"] == [{"ref": "data:corpus"}]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [{"type": "mmlu", "value": "0.71"}]


def test_a_parent_is_in_the_bill() -> None:
    bill = bill_of_materials(subject(with_model(), SECOND))
    assert [each["bom-ref"] for each in bill["components"]] == ["hanbit/chat@1"]


def test_the_model_card_has_the_front_matter_of_the_hub(first: Subject) -> None:
    _, front, text = model_card(first).split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert metadata["base_model"] == ["elsewhere/base-7b"]
    assert metadata["datasets"] == ["corpus"]
    (result,) = metadata["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "mmlu", "value": 0.71}]
    assert result["task"]["type"]
    assert result["dataset"] == {"name": "held-out", "type": "held-out"}
    assert "metered from hardware time" in text
    assert "claimed by its developer (6ND)" in text


def test_the_provenance_is_a_signed_statement(first: Subject) -> None:
    body = sign(provenance(first), SIGNER)
    statement = open_envelope(body, SIGNER.verifier)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "model.safetensors", "digest": {"sha256": "cd" * 32}}]
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["jobs"][0]["job"] == "j1"
    assert {"name": "corpus", "uri": "urn:dure:dataset:corpus", "digest": {"sha256": "ab" * 32}} in (
        definition["resolvedDependencies"]
    )
    assert statement["predicate"]["runDetails"]["builder"]["id"] == "https://dure.example/ledger"


def test_the_envelope_signs_what_the_specification_says() -> None:
    # The example of the DSSE protocol's own text: "DSSEv1 29 http://example.com/HelloWorld 11 hello world".
    from dure.evidence.provenance import encoded

    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert encoded("http://example.com/HelloWorld", b"hello world") == expected


def test_an_envelope_of_another_key_or_content_is_refused(first: Subject) -> None:
    body = sign(provenance(first), SIGNER)
    with pytest.raises(EnvelopeError, match="not signed by"):
        open_envelope(body, STRANGER.verifier)
    envelope = json.loads(body)
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["subject"][0]["digest"]["sha256"] = "00" * 32
    envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    with pytest.raises(EnvelopeError, match="not signed by"):
        open_envelope(json.dumps(envelope).encode(), SIGNER.verifier)
    for junk in (b"", b"{}", b"[]", b'{"payloadType":"x","payload":"?","signatures":[]}'):
        with pytest.raises(EnvelopeError):
            open_envelope(junk, SIGNER.verifier)
    assert Signature.__struct_fields__ == ("keyid", "sig")


def test_a_run_has_a_start_and_an_end_with_the_same_id(first: Subject) -> None:
    start, end = (json.loads(line) for line in lineage_events(first).splitlines())
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert start["run"] == end["run"]
    assert UUID(start["run"]["runId"]).version == 4
    assert start["inputs"] == [{"namespace": "dure.example/ledger", "name": "corpus"}]
    assert end["outputs"] == [{"namespace": "dure.example/ledger", "name": "hanbit/chat@1"}]
    assert start["eventTime"] < end["eventTime"]
