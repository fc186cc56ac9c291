"""The rules in force over one nation: answers questions about it, and remembers the answers."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from dure.model.datasets import Purpose
from dure.model.nation import Nation
from dure.policy.engine import PolicySet
from dure.policy.facts import Facts, request
from dure.policy.questions import UNKNOWN_FACT, Action, Decision, Question

MOST_REMEMBERED = 100_000
"""Answers kept; beyond that all are forgotten and asked again, which costs time and changes nothing."""


class PermittedSites(Struct, frozen=True, kw_only=True):
    """Where something may be done, in the order asked, and the rules that forbade the other sites.

    When it may be done nowhere, only the rules of the sites that come closest are named: those with the fewest.
    """

    sites: tuple[str, ...]
    rules: tuple[str, ...]
    diagnostics: tuple[str, ...] = ()


class PolicyInForce:
    """One nation under one set of rules. Bind a new one when either changes: answers hold for exactly these facts."""

    def __init__(self, policy_set: PolicySet, nation: Nation) -> None:
        self.policy_set = policy_set
        self._sites = tuple(site.name for site in nation.sites)
        self._facts = Facts(nation)
        self._decisions: dict[Question, Decision] = {}
        self._permitted: dict[tuple[str, Purpose, tuple[str, ...]], PermittedSites] = {}

    def decide(self, question: Question) -> Decision:
        """The answer to one question."""
        return self.decide_all([question])[0]

    def decide_all(self, questions: Sequence[Question]) -> list[Decision]:
        """The answers, in order; what was not asked before is asked in one batch."""
        answers = {each: self._decisions[each] for each in questions if each in self._decisions}
        new = [each for each in dict.fromkeys(questions) if each not in answers]
        if new:
            answers |= zip(new, self._ask(new), strict=True)
            self._remember({each: answers[each] for each in new})
        return [answers[each] for each in questions]

    def permitted_sites(self, organisation: str, purpose: Purpose, datasets: Sequence[str]) -> PermittedSites:
        """The nation's sites at which the organisation may run a job that reads these datasets for this purpose."""
        key = (organisation, purpose, tuple(datasets))
        found = self._permitted.get(key)
        if found is None:
            if len(self._permitted) >= MOST_REMEMBERED:
                self._permitted.clear()
            found = self._permitted[key] = self._find_permitted_sites(organisation, purpose, tuple(datasets))
        return found

    def _find_permitted_sites(self, organisation: str, purpose: Purpose, datasets: tuple[str, ...]) -> PermittedSites:
        actions = [(Action.RUN, None), *((Action.READ, dataset) for dataset in datasets)]
        questions = [
            Question(organisation=organisation, action=action, purpose=purpose, site=site, dataset=dataset)
            for site in self._sites
            for action, dataset in actions
        ]
        denials: dict[str, list[Decision]] = {site: [] for site in self._sites}
        for question, decision in zip(questions, self.decide_all(questions), strict=True):
            if decision.allowed is not True:
                denials[question.site].append(decision)
        sites = tuple(site for site in self._sites if not denials[site])
        denied = [decision for decisions in _told(denials, not sites) for decision in decisions]
        return PermittedSites(
            sites=sites,
            rules=tuple(sorted({rule for decision in denied for rule in decision.rules})),
            diagnostics=tuple(dict.fromkeys(line for decision in denied for line in decision.diagnostics)),
        )

    def _ask(self, questions: Sequence[Question]) -> list[Decision]:
        """Denies what names unknown things by itself, and asks Cedar the rest with only the entities they need."""
        unknown = {each: self._facts.unknown(each) for each in questions}
        known = [each for each in questions if unknown[each] is None]
        decided = dict(zip(known, self._ask_known(known), strict=True))
        return [
            decided[each]
            if each in decided
            else Decision(allowed=False, rules=(UNKNOWN_FACT,), diagnostics=(unknown[each] or "",))
            for each in questions
        ]

    def _ask_known(self, questions: Sequence[Question]) -> list[Decision]:
        if not questions:
            return []
        return self.policy_set.decide([request(each) for each in questions], self._facts.entities(questions))

    def _remember(self, decisions: dict[Question, Decision]) -> None:
        if len(self._decisions) + len(decisions) > MOST_REMEMBERED:
            self._decisions.clear()
        self._decisions |= decisions


def _told(denials: dict[str, list[Decision]], only_closest: bool) -> list[list[Decision]]:
    """The denials worth telling: with `only_closest`, those of the sites where the fewest rules stand in the way."""
    rules = {site: len({rule for decision in each for rule in decision.rules}) for site, each in denials.items()}
    fewest = min(rules.values(), default=0)
    return [each for site, each in denials.items() if not only_closest or rules[site] == fewest]
