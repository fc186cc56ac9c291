"""One real server for all tests of the interface, with a small nation and a token of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.control.builders import NATION as SMALL_NATION
from tests.control.server import ServerProcess, running_server

NATION = (
    SMALL_NATION.replace("shares:", "  - {name: kaist, kind: university, country: KR}\nshares:")
    + """
datasets:
  - {name: rain-records, title: {en: swordfish}, owner: ministry, classes: [personal], jurisdiction: KR,
     purposes: [research], sites: [daejeon]}
  - {name: weather-maps, owner: ministry, classes: [public], jurisdiction: KR, purposes: [research], sites: [daejeon],
     readers: ["*"]}
"""
)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    state: Path = tmp_path_factory.mktemp("api") / "state"
    with running_server(state) as running:
        with running.client() as http:
            http.put("/v1/nation", content=NATION, headers={"Content-Type": "application/yaml"}).raise_for_status()
        yield running


@pytest.fixture
def operator(server: ServerProcess) -> Iterator[httpx.Client]:
    with server.client() as http:
        yield http


@pytest.fixture
def hanbit(server: ServerProcess, operator: httpx.Client) -> Iterator[httpx.Client]:
    """A member of the startup."""
    yield from _client_with_new_token(server, operator, {"role": "member", "organisation": "hanbit"})


@pytest.fixture
def ministry(server: ServerProcess, operator: httpx.Client) -> Iterator[httpx.Client]:
    """A member of the ministry."""
    yield from _client_with_new_token(server, operator, {"role": "member", "organisation": "ministry"})


@pytest.fixture
def auditor(server: ServerProcess, operator: httpx.Client) -> Iterator[httpx.Client]:
    """Sees everything and changes nothing."""
    yield from _client_with_new_token(server, operator, {"role": "auditor"})


@pytest.fixture
def nobody(server: ServerProcess) -> Iterator[httpx.Client]:
    """Has no token."""
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as http:
        yield http


def _client_with_new_token(
    server: ServerProcess, operator: httpx.Client, wanted: dict[str, str]
) -> Iterator[httpx.Client]:
    issued = operator.post("/v1/tokens", json=wanted).raise_for_status().json()
    with server.client(issued["text"]) as http:
        yield http
