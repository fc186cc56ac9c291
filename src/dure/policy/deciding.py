"""Questions to decisions: what is unknown is denied here, the rest is asked of Cedar with only the facts it needs."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from dure.model.agreements import Agreement
from dure.model.datasets import Purpose
from dure.policy.engine import ParsedEntities, PolicySet
from dure.policy.facts import Facts
from dure.policy.questions import UNKNOWN_FACT, Action, Decision, Question

MOST_PARSED = 10_000
"""Datasets kept as Cedar has read them, about 10 kB each; beyond that all are forgotten and read again."""

_Asked = tuple[Question, Agreement | None]


def questions_about(
    organisation: str, purpose: Purpose, datasets: Sequence[str], sites: Sequence[str]
) -> list[Question]:
    """All that must be allowed for a job to run at a site: running there, and reading each dataset there."""
    actions = [(Action.RUN, None), *((Action.READ, dataset) for dataset in datasets)]
    return [
        Question(organisation=organisation, action=action, purpose=purpose, site=site, dataset=dataset)
        for site in sites
        for action, dataset in actions
    ]


def decide_all(policy_set: PolicySet, facts: Facts, questions: Sequence[Question]) -> dict[Question, Decision]:
    """The answer to each question.

    What is denied by itself is asked once more with each agreement that could serve, and allowed if one of these is
    cleanly allowed: the first in order of id. Otherwise the denial is the one that comes closest.
    """
    decisions: dict[Question, Decision] = {}
    for question in questions:
        if (unknown := facts.unknown(question)) is not None:
            decisions[question] = Decision(allowed=False, rules=(UNKNOWN_FACT,), diagnostics=(unknown,))
    known = [each for each in questions if each not in decisions]
    decisions |= zip(known, _ask(policy_set, facts, [(each, None) for each in known]), strict=True)
    asked = [
        (question, agreement)
        for question in known
        if question.dataset is not None and decisions[question].allowed is not True
        for agreement in facts.agreements_for(question.organisation, question.dataset)
    ]
    for (question, _), decision in zip(asked, _ask(policy_set, facts, asked), strict=True):
        decisions[question] = _better(decisions[question], decision)
    return decisions


def _ask(policy_set: PolicySet, facts: Facts, asked: Sequence[_Asked]) -> list[Decision]:
    """What Cedar says, in order. Questions about one dataset are asked together: reading its facts costs the most."""
    by_dataset: dict[str, list[_Asked]] = {}
    for each in asked:
        by_dataset.setdefault(each[0].dataset or "", []).append(each)
    answers: dict[_Asked, Decision] = {}
    for dataset, group in by_dataset.items():
        answers |= zip(group, _ask_about(policy_set, facts, dataset, group), strict=True)
    return [answers[each] for each in asked]


def _ask_about(policy_set: PolicySet, facts: Facts, dataset: str, asked: Sequence[_Asked]) -> list[Decision]:
    requests = [facts.request(*each) for each in asked]
    try:
        parsed = _parsed(policy_set, facts, dataset) if dataset else None
    except ValueError as error:
        return [policy_set.denied_by_error(str(error))] * len(asked)
    decisions = policy_set.decide(requests, facts.entities(asked), parsed)
    return [
        replace(decision, agreement=agreement.id) if agreement else decision
        for (_, agreement), decision in zip(asked, decisions, strict=True)
    ]


def _parsed(policy_set: PolicySet, facts: Facts, dataset: str) -> ParsedEntities:
    kept = facts.declared.parsed
    if dataset not in kept:
        if len(kept) >= MOST_PARSED:
            kept.clear()
        kept[dataset] = policy_set.parse(facts.dataset(dataset))
    return kept[dataset]


def _better(one: Decision, other: Decision) -> Decision:
    """The first that allows; or else an error, which hides behind no refusal; or else the one that comes closest.

    Of two denials by equally many rules, the one that relies on an agreement says more about what is missing.
    """
    if one.allowed is True or other.allowed is True:
        return one if one.allowed is True else other
    if one.is_error or other.is_error:
        return one if one.is_error else other
    if len(other.rules) < len(one.rules) or (len(other.rules) == len(one.rules) and not one.agreement):
        return other
    return one
