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


def decide_all(policy_set: PolicySet, facts: Facts, questions: Sequence[Question]) -> list[Decision]:
    """The answers, in order. Questions about one dataset are asked together: reading its facts costs the most."""
    by_dataset: dict[str | None, list[int]] = {}
    for position, question in enumerate(questions):
        by_dataset.setdefault(question.dataset, []).append(position)
    answers: dict[int, Decision] = {}
    for dataset, positions in by_dataset.items():
        group = [questions[each] for each in positions]
        answers |= zip(positions, decide_about(policy_set, facts, dataset, group), strict=True)
    return [answers[position] for position in range(len(questions))]


def decide_about(
    policy_set: PolicySet, facts: Facts, dataset: str | None, questions: Sequence[Question]
) -> list[Decision]:
    """The answers to questions about one dataset, or about none, in order.

    What is denied by itself is asked once more with each agreement that could serve, and allowed if one of these is
    cleanly allowed: the first in order of id. Otherwise the denial is the one that comes closest.
    """
    unknown = [facts.unknown(each) for each in questions]
    known: list[_Asked] = [(each, None) for each, what in zip(questions, unknown, strict=True) if what is None]
    decided = iter(_ask(policy_set, facts, dataset, known))
    answers = [next(decided) if what is None else _denied_as_unknown(what) for what in unknown]
    if dataset is None:
        return answers
    served = [
        (position, agreement)
        for position, question in enumerate(questions)
        if unknown[position] is None and answers[position].allowed is not True
        for agreement in facts.agreements_for(question.organisation, dataset)
    ]
    again = _ask(policy_set, facts, dataset, [(questions[position], agreement) for position, agreement in served])
    for (position, agreement), decision in zip(served, again, strict=True):
        answers[position] = _better(answers[position], replace(decision, agreement=agreement.id))
    return answers


def _denied_as_unknown(what: str) -> Decision:
    return Decision(allowed=False, rules=(UNKNOWN_FACT,), diagnostics=(what,))


def _ask(policy_set: PolicySet, facts: Facts, dataset: str | None, asked: Sequence[_Asked]) -> list[Decision]:
    """What Cedar says, in order."""
    if not asked:
        return []
    try:
        parsed = _parsed(policy_set, facts, dataset) if dataset is not None else None
    except ValueError as error:
        return [policy_set.denied_by_error(str(error))] * len(asked)
    requests = [facts.request(question, agreement) for question, agreement in asked]
    return policy_set.decide(requests, facts.entities(asked), parsed)


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
