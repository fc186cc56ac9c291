"""Both languages say everything, and nothing is said that no page shows."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dure.portal
from dure.control.access import Role
from dure.governance.airlock import ResultState
from dure.model.agreements import Operation
from dure.model.blockers import AssumptionCode, Blocker, BlockerCode, EtaMethod, NoEta
from dure.model.datasets import DataClass, Purpose
from dure.model.jobs import JobState
from dure.model.results import FindingCode, Verdict
from dure.portal.phrases import LANGUAGES, Phrases, catalogue, preferred_language
from dure.portal.routes import SIGN_IN_REFUSALS
from dure.reports.agreements import Standing
from dure.reports.jobs import TimelineLine
from dure.world.cards import MomentCode

FOLDER = Path(dure.portal.__file__).parent
SOURCES = [*FOLDER.glob("pages/*.html"), *FOLDER.glob("*.py")]
MADE_UP = (
    "state.",
    "purpose.",
    "blocker.",
    "unblock.",
    "moment.",
    "cell.",
    "node.",
    "language.",
    "assumed.",
    "no_eta.",
    "eta.simulated",
    "role.",
    "sign_in.refused.",
    "data_class.",
    "operation.",
    "standing.",
    "airlock.state.",
    "airlock.verdict.",
    "airlock.finding.",
)
"""Keys that are put together from a value; each value's key is checked below."""
OUT_OF_SERVICE = ("cordoned", "drained", "down", "suspect", "unreachable")


def placeholders(text: str) -> Counter[str]:
    return Counter(name for _, name, _, _ in Formatter().parse(text) if name is not None)


def keys_in_sources() -> set[str]:
    text = "\n".join(path.read_text() for path in SOURCES)
    return set(re.findall(r"""(?:\bt|self|phrase)\(\s*["']([a-z_]+\.?[a-z_.]*[a-z])["']""", text)) | set(
        re.findall(r"""["'](time\.[a-z]+)["']""", text)
    )


def test_both_catalogues_have_the_same_keys() -> None:
    assert list(catalogue("en")) == list(catalogue("ko"))


@pytest.mark.parametrize("key", catalogue("en"))
def test_both_languages_fill_in_the_same_values(key: str) -> None:
    assert placeholders(catalogue("en")[key]) == placeholders(catalogue("ko")[key])


def test_every_key_that_a_page_asks_for_is_there() -> None:
    assert keys_in_sources() - set(catalogue("en")) == set()


def test_every_string_is_shown_somewhere() -> None:
    fixed = {key for key in catalogue("en") if not key.startswith(MADE_UP)}
    assert fixed - keys_in_sources() == set()


def test_every_value_that_can_be_shown_has_its_string() -> None:
    wanted = {f"state.{state}" for state in JobState}
    wanted |= {f"purpose.{purpose}" for purpose in Purpose}
    wanted |= {f"blocker.{code}" for code in BlockerCode} | {"blocker.short", "blocker.held", "blocker.ahead"}
    wanted |= {f"unblock.{code}" for code in BlockerCode} | {f"moment.{what}" for what in MomentCode}
    wanted |= {f"cell.{state}" for state in ("free", "running", "warned", "claimed", "borrowing", *OUT_OF_SERVICE)}
    wanted |= (
        {"unblock.guaranteed"}
        | {f"eta.{method}" for method in EtaMethod}
        | {f"assumed.{code}" for code in AssumptionCode}
    )
    wanted |= {f"no_eta.{code}" for code in NoEta} - {"no_eta.not-asked", "no_eta.not-waiting"}
    wanted |= {f"role.{role}" for role in Role} | {f"sign_in.refused.{code}" for code in SIGN_IN_REFUSALS}
    wanted |= {f"data_class.{each}" for each in DataClass} | {f"operation.{each}" for each in Operation}
    wanted |= {f"standing.{each}" for each in Standing}
    wanted |= {f"airlock.state.{each}" for each in ResultState} | {f"airlock.verdict.{each}" for each in Verdict}
    wanted |= {f"airlock.finding.{code}" for code in FindingCode}
    wanted |= (
        {f"node.{state}" for state in OUT_OF_SERVICE}
        | {f"language.{language}" for language in LANGUAGES}
        | {"language.choose"}
    )
    assert wanted == {key for key in catalogue("en") if key.startswith(MADE_UP)}


def test_korean_is_korean() -> None:
    silent = [key for key, text in catalogue("ko").items() if not re.search("[가-힣]", text)]
    assert silent == ["language.en", "blocker.ahead"]


@pytest.mark.parametrize(
    ("asked", "remembered", "header", "language"),
    [
        (None, None, "", "en"),
        (None, None, "ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        (None, None, "de,en;q=0.4,ko;q=0.6", "ko"),
        (None, None, "ko;q=0,en;q=0.1", "en"),
        (None, "ko", "en", "ko"),
        ("en", "ko", "ko", "en"),
        ("xx", None, "ko", "ko"),
        (None, None, "fr;q=nonsense,*", "en"),
    ],
)
def test_the_language_is_what_was_asked_then_remembered_then_preferred(
    asked: str | None, remembered: str | None, header: str, language: str
) -> None:
    assert preferred_language(asked, remembered, header) == language


@given(st.text())
def test_any_header_gives_a_language(header: str) -> None:
    assert preferred_language(None, None, header) in LANGUAGES


@pytest.mark.parametrize(
    ("language", "distance_ms", "said"),
    [
        ("en", 0, "now"),
        ("en", 125_000, "2 min ago"),
        ("en", -45_000, "in 45 s"),
        ("ko", 125_000, "2분 전"),
        ("ko", -45_000, "45초 뒤"),
        ("ko", 3 * 3_600_000 + 300_000, "3시간 5분 전"),
        ("ko", 36 * 3_600_000 + 300_000, "1일 12시간 전"),
    ],
)
def test_times_are_told_by_their_distance(language: str, distance_ms: int, said: str) -> None:
    now_ms = 1_800_000_000_000
    assert Phrases(language, now_ms).ago(now_ms - distance_ms) == said


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("what", MomentCode)
def test_every_step_of_a_job_is_told_in_both_languages(language: str, what: MomentCode) -> None:
    line = TimelineLine(
        at_ms=0, state=JobState.QUEUED, what=what, jobs=("j3", "j4"), site="gj", attempt=2, exit_code=7, note=""
    )
    said = Phrases(language, 0).happened(line, {"gj": "광주"}.__getitem__)
    assert ("광주" in said) == (what in {MomentCode.ATTEMPT_STARTED, MomentCode.ATTEMPT_REFUSED})
    assert ("j3, j4" in said) == (what in {MomentCode.WAITS_FOR_JOBS, MomentCode.MUST_YIELD})
    assert ("2" in said) == what.startswith("attempt-")
    assert ("7" in said) == what.startswith(("attempt-failed", "attempt-ended"))


def test_a_reason_says_whether_others_go_first_or_hold_gpus() -> None:
    say = Phrases("en", 0)
    ahead = Blocker(code=BlockerCode.BEHIND_IN_QUEUE, holders=("j1", "j2"))
    short = Blocker(code=BlockerCode.NOT_ENOUGH_GPUS, short_milli=2_000, gpu_class="H100", holders=("hanbit",))
    assert say.reason(ahead, str) == "Behind other jobs: j1, j2"
    assert say.reason(short, str.title) == "Not enough free GPUs (2 H100 short); held by Hanbit"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", BlockerCode)
def test_every_blocker_has_a_sentence_on_what_would_end_it(language: str, code: BlockerCode) -> None:
    blocker = Blocker(code=code, gpu_class="H100", share="saessak", short_milli=2_000)
    said = Phrases(language, 0).unblock(blocker, {"saessak": "새싹"}.__getitem__)
    assert said.endswith(".")
    assert ("새싹" in said) == (code is BlockerCode.SHARE_LIMIT)
    assert ("2 H100" in said) == (code in {BlockerCode.SHARE_LIMIT, BlockerCode.NOT_ENOUGH_GPUS})


@pytest.mark.parametrize(
    ("language", "asked_ms", "said"),
    [("en", 90_000, "1 min 30 s"), ("ko", 14_400_000, "4시간"), ("ko", 129_600_000, "1일 12시간"), ("ko", 0, "0초")],
)
def test_a_time_limit_is_written_to_the_second(language: str, asked_ms: int, said: str) -> None:
    assert Phrases(language, 0).exact_duration(asked_ms) == said
