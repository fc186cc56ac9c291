"""What the nation declares, said in the entities of the Cedar schema; only those a question needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dure.model.datasets import Dataset
from dure.model.fleet import Site
from dure.model.nation import Nation
from dure.model.organisations import Organisation
from dure.policy.engine import CedarValue
from dure.policy.questions import Action, Question

EVERYONE = "*"
"""Among a dataset's readers: every member may read it."""

_MEMBERS = {"type": "Alliance", "id": "members"}


class Facts:
    """A nation's organisations, sites and datasets by name."""

    def __init__(self, nation: Nation) -> None:
        self._organisations: Mapping[str, Organisation] = {each.name: each for each in nation.organisations}
        self._sites: Mapping[str, Site] = {each.name: each for each in nation.sites}
        self._datasets: Mapping[str, Dataset] = {each.name: each for each in nation.datasets}

    def unknown(self, question: Question) -> str | None:
        """What the question names that the nation does not declare; None when everything is known."""
        if question.organisation not in self._organisations:
            return f"no organisation is named {question.organisation!r}"
        if question.site not in self._sites:
            return f"no site is named {question.site!r}"
        if question.action is Action.READ and question.dataset is None:
            return "reading needs a dataset"
        if question.dataset is not None and question.dataset not in self._datasets:
            return f"no dataset is named {question.dataset!r}"
        return None

    def entities(self, questions: Iterable[Question]) -> list[CedarValue]:
        """The entities these questions are about, each once."""
        organisations: dict[str, CedarValue] = {}
        sites: dict[str, CedarValue] = {}
        datasets: dict[str, CedarValue] = {}
        for question in questions:
            if question.organisation not in organisations:
                organisations[question.organisation] = _organisation(self._organisations[question.organisation])
            if question.site not in sites:
                sites[question.site] = _site(self._sites[question.site])
            if question.dataset is not None and question.dataset not in datasets:
                datasets[question.dataset] = _dataset(self._datasets[question.dataset])
        return [*organisations.values(), *sites.values(), *datasets.values()]


def request(question: Question) -> CedarValue:
    """The question as a Cedar request."""
    asked: CedarValue = {
        "principal": _named("Organisation", question.organisation),
        "action": _named("Action", question.action.value),
    }
    if question.action is Action.RUN:
        return asked | {"resource": _named("Site", question.site), "context": {"purpose": question.purpose.value}}
    context = {"purpose": question.purpose.value, "site": _named("Site", question.site)}
    return asked | {"resource": _named("Dataset", question.dataset or ""), "context": context}


def _named(kind: str, name: str) -> CedarValue:
    return {"type": kind, "id": name}


def _organisation(organisation: Organisation) -> CedarValue:
    attributes = {"country": organisation.country, "parent_country": organisation.parent_country}
    return {"uid": _named("Organisation", organisation.name), "attrs": attributes, "parents": [_MEMBERS]}


def _site(site: Site) -> CedarValue:
    return {"uid": _named("Site", site.name), "attrs": {"country": site.country}, "parents": []}


def _dataset(dataset: Dataset) -> CedarValue:
    attributes = {
        "owner": _named("Organisation", dataset.owner),
        "classes": [str(each) for each in dataset.classes],
        "jurisdiction": dataset.jurisdiction,
        "purposes": [each.value for each in dataset.purposes],
        "sites": [_named("Site", each) for each in dataset.sites],
        "readers": [_named("Organisation", each) for each in dataset.readers if each != EVERYONE],
        "open_to_members": EVERYONE in dataset.readers,
    }
    return {"uid": _named("Dataset", dataset.name), "attrs": attributes, "parents": []}
