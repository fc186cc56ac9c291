"""The ledger's entries that a version rests on: of its own life, of its jobs, of its agreements, of what it came from.

Where they are is not kept anywhere. Times in the ledger never go back, so an entry whose time is known is found by
halving.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dure.control.ports import Ledger
from dure.governance.register import Register
from dure.model.events import AnyEvent, AttemptEnded, AttemptStarted, JobSubmitted, decode
from dure.model.model_events import (
    EvidenceRecorded,
    IncidentReported,
    ModelEvaluated,
    ModelRegistered,
    ModelWithdrawn,
)
from dure.model.model_versions import ModelVersion
from dure.model.oversight import (
    AgreementAccepted,
    AgreementDeclined,
    AgreementEnded,
    AgreementOffered,
    ChangeApproved,
    ChangeProposed,
)
from dure.model.proposals import ModelPromotion

_OfVersion = ModelRegistered | ModelEvaluated | ModelWithdrawn | IncidentReported


def cited_entries(version: ModelVersion, register: Register, ledger: Ledger) -> dict[int, bytes]:
    """Every entry that a bundle of the version cites, by position. Reads the ledger, so not for the loop's thread."""
    versions = {each.name for each in register.models.lineage(version.name)}
    jobs = {run.job for run in version.making.jobs}
    agreements = {name for run in version.making.jobs for name in run.agreements}
    proposals: set[str] = set()
    found: dict[int, bytes] = {}
    for at_ms in sorted(set(_times(version, register, agreements))):
        for position, entry in entries_at(at_ms, ledger):
            event = decode(entry)
            if isinstance(event, ChangeProposed) and event.change == ModelPromotion(version=version.name):
                proposals.add(event.proposal)
                found[position] = entry
            elif _is_about(event, jobs, agreements, proposals) or (
                isinstance(event, _OfVersion) and event.version in versions
            ):
                found[position] = entry
    return found


def recording_entry(version: ModelVersion, digest: str, ledger: Ledger) -> tuple[int, bytes]:
    """Position and bytes of the entry that recorded a bundle of this digest, which was just made durable."""
    for at_ms in reversed(version.entries_at_ms):
        for position, entry in entries_at(at_ms, ledger):
            event = decode(entry)
            if isinstance(event, EvidenceRecorded) and event.digest == digest:
                return position, entry
    raise LookupError(f"no entry recorded {digest}")


def entries_at(at_ms: int, ledger: Ledger) -> Iterator[tuple[int, bytes]]:
    """Entries of exactly this time, with their positions."""
    position = _first_from(at_ms, ledger)
    for entry in ledger.entries(position):
        if decode(entry).at_ms != at_ms:
            return
        yield position, entry
        position += 1


def _first_from(at_ms: int, ledger: Ledger) -> int:
    """Position of the first entry that is not before this time."""
    low, high = 0, ledger.size
    while low < high:
        middle = (low + high) // 2
        if _time_of(middle, ledger) < at_ms:
            low = middle + 1
        else:
            high = middle
    return low


def _time_of(position: int, ledger: Ledger) -> int:
    return decode(next(iter(ledger.entries(position, position + 1)))).at_ms


def _times(version: ModelVersion, register: Register, agreements: Iterable[str]) -> Iterator[int]:
    for each in register.models.lineage(version.name):
        yield from each.entries_at_ms if each.name == version.name else (each.registered_at_ms,)
    for run in version.making.jobs:
        yield run.submitted_at_ms
        yield from (at_ms for attempt in run.attempts for at_ms in attempt)
        yield run.started_at_ms
    for name in agreements:
        yield from (move.at_ms for move in register.agreements[name].history)


def _is_about(event: AnyEvent, jobs: set[str], agreements: set[str], proposals: set[str]) -> bool:
    """True for an entry of one of the jobs (or of a task of theirs), agreements or proposals."""
    match event:
        case JobSubmitted() | AttemptStarted() | AttemptEnded():
            return event.job.partition("_")[0] in jobs or event.job in jobs
        case AgreementOffered() | AgreementAccepted() | AgreementDeclined() | AgreementEnded():
            return event.agreement in agreements
        case ChangeApproved():
            return event.proposal in proposals
        case _:
            return False
