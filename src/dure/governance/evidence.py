"""Evidence that is held: a kind, an opaque reference and the days between which it counts, as declared in a file."""

from __future__ import annotations

from functools import partial

from msgspec import Struct

from dure.governance.facts import read_day
from dure.governance.vocabulary import Vocabulary
from dure.intake.documents import Value
from dure.intake.fields import Entry, Problems, listing, text
from dure.intake.refusals import did_you_mean

MOST_EVIDENCE = 10_000
LONGEST_REFERENCE = 500


class Evidence(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something held: its kind, an opaque reference, and the days between which it counts; `until` may be open."""

    kind: str
    reference: str
    since: str
    until: str = ""

    def counts_on(self, day: str) -> bool:
        """Whether it is held on this day, its first and its last included."""
        return self.since <= day and (not self.until or day <= self.until)


def read_evidence(document: Value, vocabulary: Vocabulary) -> list[Evidence]:
    """A list of evidence. Raises `BadInput` with every problem."""
    problems = Problems()
    evidence = listing(problems, "", document, partial(_read_one, vocabulary), MOST_EVIDENCE)
    problems.raise_if_any()
    return evidence


def _read_one(vocabulary: Vocabulary, problems: Problems, field: str, value: object) -> Evidence:
    def kind(problems: Problems, field: str, value: object) -> str:
        if isinstance(value, str) and value in vocabulary.evidence:
            return value
        hint = did_you_mean(value, list(vocabulary.evidence)) if isinstance(value, str) else ""
        problems.add(field, value, "is not a declared kind of evidence", hint)
        return ""

    entry = Entry(problems, field, value, ("kind", "reference", "since", "until"))
    evidence = Evidence(
        kind=entry.required("kind", kind, "name a kind of evidence", ""),
        reference=entry.required("reference", _reference, "say where it is found", ""),
        since=entry.required("since", read_day, "say since which day it counts", ""),
        until=entry.optional("until", read_day, ""),
    )
    if evidence.until and evidence.until < evidence.since:
        problems.add(f"{field}.until", evidence.until, "is before `since`")
    return evidence


def _reference(problems: Problems, field: str, value: object) -> str:
    return text(problems, field, value, longest=LONGEST_REFERENCE)
