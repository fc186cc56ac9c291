"""Which jobs' results are held: those that compute on what their organisation must never take away.

Their outputs and logs wait in the airlock, and of how they ended nobody is told more than whether it went well.
"""

from __future__ import annotations

from dure.model.datasets import Dataset
from dure.model.nation import Nation
from dure.policy import must_be_sandboxed
from dure.world.cards import JobCard


def restricted_datasets(nation: Nation, card: JobCard) -> tuple[str, ...]:
    """The restricted data of others that a job reads. Data that is not declared any more counts as such."""
    organisation = nation.organisation_of(card.submitted.project)
    reader = organisation.name if organisation else ""
    known = {each.name: each for each in nation.datasets}
    return tuple(name for name in card.submitted.data if _is_others(known.get(name), reader, nation))


def are_results_held(nation: Nation, card: JobCard) -> bool:
    """True when nothing that the job leaves may be seen before it is released."""
    return bool(card.submitted.data) and bool(restricted_datasets(nation, card))


def _is_others(dataset: Dataset | None, reader: str, nation: Nation) -> bool:
    """An owner has the data anyway; everybody else may compute on it only."""
    if dataset is None:
        return True
    return must_be_sandboxed([dataset], nation.data_classes) and dataset.owner != reader
