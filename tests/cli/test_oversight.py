"""`dure packs` and `dure assess` as people type them: what they show, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dure.cli.main import main
from dure.governance.facts import read_facts
from dure.governance.library import shipped_library
from dure.intake.documents import read_yaml
from tests.governance.documents import HEADER, VOCABULARY, pack, provision

FACTS = """
ai-business: yes
korea-market-effect: yes
defence-only-listed: no
generative-ai: yes
realistic-synthetic-media: no
training-compute: 3.8e25
eu-market: yes
general-purpose-model: yes
modifies-a-model-of-others: no
systemic-threshold-known-on: 2026-11-02
"""
EVIDENCE = "- {kind: user-notice, reference: notice 4, since: 2026-03-01}\n"


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "facts.yaml").write_text(FACTS)
    (tmp_path / "evidence.yaml").write_text(EVIDENCE)
    (tmp_path / "empty").mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "vocabulary.yaml").write_text(VOCABULARY)
    (tmp_path / "own" / "village.yaml").write_text(pack(provision(applies_when="{is: {sunny: yes}}")))
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "village.yaml").write_text(pack(provision(kind="dutty"), header=HEADER))
    return tmp_path


def dure(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(main, arguments, input=given)


def line(result: Result, id: str) -> str:
    return next(each for each in result.output.splitlines() if f" {id} " in each)


def test_packs_are_listed_with_version_marks_and_day() -> None:
    result = dure("packs")
    assert result.exit_code == 0
    assert result.output.splitlines()[0].split() == ["PACK", "VERSION", "PROVISIONS", "V", "S", "M", "CHECKED", "TITLE"]
    listed = [each.split() for each in result.output.splitlines()[1:]]
    assert [each[0] for each in listed] == [each.name for each in shipped_library().packs]
    assert ["iso-42001", "38", "0", "38", "0"] in [[each[0], *each[2:6]] for each in listed]


def test_a_provision_is_shown_with_its_source_mark_and_dates() -> None:
    shown = dure("packs", "KR-AIBA-32").output
    for each in (
        "training-compute is 1e26 or more",
        "[V] seen in",
        "2026-01-22 to open",
        "law.go.kr",
        "no legal advice",
    ):
        assert each in shown
    assert "안전성 확보" in dure("packs", "KR-AIBA-32", "--lang", "ko").output
    described = dure("packs", "KR-AIBA-32", "--json").output
    assert json.loads(described)["id"] == "KR-AIBA-32"
    assert f'"{10**26}"' in described, "no number in JSON holds it"


def test_an_assessment_shows_what_is_missing_the_most_pressing_first() -> None:
    result = dure("assess", "--facts", "facts.yaml", "--evidence", "evidence.yaml", "--on", "2026-11-22")
    assert result.exit_code == 0
    assert result.output.splitlines()[3].split()[:2] == ["overdue", "EU-52"]
    assert "2026-11-16" in line(result, "EU-52")
    assert line(result, "KR-AIBA-31-1").startswith("evidence held")
    assert line(result, "KR-AIBA-34").startswith("needs facts")
    assert "high-impact-areas" in line(result, "KR-AIBA-34")
    assert "KR-AIBA-33-confirmation" not in result.output
    assert "no legal advice" in result.output
    assert "complian" not in result.output


def test_an_assessment_is_the_apis_json() -> None:
    result = dure("assess", "--facts", "facts.yaml", "--on", "2026-11-22", "--pack", "kr-ai-basic-act", "--json")
    assessment = json.loads(result.output)
    assert assessment["on"] == "2026-11-22"
    assert [each["name"] for each in assessment["packs"]] == ["kr-ai-basic-act"]
    assert len(assessment["packs"][0]["digest"]) == 64


def test_one_provision_says_why_it_applies() -> None:
    shown = dure("assess", "--facts", "facts.yaml", "--evidence", "evidence.yaml", "--provision", "KR-AIBA-31-1").output
    assert "generative-ai is yes" in shown
    assert "user-notice: notice 4, since 2026-03-01" in shown
    assert "law.go.kr" in shown
    unsure = dure("assess", "--facts", "facts.yaml", "--provision", "KR-AIBA-34").output
    assert "not known       high-impact-areas: In which areas" in unsure


def test_what_changed_since_an_earlier_assessment_is_told(tmp_path: Path) -> None:
    common = ("--pack", "eu-ai-act", "--on", "2026-11-22")
    small = FACTS.replace("3.8e25", "3.8e24")
    (tmp_path / "before.json").write_text(dure("assess", "--facts", "-", *common, "--json", given=small).output)
    same = dure("assess", "--facts", "-", *common, "--since", "before.json", given=small)
    assert "2026-11-22 to 2026-11-22: the same packs\n\nnothing to look at" in same.output
    crossed = dure("assess", "--facts", "facts.yaml", *common, "--since", "before.json")
    told = next(each for each in crossed.output.splitlines() if each.startswith("EU-52 "))
    assert told.split()[:4] == ["EU-52", "overdue", "2026-11-16", "training-compute"]
    assert told.endswith("it applies now: Notify the Commission")
    tasks = json.loads(dure("assess", "--facts", "facts.yaml", *common, "--since", "before.json", "--json").output)
    assert {"EU-51-2", "EU-52", "EU-55"} <= {task["provision"] for task in tasks}


def test_the_template_asks_every_question_and_is_a_file_of_facts() -> None:
    template = dure("assess", "--template").output
    vocabulary = shipped_library().vocabulary
    assert read_facts(read_yaml(template), vocabulary) == {}
    assert all(f"\n{name}: unknown" in f"\n{template}" for name in vocabulary.facts)
    assert "eu-market" not in dure("assess", "--template", "--pack", "kr-ai-basic-act").output


def test_an_operators_own_packs_are_used_beside_the_shipped_ones() -> None:
    assert "village" in dure("packs", "--folder", "own").output
    result = dure("assess", "--facts", "-", "--folder", "own", "--pack", "village", given="sunny: yes\n")
    assert line(result, "V-1").startswith("missing evidence")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("packs", "KR-AIBA-3x"), "KR-AIBA-3x: no such pack or provision; did you mean KR-AIBA-3"),
        (("packs", "--folder", "nowhere"), "nowhere: no such folder"),
        (("packs", "--folder", "empty"), "empty: no rule pack in it"),
        (("packs", "--folder", "wrong"), "village.yaml: V-1.kind: must be one of duty"),
        (("assess",), "name a MODEL, or --facts FILE; `dure assess --template` prints a file"),
        (("assess", "--facts", "lost.yaml"), "lost.yaml: no such file"),
        (("assess", "--facts", "evidence.yaml"), "evidence.yaml: must be a mapping"),
        (("assess", "--facts", "facts.yaml", "--evidence", "facts.yaml"), "facts.yaml: must be a list"),
        (("assess", "--facts", "facts.yaml", "--on", "yesterday"), "--on: 'yesterday' is not a day"),
        (("assess", "--facts", "facts.yaml", "--pack", "kr"), "--pack kr: no such pack; known: eu-ai-act"),
        (("assess", "--facts", "facts.yaml", "--provision", "EU-5"), "--provision EU-5: not in the packs that were"),
        (("assess", "--facts", "facts.yaml", "--since", "evidence.yaml"), "evidence.yaml: not an assessment as"),
        (("assess", "--facts", "facts.yaml", "--pack", "us-export", "--provision", "EU-52"), "not in the packs"),
    ],
)
def test_mistakes_are_named(arguments: tuple[str, ...], said: str) -> None:
    result = dure(*arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "ai-busines: yes",
            "standard input: ai-busines: is not a fact that any rule pack knows; did you mean",
        ),
        ("training-compute: 1026", "has no exponent; write floating-point operations like 1e26"),
        ("generative-ai: maybe", "generative-ai: must be one of yes, no, or unknown (got maybe)"),
        ("a: [", "standard input: line"),
    ],
)
def test_facts_that_cannot_be_meant_are_refused(given: str, said: str) -> None:
    result = dure("assess", "--facts", "-", given=given)
    assert (result.exit_code, said in result.output) == (2, True), result.output
