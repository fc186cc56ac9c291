"""Data that jobs read, and where it may be."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class DataClass(StrEnum):
    """What the law calls the data; rules are written against these."""

    PUBLIC = "public"
    PERSONAL = "personal"
    PSEUDONYMISED = "pseudonymised"
    MEDICAL = "medical"
    NATIONAL_CORE_TECHNOLOGY = "national-core-technology"


class Purpose(StrEnum):
    """Closed vocabulary of what data is used for."""

    RESEARCH = "research"
    STATISTICS = "statistics"
    PUBLIC_INTEREST = "public-interest"
    COMMERCIAL = "commercial"
    EDUCATION = "education"


class Dataset(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A dataset, its owner, and the sites that hold a copy. `paths` says where the copy at a site lies."""

    name: str
    owner: str
    classes: tuple[DataClass, ...]
    jurisdiction: str
    purposes: tuple[Purpose, ...]
    sites: tuple[str, ...]
    readers: tuple[str, ...]
    """Organisations that may compute on it, besides the owner. `*` is everyone."""
    paths: dict[str, str] = {}
