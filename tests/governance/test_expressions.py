"""Conditions answer by the strong logic of Kleene, as an evaluator that was written apart does, and say why."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dure.governance.amounts import Amount, exactly
from dure.governance.answers import Answer
from dure.governance.condition_reader import ConditionReader
from dure.governance.expressions import Condition, evaluate, facts_in, parts_of
from dure.governance.facts import Facts, FactValue
from dure.governance.vocabulary_reader import read_vocabulary
from dure.intake.fields import Problems
from tests.governance.documents import VOCABULARY

KNOWN = read_vocabulary("vocabulary.yaml", VOCABULARY)
Raw = Any

POSSIBLE: dict[str, list[FactValue]] = {
    "sunny": ["yes", "no"],
    "warm": ["yes", "no"],
    "fields": [(), ("rice",), ("barley", "rice")],
    "season": ["spring", "autumn"],
    "compute": [exactly(10**25), exactly(10**26 - 1), exactly(10**26), exactly(10**26 + 1)],
    "sown-on": ["2026-01-21", "2026-01-22"],
}
UNSURE: list[FactValue] = [Amount(least=10**25, most=10**26), Amount(least=10**26, most=None)]

LEAVES: list[Raw] = [
    "always",
    {"is": {"sunny": "yes"}},
    {"is": {"warm": "no"}},
    {"is": {"fields": ["rice", "hemp"]}},
    {"is": {"season": "spring"}},
    {"at_least": {"compute": "1e26"}},
    {"more_than": {"compute": "1e26"}},
    {"at_least": {"sown-on": "2026-01-22"}},
]


def conditions() -> st.SearchStrategy[Raw]:
    def larger(inner: st.SearchStrategy[Raw]) -> st.SearchStrategy[Raw]:
        several = st.lists(inner, min_size=1, max_size=3)
        return st.one_of(
            st.builds(lambda parts: {"all": parts}, several),
            st.builds(lambda parts: {"any": parts}, several),
            st.builds(lambda part: {"not": part}, inner),
        )

    return st.recursive(st.sampled_from(LEAVES), larger, max_leaves=8)


def declared() -> st.SearchStrategy[dict[str, FactValue]]:
    values = {name: st.sampled_from(each + UNSURE * (name == "compute")) for name, each in POSSIBLE.items()}
    return st.fixed_dictionaries({}, optional=values)


def read(raw: Raw) -> Condition:
    problems = Problems()
    condition = ConditionReader(KNOWN.facts).read(problems, "", raw)
    problems.raise_if_any()
    return condition


def independent(raw: Raw, facts: Mapping[str, FactValue]) -> float:
    """0 is no, 1 is yes, 0.5 is unknown: `all` is the least of its parts, `any` the most, `not` what is left of 1."""
    if raw == "always":
        return 1
    operator, operand = next(iter(raw.items()))
    if operator == "all":
        return min(independent(part, facts) for part in operand)
    if operator == "any":
        return max(independent(part, facts) for part in operand)
    if operator == "not":
        return 1.0 - independent(operand, facts)
    fact, wanted = next(iter(operand.items()))
    value = facts.get(fact)
    if value is None:
        return 0.5
    if operator == "is":
        words = {wanted} if isinstance(wanted, str) else set(wanted)
        return float(bool(words & as_set(value)))
    if isinstance(value, str):
        return float(not value < wanted)
    assert isinstance(value, Amount)
    line: int = 10 ** int(wanted.removeprefix("1e"))
    passes: list[bool] = [
        amount > line or (operator == "at_least" and amount == line)
        for amount in (value.least, 10**60 if value.most is None else value.most)
    ]
    return sum(passes) / 2


def as_set(value: FactValue) -> set[str]:
    return set(value) if isinstance(value, tuple) else {str(value)}


NUMBER = {Answer.NO: 0.0, Answer.UNKNOWN: 0.5, Answer.YES: 1.0}


@given(conditions(), declared())
def test_answers_are_those_of_an_evaluator_that_was_written_apart(raw: Raw, facts: Facts) -> None:
    assert NUMBER[evaluate(read(raw), facts).answer] == independent(raw, facts)


@given(conditions(), declared())
def test_the_facts_that_decided_give_the_same_answer_alone(raw: Raw, facts: Facts) -> None:
    condition = read(raw)
    found = evaluate(condition, facts)
    if found.answer is not Answer.UNKNOWN:
        alone = {name: facts[name] for name in found.decided_by}
        assert evaluate(condition, alone).answer is found.answer


@given(conditions(), declared(), declared())
def test_learning_more_never_turns_an_answer_round(raw: Raw, facts: Facts, more: Facts) -> None:
    condition = read(raw)
    before = evaluate(condition, facts).answer
    if before is not Answer.UNKNOWN:
        narrowed = {name: value for name, value in more.items() if name not in facts}
        assert evaluate(condition, {**narrowed, **facts}).answer is before


@given(conditions(), declared())
def test_an_answer_is_given_only_if_it_holds_however_the_rest_turns_out(raw: Raw, facts: Facts) -> None:
    condition = read(raw)
    found = evaluate(condition, facts)
    if found.answer is Answer.UNKNOWN:
        return
    open_facts = [name for name in facts_in(condition) if name not in facts]
    for values in product(*(POSSIBLE[name] for name in open_facts)):
        assert evaluate(condition, {**facts, **dict(zip(open_facts, values, strict=True))}).answer is found.answer


@given(conditions(), declared())
def test_an_unknown_answer_names_facts_that_are_not_known_well_enough(raw: Raw, facts: Facts) -> None:
    found = evaluate(read(raw), facts)
    if found.answer is Answer.UNKNOWN:
        assert found.missing
        assert all(name not in facts or facts[name] in UNSURE for name in found.missing)


def test_a_named_condition_is_what_it_stands_for() -> None:
    problems = Problems()
    reader = ConditionReader(KNOWN.facts)
    reader.define(problems, "", "good-day", {"all": [{"is": {"sunny": "yes"}}, {"is": {"warm": "yes"}}]})
    condition = reader.read(problems, "", {"not": {"condition": "good-day"}})
    problems.raise_if_any()
    assert evaluate(condition, {"sunny": "no"}).answer is Answer.YES
    assert evaluate(condition, {"sunny": "yes"}).missing == ("warm",)
    assert facts_in(condition) == ("sunny", "warm")
    assert len(list(parts_of(condition))) == 5
