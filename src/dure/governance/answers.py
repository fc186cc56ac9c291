"""Three-valued logic: yes, no, and not known.

The strong logic of Kleene ("Introduction to Metamathematics", 1952, section 64): an answer is given only if it is
the same whatever the unknown parts turn out to be.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct


class Answer(StrEnum):
    """Whether something is so. Unknown is an answer of its own, and never counts as either of the others."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Applicability(Struct, frozen=True, kw_only=True):
    """An answer and the facts behind it.

    `decided_by` are the facts that gave a yes or a no: with these alone, the answer is the same. `missing` are the
    facts that an unknown answer waits for.
    """

    answer: Answer
    decided_by: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def known(answer: bool, facts: Iterable[str] = ()) -> Applicability:
    """A yes or a no that these facts gave."""
    return Applicability(answer=Answer.YES if answer else Answer.NO, decided_by=tuple(sorted(set(facts))))


def unknown(missing: Iterable[str]) -> Applicability:
    """No answer until these facts are known."""
    return Applicability(answer=Answer.UNKNOWN, missing=tuple(sorted(set(missing))))


def negation(part: Applicability) -> Applicability:
    """The opposite; the opposite of unknown is unknown."""
    if part.answer is Answer.UNKNOWN:
        return part
    return known(part.answer is Answer.NO, part.decided_by)


def conjunction(parts: Iterable[Applicability]) -> Applicability:
    """No if any part is no, otherwise unknown if any is unknown, otherwise yes."""
    return _combined(list(parts), decisive=Answer.NO)


def disjunction(parts: Iterable[Applicability]) -> Applicability:
    """Yes if any part is yes, otherwise unknown if any is unknown, otherwise no."""
    return _combined(list(parts), decisive=Answer.YES)


def _combined(parts: list[Applicability], decisive: Answer) -> Applicability:
    """One part with the decisive answer settles it; all others must be known for the opposite."""
    settling = [part for part in parts if part.answer is decisive]
    if settling:
        return known(decisive is Answer.YES, (fact for part in settling for fact in part.decided_by))
    open_parts = [part for part in parts if part.answer is Answer.UNKNOWN]
    if open_parts:
        return unknown(fact for part in open_parts for fact in part.missing)
    return known(decisive is Answer.NO, (fact for part in parts for fact in part.decided_by))
