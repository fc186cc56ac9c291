"""Which jobs' results are held: those that compute on what their organisation must never take away.

Their outputs and logs wait in the airlock, and of how they ended nobody is told more than whether it went well.
"""

from __future__ import annotations

from dure.governance.register import Register
from dure.model.agreements import Condition
from dure.model.datasets import Dataset
from dure.model.nation import Nation
from dure.policy import must_be_sandboxed
from dure.world.cards import JobCard


def restricted_datasets(nation: Nation, register: Register, card: JobCard) -> tuple[str, ...]:
    """The restricted data of others that a job reads. Data that is not declared any more counts as such.

    So does all of it where the agreement that the job runs on asks for a sandbox, whatever class it is of.
    """
    organisation = nation.organisation_of(card.submitted.project)
    reader = organisation.name if organisation else ""
    known = {each.name: each for each in nation.datasets}
    asks = register.asks_for(Condition.SANDBOX, card.submitted.agreements)
    return tuple(name for name in card.submitted.data if _is_others(known.get(name), reader, nation, asks))


def are_results_held(nation: Nation, register: Register, card: JobCard) -> bool:
    """True when nothing that the job leaves may be seen before it is released.

    Results that were held once stay held, whatever becomes of the data's declaration.
    """
    if card.job in register.airlock.holdings:
        return True
    return bool(card.submitted.data) and bool(restricted_datasets(nation, register, card))


def _is_others(dataset: Dataset | None, reader: str, nation: Nation, is_asked_for: bool) -> bool:
    """An owner has the data anyway; everybody else may compute on it only."""
    if dataset is None:
        return True
    is_restricted = is_asked_for or must_be_sandboxed([dataset], nation.data_classes)
    return is_restricted and dataset.owner != reader
