"""The two ways to say no: what is wrong with a document, and why a sound request is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from enum import StrEnum

from msgspec import Struct

from dure.model.datasets import Wording

LONGEST_SHOWN = 80
"""Characters of a wrong value that are shown back."""


class Problem(Struct, frozen=True, kw_only=True):
    """One thing that is wrong in a document: where, what it says there, what is wrong with it, and what to do."""

    field: str
    """Path such as `gpus[0]` or `sites[2].nodes[0].count`; empty for the document as a whole."""
    value: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        value = f" (got {self.value})" if self.value else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{where}{self.message}{value}{hint}"


class BadInput(Exception):
    """A document that cannot be used, with all of its problems. Exit code 2 at the command line, 422 over HTTP."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RefusalCode(StrEnum):
    """Why a sound request is refused. Other programs match on these: add, but never rename."""

    UNKNOWN_PROJECT = "unknown-project"
    NOT_YOUR_PROJECT = "not-your-project"
    PROJECT_HAS_NO_SHARE = "project-has-no-share"
    UNKNOWN_GPU_CLASS = "unknown-gpu-class"
    FRACTION_NOT_OFFERED = "fraction-not-offered"
    SLICES_DIFFER = "slices-differ"
    NO_NODE_LARGE_ENOUGH = "no-node-large-enough"
    NOT_ENOUGH_NODES = "not-enough-nodes"
    ABOVE_SHARE_LIMIT = "above-share-limit"
    ABOVE_WHAT_IS_LENT = "above-what-is-lent"
    NEEDS_PREEMPTIBLE = "needs-preemptible"
    UNKNOWN_DEPENDENCY = "unknown-dependency"
    DEPENDENCY_NEVER_ENDS = "dependency-never-ends"
    UNKNOWN_DATASET = "unknown-dataset"
    TIME_IN_THE_PAST = "time-in-the-past"
    DEADLINE_TOO_EARLY = "deadline-too-early"
    FORBIDDEN_BY_POLICY = "forbidden-by-policy"
    NO_SITE_ALLOWED_AND_CAPABLE = "no-site-allowed-and-capable"
    PROJECT_IN_USE = "project-in-use"
    SITE_IN_USE = "site-in-use"
    NODE_GROUP_IN_USE = "node-group-in-use"
    GPU_CLASS_IN_USE = "gpu-class-in-use"
    FRACTION_IN_USE = "fraction-in-use"
    DATASET_IN_USE = "dataset-in-use"
    RESERVATION_IN_THE_PAST = "reservation-in-the-past"
    RESERVATION_CLASHES = "reservation-clashes"
    COPY_NOT_AGREED = "copy-not-agreed"
    AGREEMENT_PARTY_UNKNOWN = "agreement-party-unknown"
    AGREEMENT_WITH_ITSELF = "agreement-with-itself"
    AGREEMENT_NOT_THE_OWNER = "agreement-not-the-owner"
    AGREEMENT_PURPOSE_NOT_HELD = "agreement-purpose-not-held"
    AGREEMENT_PURPOSE_FORBIDDEN = "agreement-purpose-forbidden"
    AGREEMENT_SITE_ABROAD = "agreement-site-abroad"
    AGREEMENT_SITE_UNKNOWN = "agreement-site-unknown"
    AGREEMENT_SITE_WITHOUT_COPY = "agreement-site-without-copy"
    AGREEMENT_OPERATIONS_INCOMPLETE = "agreement-operations-incomplete"
    AGREEMENT_ALREADY_OVER = "agreement-already-over"
    AGREEMENT_TRANSFER_WITHOUT_BASIS = "agreement-transfer-without-basis"
    AGREEMENT_EXPORT_WITHOUT_CLEARANCE = "agreement-export-without-clearance"


class Reason(Struct, frozen=True, kw_only=True):
    """A policy rule that forbade something: what it says, and what would make it allow."""

    rule: str
    title_ko: str
    title_en: str
    remedy_ko: str
    remedy_en: str


class Refusal(Struct, frozen=True, kw_only=True):
    """A sound request that the state of the platform (409) or its policy (403) does not allow. Exit code 1."""

    code: RefusalCode
    message: str
    """What is wrong and what to do, in English."""
    field: str = ""
    rules: tuple[str, ...] = ()
    """Ids of the policy rules that forbade it."""
    reasons: tuple[Reason, ...] = ()
    """The same rules in words."""
    remedy: Wording | None = None
    """What would make just this request allowed, as far as it could be found."""

    @property
    def is_forbidden(self) -> bool:
        """True when the caller may not do this at all; false when it only does not fit the present state."""
        return self.code in {RefusalCode.NOT_YOUR_PROJECT, RefusalCode.FORBIDDEN_BY_POLICY}


def shown(value: object) -> str:
    """A wrong value as it is shown back: short, on one line, and without a terminal's control characters."""
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = value if isinstance(value, str) and value.isprintable() and value.strip() == value != "" else repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that was probably meant, or None when nothing is close."""
    if len(name) > LONGEST_SHOWN:
        return None
    by_lower = {each.lower(): each for each in known}
    found = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(name: str, known: Sequence[str], otherwise: str = "") -> str:
    """A hint with the nearest known name, or a list of what there is."""
    close = nearest(name, known)
    if close is not None:
        return f"did you mean {close}?"
    if otherwise or not known:
        return otherwise
    return f"known: {', '.join(known[:20])}{', …' if len(known) > 20 else ''}"
