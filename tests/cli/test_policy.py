"""`dure policy` as people type it: what it shows, what it finds, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dure.bootstrap.state import open_ledger
from dure.cli.main import main
from dure.intake.nationfile import nation_from_yaml
from dure.model.events import AccessRefused, AnyEvent, NationApplied, encode_all

TOUR = Path(__file__).parents[2] / "docs" / "tour"
OWN = """
@id("no-yield-for-saessak")
@title_ko("새싹은 수율 데이터를 읽을 수 없다")
@title_en("Saessak may not read yield data")
@remedy_ko("다른 데이터를 쓴다")
@remedy_en("Use other data")
forbid (principal == Organisation::"saessak", action, resource == Dataset::"yield");
"""


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DURE_STATE", raising=False)
    for folder in ("rules", "wrong", "none", "state"):
        (tmp_path / folder).mkdir()
    (tmp_path / "rules" / "mine.cedar").write_text(OWN, encoding="utf-8")
    (tmp_path / "wrong" / "mine.cedar").write_text("forbid (principal, action, resource);", encoding="utf-8")
    (tmp_path / "wrong" / "other.cedar").write_text("permit (", encoding="utf-8")
    for name in ("policy-cases.yaml", "policy-nation.yaml"):
        (tmp_path / name).write_bytes((TOUR / name).read_bytes())
    return tmp_path


def dure(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["policy", *arguments])


def test_the_rules_that_come_with_dure_are_shown_without_a_server() -> None:
    listed = dure("show", "--shipped")
    assert listed.exit_code == 0
    assert "stop-order " in listed.output
    one = dure("show", "--shipped", "personal-data-transfer", "--lang", "ko")
    assert "개인정보는 다섯 가지 이전 근거 중 하나가 있어야" in one.output
    assert "근거: KR-PIPA-28-8" in one.output
    assert '@id("personal-data-transfer")' in one.output
    report = json.loads(dure("show", "--shipped", "--json", "embargo").output)
    assert [each["rule"]["id"] for each in report["rules"]] == ["embargo"]


def test_a_rule_that_is_not_there_is_refused_with_the_nearest() -> None:
    result = dure("show", "--shipped", "embarg")
    assert result.exit_code == 2
    assert "did you mean embargo?" in result.output


def test_own_rules_are_checked_and_every_problem_is_told() -> None:
    assert dure("check", "rules").output == "rules: 1 rule can be used; 1 of 1 forbid\n"
    wrong = dure("check", "wrong")
    assert wrong.exit_code == 2
    assert "other.cedar: " in wrong.output
    (Path("wrong") / "other.cedar").unlink()
    assert (
        "mine.cedar: a forbid rule has no @id, @title_ko, @title_en, @remedy_ko, @remedy_en"
        in dure("check", "wrong").output
    )
    assert dure("check", "nowhere").output == "Error: nowhere: no such folder\n"


def test_the_cases_on_the_tour_hold() -> None:
    result = dure("test", str(TOUR / "policy-cases.yaml"))
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "4 cases, 0 answered otherwise than expected")


def test_a_case_that_is_answered_otherwise_fails_the_command(here: Path) -> None:
    file = here / "policy-cases.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("\nat: ", "\npolicies: rules\nat: "), encoding="utf-8")
    result = dure("test", "policy-cases.yaml")
    assert result.exit_code == 1
    assert "not ok  a named reader at home\n        is denied by no-yield-for-saessak\n" in result.output
    assert [bool(each["faults"]) for each in json.loads(dure("test", "policy-cases.yaml", "--json").output)] == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        ("expect: allow, sites: gwangju", "expect: deny", "is allowed at gwangju"),
        ("expect: allow, sites: gwangju", "expect: allow, sites: oslo", "is allowed at gwangju and not at oslo"),
        ("agreements: a1", "agreements: a2", "relies on a1 and not on a2"),
        ("rules: [agreement-purpose, ", "rules: [", "is denied by agreement-purpose, purpose-limitation and not by"),
        ("organisation: saessak", "organisation: stranger", "no organisation is named 'stranger'"),
    ],
)
def test_what_differs_is_said(here: Path, written: str, instead: str, said: str) -> None:
    file = here / "policy-cases.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace(written, instead), encoding="utf-8")
    result = dure("test", "policy-cases.yaml")
    assert result.exit_code == 1
    assert said in result.output


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        ("expect: allow, sites", "expect: perhaps, sites", "cases[0].expect"),
        ("expect: allow, sites: gwangju", "expect: allow, rules: x", "cases[0].rules: rules are named where"),
        ("purpose: commercial", "purpose: fun", "cases[2].purpose"),
        ("\nat: 2027-03-02T09:00:00+09:00", "\nat: yesterday", "at: "),
        ("nation: policy-nation.yaml", "nation: nowhere.yaml", "nowhere.yaml: no such file"),
        ("nation: policy-nation.yaml", "policies: rules", "nation: is missing"),
        ("    clearance: reported", "    clearance: whispered", "agreements[0].clearance"),
        ("nation: policy-nation.yaml", "nation: policy-nation.yaml\npolicies: wrong", "these rules cannot be used"),
    ],
)
def test_a_file_of_cases_that_cannot_be_read_is_refused_with_its_field(
    here: Path, written: str, instead: str, said: str
) -> None:
    file = here / "policy-cases.yaml"
    text = file.read_text(encoding="utf-8")
    assert written in text
    file.write_text(text.replace(written, instead), encoding="utf-8")
    result = dure("test", "policy-cases.yaml")
    assert result.exit_code == 2
    assert said in result.output


def test_what_a_ledger_recorded_is_asked_again(here: Path) -> None:
    nation = nation_from_yaml(
        (here / "policy-nation.yaml")
        .read_text(encoding="utf-8")
        .replace("startup, country: KR", "startup, country: KR, projects: [vision]")
    )
    rules = ("purpose-limitation",)
    events: list[AnyEvent] = [
        NationApplied(at_ms=1_000, by="t0", nation=nation),
        AccessRefused(at_ms=2_000, by="t1", project="vision", data=("yield",), purpose="commercial", rules=rules),
    ]
    ledger = open_ledger(here / "state")
    ledger.append(0, encode_all(events), [], 2_000)
    ledger.close()
    changed = dure("diff", "rules", "--state", "state")
    assert changed.exit_code == 0
    assert "refused: purpose-limitation" in changed.output
    assert "refused: no-yield-for-saessak, purpose-limitation" in changed.output
    assert changed.output.endswith("1 request asked again, 1 answered otherwise\n")
    assert dure("diff", "none", "--state", "state").output == "1 request asked again, 0 answered otherwise\n"
    report = json.loads(dure("diff", "rules", "--state", "state", "--json").output)
    assert (report["requests"], [each["position"] for each in report["changes"]]) == (1, [1])


def test_a_ledger_that_is_not_there_is_refused() -> None:
    result = dure("diff", "rules", "--state", "nowhere")
    assert result.exit_code == 2
    assert "Name the server's state folder" in result.output
