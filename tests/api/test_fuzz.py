"""Everything that the OpenAPI document allows, and much that it does not: no bug, no traceback, no silence.

Requests are made up from the document by schemathesis and sent to a real server. `DURE_FUZZ_EXAMPLES` says how many for
each operation; the suite takes few, `make soak` many.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from dure.api.bodies import FORM, LINES, OCTETS, SCRIPT, YAML
from dure.api.openapi import openapi_document
from dure.api.table import OPERATIONS
from tests.control.builders import NATION
from tests.control.server import ServerProcess, running_server

EXAMPLES = int(os.environ.get("DURE_FUZZ_EXAMPLES", "10"))
STREAMS = {"/v1/jobs/{job}/log"}
GIVEN_UP = {"/v1/sign-out", "/logout"}
"""What ends the token that asks."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
PATIENCE_S = 20


@schemathesis.serializer(LINES, SCRIPT, FORM, OCTETS, YAML)
def as_text(_: Any, value: Any) -> bytes:
    """Bodies that the document calls text are sent as such, and whatever else was made up as JSON."""
    return value.encode() if isinstance(value, str) else json.dumps(value, default=str).encode()


document = openapi_document(OPERATIONS, "test")
schema = schemathesis.openapi.from_dict(document).exclude(path="/v1/events")


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of its own: whatever is made up may drain its nodes and revoke its tokens."""
    folder: Path = tmp_path_factory.mktemp("fuzz")
    (folder / "identity.yaml").write_text("local_accounts: true\n")
    with running_server(folder / "state", options=["--identity", str(folder / "identity.yaml")]) as running:
        with running.client() as http:
            http.put("/v1/nation", content=NATION, headers={"Content-Type": "application/yaml"}).raise_for_status()
            http.post("/v1/jobs", json={"name": "x", "project": "chat", "gpus": "H100:1", "command": ["true"]})
        yield running
        with running.client() as http:
            assert http.get("/v1/health").json()["status"] == "ok"
        assert "Traceback" not in running.output


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much, HealthCheck.too_slow],
)
def test_any_request_gets_an_answer_that_the_document_allows(case: Any, fuzzed: ServerProcess) -> None:
    if case.path in STREAMS:
        # A stream has no end to wait for; that it begins, and what it says, is tested elsewhere.
        case.headers["Accept"] = "text/plain"
    token = fuzzed.token if case.path not in GIVEN_UP else another_token(fuzzed)
    headers = {"Authorization": f"Bearer {token}"}
    answer = case.call(base_url=fuzzed.url, headers=headers, timeout=PATIENCE_S, allow_redirects=False)
    case.validate_response(answer, checks=CHECKS)


def another_token(server: ServerProcess) -> str:
    with server.client() as http:
        text: str = http.post("/v1/tokens", json={"role": "operator"}).json()["text"]
        return text
