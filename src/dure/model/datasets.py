"""Data that jobs read, what the law calls it, what it may be used for, and where it may be."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class DataClass(StrEnum):
    """What the law calls the data; the rules that come with Dure are written against these."""

    PUBLIC = "public"
    PERSONAL = "personal"
    PSEUDONYMISED = "pseudonymised"
    MEDICAL = "medical"
    NATIONAL_CORE_TECHNOLOGY = "national-core-technology"


RESTRICTED_CLASSES = frozenset(
    {DataClass.PERSONAL, DataClass.PSEUDONYMISED, DataClass.MEDICAL, DataClass.NATIONAL_CORE_TECHNOLOGY}
)
"""Classes whose data may be computed on and never taken away."""


class DataClassDefinition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A class of data that the programme itself declares. Data of a `restricted` one is never taken away."""

    name: str
    restricted: bool
    title_ko: str = ""
    title_en: str = ""


class Purpose(StrEnum):
    """Closed vocabulary of what data is used for. `PURPOSE_WORDING` says what each of them means."""

    RESEARCH = "research"
    STATISTICS = "statistics"
    PUBLIC_INTEREST = "public-interest"
    COMMERCIAL = "commercial"
    EDUCATION = "education"


class Wording(Struct, frozen=True, kw_only=True):
    """The same thing said in Korean and in English."""

    ko: str
    en: str


PURPOSE_WORDING: dict[Purpose, Wording] = {
    Purpose.RESEARCH: Wording(
        ko="과학적 연구: 기술의 개발과 실증, 기초·응용 연구",
        en="Scientific research: development and demonstration of technology, basic and applied research",
    ),
    Purpose.STATISTICS: Wording(
        ko="통계 작성: 개인을 알아볼 수 없는 집계 결과를 만드는 것",
        en="Statistics: making aggregate results from which nobody can be identified",
    ),
    Purpose.PUBLIC_INTEREST: Wording(
        ko="공익적 기록보존 및 공공 목적의 이용",
        en="Archiving in the public interest, and other public tasks",
    ),
    Purpose.COMMERCIAL: Wording(
        ko="상업적 이용: 제품이나 서비스의 개발과 제공",
        en="Commercial use: making or offering a product or service",
    ),
    Purpose.EDUCATION: Wording(
        ko="교육: 수업, 실습과 경진 대회",
        en="Education: courses, exercises and competitions",
    ),
}
"""What a purpose means where it stands in an agreement."""


class AssuranceNeed(Struct, frozen=True, kw_only=True):
    """A dataset may be only where a site is assured under this scheme, with this grade or a higher one.

    Which grade is higher, the nation's assurance schemes say.
    """

    scheme: str
    grade: str


class Dataset(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A dataset, its owner, and the sites that hold a copy. `paths` says where the copy at a site lies."""

    name: str
    owner: str
    classes: tuple[str, ...]
    """`DataClass` values, or names of the programme's own classes (`Nation.data_classes`)."""
    jurisdiction: str
    purposes: tuple[Purpose, ...]
    sites: tuple[str, ...]
    readers: tuple[str, ...]
    """Organisations that may compute on it, besides the owner. `*` is everyone."""
    paths: dict[str, str] = {}
    title_ko: str = ""
    title_en: str = ""
    size_bytes: int = 0
    digest: str = ""
    """Hex SHA-256 of its content manifest; empty when nobody said what is in it."""
    state_funded: bool = False
    """It was made with the state's research money, which an export of core technology then needs an approval for."""
    embargo_until_ms: int = 0
    """Nobody but the owner reads it before this moment (since the epoch); 0 for no embargo."""
    result_bytes: int = 0
    """How much the results of a job on it may be together; 0 for the airlock's usual budget, as below."""
    result_files: int = 0
    smallest_group: int = 0
    """How many rows of it a row of a result must fit at least."""
    assurance: tuple[AssuranceNeed, ...] = ()
    """What a site must be assured as, every one of them."""
