"""What the nation declares and what was agreed and ordered, as of one moment, in the entities of the Cedar schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from dure.model.agreements import Agreement, AgreementState
from dure.model.datasets import RESTRICTED_CLASSES, DataClass, Dataset
from dure.model.fleet import Site
from dure.model.nation import Nation
from dure.model.organisations import Organisation
from dure.model.stop_orders import StopOrder
from dure.policy.engine import CedarValue, ParsedEntities
from dure.policy.questions import Action, Question

EVERYONE = "*"
"""Among a dataset's readers: every member may read it."""

_MEMBERS = {"type": "Alliance", "id": "members"}
_SPOKEN_OF = frozenset({AgreementState.AGREED, AgreementState.ENDED})
"""Agreements that a refusal may speak of: before they were agreed they were nothing to rely on."""


class Declared:
    """A nation's organisations, sites and datasets by name. Made once per nation, and the same at every moment."""

    def __init__(self, nation: Nation) -> None:
        self.nation = nation
        self.organisations = {each.name: each for each in nation.organisations}
        self.sites = {each.name: each for each in nation.sites}
        self.datasets = {each.name: each for each in nation.datasets}
        self.classes = {*DataClass, *(each.name for each in nation.data_classes)}
        self.restricted = RESTRICTED_CLASSES | {each.name for each in nation.data_classes if each.restricted}
        self.schemes = {each.name: each for each in nation.assurance_schemes}
        self.parsed: dict[str, ParsedEntities] = {}
        """Datasets that Cedar has read: their entities are the longest, and no other fact changes them."""


class Facts:
    """All that rules may speak of at one moment. Entities are written once, when a question first needs them."""

    def __init__(
        self,
        declared: Declared,
        agreements: Iterable[Agreement] = (),
        stop_orders: Iterable[StopOrder] = (),
        at_ms: int = 0,
        assumed: frozenset[str] = frozenset(),
    ) -> None:
        """`assumed` are assurances that every site is taken to have besides its own, to try what they would change."""
        self.declared = declared
        self.at_ms = at_ms
        self._assumed = assumed
        self.agreements = tuple(sorted(agreements, key=_in_order_of_id))
        self.stop_orders = tuple(sorted(stop_orders, key=lambda order: (len(order.id), order.id)))
        self._by_recipient: dict[str, list[Agreement]] = {}
        for each in self.agreements:
            self._by_recipient.setdefault(each.terms.recipient, []).append(each)
        self._organisations: dict[str, str] = {}
        self._sites: dict[str, str] = {}

    def unknown(self, question: Question) -> str | None:
        """What the question needs to know that nobody declared; None when everything is known."""
        declared = self.declared
        if (organisation := declared.organisations.get(question.organisation)) is None:
            return f"no organisation is named {question.organisation!r}"
        if (site := declared.sites.get(question.site)) is None:
            return f"no site is named {question.site!r}"
        if not (organisation.country and organisation.parent_country):
            return f"the organisation {organisation.name!r} has no country"
        if not site.country:
            return f"the site {site.name!r} has no country"
        if question.dataset is None:
            return "reading needs a dataset" if question.action is Action.READ else None
        if (dataset := declared.datasets.get(question.dataset)) is None:
            return f"no dataset is named {question.dataset!r}"
        return self._unknown_about(dataset)

    def _unknown_about(self, dataset: Dataset) -> str | None:
        unheard_of = sorted(set(dataset.classes) - self.declared.classes)
        if unheard_of:
            return f"the dataset {dataset.name!r} has the class {unheard_of[0]!r}, which nobody declared"
        if not dataset.classes:
            return f"the dataset {dataset.name!r} has no class"
        return None if dataset.jurisdiction else f"the dataset {dataset.name!r} has no jurisdiction"

    def sites_holding(self, datasets: Sequence[str]) -> tuple[str, ...]:
        """Sites that hold a copy of every one of these datasets, in the nation's order."""
        copies = [self.declared.datasets[each].sites if each in self.declared.datasets else () for each in datasets]
        return tuple(site for site in self.declared.sites if all(site in each for each in copies))

    def agreements_for(self, organisation: str, dataset: str) -> list[Agreement]:
        """Agreements that could let the organisation read it: those in force, or else the last that was agreed."""
        theirs = self._by_recipient.get(organisation, ())
        about = [each for each in theirs if dataset in each.terms.datasets and each.state in _SPOKEN_OF]
        return [each for each in about if each.is_in_force(self.at_ms)] or about[-1:]

    def orders_against(self, question: Question) -> list[StopOrder]:
        """The stop orders that fit the reader, the dataset and the site: each fits all that it names."""
        if not self.stop_orders or question.dataset is None:
            return []
        organisation = self.declared.organisations[question.organisation]
        site = self.declared.sites[question.site]
        return [order for order in self.stop_orders if order.hits(organisation, site, question.dataset)]

    def request(self, question: Question, agreement: Agreement | None = None) -> CedarValue:
        """The question as a Cedar request, relying on this agreement or on none."""
        asked: CedarValue = {
            "principal": _named("Organisation", question.organisation),
            "action": _named("Action", question.action.value),
        }
        context: dict[str, Any] = {"purpose": question.purpose.value, "at_ms": self.at_ms}
        if question.action is Action.RUN:
            return asked | {"resource": _named("Site", question.site), "context": _json(context)}
        context["site"] = _named("Site", question.site)
        context["stop_orders"] = [order.id for order in self.orders_against(question)]
        if agreement is not None:
            context["agreement"] = _named("Agreement", agreement.id)
        return asked | {"resource": _named("Dataset", question.dataset or ""), "context": _json(context)}

    def dataset(self, name: str) -> str:
        """A dataset as a JSON list of one entity."""
        return f"[{_json(_dataset(self.declared.datasets[name], self.declared.restricted))}]"

    def entities(self, asked: Sequence[tuple[Question, Agreement | None]]) -> str:
        """Who asks, where, and on which agreements, each once, as a JSON list. Datasets come apart, see `dataset`."""
        needed: dict[tuple[str, str], str] = {}
        for question, agreement in asked:
            who, where = question.organisation, question.site
            needed["Organisation", who] = self._organisations.get(who) or self._write_organisation(who)
            needed["Site", where] = self._sites.get(where) or self._write_site(where)
            if agreement is not None:
                needed["Agreement", agreement.id] = _json(_agreement(agreement))
        return f"[{','.join(needed.values())}]"

    def _write_organisation(self, name: str) -> str:
        self._organisations[name] = _json(_organisation(self.declared.organisations[name]))
        return self._organisations[name]

    def _write_site(self, name: str) -> str:
        site = self.declared.sites[name]
        self._sites[name] = _json(_site(site, self._assurances(site)))
        return self._sites[name]

    def _assurances(self, site: Site) -> set[str]:
        """What the site is assured as now: the grades it has, and those below them in the order of their scheme."""
        assured = set(self._assumed)
        for each in site.assurances:
            scheme = self.declared.schemes.get(each.scheme)
            if scheme is not None and each.is_valid(self.at_ms):
                assured |= {grade_name(each.scheme, lower) for lower in scheme.grades_to(each.grade)}
        return assured

    def next_change_ms(self) -> int | None:
        """When a date among the facts next passes, so that answers may change by themselves; None when none will."""
        return min((moment for moment in self._dates() if moment > self.at_ms), default=None)

    def _dates(self) -> Iterable[int]:
        for site in self.declared.nation.sites:
            for assurance in site.assurances:
                yield assurance.valid_from_ms
                yield assurance.valid_to_ms
        for dataset in self.declared.nation.datasets:
            yield dataset.embargo_until_ms
        for agreement in self.agreements:
            if agreement.state is AgreementState.AGREED:
                yield agreement.terms.from_ms
                yield agreement.terms.until_ms


def grade_name(scheme: str, grade: str) -> str:
    """A grade of a scheme in one word, as rules compare it."""
    return f"{scheme}/{grade}"


def _json(value: CedarValue) -> str:
    return msgspec.json.encode(value).decode()


def _in_order_of_id(agreement: Agreement) -> tuple[int, str]:
    """`a2` before `a10`."""
    return len(agreement.id), agreement.id


def _named(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


def _organisation(organisation: Organisation) -> CedarValue:
    attributes = {"country": organisation.country, "parent_country": organisation.parent_country}
    return {"uid": _named("Organisation", organisation.name), "attrs": attributes, "parents": [_MEMBERS]}


def _site(site: Site, assurances: Iterable[str]) -> CedarValue:
    attributes = {"country": site.country, "assurances": sorted(assurances)}
    return {"uid": _named("Site", site.name), "attrs": attributes, "parents": []}


def _dataset(dataset: Dataset, restricted: frozenset[str] | set[str]) -> CedarValue:
    attributes = {
        "owner": _named("Organisation", dataset.owner),
        "classes": [str(each) for each in dataset.classes],
        "restricted": not restricted.isdisjoint(dataset.classes),
        "jurisdiction": dataset.jurisdiction,
        "purposes": [each.value for each in dataset.purposes],
        "sites": [_named("Site", each) for each in dataset.sites],
        "readers": [_named("Organisation", each) for each in dataset.readers if each != EVERYONE],
        "open_to_members": EVERYONE in dataset.readers,
        "state_funded": dataset.state_funded,
        "embargo_until_ms": dataset.embargo_until_ms,
        "assurances_needed": [grade_name(each.scheme, each.grade) for each in dataset.assurance],
    }
    return {"uid": _named("Dataset", dataset.name), "attrs": attributes, "parents": []}


def _agreement(agreement: Agreement) -> CedarValue:
    terms = agreement.terms
    attributes: CedarValue = {
        "provider": _named("Organisation", terms.provider),
        "recipient": _named("Organisation", terms.recipient),
        "datasets": [_named("Dataset", each) for each in terms.datasets],
        "purposes": [each.value for each in terms.purposes],
        "operations": [each.value for each in terms.operations],
        "sites": [_named("Site", each) for each in terms.sites],
        "agreed": agreement.state is AgreementState.AGREED and (agreement.approved or not agreement.needs_approval),
        "from_ms": terms.from_ms,
        "until_ms": terms.until_ms,
    }
    if terms.transfer_basis is not None:
        attributes["transfer_basis"] = terms.transfer_basis.value
    if terms.clearance is not None:
        attributes["clearance"] = terms.clearance.value
    return {"uid": _named("Agreement", agreement.id), "attrs": attributes, "parents": []}
