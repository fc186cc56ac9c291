"""Datasets as people read them, and who may know of them: names of others' data are not told to outsiders."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from msgspec import Struct
from msgspec.structs import replace

from dure.model.agreements import Agreement, AgreementState
from dure.model.datasets import Dataset
from dure.model.nation import Nation
from dure.reports.agreements import may_see
from dure.reports.viewer import Viewer

EVERYONE = "*"
"""Among a dataset's readers: every member of the alliance."""


class DatasetLine(Struct, frozen=True, kw_only=True):
    """One dataset, and the agreements in force that let somebody use it; a recipient sees its own only."""

    dataset: Dataset
    restricted: bool
    """Its jobs run in a sandbox, and their results wait for release."""
    agreements: tuple[str, ...] = ()


class DatasetsReport(Struct, frozen=True, kw_only=True):
    """The datasets that the viewer may know of, in the order of the nation file."""

    at_ms: int
    datasets: tuple[DatasetLine, ...]


def known_datasets(nation: Nation, agreements: Iterable[Agreement], viewer: Viewer) -> tuple[Dataset, ...]:
    """What a viewer may know of: their own organisation's data, what they may read, and what was offered to them."""
    if viewer.sees_everything and not viewer.project:
        return nation.datasets
    organisation = _organisation(nation, viewer)
    if not organisation:
        return ()
    offered = _offered_to(organisation, agreements)
    return tuple(each for each in nation.datasets if _is_known(each, organisation, offered))


def visible_nation(nation: Nation, agreements: Iterable[Agreement], viewer: Viewer) -> Nation:
    """The nation with only the datasets that a viewer may know of."""
    known = known_datasets(nation, agreements, viewer)
    return nation if known == nation.datasets else replace(nation, datasets=known)


def datasets_report(
    nation: Nation, agreements: Collection[Agreement], restricted: Collection[str], viewer: Viewer, now_ms: int
) -> DatasetsReport:
    """The datasets that a viewer may know of. `restricted` are the names of those that may never be taken away."""
    seen = [each for each in agreements if each.is_in_force(now_ms) and may_see(viewer, each)]
    lines = tuple(
        DatasetLine(
            dataset=each,
            restricted=each.name in restricted,
            agreements=tuple(one.id for one in seen if each.name in one.terms.datasets),
        )
        for each in known_datasets(nation, agreements, viewer)
    )
    return DatasetsReport(at_ms=now_ms, datasets=lines)


def _organisation(nation: Nation, viewer: Viewer) -> str:
    """Whose eyes these are; a token for one project sees what the project's organisation does."""
    if not viewer.project:
        return viewer.organisation
    owner = nation.organisation_of(viewer.project)
    return owner.name if owner else ""


def _offered_to(organisation: str, agreements: Iterable[Agreement]) -> frozenset[str]:
    over = (AgreementState.DECLINED, AgreementState.ENDED)
    mine = (each for each in agreements if each.terms.recipient == organisation and each.state not in over)
    return frozenset(dataset for each in mine for dataset in each.terms.datasets)


def _is_known(dataset: Dataset, organisation: str, offered: frozenset[str]) -> bool:
    is_reader = organisation in dataset.readers or EVERYONE in dataset.readers
    return dataset.owner == organisation or is_reader or dataset.name in offered
