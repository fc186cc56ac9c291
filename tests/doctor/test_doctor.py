"""`dure doctor` against a real server, real folders and set-ups that are wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from dure.api.platform import Health
from dure.cli.main import main
from dure.control.tokens import TokenKind
from dure.doctor.engines import examine_engines
from dure.doctor.findings import Finding, Level
from dure.doctor.machine import examine_machine
from dure.doctor.server import NoAnswer, NotSignedIn, examine_server
from dure.doctor.state_folder import examine_state
from dure.intake.nationfile import nation_from_yaml
from tests.control.builders import NATION
from tests.control.server import ServerProcess, running_server

NOW_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("doctor") / "state") as running:
        yield running


def by_subject(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {each.about: each for each in findings}


def told(**answers: object) -> dict[str, Finding]:
    """What is found about a server that answers like this."""

    def get(path: str) -> bytes:
        answer = answers[path.rpartition("/")[2].removesuffix(".json")]
        if isinstance(answer, Exception):
            raise answer
        return msgspec.json.encode(answer)

    return by_subject(examine_server("https://dure.example", get, NOW_MS))


def health(status: str, at_ms: int = NOW_MS) -> Health:
    return Health(status=status, detail="why", at_ms=at_ms, entries=7)


def test_a_server_that_works_has_nothing_that_fails(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with server.client() as http:
        http.put("/v1/nation", content=NATION, headers={"Content-Type": "application/yaml"}).raise_for_status()
    monkeypatch.setenv("DURE_URL", server.url)
    monkeypatch.setenv("DURE_TOKEN", (server.state / "operator.token").read_text().strip())
    result = CliRunner().invoke(main, ["doctor", "--state", str(server.state), "--json"])
    found = {each["about"]: each for each in json.loads(result.output)}
    assert [each for each in found.values() if each["level"] == "failure"] == []
    assert result.exit_code == 0
    assert {"system", "disk", "private-files", "ledger", "server", "skew", "version", "token"} <= set(found)
    assert found["site daejeon"]["message"] == "it is in contact"


def test_what_fails_comes_with_what_to_do_and_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    monkeypatch.setenv("DURE_URL", "http://127.0.0.1:9")
    result = CliRunner().invoke(main, ["doctor", "--state", str(state)])
    assert result.exit_code == 1
    assert f"FAILURE  private-files: others may read {state}\n         run `chmod go= {state}`" in result.output
    assert "warning  server: no Dure server answers at http://127.0.0.1:9" in result.output


def test_a_nearly_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = []
    for free in (1 << 20, 5 << 30, 50 << 30):
        usage = shutil._ntuple_diskusage(100 << 30, 0, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        levels.append(by_subject(examine_state(tmp_path, None))["disk"].level)
    assert levels == [Level.FAILURE, Level.WARNING, Level.OK]


def test_a_ledger_that_is_none_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "ledger.sqlite").write_bytes(b"no database" * 100)
    assert by_subject(examine_state(tmp_path, None))["ledger"].level is Level.FAILURE


@pytest.mark.parametrize("status", ["halted", "failing"])
def test_a_server_in_trouble_says_why(status: str) -> None:
    found = told(health=health(status), openapi=NoAnswer("gone"))
    assert found["server"].level is not Level.OK
    assert by_subject(iter(found.values()))["wire"].level is Level.OK


def test_a_standby_is_fine_and_asked_nothing_more() -> None:
    found = told(health=health("standby"))
    assert found["server"].message == "https://dure.example stands by: why"


def test_a_clock_that_disagrees_is_told() -> None:
    found = told(health=health("standby", NOW_MS - 5_000))
    assert found["skew"].level is Level.WARNING
    assert "5.0 s behind" in found["skew"].message


def test_a_token_that_is_not_accepted_is_told() -> None:
    found = told(health=health("ok"), openapi={"info": {"version": "0.0.1"}}, whoami=NotSignedIn("no such token"))
    assert found["version"].level is Level.WARNING
    assert found["token"].message == "no such token"


def test_a_token_that_is_about_to_expire_is_told() -> None:
    me = {
        "token": "t1", "kind": TokenKind.BEARER.value, "role": "member", "organisation": "hanbit", "project": "",
        "permissions": [], "expires_at_ms": NOW_MS + 3_600_000, "account": "", "name": "", "grants": [],
    }  # fmt: skip
    no_sites = {"at_ms": 0, "sites": []}
    found = told(health=health("ok"), openapi={"info": {"version": "0.0.1"}}, whoami=me, sites=no_sites)
    assert found["token"].level is Level.WARNING
    assert found["nation"].advice == "declare the nation: dure apply -f FILE"


def test_tokens_in_clear_beyond_this_machine_are_told() -> None:
    def get(_: str) -> bytes:
        raise NoAnswer("no")

    found = by_subject(examine_server("http://dure.example:7474", get, NOW_MS))
    assert found["wire"].level is Level.FAILURE


def test_an_engine_that_is_not_there_is_told(tmp_path: Path) -> None:
    engines = tmp_path / "engines.yaml"
    engines.write_text(
        f"sites:\n  seoul: {{engine: slurm, work_folder: {tmp_path}/none, programs: {tmp_path}}}\n", encoding="utf-8"
    )
    declared = nation_from_yaml(NATION.replace("owner: ministry\n", "owner: ministry\n    engine: ray\n", 1))
    found = by_subject(examine_engines(engines, declared))
    assert found["work-folder seoul"].level is Level.FAILURE
    assert found["engine seoul"].level is Level.FAILURE
    assert found["engine daejeon"].message == "the nation declares it, but no way to its engine is set up"
    engines.write_text("sites: [", encoding="utf-8")
    assert by_subject(examine_engines(engines, None))["engines-file"].level is Level.FAILURE


def test_the_machine_is_looked_at_without_any_privilege() -> None:
    assert {each.about for each in examine_machine()} == {"system", "open-files", "clock", "sandbox"}
