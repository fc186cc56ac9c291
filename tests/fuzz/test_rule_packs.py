"""Rule packs, vocabularies, facts and evidence: read and usable, or refused with reasons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dure.governance.accelerators import read_catalogue
from dure.governance.assessment import assess
from dure.governance.evidence import read_evidence
from dure.governance.facts import read_facts
from dure.governance.library import read_library, shipped_library
from dure.governance.vocabulary_reader import read_vocabulary
from dure.governance.wording import condition_in_lines
from dure.intake.documents import read_yaml
from dure.intake.refusals import BadInput, Problem
from tests.fuzz.spoiling import EXAMPLES, no_hang, spoilt_documents, spoilt_texts
from tests.governance.documents import VOCABULARY, pack, provision
from tests.governance.test_compute import GOOD

Read = TypeVar("Read")

PACK = pack(
    provision("V-1", applies_when="{all: [{is: {sunny: yes}}, {not: {at_least: {compute: '1e26'}}}]}"),
    provision("V-2", kind="effort", more="    deadline: {within: 2 weeks, after: sown-on, extension: 30 days}"),
    provision("V-3", kind="penalty", more="    fine: {most: '30000000', currency: KRW, turnover_percent: '3'}"),
    provision(
        "V-4",
        applies_when="{any: [{is: {fields: [rice, hemp]}}, {more_than: {people: '10'}}]}",
        more="    evidence: [seal, {kind: photograph, optional: true}]\n    retention: 5 years\n    penalty: V-3",
    ),
    provision(
        "V-5", kind="scope", more="    deems: [{provision: V-4, evidence: [seal], when: always}]\n    supersedes: V-1"
    ),
)
FACTS = "sunny: yes\nfields: [rice, hemp]\ncompute: {least: 1e25, most: 1e26}\nsown-on: 2026-02-28\nvillage: KR\n"
EVIDENCE = """
- {kind: diary, reference: d-1, since: 2026-01-01, until: 2026-12-31}
- {kind: seal, reference: s, since: 2026-01-01}
"""
KNOWN = read_vocabulary("vocabulary.yaml", VOCABULARY)


def read_or_refused(read: Callable[[Any], Read], document: Any) -> Read | None:
    """What was read; None when it was refused, with reasons that can be printed."""
    problems: tuple[Problem, ...] = ()
    with no_hang(lambda: repr(document)):
        try:
            return read(document)
        except BadInput as bad:
            problems = bad.problems
    assert problems
    assert all(str(problem).encode() and len(str(problem)) < 2_000 for problem in problems)
    return None


def use_pack(document: str) -> None:
    library = read_or_refused(
        lambda text: read_library({"vocabulary.yaml": VOCABULARY, "village.yaml": text}), document
    )
    if library is not None:
        assert assess(library, {"sunny": "yes", "sown-on": "2026-01-31"}, [], "2026-11-22").on == "2026-11-22"
        for _, each in library.provisions():
            assert list(condition_in_lines(each.applies_when))


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoilt_texts([PACK]))
def test_a_pack_that_is_none_is_refused(text: str) -> None:
    use_pack(text)


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoilt_documents([read_yaml(PACK)]))
def test_a_pack_with_wrong_values_is_refused_or_can_be_assessed(document: Any) -> None:
    use_pack(yaml.safe_dump(document, allow_unicode=True))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.one_of(spoilt_texts([VOCABULARY]), spoilt_documents([read_yaml(VOCABULARY)])))
def test_a_vocabulary_is_read_or_refused(document: Any) -> None:
    text = document if isinstance(document, str) else yaml.safe_dump(document, allow_unicode=True)
    read_or_refused(lambda text: read_library({"vocabulary.yaml": text}, shipped_library()), text)


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoilt_texts([FACTS]))
def test_facts_are_read_or_refused(text: str) -> None:
    facts = read_or_refused(lambda text: read_facts(read_yaml(text), KNOWN), text)
    if facts is not None:
        library = read_library({"vocabulary.yaml": VOCABULARY, "village.yaml": PACK})
        assert assess(library, facts, [], "2026-11-22").provisions


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoilt_texts([EVIDENCE]))
def test_evidence_is_read_or_refused(text: str) -> None:
    read_or_refused(lambda text: read_evidence(read_yaml(text), KNOWN), text)


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoilt_texts([GOOD]))
def test_a_catalogue_of_accelerators_is_read_or_refused(text: str) -> None:
    read_or_refused(lambda text: read_catalogue("own.yaml", text), text)
