"""Agreements as people read them: the terms, where they stand, what they wait for, and how they were used."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import assert_never

from msgspec import Struct

from dure.model.agreements import Agreement, AgreementMove, AgreementState, Terms
from dure.model.datasets import PURPOSE_WORDING, Purpose, Wording
from dure.model.units import HOUR_MS, WHOLE_GPU_MILLI
from dure.reports.usage import Attempt
from dure.reports.viewer import Viewer


class Standing(StrEnum):
    """Where an agreement stands, as what comes next."""

    AWAITS_ANSWER = "awaits-answer"
    AWAITS_APPROVAL = "awaits-approval"
    BEGINS_LATER = "begins-later"
    IN_FORCE = "in-force"
    EXPIRED = "expired"
    DECLINED = "declined"
    ENDED = "ended"


class AgreementLine(Struct, frozen=True, kw_only=True):
    """One agreement. Between the same two organisations there may be many."""

    id: str
    state: AgreementState
    standing: Standing
    awaits: str = ""
    """The party that has to answer the latest terms; empty when none has."""
    version: int
    offered_by: str
    """Who offered the latest terms; the other side answers."""
    needs_approval: bool
    approved: bool
    terms: Terms
    note: str
    """Where it stands and what comes next, as an English phrase."""


class AgreementsReport(Struct, frozen=True, kw_only=True):
    """The agreements that the viewer may know of, in the order in which they were first offered."""

    at_ms: int
    agreements: tuple[AgreementLine, ...]


class PurposeLine(Struct, frozen=True, kw_only=True):
    """A purpose of the closed vocabulary, and what it means where it stands in an agreement."""

    purpose: Purpose
    wording: Wording


class AgreementUse(Struct, frozen=True, kw_only=True):
    """What was computed on an agreement so far."""

    jobs: int
    running: int
    """Attempts among theirs that run now."""
    gpu_hours: float
    last_ms: int | None
    """When an attempt on it last began; None when none did."""


class AgreementReport(Struct, frozen=True, kw_only=True):
    """All about one agreement."""

    line: AgreementLine
    purposes: tuple[PurposeLine, ...]
    history: tuple[AgreementMove, ...]
    use: AgreementUse


def may_see(viewer: Viewer, agreement: Agreement) -> bool:
    """The parties see an agreement, and whoever audits the programme; to all others it does not exist."""
    if viewer.project:
        return False
    parties = (agreement.terms.provider, agreement.terms.recipient)
    return viewer.sees_everything or (bool(viewer.organisation) and viewer.organisation in parties)


def agreements_report(agreements: Iterable[Agreement], viewer: Viewer, now_ms: int) -> AgreementsReport:
    """The agreements that this viewer may know of."""
    lines = tuple(agreement_line(each, now_ms) for each in agreements if may_see(viewer, each))
    return AgreementsReport(at_ms=now_ms, agreements=lines)


def agreement_report(
    agreement: Agreement, jobs: Collection[str], attempts: Iterable[Attempt], now_ms: int
) -> AgreementReport:
    """One agreement with its history and use. `jobs` ran on it; an array's tasks are found by their array."""
    return AgreementReport(
        line=agreement_line(agreement, now_ms),
        purposes=tuple(PurposeLine(purpose=each, wording=PURPOSE_WORDING[each]) for each in agreement.terms.purposes),
        history=agreement.history,
        use=_use(frozenset(jobs), attempts, now_ms),
    )


def agreement_line(agreement: Agreement, now_ms: int) -> AgreementLine:
    """One agreement as a line."""
    standing = _standing(agreement, now_ms)
    return AgreementLine(
        id=agreement.id,
        state=agreement.state,
        standing=standing,
        awaits=_awaits(agreement) if standing is Standing.AWAITS_ANSWER else "",
        version=agreement.version,
        offered_by=agreement.offered_by,
        needs_approval=agreement.needs_approval,
        approved=agreement.approved,
        terms=agreement.terms,
        note=_note(agreement, standing),
    )


def _standing(agreement: Agreement, now_ms: int) -> Standing:
    match agreement.state:
        case AgreementState.OFFERED | AgreementState.NEGOTIATING:
            return Standing.AWAITS_ANSWER
        case AgreementState.DECLINED:
            return Standing.DECLINED
        case AgreementState.ENDED:
            return Standing.ENDED
        case AgreementState.AGREED if now_ms >= agreement.terms.until_ms:
            return Standing.EXPIRED
        case AgreementState.AGREED if agreement.needs_approval and not agreement.approved:
            return Standing.AWAITS_APPROVAL
        case AgreementState.AGREED:
            return Standing.IN_FORCE if agreement.is_in_force(now_ms) else Standing.BEGINS_LATER
        case _:
            assert_never(agreement.state)


def _awaits(agreement: Agreement) -> str:
    terms = agreement.terms
    return terms.recipient if agreement.offered_by == terms.provider else terms.provider


def _note(agreement: Agreement, standing: Standing) -> str:
    match standing:
        case Standing.AWAITS_ANSWER:
            return f"{_awaits(agreement)} has to answer version {agreement.version}"
        case Standing.AWAITS_APPROVAL:
            return "agreed; two people of the programme have to approve it"
        case Standing.BEGINS_LATER:
            return "agreed; begins later"
        case Standing.IN_FORCE:
            return "in force"
        case Standing.EXPIRED | Standing.DECLINED | Standing.ENDED:
            return standing.value
        case _:
            assert_never(standing)


def _use(jobs: frozenset[str], attempts: Iterable[Attempt], now_ms: int) -> AgreementUse:
    running = used = 0
    last_ms: int | None = None
    for attempt in attempts:
        if attempt.job.partition("_")[0] not in jobs:
            continue
        ended_ms = now_ms if attempt.ended_at_ms is None else attempt.ended_at_ms
        running += attempt.ended_at_ms is None
        used += attempt.gpus_milli * max(0, ended_ms - attempt.started_at_ms)
        last_ms = max(last_ms or 0, attempt.started_at_ms)
    hours = round(used / (WHOLE_GPU_MILLI * HOUR_MS), 6)
    return AgreementUse(jobs=len(jobs), running=running, gpu_hours=hours, last_ms=last_ms)
