"""Reads the vocabulary: the facts and the kinds of evidence that rule packs may name."""

from __future__ import annotations

from dure.governance.pack_reader import paragraph, problems_in
from dure.governance.vocabulary import EvidenceKind, Fact, FactType, Text, Vocabulary
from dure.intake.documents import read_yaml
from dure.intake.fields import Entry, Problems, choice, flag, inside, mapping, text
from dure.intake.fields import name as read_name
from dure.intake.refusals import BadInput, Problem

_NO_TEXT = Text(ko="", en="")
_NO_FACTS: dict[str, Fact] = {}
_NO_KINDS: dict[str, EvidenceKind] = {}
_WITH_WORDS = (FactType.CHOICE, FactType.CHOICES)


def read_vocabulary(file: str, document: str) -> Vocabulary:
    """The vocabulary in a YAML document. Raises `BadInput` with every problem, each with the file it is in."""
    with problems_in(file):
        problems = Problems()
        entry = Entry(problems, "", read_yaml(document), ("facts", "evidence"))
        facts = entry.optional("facts", _read_facts, _NO_FACTS)
        evidence = entry.optional("evidence", _read_kinds, _NO_KINDS)
        problems.raise_if_any()
        return Vocabulary(facts=facts, evidence=evidence)


def joined(first: Vocabulary, file: str, second: Vocabulary) -> Vocabulary:
    """Both together. Raises `BadInput` where the second says anew what the first says: a question has one meaning."""
    twice = sorted((first.facts.keys() & second.facts.keys()) | (first.evidence.keys() & second.evidence.keys()))
    if twice:
        raise BadInput(
            [
                Problem(field=f"{file}: {name}", value="", message="is declared already", hint="give it its own name")
                for name in twice
            ]
        )
    return Vocabulary(facts=first.facts | second.facts, evidence=first.evidence | second.evidence)


def _read_facts(problems: Problems, field: str, value: object) -> dict[str, Fact]:
    return {
        read_name(problems, inside(field, name), name): _read_fact(problems, inside(field, name), name, each)
        for name, each in mapping(problems, field, value).items()
    }


def _read_fact(problems: Problems, field: str, name: str, value: object) -> Fact:
    entry = Entry(problems, field, value, ("type", "question", "words", "unit"))
    fact = Fact(
        name=name,
        type=entry.required("type", choice(FactType), f"one of {', '.join(FactType)}", FactType.YES_NO),
        question=entry.required("question", paragraph, "write it in both languages", _NO_TEXT),
        words=entry.optional("words", _read_words, {}),
        unit=entry.optional("unit", _unit, ""),
    )
    if bool(fact.words) != (fact.type in _WITH_WORDS):
        problems.add_about_field(inside(field, "words"), "belong to a choice, and to every choice", "")
    if bool(fact.unit) != (fact.type is FactType.AMOUNT):
        problems.add_about_field(inside(field, "unit"), "belongs to an amount, and to every amount", "")
    return fact


def _read_words(problems: Problems, field: str, value: object) -> dict[str, Text]:
    return {
        read_name(problems, inside(field, name), name): paragraph(problems, inside(field, name), each)
        for name, each in mapping(problems, field, value).items()
    }


def _read_kinds(problems: Problems, field: str, value: object) -> dict[str, EvidenceKind]:
    return {
        read_name(problems, inside(field, name), name): _read_kind(problems, inside(field, name), name, each)
        for name, each in mapping(problems, field, value).items()
    }


def _read_kind(problems: Problems, field: str, name: str, value: object) -> EvidenceKind:
    entry = Entry(problems, field, value, ("title", "by_platform"))
    return EvidenceKind(
        name=name,
        title=entry.required("title", paragraph, "write it in both languages", _NO_TEXT),
        by_platform=entry.optional("by_platform", flag, False),
    )


def _unit(problems: Problems, field: str, value: object) -> str:
    return text(problems, field, value, longest=20)
