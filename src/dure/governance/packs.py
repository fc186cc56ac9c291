"""Rule packs: what a law, a decree or a standard asks, as dated data with its source and how sure we are of it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from dure.governance.expressions import Always, Condition, facts_in
from dure.governance.periods import Period
from dure.governance.vocabulary import Text, Vocabulary


class Kind(StrEnum):
    """What a provision does to whom it applies to."""

    DUTY = "duty"
    EFFORT = "effort"
    """One must try; not having done it is never a violation."""
    PROHIBITION = "prohibition"
    THRESHOLD = "threshold"
    """A line that a quantity crosses; duties of other provisions follow from it."""
    SCOPE = "scope"
    """Who or what is covered, exempt, classified, or deemed to have done something."""
    PENALTY = "penalty"
    OPTION = "option"
    """A step that is allowed and that nobody has to take, such as asking a minister to confirm something."""
    GUIDANCE = "guidance"
    """What an authority says it will do, or what a voluntary framework recommends. Not law."""


class Mark(StrEnum):
    """How sure the pack is of what it says."""

    VERIFIED = "V"
    """Seen in the text itself or an official translation, or in two independent sources that agree."""
    SECONDARY = "S"
    """Seen in one secondary source only."""
    MEMORY = "M"
    """Written from memory and not verified. Have it checked before you rely on it."""


class Source(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a provision was written from.

    `note` says why there is no address or no digest, where there is none: a source is never made up.
    """

    title: str
    url: str = ""
    retrieved: str = ""
    """The day on which it was read."""
    sha256: str = ""
    note: str = ""


class Check(Struct, frozen=True, kw_only=True):
    """Who compared the provision with its sources last, when, and with what result."""

    by: str
    on: str
    mark: Mark


class Guidance(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an authority reads the provision. Kept apart from it: guidance changes without the law."""

    text: Text
    mark: Mark
    source: tuple[Source, ...] = ()


class EvidenceNeed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A kind of evidence that shows the provision was followed. What is optional is never missing."""

    kind: str
    optional: bool = False


class Deadline(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Until when: within a period after the day that a fact tells. An `extension` may follow once."""

    within: Period
    after: str
    extension: Period | None = None


class Fine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The most that can be fined: an amount, a part of turnover in per cent, or the higher of both."""

    most: int = 0
    currency: str = ""
    turnover_percent: str = ""


class Deeming(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Evidence of another provision that counts as given where this one applies and its own evidence is held.

    With `when`, only where that holds, too: what counts, counts item by item.
    """

    provision: str
    evidence: tuple[str, ...]
    when: Condition = Always()


class Provision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of a rule pack.

    `effective_from` and `effective_to` are its first and its last day, empty where it has none that is known or set.
    `cedar_ref` are ids of the policy rules that enforce it on the platform. `penalty` are the penalty provisions that
    its breach falls under.
    """

    id: str
    jurisdiction: str
    instrument: Text
    article: str
    title: Text
    kind: Kind
    applies_when: Condition
    obligation: Text
    source: tuple[Source, ...]
    checked: Check
    evidence: tuple[EvidenceNeed, ...] = ()
    deadline: Deadline | None = None
    retention: Period | None = None
    penalty: tuple[str, ...] = ()
    fine: Fine | None = None
    effective_from: str = ""
    effective_to: str = ""
    supersedes: str = ""
    cedar_ref: tuple[str, ...] = ()
    guidance: tuple[Guidance, ...] = ()
    deems: tuple[Deeming, ...] = ()

    def facts(self) -> set[str]:
        """Every fact that it asks for: for its conditions, and for its deadline."""
        conditions = [self.applies_when, *(each.when for each in self.deems)]
        asked = {fact for condition in conditions for fact in facts_in(condition)}
        return asked | ({self.deadline.after} if self.deadline else set())

    @property
    def must_be_shown(self) -> bool:
        """Whether missing evidence is a gap: for duties and prohibitions, and for nothing else."""
        return self.kind in {Kind.DUTY, Kind.PROHIBITION}


class Pack(Struct, frozen=True, kw_only=True):
    """One instrument or framework. `digest` is the SHA-256 of its file, so that anyone can find what was used."""

    name: str
    version: str
    title: Text
    provisions: tuple[Provision, ...]
    digest: str

    def provision(self, id: str) -> Provision | None:
        """The provision with this id."""
        return next((each for each in self.provisions if each.id == id), None)


class Library(Struct, frozen=True, kw_only=True):
    """The packs in use, in the order of their names, and the vocabulary they are written in."""

    vocabulary: Vocabulary
    vocabulary_digest: str
    packs: tuple[Pack, ...]

    def pack(self, name: str) -> Pack | None:
        """The pack with this name."""
        return next((pack for pack in self.packs if pack.name == name), None)

    def provisions(self) -> Iterator[tuple[Pack, Provision]]:
        """Every provision with the pack it is in."""
        for pack in self.packs:
            for provision in pack.provisions:
                yield pack, provision
