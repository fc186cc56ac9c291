"""Datasets and the programme's own classes of data in a nation file: read, written back, checked and compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from dure.intake.assurances import assurance_needs_document, read_assurance_needs
from dure.intake.fields import (
    COUNTRY,
    Entry,
    Problems,
    choice,
    flag,
    inside,
    listing,
    mapping,
    matching,
    moment,
    name,
    titles,
    whole_number,
)
from dure.intake.refusals import Problem, did_you_mean, shown
from dure.model.datasets import DataClass, DataClassDefinition, Dataset, Purpose
from dure.model.dates import format_moment
from dure.model.nation import Nation

Document = dict[str, object]

MOST_DATASETS = 100_000
MOST_CLASSES = 1_000
MOST_NAMED = 100_000
LARGEST_DATASET = 10**17
"""Bytes: a hundred petabytes."""
MOST_RESULT_FILES = 1_000
LARGEST_GROUP = 1_000_000
_CLASS = ("name", "title", "restricted")
_DATASET = (
    "name",
    "title",
    "owner",
    "classes",
    "jurisdiction",
    "purposes",
    "sites",
    "readers",
    "paths",
    "size_bytes",
    "digest",
    "state_funded",
    "embargo_until",
    "result_bytes",
    "result_files",
    "smallest_group",
    "assurance",
)
_COUNTRY = matching(COUNTRY, "must be a country of two capital letters, like KR")
_DIGEST = matching(re.compile(r"[0-9a-f]{64}"), "must be 64 hexadecimal digits; `dure data manifest FOLDER` prints it")


def read_data_classes(problems: Problems, field: str, value: object) -> tuple[DataClassDefinition, ...]:
    """The `data_classes` of a nation file: classes of data that the law does not know and the programme does."""
    return tuple(listing(problems, field, value, _data_class, MOST_CLASSES))


def read_datasets(problems: Problems, field: str, value: object) -> tuple[Dataset, ...]:
    """The `datasets` of a nation file."""
    return tuple(listing(problems, field, value, _dataset, MOST_DATASETS))


def _data_class(problems: Problems, field: str, value: object) -> DataClassDefinition:
    entry = Entry(problems, field, value, _CLASS)
    title_ko, title_en = entry.optional("title", titles, ("", ""))
    return DataClassDefinition(
        name=entry.required("name", name, "give the class a name", ""),
        restricted=entry.required("restricted", flag, "say whether its data may never be taken away: true", True),
        title_ko=title_ko,
        title_en=title_en,
    )


def _dataset(problems: Problems, field: str, value: object) -> Dataset:
    entry = Entry(problems, field, value, _DATASET)
    title_ko, title_en = entry.optional("title", titles, ("", ""))
    return Dataset(
        name=entry.required("name", name, "give the dataset a name", ""),
        owner=entry.required("owner", name, "add the organisation that owns it", ""),
        classes=entry.required("classes", _names, "add what the law calls it, like [public]", ()),
        jurisdiction=entry.required("jurisdiction", _COUNTRY, "add whose law it is under, like KR", ""),
        purposes=entry.required("purposes", _purposes, "add what it may be used for, like [research]", ()),
        sites=entry.required("sites", _names, "add the sites that hold a copy", ()),
        readers=entry.optional("readers", _readers, ()),
        paths=entry.optional("paths", _paths, {}),
        title_ko=title_ko,
        title_en=title_en,
        size_bytes=entry.optional("size_bytes", whole_number(0, LARGEST_DATASET), 0),
        digest=entry.optional("digest", _DIGEST, ""),
        state_funded=entry.optional("state_funded", flag, False),
        embargo_until_ms=entry.optional("embargo_until", moment, 0),
        result_bytes=entry.optional("result_bytes", whole_number(1, LARGEST_DATASET), 0),
        result_files=entry.optional("result_files", whole_number(1, MOST_RESULT_FILES), 0),
        smallest_group=entry.optional("smallest_group", whole_number(2, LARGEST_GROUP), 0),
        assurance=entry.optional("assurance", read_assurance_needs, ()),
    )


def _names(problems: Problems, field: str, value: object) -> tuple[str, ...]:
    return tuple(listing(problems, field, value, name, MOST_NAMED))


def _purposes(problems: Problems, field: str, value: object) -> tuple[Purpose, ...]:
    return tuple(listing(problems, field, value, choice(Purpose), MOST_NAMED))


def _readers(problems: Problems, field: str, value: object) -> tuple[str, ...]:
    return tuple(listing(problems, field, value, _reader, MOST_NAMED))


def _reader(problems: Problems, field: str, value: object) -> str:
    return "*" if value == "*" else name(problems, field, value)


def _paths(problems: Problems, field: str, value: object) -> dict[str, str]:
    return {each: _path(problems, inside(field, each), path) for each, path in mapping(problems, field, value).items()}


def _path(problems: Problems, field: str, value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        problems.add(field, value, "must be an absolute path", "start it with /")
        return ""
    return value


def data_class_document(definition: DataClassDefinition) -> Document:
    """A class of data as it stands in a nation file."""
    title = _said({"ko": definition.title_ko, "en": definition.title_en})
    return _said({"name": definition.name, "title": title}) | {"restricted": definition.restricted}


def dataset_document(dataset: Dataset) -> Document:
    """A dataset as it stands in a nation file; what goes without saying is left out."""
    return _said(
        {
            "name": dataset.name,
            "title": _said({"ko": dataset.title_ko, "en": dataset.title_en}),
            "owner": dataset.owner,
            "classes": [str(each) for each in dataset.classes],
            "jurisdiction": dataset.jurisdiction,
            "purposes": [each.value for each in dataset.purposes],
            "sites": list(dataset.sites),
            "readers": list(dataset.readers),
            "paths": dict(dataset.paths),
            "size_bytes": dataset.size_bytes or "",
            "digest": dataset.digest,
            "state_funded": dataset.state_funded or "",
            "embargo_until": format_moment(dataset.embargo_until_ms) if dataset.embargo_until_ms else "",
            "result_bytes": dataset.result_bytes or "",
            "result_files": dataset.result_files or "",
            "smallest_group": dataset.smallest_group or "",
            "assurance": assurance_needs_document(dataset.assurance),
        }
    )


def _said(document: Document) -> Document:
    return {key: value for key, value in document.items() if value not in ("", [], {})}


def data_class_facts(definition: DataClassDefinition) -> dict[str, str]:
    """Each detail of a class of data as people read it in a difference."""
    return {
        "restricted": "yes" if definition.restricted else "no",
        "Korean title": definition.title_ko,
        "English title": definition.title_en,
    }


def dataset_facts(dataset: Dataset) -> dict[str, str]:
    """Each detail of a dataset as people read it in a difference."""
    details = {
        "owner": dataset.owner,
        "classes": ", ".join(dataset.classes),
        "jurisdiction": dataset.jurisdiction,
        "purposes": ", ".join(dataset.purposes),
        "sites": ", ".join(dataset.sites),
        "readers": ", ".join(dataset.readers),
        "Korean title": dataset.title_ko,
        "English title": dataset.title_en,
        "size": f"{dataset.size_bytes:,} bytes" if dataset.size_bytes else "",
        "digest": dataset.digest,
        "state-funded": "yes" if dataset.state_funded else "no",
        "result budget": f"{dataset.result_bytes:,} bytes" if dataset.result_bytes else "",
        "result files": f"{dataset.result_files:,}" if dataset.result_files else "",
        "smallest group": f"{dataset.smallest_group:,}" if dataset.smallest_group else "",
        "embargo until": format_moment(dataset.embargo_until_ms) if dataset.embargo_until_ms else "",
        "assurance": ", ".join(f"{each.scheme} {each.grade}" for each in dataset.assurance),
    }
    return details | {f"path at {site}": path for site, path in dataset.paths.items()}


def data_classes_are_the_programmes_own(nation: Nation) -> Iterator[Problem]:
    """A class is declared once, and none takes the name of one that the law knows."""
    first: dict[str, int] = {}
    for index, each in enumerate(nation.data_classes):
        field = f"data_classes[{index}].name"
        if each.name in set(DataClass):
            message = "is a class that the law knows, whose rules are fixed"
            yield Problem(field=field, value=each.name, message=message, hint="give yours another name")
        if each.name and first.setdefault(each.name, index) != index:
            message = f"the class is already at data_classes[{first[each.name]}].name"
            yield Problem(field=field, value=each.name, message=message, hint="give one of them another name")


def datasets_are_classed(nation: Nation) -> Iterator[Problem]:
    """What no law has a name for cannot be protected by one; and what is protected is not public as well."""
    known = [*(each.value for each in DataClass), *(each.name for each in nation.data_classes)]
    for index, dataset in enumerate(nation.datasets):
        field = f"datasets[{index}].classes"
        if not dataset.classes:
            message = "a dataset has at least one class"
            yield Problem(field=field, value="", message=message, hint="write [public] if anyone may have it")
        if DataClass.PUBLIC in dataset.classes and set(dataset.classes) != {DataClass.PUBLIC}:
            message, hint = "public data can be of no other class", "remove public, or the others"
            yield Problem(field=field, value=shown(", ".join(dataset.classes)), message=message, hint=hint)
        yield from _unknown_classes(field, dataset.classes, known)


def _unknown_classes(field: str, classes: Iterable[str], known: list[str]) -> Iterator[Problem]:
    for position, each in enumerate(classes):
        if each and each not in known:
            hint = did_you_mean(each, known, "declare it under data_classes")
            message = "neither the law nor this file knows such a class"
            yield Problem(field=f"{field}[{position}]", value=shown(each), message=message, hint=hint)
