"""What would make it allowed, found by asking the same rules about facts that are not so, but could be.

All that people can change is granted at once: an agreement about each dataset, stop orders lifted, embargoes over,
sites assured. What is not needed is taken back again one by one. So a remedy holds for any rule, the programme's own as
well: it was tried, and not looked up.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from dure.model.agreements import Agreement, AgreementState, ExportClearance, Operation, Terms, TransferBasis
from dure.model.datasets import Purpose
from dure.policy.deciding import decide_all, questions_about
from dure.policy.engine import PolicySet
from dure.policy.facts import Facts, grade_name


class AgreementNeeded(Struct, frozen=True, kw_only=True):
    """An agreement that is missing, with the least that must be in it besides computing, the purpose and the site."""

    provider: str
    dataset: str
    transfer_basis: bool = True
    """It states on what basis personal data is transferred."""
    clearance: ExportClearance | None = ExportClearance.APPROVED
    """It states that the export of core technology was reported, or approved."""
    copy: bool = True
    """It lets a copy be at the site, which is outside the jurisdiction of the data."""


class Remedy(Struct, frozen=True, kw_only=True):
    """What would make it allowed. Empty when trying found nothing: then only other rules or other data would help."""

    purposes: tuple[Purpose, ...] = ()
    """It would be allowed as it is for one of these purposes."""
    sites: tuple[str, ...] = ()
    """It would be allowed here for `purpose`, once all that follows is so."""
    purpose: Purpose | None = None
    agreements: tuple[AgreementNeeded, ...] = ()
    stop_orders: tuple[str, ...] = ()
    """They would have to be lifted."""
    from_ms: int = 0
    """The moment at which the last embargo is over; 0 when none stands in the way."""
    assurances: tuple[str, ...] = ()
    """What the site would have to be assured as: `scheme/grade`."""
    copies: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """No site holds all the data: these sites hold this dataset."""


def find_remedy(
    policy_set: PolicySet, facts: Facts, organisation: str, purpose: Purpose, datasets: tuple[str, ...]
) -> Remedy:
    """What would let the organisation run a job that reads these datasets for this purpose, where it may not now."""
    declared = facts.declared
    if organisation not in declared.organisations or not declared.datasets.keys() >= set(datasets):
        return Remedy()
    sites = facts.sites_holding(datasets)
    if not sites:
        return Remedy(copies=tuple((each, declared.datasets[each].sites) for each in datasets))
    asked = _Wish(policy_set, facts, organisation, datasets, sites)
    others = tuple(each for each in Purpose if each is not purpose)
    purposes = tuple(each for each in others if asked.allowed_at(Remedy(), each))
    for tried in (purpose, *others):
        found = asked.least(tried)
        if found is not None and (tried is purpose or not purposes):
            return replace(found, purposes=purposes)
    return Remedy(purposes=purposes)


class _Wish:
    """What somebody wants to do, asked of the rules under changed facts."""

    def __init__(
        self,
        policy_set: PolicySet,
        facts: Facts,
        organisation: str,
        datasets: tuple[str, ...],
        sites: tuple[str, ...],
    ) -> None:
        self._policy_set = policy_set
        self._facts = facts
        self._organisation = organisation
        self._datasets = datasets
        self._sites = sites

    def least(self, purpose: Purpose) -> Remedy | None:
        """The least that must change for this purpose; None when no change that is tried would do."""
        remedy = self._everything()
        if not self.allowed_at(remedy, purpose):
            return None
        for smaller in ({"stop_orders": ()}, {"from_ms": 0}, {"assurances": ()}):
            remedy = self._less(remedy, replace(remedy, **smaller), purpose)
        for needed in remedy.agreements:
            remedy = self._least_agreement(remedy, needed, purpose)
        return replace(remedy, sites=self.allowed_at(remedy, purpose), purpose=purpose)

    def _least_agreement(self, remedy: Remedy, needed: AgreementNeeded, purpose: Purpose) -> Remedy:
        """The remedy with as little as possible of this agreement: best without, or else with the least in it."""
        remedy = self._less(remedy, _with(remedy, needed.dataset, None), purpose)
        for smaller in ({"copy": False}, {"transfer_basis": False}, {"clearance": ExportClearance.REPORTED}):
            remedy = self._less_in(remedy, needed.dataset, smaller, purpose)
        return self._less_in(remedy, needed.dataset, {"clearance": None}, purpose)

    def _less_in(self, remedy: Remedy, dataset: str, smaller: dict[str, Any], purpose: Purpose) -> Remedy:
        now = next((each for each in remedy.agreements if each.dataset == dataset), None)
        return remedy if now is None else self._less(remedy, _with(remedy, dataset, replace(now, **smaller)), purpose)

    def _less(self, remedy: Remedy, smaller: Remedy, purpose: Purpose) -> Remedy:
        """The smaller remedy if it does as well."""
        return smaller if smaller != remedy and self.allowed_at(smaller, purpose) else remedy

    def allowed_at(self, remedy: Remedy, purpose: Purpose) -> tuple[str, ...]:
        """The sites at which it would be allowed if the remedy were so."""
        facts = self._changed(remedy, purpose)
        questions = questions_about(self._organisation, purpose, self._datasets, self._sites)
        decisions = zip(questions, decide_all(self._policy_set, facts, questions), strict=True)
        denied = {each.site for each, decision in decisions if decision.allowed is not True}
        return tuple(site for site in self._sites if site not in denied)

    def _everything(self) -> Remedy:
        datasets = [self._facts.declared.datasets[each] for each in self._datasets]
        embargo_ms = max((each.embargo_until_ms for each in datasets), default=0)
        questions = questions_about(self._organisation, Purpose.RESEARCH, self._datasets, self._sites)
        return Remedy(
            agreements=tuple(
                AgreementNeeded(provider=each.owner, dataset=each.name)
                for each in datasets
                if each.owner != self._organisation
            ),
            stop_orders=tuple(dict.fromkeys(o.id for each in questions for o in self._facts.orders_against(each))),
            from_ms=embargo_ms if embargo_ms > self._facts.at_ms else 0,
            assurances=tuple(
                dict.fromkeys(grade_name(need.scheme, need.grade) for each in datasets for need in each.assurance)
            ),
        )

    def _changed(self, remedy: Remedy, purpose: Purpose) -> Facts:
        """The facts as they would be."""
        facts = self._facts
        at_ms = remedy.from_ms or facts.at_ms
        granted = (self._agreement(each, purpose, at_ms) for each in remedy.agreements)
        return Facts(
            facts.declared,
            [*facts.agreements, *granted],
            [each for each in facts.stop_orders if each.id not in remedy.stop_orders],
            at_ms,
            frozenset(remedy.assurances),
        )

    def _agreement(self, needed: AgreementNeeded, purpose: Purpose, at_ms: int) -> Agreement:
        operations = (Operation.COMPUTE, Operation.COPY) if needed.copy else (Operation.COMPUTE,)
        terms = Terms(
            provider=needed.provider,
            recipient=self._organisation,
            datasets=(needed.dataset,),
            purposes=(purpose,),
            operations=operations,
            sites=self._sites,
            from_ms=at_ms,
            until_ms=at_ms + 1,
            transfer_basis=TransferBasis.CONSENT if needed.transfer_basis else None,
            clearance=needed.clearance,
        )
        # No real agreement has an id with a space in it.
        name = f"about {needed.dataset}"
        return Agreement(id=name, terms=terms, state=AgreementState.AGREED, offered_by=needed.provider)


def _with(remedy: Remedy, dataset: str, needed: AgreementNeeded | None) -> Remedy:
    """The remedy with this instead of what it had about the dataset."""
    kept = [needed if each.dataset == dataset else each for each in remedy.agreements]
    return replace(remedy, agreements=tuple(each for each in kept if each is not None))
