"""A pack that could be misread is refused, with the file and the provision named."""

from __future__ import annotations

import pytest

from dure.governance.facts import read_facts
from dure.governance.library import read_library, shipped_library
from dure.governance.vocabulary_reader import read_vocabulary
from dure.intake.documents import read_yaml
from dure.intake.refusals import BadInput
from tests.governance.documents import HEADER, VOCABULARY, library, pack, provision


def problem(*provisions: str, header: str = HEADER) -> str:
    with pytest.raises(BadInput) as caught:
        library(*provisions, header=header)
    return str(caught.value)


def test_a_pack_is_read_with_its_defaults() -> None:
    read = library(provision(more="    deadline: {within: 2 weeks, after: sown-on}\n    retention: 5 years"))
    only = read.packs[0].provisions[0]
    assert (only.jurisdiction, only.checked.mark, only.source[0].note) == ("KR", "S", "nobody wrote it down")
    assert only.deadline is not None
    assert only.deadline.within.written == "2 weeks"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (provision(kind="dutty"), "V-1.kind: must be one of duty"),
        (provision(more="    evidnce: [diary]"), "V-1.evidnce: is not a known field; did you mean evidence?"),
        (
            provision(more="    evidence: [dairy]"),
            "V-1.evidence[0]: is not a declared kind of evidence (got dairy); did",
        ),
        (provision(applies_when="{is: {suny: yes}}"), "V-1.applies_when.is.suny: is not a declared fact; did you mean"),
        (provision(applies_when="{is: {season: winter}}"), "is not a value of season: spring, autumn (got winter)"),
        (provision(applies_when="{is: {village: Korea}}"), "a country of two letters"),
        (provision(applies_when="{is: {compute: yes}}"), "compute is a quantity; compare it with at_least"),
        (provision(applies_when="{at_least: {sunny: '1'}}"), "sunny has nothing to compare"),
        (provision(applies_when="{at_least: {compute: '1026'}}"), "has no exponent; write floating-point operations"),
        (provision(applies_when="{more_than: {sown-on: '2026-01-01'}}"), "sown-on has nothing to compare"),
        (provision(applies_when="{xor: [always]}"), "V-1.applies_when.xor: is not an operator"),
        (provision(applies_when="{all: []}"), "has no parts"),
        (provision(applies_when="{is: {season: []}}"), "has no values"),
        (provision(applies_when="sometimes"), "must be always, or exactly one of"),
        (provision(applies_when="{all: [always], any: [always]}"), "exactly one of"),
        (provision(applies_when="{condition: harvest}"), "is not a condition that the pack defines before"),
        (provision(more="    source: hearsay"), "is not a source of this pack (got hearsay)"),
        (
            provision(more="    checked: {by: me, on: '2026-11-01', mark: X}"),
            "V-1.checked.mark: must be one of V, S, M",
        ),
        (provision(more="    checked: {by: me, on: yesterday, mark: V}"), "V-1.checked.on: is not a day"),
        (provision(more="    deadline: {within: soon, after: sown-on}"), "V-1.deadline.within: is not a period"),
        (provision(more="    deadline: {within: 1 day, after: sunny}"), "is not a declared fact that is a day"),
        (provision(more="    penalty: V-2"), "V-1.penalty: is not a penalty of this pack"),
        (provision(more="    supersedes: V-0"), "V-1.supersedes: is not in this pack"),
        (
            provision(more="    effective_from: '2026-02-02'\n    effective_to: '2026-02-01'"),
            "is before effective_from",
        ),
        (provision(more="    fine: {most: '5', currency: KRW}"), "belongs to a penalty"),
        (provision(kind="penalty", more="    fine: {most: '5'}"), "needs an amount and its currency together"),
        (provision(more="    evidence: [{kind: diary, optional: true}]"), "a duty needs some evidence"),
        (provision(kind="scope", more="    deems: [{provision: V-9, evidence: [seal]}]"), "names evidence that"),
        (provision(title="{ko: 제목}"), "V-1.title.en: is missing; write it in English"),
        (provision() + provision(), "village.yaml: V-1: appears twice"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_file_and_provision(entry: str, said: str) -> None:
    text = problem(entry)
    assert "village.yaml: V-1" in text
    assert said in text


def test_a_source_without_address_or_digest_says_why() -> None:
    header = HEADER.replace(", note: nobody wrote it down", "")
    assert "village.yaml: sources.elders: lacks url, retrieved or sha256" in problem(provision(), header=header)


def test_every_problem_is_told_at_once() -> None:
    text = problem(provision(kind="dutty"), provision(id="V-2", applies_when="{is: {suny: yes}}"))
    assert "V-1.kind" in text
    assert "V-2.applies_when" in text


def test_a_newer_pack_takes_the_place_of_an_older_one() -> None:
    base = library(provision())
    newer = pack(provision(id="V-7"), header=HEADER.replace('"1.0"', '"1.1"'))
    updated = read_library({"new.yaml": newer}, base)
    assert [each.id for each in updated.packs[0].provisions] == ["V-7"]
    assert updated.packs[0].digest != base.packs[0].digest
    with pytest.raises(BadInput, match=r"old.yaml: pack village 1.0 is not newer than 1.0"):
        read_library({"old.yaml": pack(provision())}, base)


def test_versions_are_compared_as_numbers() -> None:
    base = read_library(
        {"vocabulary.yaml": VOCABULARY, "a.yaml": pack(provision(), header=HEADER.replace('"1.0"', '"2026.9.1"'))}
    )
    later = pack(provision(), header=HEADER.replace('"1.0"', '"2026.11.1"'))
    assert read_library({"b.yaml": later}, base).packs[0].version == "2026.11.1"


def test_an_operator_adds_facts_of_its_own_and_changes_none() -> None:
    own = {"vocabulary.yaml": VOCABULARY, "village.yaml": pack(provision(applies_when="{is: {sunny: yes}}"))}
    both = read_library(own, shipped_library())
    assert both.pack("village") is not None
    assert "training-compute" in both.vocabulary.facts
    assert both.vocabulary_digest != shipped_library().vocabulary_digest
    with pytest.raises(BadInput, match=r"vocabulary.yaml: sunny: is declared already"):
        read_library({"vocabulary.yaml": VOCABULARY}, library(provision()))


def test_an_id_stands_for_one_provision() -> None:
    other = pack(provision(), header=HEADER.replace("pack: village", "pack: hamlet"))
    with pytest.raises(BadInput, match="V-1 is also in pack"):
        read_library({"hamlet.yaml": other}, library(provision()))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("facts: {sunny: {type: yes-no}}", "facts.sunny.question: is missing"),
        ("facts: {s: {type: maybe, question: {ko: 예, en: q}}}", "must be one of yes-no, choice"),
        ("facts: {s: {type: choice, question: {ko: 예, en: q}}}", "belong to a choice"),
        ("facts: {s: {type: amount, question: {ko: 예, en: q}}}", "belongs to an amount"),
        ("evidence: {diary: {title: {ko: 일지}}}", "evidence.diary.title.en: is missing"),
        ("evidence: [diary]", "must be a mapping"),
        ("facts: [", "vocabulary.yaml: line 2"),
    ],
)
def test_a_vocabulary_is_read_strictly(document: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_vocabulary("vocabulary.yaml", document)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("suny: yes", "suny: is not a fact that any rule pack knows; did you mean sunny?"),
        ("sunny: maybe", "sunny: must be one of yes, no, or unknown (got maybe)"),
        ("fields: [rice, wheat]", "fields[1]: must be one of rice, barley, hemp"),
        ("compute: '1026'", "has no exponent"),
        ("compute: {least: 2e26, most: 1e26}", "is less than `least`"),
        ("compute: {least: 2e26}", "compute.most: is missing"),
        ("sown-on: spring", "sown-on: is not a day"),
        ("village: Korea", "village: is not a country"),
        ("- sunny", "must be a mapping"),
    ],
)
def test_facts_that_nobody_asked_for_or_that_cannot_be_are_refused(document: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_facts(read_yaml(document), read_vocabulary("vocabulary.yaml", VOCABULARY))
    assert said in str(caught.value)


def test_unknown_is_the_same_as_left_out() -> None:
    vocabulary = read_vocabulary("vocabulary.yaml", VOCABULARY)
    assert read_facts(read_yaml("facts: {sunny: unknown, warm: no, people: }"), vocabulary) == {"warm": "no"}
