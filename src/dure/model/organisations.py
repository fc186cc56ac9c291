"""Who shares: organisations, their projects, and the tree that says how much is whose."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

UNLIMITED_MILLI = 1 << 60
"""A limit nobody set, in thousandths of a GPU."""

DEEPEST_SHARE_TREE = 8


class OrganisationKind(StrEnum):
    """What an organisation is, for policy and for reports."""

    GOVERNMENT = "government"
    ENTERPRISE = "enterprise"
    SME = "sme"
    STARTUP = "startup"
    UNIVERSITY = "university"
    PARTNER = "partner"


class Organisation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A member of the alliance. `country` is where it is established, `parent_country` where its ultimate parent is."""

    name: str
    kind: OrganisationKind
    country: str
    parent_country: str
    projects: tuple[str, ...]
    title_ko: str = ""
    title_en: str = ""


class ShareAmount(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a share has of one GPU class, in thousandths of a GPU.

    `guarantee_milli` can always be had back. At most `lend_milli` of it may be used by others while idle.
    The share never uses more than `limit_milli`. What it takes back from borrowers is at most `reclaim_per_hour_milli`
    in an hour, counted in GPUs of the jobs that must yield; until a reclaim is paid off, the next one waits.
    """

    gpu_class: str
    guarantee_milli: int = 0
    limit_milli: int = UNLIMITED_MILLI
    lend_milli: int = UNLIMITED_MILLI
    reclaim_per_hour_milli: int = UNLIMITED_MILLI


class Share(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A node of the quota tree, named after an organisation, a project, or a group of them.

    A project's jobs run under the share with the project's name, or else under that of its organisation.
    Only shares without children take jobs. `weight` divides the surplus among siblings.
    """

    name: str
    parent: str | None
    weight: int = 1
    amounts: tuple[ShareAmount, ...] = ()
