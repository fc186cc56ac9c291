"""Results that wait in the airlock: what a job on restricted data left, what was found out about it, and who decided.

In the ledger a result is a number, a size, a type and a salted commitment: its name and its content stay at the site.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Verdict(StrEnum):
    """What a finding means for a release. None of them releases anything by itself."""

    PASS = "pass"  # noqa: S105 (a verdict)
    WARN = "warn"
    """A steward should look at it."""
    BLOCK = "block"
    """One person alone cannot release it."""


class FindingCode(StrEnum):
    """What was found out. Other programs match on these: add, but never rename."""

    NOT_A_FILE = "not-a-file"
    """A link, a socket, an unreadable file: there is nothing that could be released."""
    OVER_BUDGET = "over-budget"
    """All results of the job together are larger, or more, than they may be."""
    MEDIA_TYPE = "media-type"
    """Its content is of no type that may leave."""
    NOT_CHECKABLE = "not-checkable"
    """It is compressed, encrypted, encoded or a picture, so that a copy in it would not be seen."""
    VERBATIM_COPY = "verbatim-copy"
    """Bytes that stand in the data as they stand in it; how many."""
    COPIED_ROWS = "copied-rows"
    """Rows of the data with all of their columns; how many."""
    RARE_ROWS = "rare-rows"
    """Rows that fit fewer rows of the data than a group must have; how many."""
    RARE_GROUPS = "rare-groups"
    """Counts below the smallest group; how many."""
    CREDENTIAL = "credential"
    """Something like a key, a token or a password; how often."""
    PERSONAL_NUMBER = "personal-number"
    """Something like a resident registration number; how often."""
    NOT_COMPARED = "not-compared"
    """Not all of the data could be read, or there was no time to; how many bytes of it were."""


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was found out, and how much of it there is."""

    code: FindingCode
    verdict: Verdict
    amount: int = 0


class ResultKind(StrEnum):
    """What a result is."""

    OUTPUT = "output"
    """A file of the output folder."""
    LOG = "log"
    """What a rank printed."""


class HeldResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One result as the ledger has it. `number` is its place among all results of the job, from 1."""

    number: int
    attempt: int
    kind: ResultKind
    size_bytes: int
    commitment: str
    """Hexadecimal SHA-256 over a random salt, its name and the digest of its content."""
    media_type: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of its findings."""
        return worst(self.findings)

    @property
    def can_be_released(self) -> bool:
        """False for what has no content."""
        return all(each.code is not FindingCode.NOT_A_FILE for each in self.findings)


class InspectedResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One result as its site has it, with its name. `path` is below the output folder; of a log, the log's own name."""

    attempt: int
    kind: ResultKind
    path: str
    size_bytes: int
    salt: str
    """Hexadecimal; random, so that a name or a small content cannot be guessed from the commitment."""
    media_type: str = ""
    sha256: str = ""
    findings: tuple[Finding, ...] = ()


def worst(findings: tuple[Finding, ...]) -> Verdict:
    """The gravest verdict of all; a pass where nothing was found."""
    verdicts = {each.verdict for each in findings}
    return next((each for each in (Verdict.BLOCK, Verdict.WARN) if each in verdicts), Verdict.PASS)
