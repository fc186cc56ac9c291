"""Which jobs run in a sandbox, whether they ask for it or not."""

from __future__ import annotations

from collections.abc import Iterable

from dure.model.datasets import RESTRICTED_CLASSES, DataClass, DataClassDefinition, Dataset


def must_be_sandboxed(datasets: Iterable[Dataset], own_classes: Iterable[DataClassDefinition] = ()) -> bool:
    """A job that reads restricted data has no network, cannot change the data, and leaves no copy behind.

    A class that neither the law nor the programme (`own_classes`) knows counts as restricted.
    """
    by_law = {each for each in DataClass if each not in RESTRICTED_CLASSES}
    by_programme = {each.name for each in own_classes if not each.restricted} - RESTRICTED_CLASSES
    free = by_law | by_programme
    return any(not free.issuperset(dataset.classes) for dataset in datasets)
