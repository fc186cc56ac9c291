"""Which provisions apply to a model by the facts that are declared, what is held to show for each, and what is missing.

An assessment is about evidence. It never says that a law is complied with, and what is not known never counts as done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from hashlib import sha256

import msgspec
from msgspec import Struct

from dure.governance.answers import Answer, Applicability
from dure.governance.evidence import Evidence
from dure.governance.expressions import All, evaluate
from dure.governance.facts import Facts, written
from dure.governance.packs import EvidenceNeed, Guidance, Kind, Library, Mark, Pack, Provision, Source
from dure.governance.periods import end_of
from dure.governance.vocabulary import Text


class Status(StrEnum):
    """Where a provision stands, from nothing to do to most pressing."""

    NOT_APPLICABLE = "not-applicable"
    NO_LONGER_IN_FORCE = "no-longer-in-force"
    NOT_YET_IN_FORCE = "not-yet-in-force"
    FOR_INFORMATION = "for-information"
    """It applies and asks for nothing by itself: scope, thresholds, penalties, options, guidance."""
    EVIDENCE_HELD = "evidence-held"
    """Every kind of evidence that it needs is held. Whether the evidence is good is for people to judge."""
    EFFORT_OPEN = "effort-open"
    """Something one must try is not shown. It is not a violation."""
    NEEDS_FACTS = "needs-facts"
    """Whether it applies is not known."""
    MISSING_EVIDENCE = "missing-evidence"
    OVERDUE = "overdue"

    @property
    def urgency(self) -> int:
        """Position in the order above; a higher one is more pressing."""
        return list(Status).index(self)


OPEN = frozenset({Status.EFFORT_OPEN, Status.NEEDS_FACTS, Status.MISSING_EVIDENCE, Status.OVERDUE})
"""What somebody still has something to do for."""


class HeldEvidence(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Evidence that counts for a provision; `keep_until` is the last day on which it must still be kept."""

    kind: str
    reference: str
    since: str
    keep_until: str = ""


class Deemed(Struct, frozen=True, kw_only=True):
    """A kind of evidence that counts as given, and the provision that says so."""

    kind: str
    by: str


class AssessedProvision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One provision, where it stands, and why.

    `digest` is that of the whole provision in its pack, so that a change of its text is seen. `deadline` is empty where
    it has none or where `deadline_needs`, a fact, is not known.
    """

    pack: str
    id: str
    digest: str
    kind: Kind
    instrument: Text
    article: str
    title: Text
    obligation: Text
    applicability: Applicability
    status: Status
    mark: Mark
    checked_on: str
    source: tuple[Source, ...]
    held: tuple[HeldEvidence, ...] = ()
    deemed: tuple[Deemed, ...] = ()
    missing_evidence: tuple[str, ...] = ()
    optional_evidence: tuple[str, ...] = ()
    """Kinds that are not held and need not be."""
    deadline: str = ""
    deadline_needs: str = ""
    penalty: tuple[str, ...] = ()
    effective_from: str = ""
    effective_to: str = ""
    guidance: tuple[Guidance, ...] = ()


class PinnedPack(Struct, frozen=True, kw_only=True):
    """Exactly which pack was used."""

    name: str
    version: str
    digest: str


class Assessment(Struct, frozen=True, kw_only=True):
    """All provisions of the packs as they stand on a day. The same arguments always give the same assessment."""

    on: str
    packs: tuple[PinnedPack, ...]
    vocabulary_digest: str
    facts: dict[str, str]
    provisions: tuple[AssessedProvision, ...]

    def open_questions(self) -> tuple[str, ...]:
        """Facts that are missing; first what most provisions wait for."""
        waiting = Counter(
            fact for each in self.provisions if each.status is Status.NEEDS_FACTS for fact in each.applicability.missing
        )
        return tuple(sorted(waiting, key=lambda fact: (-waiting[fact], fact)))

    def in_order_of_urgency(self) -> tuple[AssessedProvision, ...]:
        """The most pressing first; among equals, first what is due first, then the order of the packs."""
        return tuple(sorted(self.provisions, key=lambda each: (-each.status.urgency, each.deadline or "9999-12-31")))


def assess(
    library: Library, facts: Facts, evidence: Iterable[Evidence], on: str, packs: Sequence[str] | None = None
) -> Assessment:
    """Every provision of the named packs, or of all, by these facts and this evidence, on this day."""
    chosen = [pack for pack in library.packs if packs is None or pack.name in packs]
    counting = [each for each in evidence if each.counts_on(on)]
    return Assessment(
        on=on,
        packs=tuple(PinnedPack(name=pack.name, version=pack.version, digest=pack.digest) for pack in chosen),
        vocabulary_digest=library.vocabulary_digest,
        facts={name: written(value) for name, value in sorted(facts.items())},
        provisions=tuple(each for pack in chosen for each in _assessed_pack(pack, facts, counting, on)),
    )


def is_in_force(provision: Provision, on: str) -> bool:
    """Whether the day lies between its first and its last day, both included."""
    return provision.effective_from <= on and (not provision.effective_to or on <= provision.effective_to)


def digest_of(provision: Provision) -> str:
    """SHA-256 of everything that the provision says."""
    return sha256(msgspec.json.encode(provision, order="deterministic")).hexdigest()


def _assessed_pack(pack: Pack, facts: Facts, evidence: Sequence[Evidence], on: str) -> list[AssessedProvision]:
    deemed = _deemed(pack, facts, evidence, on)
    return [_assessed(pack.name, each, facts, evidence, deemed.get(each.id, {}), on) for each in pack.provisions]


def _assessed(
    pack: str, provision: Provision, facts: Facts, evidence: Sequence[Evidence], deemed: Mapping[str, str], on: str
) -> AssessedProvision:
    applicability = evaluate(provision.applies_when, facts)
    held = _held(provision, evidence)
    absent = [need for need in provision.evidence if need.kind not in {each.kind for each in held}]
    missing = tuple(need.kind for need in absent if not need.optional and need.kind not in deemed)
    deadline, deadline_needs = _deadline(provision, facts)
    return AssessedProvision(
        pack=pack,
        id=provision.id,
        digest=digest_of(provision),
        kind=provision.kind,
        instrument=provision.instrument,
        article=provision.article,
        title=provision.title,
        obligation=provision.obligation,
        applicability=applicability,
        status=_status(provision, applicability.answer, bool(missing), deadline, on),
        mark=provision.checked.mark,
        checked_on=provision.checked.on,
        source=provision.source,
        held=held,
        deemed=tuple(Deemed(kind=need.kind, by=deemed[need.kind]) for need in absent if need.kind in deemed),
        missing_evidence=missing,
        optional_evidence=tuple(need.kind for need in absent if need.optional),
        deadline=deadline,
        deadline_needs=deadline_needs,
        penalty=provision.penalty,
        effective_from=provision.effective_from,
        effective_to=provision.effective_to,
        guidance=provision.guidance,
    )


def _status(provision: Provision, answer: Answer, is_missing: bool, deadline: str, on: str) -> Status:
    """First whether it is in force, then whether it applies, then what there is to show for it."""
    if not is_in_force(provision, on):
        return Status.NOT_YET_IN_FORCE if on < provision.effective_from else Status.NO_LONGER_IN_FORCE
    if answer is Answer.NO:
        return Status.NOT_APPLICABLE
    match provision.kind:
        case Kind.PENALTY | Kind.OPTION | Kind.GUIDANCE:
            return Status.FOR_INFORMATION
        case _ if answer is Answer.UNKNOWN:
            return Status.NEEDS_FACTS
        case Kind.SCOPE | Kind.THRESHOLD:
            return Status.FOR_INFORMATION
        case Kind.EFFORT:
            return Status.EFFORT_OPEN if is_missing else Status.EVIDENCE_HELD
        case Kind.DUTY | Kind.PROHIBITION:
            if not is_missing:
                return Status.EVIDENCE_HELD
            return Status.OVERDUE if deadline and deadline < on else Status.MISSING_EVIDENCE


def _held(provision: Provision, evidence: Sequence[Evidence]) -> tuple[HeldEvidence, ...]:
    wanted = {need.kind for need in provision.evidence}
    return tuple(
        HeldEvidence(
            kind=each.kind,
            reference=each.reference,
            since=each.since,
            keep_until=end_of(provision.retention, each.since) if provision.retention else "",
        )
        for each in evidence
        if each.kind in wanted
    )


def _deadline(provision: Provision, facts: Facts) -> tuple[str, str]:
    """The last day, the one extension included; or the fact that tells when the period begins."""
    deadline = provision.deadline
    if deadline is None:
        return "", ""
    day = facts.get(deadline.after)
    if not isinstance(day, str):
        return "", deadline.after
    last = end_of(deadline.within, day)
    return (end_of(deadline.extension, last) if deadline.extension else last), ""


def _deemed(pack: Pack, facts: Facts, evidence: Sequence[Evidence], on: str) -> dict[str, dict[str, str]]:
    """For each provision, the kinds of evidence that count as given, and by which provision.

    The provision that deems must be in force, must surely apply, and its own evidence must be held.
    """
    deemed: dict[str, dict[str, str]] = {}
    for each in pack.provisions:
        if not each.deems or not is_in_force(each, on) or _lacks(each.evidence, evidence):
            continue
        for deeming in each.deems:
            condition = All(parts=(each.applies_when, deeming.when))
            if evaluate(condition, facts).answer is Answer.YES:
                deemed.setdefault(deeming.provision, {}).update(dict.fromkeys(deeming.evidence, each.id))
    return deemed


def _lacks(needs: Sequence[EvidenceNeed], evidence: Sequence[Evidence]) -> bool:
    held = {each.kind for each in evidence}
    return any(not need.optional and need.kind not in held for need in needs)
