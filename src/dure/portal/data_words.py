"""What the page about data calls datasets and classes of data, in the reader's language."""

from __future__ import annotations

from collections.abc import Callable

from dure.model.datasets import DataClass, Dataset
from dure.model.nation import Nation
from dure.portal.phrases import Phrases


def dataset_title(language: str) -> Callable[[Dataset], str]:
    """A function that says what a dataset is called; its name where nobody said."""
    return lambda dataset: (dataset.title_ko if language == "ko" else dataset.title_en) or dataset.name


def class_titles(nation: Nation, phrases: Phrases) -> Callable[[str], str]:
    """A function that says what a class of data is called: by the law, or by the programme."""
    is_korean = phrases.language == "ko"
    own = {each.name: (each.title_ko if is_korean else each.title_en) for each in nation.data_classes}
    return lambda name: phrases(f"data_class.{name}") if name in set(DataClass) else own.get(name) or name
