"""Forgetting somebody, as an operator asks for it."""

from __future__ import annotations

import httpx
import pytest
from click.testing import CliRunner

from dure.cli.main import main
from tests.control.server import ServerProcess


@pytest.fixture
def dure(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURE_URL", server.url)
    monkeypatch.setenv("DURE_STATE", str(server.state))
    monkeypatch.delenv("DURE_TOKEN", raising=False)


def add(operator: httpx.Client, name: str) -> str:
    wanted = {"kind": "service", "name": name, "role": "member", "organisation": "hanbit"}
    return str(operator.post("/v1/accounts", json=wanted).raise_for_status().json()["id"])


def test_somebody_is_forgotten_by_name_and_their_token_ends(dure: None, operator: httpx.Client) -> None:
    # Other tests of this room have filled the ledger before.
    start = operator.get("/v1/ledger/checkpoint").raise_for_status().json()["entries"]
    account = add(operator, "gildong")
    token = operator.post("/v1/tokens", json={"account": account}).json()["text"]
    with httpx.Client(base_url=operator.base_url, headers={"Authorization": f"Bearer {token}"}) as gildong:
        assert gildong.get("/v1/whoami").status_code == 200
        result = CliRunner().invoke(main, ("forget", "gildong", "--yes"))
        assert result.exit_code == 0, result.output
        assert f"{account}: forgotten" in result.output
        assert gildong.get("/v1/whoami").status_code == 401
    assert "gildong" not in operator.get("/v1/accounts").text
    entries = operator.get("/v1/ledger/entries", params={"start": start, "limit": 1000}).text
    assert '"event":"person-forgotten"' in entries
    assert "gildong" not in entries


def test_it_is_not_done_by_accident_or_for_nobody(dure: None) -> None:
    unsure = CliRunner().invoke(main, ("forget", "gildong"))
    assert unsure.exit_code == 2
    assert "--yes" in unsure.output
    unknown = CliRunner().invoke(main, ("forget", "no body/at all", "--yes"))
    assert unknown.exit_code in (1, 2)
    assert "no account" in unknown.output or "404" in unknown.output or "Not Found" in unknown.output
