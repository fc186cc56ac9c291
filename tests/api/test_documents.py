"""The OpenAPI document, the nation, and the ledger over HTTP."""

from __future__ import annotations

import httpx

from dure.api.table import OPERATIONS
from dure.intake.nationfile import nation_from_yaml

from .conftest import NATION

YAML = {"Content-Type": "application/yaml"}


def test_the_document_describes_every_operation_and_nothing_else(nobody: httpx.Client) -> None:
    document = nobody.get("/openapi.json").json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(operation.method, operation.path.replace(":path}", "}")) for operation in OPERATIONS}
    assert document["openapi"].startswith("3.1")


def test_every_reference_in_the_document_leads_somewhere(nobody: httpx.Client) -> None:
    answer = nobody.get("/openapi.json")
    schemas = answer.json()["components"]["schemas"]
    references = {part.partition('"')[0] for part in answer.text.split('"$ref":"#/components/schemas/')[1:]}
    assert references
    assert references <= set(schemas)


def test_every_operation_says_what_it_is_for_and_has_an_id_of_its_own(nobody: httpx.Client) -> None:
    document = nobody.get("/openapi.json").json()
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert all(operation["summary"] and len(operation["description"]) > 20 for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)


def test_the_nation_is_given_back_as_the_file_it_was(operator: httpx.Client) -> None:
    text = operator.get("/v1/nation", headers={"Accept": "application/yaml"}).text
    assert nation_from_yaml(text) == nation_from_yaml(NATION)


def test_a_dry_run_says_what_would_change_and_changes_nothing(operator: httpx.Client) -> None:
    wanted = NATION.replace("count: 2", "count: 3")
    answer = operator.put("/v1/nation", params={"dry_run": "true"}, content=wanted, headers=YAML).json()
    assert answer == {"changes": ["~ node group dj count: 2 -> 3"], "notes": [], "applied": False}
    assert len(operator.get("/v1/nodes").json()["nodes"]) == 2


def test_a_tree_that_does_not_add_up_is_refused_as_a_whole(operator: httpx.Client) -> None:
    answer = operator.put("/v1/nation", content=NATION.replace("{H100: 4}}", "{H100: 400}}"), headers=YAML)
    assert answer.status_code == 422
    assert answer.json()["problems"]


def test_entries_and_checkpoint_are_there_for_auditors(auditor: httpx.Client) -> None:
    checkpoint = auditor.get("/v1/ledger/checkpoint").json()
    assert checkpoint["checkpoint_entries"] == checkpoint["entries"] > 0
    page = auditor.get("/v1/ledger/entries", params={"start": 0, "limit": 1}).json()
    assert page["entries"][0]["body"]["event"] == "token-issued"
    assert page["next"] == 1


def test_health_is_open_and_says_nothing_about_anyone(nobody: httpx.Client) -> None:
    health = nobody.get("/v1/health").json()
    assert health["status"] == "ok"
    assert set(health) == {"status", "detail", "at_ms", "entries"}
