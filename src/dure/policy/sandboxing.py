"""Which jobs run in a sandbox, whether they ask for it or not."""

from __future__ import annotations

from collections.abc import Iterable

from dure.model.datasets import DataClass, Dataset

RESTRICTED = frozenset(
    {DataClass.PERSONAL, DataClass.PSEUDONYMISED, DataClass.MEDICAL, DataClass.NATIONAL_CORE_TECHNOLOGY}
)
"""Data that may be computed on and never taken away."""


def must_be_sandboxed(datasets: Iterable[Dataset]) -> bool:
    """A job that reads restricted data has no network, cannot change the data, and leaves no copy behind."""
    return any(not RESTRICTED.isdisjoint(dataset.classes) for dataset in datasets)
