"""What changed between two assessments, as tasks: a newer pack, a threshold crossed, an incident, another use."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from dure.governance.answers import Answer
from dure.governance.assessment import OPEN, AssessedProvision, Assessment, Status
from dure.governance.packs import Kind


class Reason(StrEnum):
    """Why somebody should look at a provision."""

    NOW_APPLIES = "now-applies"
    NO_LONGER_APPLIES = "no-longer-applies"
    """It may be right that it does not; a person confirms it."""
    NO_LONGER_KNOWN = "no-longer-known"
    """Whether it applies was known, and is not any more."""
    OPEN = "open"
    """There is something to do, and there was no assessment before that said so."""
    EVIDENCE_LOST = "evidence-lost"
    OVERDUE = "overdue"
    DEADLINE_MOVED = "deadline-moved"
    TEXT_CHANGED = "text-changed"
    """The pack says something else about it now, or names another source or mark."""
    WITHDRAWN = "withdrawn"
    """It is not in the pack any more."""


class Task(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something for a person to look at. `id` is the same for the same change, so that no task is opened twice."""

    id: str
    pack: str
    provision: str
    reason: Reason
    status: Status
    due: str = ""
    changed_facts: tuple[str, ...] = ()
    """Facts that changed and that the provision's applicability turns on."""
    is_pack_update: bool = False
    """Whether the provision's text in the pack changed, too."""


def differences(old: Assessment | None, new: Assessment) -> tuple[Task, ...]:
    """The tasks that follow from the change, in the order of the packs. Without an older one, all that is open."""
    before = {(each.pack, each.id): each for each in old.provisions} if old else {}
    after = {(each.pack, each.id) for each in new.provisions}
    facts_before = old.facts if old else {}
    changed = {name for name in facts_before | new.facts if facts_before.get(name) != new.facts.get(name)}
    tasks = [
        _task(each, reason, new.on, before.get((each.pack, each.id)), changed)
        for each in new.provisions
        for reason in _reasons(before.get((each.pack, each.id)), each)
    ]
    # A pack that was left out this time says nothing about its provisions.
    assessed = {pack.name for pack in new.packs}
    gone = [each for key, each in before.items() if key not in after and each.pack in assessed]
    return (*tasks, *(_task(each, Reason.WITHDRAWN, new.on, each, changed) for each in gone if _matters(each)))


def _reasons(old: AssessedProvision | None, new: AssessedProvision) -> Iterator[Reason]:
    """Why this provision should be looked at; nothing when all is as it was."""
    if old is None:
        if new.status in OPEN:
            yield Reason.OPEN
        return
    if _is_new_demand(old, new):
        yield Reason.NOW_APPLIES
    elif old.applicability.answer is Answer.YES and new.applicability.answer is Answer.NO and _asks(new):
        yield Reason.NO_LONGER_APPLIES
    elif old.applicability.answer is not Answer.UNKNOWN and new.status is Status.NEEDS_FACTS:
        yield Reason.NO_LONGER_KNOWN
    elif new.status is Status.OVERDUE and old.status is not Status.OVERDUE:
        yield Reason.OVERDUE
    elif old.status is Status.EVIDENCE_HELD and new.status in OPEN:
        yield Reason.EVIDENCE_LOST
    elif old.deadline != new.deadline and new.status in OPEN:
        yield Reason.DEADLINE_MOVED
    if old.digest != new.digest and (_matters(old) or _matters(new)):
        yield Reason.TEXT_CHANGED


def _is_new_demand(old: AssessedProvision, new: AssessedProvision) -> bool:
    """It applies and is in force now, and before one of both was not so, or not known to be."""
    return _demands(new) and not _demands(old)


def _demands(provision: AssessedProvision) -> bool:
    in_force = provision.status not in {Status.NOT_YET_IN_FORCE, Status.NO_LONGER_IN_FORCE}
    return in_force and provision.applicability.answer is Answer.YES and _asks(provision)


def _asks(provision: AssessedProvision) -> bool:
    """Penalties, options and guidance follow from something else; nobody has to act on them alone."""
    return provision.kind not in {Kind.PENALTY, Kind.OPTION, Kind.GUIDANCE}


def _matters(provision: AssessedProvision) -> bool:
    """A changed text is worth a look where the provision applies or may apply."""
    return provision.applicability.answer is not Answer.NO and provision.status is not Status.NO_LONGER_IN_FORCE


def _task(
    provision: AssessedProvision, reason: Reason, on: str, old: AssessedProvision | None, changed: set[str]
) -> Task:
    behind = {*provision.applicability.decided_by, *provision.applicability.missing}
    if old is not None:
        behind |= {*old.applicability.decided_by, *old.applicability.missing}
    return Task(
        id=f"{provision.pack}/{provision.id}/{reason}/{on}",
        pack=provision.pack,
        provision=provision.id,
        reason=reason,
        status=provision.status,
        due=provision.deadline,
        changed_facts=tuple(sorted(changed & behind)),
        is_pack_update=old is not None and old.digest != provision.digest,
    )
