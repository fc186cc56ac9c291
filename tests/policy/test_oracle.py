"""Cedar against rules said once more by hand, and proof that no rule is idle."""

from __future__ import annotations

from functools import cache
from random import Random

import pytest

from dure.policy import PolicyInForce, PolicySet, Question

from .conftest import POLICIES, SCHEMA
from .oracle import Circumstances, compare, judge, random_circumstances, random_question

FORBIDS = sorted(file.removesuffix(".cedar") for file, text in POLICIES.items() if "\nforbid (" in text)
PERMITS = sorted(file.removesuffix(".cedar") for file in POLICIES if file.removesuffix(".cedar") not in FORBIDS)


def test_an_independent_oracle_agrees_on_thousands_of_random_questions(policy_set: PolicySet) -> None:
    tally = compare(policy_set, 6_000, seed=5)
    assert tally.differences == []
    assert tally.allowed > 500
    assert tally.on_agreement > 20


@cache
def examples() -> dict[str, tuple[Circumstances, Question]]:
    """For each forbid, a random question that it alone stands against; the oracle finds them."""
    dice = Random("one rule alone")
    found: dict[str, tuple[Circumstances, Question]] = {}
    for _ in range(5_000):
        known = random_circumstances(dice)
        for question in (random_question(dice) for _ in range(20)):
            verdict = judge(known, question)
            if not verdict.allowed and len(verdict.rules) == 1:
                found.setdefault(verdict.rules[0], (known, question))
        if set(FORBIDS) <= set(found):
            break
    return found


def test_there_are_the_forbids_that_the_law_asks_for() -> None:
    assert len(FORBIDS) == 18
    assert PERMITS == ["members-may-read", "members-may-run"]


@pytest.mark.parametrize("rule", FORBIDS)
def test_without_any_one_forbid_something_is_allowed_that_must_not_be(rule: str, policy_set: PolicySet) -> None:
    known, question = examples()[rule]
    assert PolicyInForce(policy_set, *known).decide(question).rules == (rule,)
    without = PolicySet(SCHEMA, {file: text for file, text in POLICIES.items() if file != f"{rule}.cedar"})
    assert PolicyInForce(without, *known).decide(question).allowed is True


@pytest.mark.parametrize("rule", PERMITS)
def test_without_a_permit_nothing_of_its_kind_is_allowed(rule: str) -> None:
    without = PolicySet(SCHEMA, {file: text for file, text in POLICIES.items() if file != f"{rule}.cedar"})
    tally = compare(without, 500, seed=5)
    assert tally.differences
    assert all(f"'{rule}'" in each for each in tally.differences)


def test_every_error_of_the_rules_is_a_denial(policy_set: PolicySet) -> None:
    """A forbid that overflows for one purpose: Cedar alone would skip it and allow."""
    titles = '@id("fails") @title_ko("규칙") @title_en("A rule") @remedy_ko("도움") @remedy_en("Help")'
    overflow = '9223372036854775807 + (if context.purpose == "research" then 1 else 0) > 9223372036854775807'
    rule = f"{titles} forbid (principal, action, resource) when {{ {overflow} }};"
    failing = PolicySet(SCHEMA, POLICIES, {"fails.cedar": rule})
    dice = Random("errors")
    seen = 0
    for _ in range(20):
        known = random_circumstances(dice)
        for question in (random_question(dice) for _ in range(20)):
            verdict, decision = judge(known, question), PolicyInForce(failing, *known).decide(question)
            if verdict.rules == ("unknown-fact",):
                continue
            is_error = question.purpose == "research"
            assert decision.is_error == is_error
            assert decision.allowed is (verdict.allowed and not is_error)
            seen += is_error and verdict.allowed
    assert seen > 3
    assert failing.alarm.count > seen
