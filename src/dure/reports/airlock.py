"""The airlock as stewards see it: which jobs have results there, and everything about those of one job."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from dure.governance.airlock import Holding, ResultState, commitment
from dure.model.results import Finding, InspectedResult, ResultKind, Verdict


class AirlockLine(Struct, frozen=True, kw_only=True):
    """The results of one job in a listing. Before they are inspected, nothing is known but whose they are."""

    job: str
    recipient: str
    datasets: tuple[str, ...]
    is_inspected: bool
    held: int = 0
    released: int = 0
    refused: int = 0
    verdict: Verdict = Verdict.PASS
    """The worst of those that are held."""
    size_bytes: int = 0
    held_at_ms: int | None = None
    keep_until_ms: int | None = None


class AirlockReport(Struct, frozen=True, kw_only=True):
    """Every job that has results in the airlock, oldest first."""

    at_ms: int
    jobs: tuple[AirlockLine, ...]


class ResultLine(Struct, frozen=True, kw_only=True):
    """One result. `path` is empty where its site does not have it any more."""

    number: int
    attempt: int
    kind: ResultKind
    path: str
    size_bytes: int
    media_type: str
    sha256: str
    state: ResultState
    verdict: Verdict
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    """The findings in English."""


class ResultsReport(Struct, frozen=True, kw_only=True):
    """The results of one job, and what a decision about them depends on."""

    at_ms: int
    job: str
    recipient: str
    datasets: tuple[str, ...]
    held_at_ms: int
    keep_until_ms: int
    crosses_border: bool
    """A release takes two people, whatever was found."""
    may_view: bool
    """An agreement in force lets the recipient look at what is released."""
    may_take: bool
    """And take it away."""
    results: tuple[ResultLine, ...]
    proposals: tuple[str, ...] = ()
    """Releases of these results that wait for a second person."""


_WORDS = {
    "not-a-file": "is no file: a link, a socket, or nothing that can be read",
    "over-budget": "all results together are {amount:,} bytes, or more files than may leave",
    "media-type": "is of no type that may leave",
    "not-checkable": "is compressed, encoded or a picture: a copy in it would not be seen",
    "verbatim-copy": "{amount:,} bytes stand in the data as they stand here",
    "copied-rows": "{amount:,} rows are rows of the data",
    "rare-rows": "{amount:,} rows fit fewer rows of the data than a group must have",
    "rare-groups": "{amount:,} counts are below the smallest group",
    "credential": "{amount:,} times something like a key or a password",
    "personal-number": "{amount:,} times something like a resident registration number",
    "not-compared": "only {amount:,} bytes of the data were compared with it",
}


def note(finding: Finding) -> str:
    """A finding in English."""
    return _WORDS[finding.code].format(amount=finding.amount)


def airlock_line(holding: Holding) -> AirlockLine:
    """The results of one job in brief."""
    waiting = holding.numbers_in(ResultState.HELD)
    verdicts = {each.verdict for each in holding.results if each.number in waiting}
    return AirlockLine(
        job=holding.job,
        recipient=holding.recipient,
        datasets=holding.datasets,
        is_inspected=True,
        held=len(waiting),
        released=len(holding.numbers_in(ResultState.RELEASED)),
        refused=len(holding.numbers_in(ResultState.REFUSED)),
        verdict=next((each for each in (Verdict.BLOCK, Verdict.WARN) if each in verdicts), Verdict.PASS),
        size_bytes=sum(each.size_bytes for each in holding.results),
        held_at_ms=holding.held_at_ms,
        keep_until_ms=holding.keep_until_ms,
    )


def result_lines(holding: Holding, inspected: Iterable[InspectedResult]) -> tuple[ResultLine, ...]:
    """Every result, with its name where its site still has what the ledger committed to."""
    named = {commitment(each): each for each in inspected}
    lines = []
    for each in holding.results:
        site = named.get(each.commitment)
        lines.append(
            ResultLine(
                number=each.number,
                attempt=each.attempt,
                kind=each.kind,
                path=site.path if site else "",
                size_bytes=each.size_bytes,
                media_type=each.media_type,
                sha256=site.sha256 if site else "",
                state=holding.state(each.number),
                verdict=each.verdict,
                findings=each.findings,
                notes=tuple(note(finding) for finding in each.findings),
            )
        )
    return tuple(lines)
