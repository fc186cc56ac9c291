"""What results may be, and the findings that follow. Which of them block is argued in decision 0022."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from dure.governance.inspection.media_types import (
    CSV,
    EMPTY,
    JSON,
    JSON_LINES,
    SAFETENSORS,
    TAB_SEPARATED,
    TEXT,
    TEXTUAL,
)
from dure.governance.inspection.rows import ResultTable
from dure.governance.inspection.texts import TextCheck
from dure.model.datasets import Dataset
from dure.model.results import Finding, FindingCode, Verdict

ALLOWED_TYPES = (
    EMPTY,
    TEXT,
    CSV,
    TAB_SEPARATED,
    JSON,
    JSON_LINES,
    SAFETENSORS,
    "application/x-npy",
    "application/vnd.apache.parquet",
    "image/png",
    "image/jpeg",
    "application/pdf",
)
"""Tables, texts, pictures, and weights in a form that runs no code where it is opened."""

CHECKABLE = TEXTUAL | {EMPTY, SAFETENSORS, "application/x-npy"}
"""Types in which a copy of the data would stand as it is."""

BLOCKING_COPY_BYTES = 512


class InspectionTerms(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much may leave, of what types, and what counts as one person too few."""

    most_bytes: int = 64 << 20
    """Of all results of a job together, logs included."""
    most_files: int = 100
    media_types: tuple[str, ...] = ALLOWED_TYPES
    smallest_group: int = 10
    seconds: int = 600
    """How long the comparison with the data may take."""


def terms_for(datasets: Iterable[Dataset]) -> InspectionTerms:
    """The strictest that these datasets ask for, of each kind; the usual where none of them does."""
    usual = InspectionTerms()
    asked = list(datasets)
    return InspectionTerms(
        most_bytes=min((each.result_bytes for each in asked if each.result_bytes), default=usual.most_bytes),
        most_files=min((each.result_files for each in asked if each.result_files), default=usual.most_files),
        smallest_group=max(
            (each.smallest_group for each in asked if each.smallest_group), default=usual.smallest_group
        ),
    )


NO_FILE = Finding(code=FindingCode.NOT_A_FILE, verdict=Verdict.BLOCK)


def budget_findings(terms: InspectionTerms, count: int, size_bytes: int) -> tuple[Finding, ...]:
    """Whether all results of a job together are within their budget."""
    if count <= terms.most_files and size_bytes <= terms.most_bytes:
        return ()
    return (Finding(code=FindingCode.OVER_BUDGET, verdict=Verdict.BLOCK, amount=size_bytes),)


def type_findings(terms: InspectionTerms, media_type: str) -> tuple[Finding, ...]:
    """Whether a type may leave, and whether a copy in it would be seen."""
    if media_type not in terms.media_types:
        return (Finding(code=FindingCode.MEDIA_TYPE, verdict=Verdict.BLOCK),)
    if media_type not in CHECKABLE:
        return (Finding(code=FindingCode.NOT_CHECKABLE, verdict=Verdict.WARN),)
    return ()


def text_findings(check: TextCheck, media_type: str) -> tuple[Finding, ...]:
    """What the content says by itself."""
    findings = []
    if media_type in CHECKABLE and check.hides_its_content(is_text=media_type in TEXTUAL):
        findings.append(Finding(code=FindingCode.NOT_CHECKABLE, verdict=Verdict.WARN))
    if check.credentials:
        findings.append(Finding(code=FindingCode.CREDENTIAL, verdict=Verdict.BLOCK, amount=check.credentials))
    if check.personal_numbers:
        amount = check.personal_numbers
        findings.append(Finding(code=FindingCode.PERSONAL_NUMBER, verdict=Verdict.BLOCK, amount=amount))
    return tuple(findings)


def copy_findings(copied_bytes: int) -> tuple[Finding, ...]:
    """A heading or a path may stand in both; a passage may not."""
    if not copied_bytes:
        return ()
    verdict = Verdict.BLOCK if copied_bytes >= BLOCKING_COPY_BYTES else Verdict.WARN
    return (Finding(code=FindingCode.VERBATIM_COPY, verdict=verdict, amount=copied_bytes),)


def row_findings(table: ResultTable) -> tuple[Finding, ...]:
    """What a table says about few."""
    amounts = {
        FindingCode.COPIED_ROWS: table.copied_rows,
        FindingCode.RARE_ROWS: table.rare_rows,
        FindingCode.RARE_GROUPS: table.rare_groups,
    }
    found = [Finding(code=code, verdict=Verdict.BLOCK, amount=amount) for code, amount in amounts.items() if amount]
    if not table.is_whole:
        found.append(Finding(code=FindingCode.NOT_CHECKABLE, verdict=Verdict.WARN))
    return tuple(found)


def not_compared(compared_bytes: int) -> Finding:
    """Some of the data was not looked through."""
    return Finding(code=FindingCode.NOT_COMPARED, verdict=Verdict.WARN, amount=compared_bytes)
