"""The rules in force over one nation at one moment: answers questions about it, and remembers the answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dure.model.agreements import Agreement
from dure.model.datasets import Purpose
from dure.model.nation import Nation
from dure.model.stop_orders import StopOrder
from dure.policy.deciding import decide_about, decide_all, questions_about
from dure.policy.engine import PolicySet
from dure.policy.facts import EVERYONE, Declared, Facts
from dure.policy.questions import Decision, PermittedSites, Question
from dure.policy.remedies import Remedy, find_remedy

MOST_REMEMBERED = 100_000
"""Answers kept; beyond that all are forgotten and asked again, which costs time and changes nothing."""
NO_COPY = "data-stays-at-its-sites"
"""The shipped rule that forbids reading at a site without a copy; such sites are not asked about one by one."""


class PolicyInForce:
    """One nation under one set of rules. Bind a new one when either changes: answers hold for exactly these facts.

    `agreements` may hold some that are not in force, which a refusal may then speak of. Answers hold from `at_ms`, a
    moment in milliseconds since the epoch, until `next_change_ms`.
    """

    def __init__(
        self,
        policy_set: PolicySet,
        nation: Nation,
        agreements: Iterable[Agreement] = (),
        stop_orders: Iterable[StopOrder] = (),
        at_ms: int = 0,
    ) -> None:
        self.policy_set = policy_set
        self.facts = Facts(Declared(nation), agreements, stop_orders, at_ms)
        self.next_change_ms = self.facts.next_change_ms()
        self._sites = tuple(site.name for site in nation.sites)
        self._decisions: dict[Question, Decision] = {}
        self._permitted: dict[tuple[str, Purpose, tuple[str, ...]], PermittedSites] = {}
        self._remedies: dict[tuple[str, Purpose, tuple[str, ...]], Remedy] = {}

    def decide(self, question: Question) -> Decision:
        """The answer to one question."""
        found = self._decisions.get(question)
        if found is None:
            [found] = decide_about(self.policy_set, self.facts, question.dataset, [question])
            self._remember({question: found})
        return found

    def decide_all(self, questions: Sequence[Question]) -> list[Decision]:
        """The answers, in order; what was not asked before is asked together."""
        new = [each for each in dict.fromkeys(questions) if each not in self._decisions]
        answers = dict(zip(new, decide_all(self.policy_set, self.facts, new), strict=True))
        found = [answers[each] if each in answers else self._decisions[each] for each in questions]
        self._remember(answers)
        return found

    def permitted_sites(self, organisation: str, purpose: Purpose, datasets: Sequence[str]) -> PermittedSites:
        """The nation's sites at which the organisation may run a job that reads these datasets for this purpose."""
        key = (organisation, purpose, tuple(datasets))
        found = self._permitted.get(key)
        if found is None:
            if len(self._permitted) >= MOST_REMEMBERED:
                self._permitted.clear()
            found = self._permitted[key] = self._find_permitted_sites(organisation, purpose, tuple(datasets))
        return found

    def remedy(self, organisation: str, purpose: Purpose, datasets: Sequence[str]) -> Remedy:
        """What would make it allowed that is allowed nowhere now, as far as trying tells."""
        key = (organisation, purpose, tuple(datasets))
        found = self._remedies.get(key)
        if found is None:
            if len(self._remedies) >= MOST_REMEMBERED:
                self._remedies.clear()
            found = self._remedies[key] = find_remedy(self.policy_set, self.facts, organisation, purpose, key[2])
        return found

    def may_read_somewhere(self, organisation: str, dataset: str) -> bool:
        """Whether the dataset is the organisation's business: its own, open to it, or spoken of in an agreement."""
        declared = self.facts.declared.datasets.get(dataset)
        if declared is None:
            return False
        is_granted = not {organisation, EVERYONE}.isdisjoint({declared.owner, *declared.readers})
        return is_granted or bool(self.facts.agreements_for(organisation, dataset))

    def _find_permitted_sites(self, organisation: str, purpose: Purpose, datasets: tuple[str, ...]) -> PermittedSites:
        """Asks about the sites that hold all the data, and about all others only if there is no such site."""
        holding = self.facts.sites_holding(datasets)
        asked = holding or self._sites
        answers = self._answers_by_site(organisation, purpose, datasets, asked)
        sites = tuple(site for site in asked if all(each.allowed is True for each in answers[site]))
        denials = {site: [each for each in answers[site] if each.allowed is not True] for site in asked}
        denied = [decision for decisions in _told(denials, not sites) for decision in decisions]
        rules = {rule for decision in denied for rule in decision.rules}
        if sites and len(asked) < len(self._sites):
            rules.add(NO_COPY)
        used = {each.agreement for site in sites for each in answers[site] if each.agreement}
        return PermittedSites(
            sites=sites,
            rules=tuple(sorted(rules)),
            diagnostics=tuple(dict.fromkeys(line for decision in denied for line in decision.diagnostics)),
            agreements=tuple(each.id for each in self.facts.agreements if each.id in used),
        )

    def _answers_by_site(
        self, organisation: str, purpose: Purpose, datasets: tuple[str, ...], sites: Sequence[str]
    ) -> dict[str, list[Decision]]:
        questions = questions_about(organisation, purpose, datasets, sites)
        answers: dict[str, list[Decision]] = {site: [] for site in sites}
        for question, decision in zip(questions, self.decide_all(questions), strict=True):
            answers[question.site].append(decision)
        return answers

    def _remember(self, decisions: dict[Question, Decision]) -> None:
        if len(self._decisions) + len(decisions) > MOST_REMEMBERED:
            self._decisions.clear()
        self._decisions |= decisions


def _told(denials: dict[str, list[Decision]], only_closest: bool) -> list[list[Decision]]:
    """The denials worth telling: with `only_closest`, those of the sites where the fewest rules stand in the way."""
    rules = {site: len({rule for decision in each for rule in decision.rules}) for site, each in denials.items()}
    fewest = min(rules.values(), default=0)
    return [each for site, each in denials.items() if not only_closest or rules[site] == fewest]
