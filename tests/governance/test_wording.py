"""Everything that can be shown has words in both languages."""

from __future__ import annotations

import pytest

from dure.governance.answers import Answer
from dure.governance.assessment import Status
from dure.governance.changes import Reason
from dure.governance.evidence import Evidence, read_evidence
from dure.governance.library import shipped_library
from dure.governance.packs import Fine, Kind, Mark
from dure.governance.wording import ANSWER, KIND, MARK, REASON, STATUS, condition_in_lines, fine_in_words
from dure.intake.documents import read_yaml
from dure.intake.refusals import BadInput

VOCABULARY = shipped_library().vocabulary


def test_every_status_kind_mark_answer_and_reason_has_words() -> None:
    assert set(STATUS) == set(Status)
    assert set(KIND) == set(Kind)
    assert set(MARK) == set(Mark)
    assert set(ANSWER) == set(Answer)
    assert set(REASON) == set(Reason)


def test_no_word_says_that_a_law_is_complied_with() -> None:
    for words in (STATUS, KIND, MARK, REASON):
        for each in words.values():
            assert "compli" not in each.en
            assert "준수" not in each.ko


@pytest.mark.parametrize(
    ("fine", "told"),
    [
        (Fine(most=30_000_000, currency="KRW"), "KRW 30,000,000"),
        (Fine(turnover_percent="3"), "3% of turnover"),
        (Fine(most=15_000_000, currency="EUR", turnover_percent="3"), "EUR 15,000,000 or 3% of turnover, the higher"),
        (Fine(), "not recorded"),
    ],
)
def test_a_fine_in_words(fine: Fine, told: str) -> None:
    assert fine_in_words(fine) == told


def test_a_condition_is_told_part_by_part() -> None:
    provision = next(each for _, each in shipped_library().provisions() if each.id == "EU-51-2")
    assert list(condition_in_lines(provision.applies_when)) == [
        "all of",
        "  general-purpose-model is yes",
        "  training-compute is more than 1e25",
    ]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("- {kind: user-notise, reference: r, since: 2026-01-01}", "[0].kind: is not a declared kind of evidence"),
        ("- {kind: user-notice, since: 2026-01-01}", "[0].reference: is missing"),
        ("- {kind: user-notice, reference: r, since: 2026-02-30}", "[0].since: is not a day"),
        ("- {kind: user-notice, reference: r, since: 2026-02-01, until: 2026-01-01}", "is before `since`"),
        ("kind: user-notice", "must be a list"),
    ],
)
def test_evidence_is_read_strictly(document: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_evidence(read_yaml(document), VOCABULARY)
    assert said in str(caught.value)


def test_evidence_is_read() -> None:
    read = read_evidence(read_yaml("- {kind: user-notice, reference: r, since: 2026-01-01}"), VOCABULARY)
    assert read == [Evidence(kind="user-notice", reference="r", since="2026-01-01")]
