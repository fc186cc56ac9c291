"""When a duty applies: a closed language of conditions over declared facts, with three-valued answers.

    applies_when:
      all:
        - at_least: {training-compute-flop: "1e26"}
        - is: {state-of-the-art: yes}
        - not: {is: {defence-only: yes}}

`all`, `any` and `not` combine; `is` asks whether a fact has one of some values; `at_least` and `more_than` compare an
amount or a day; `condition` names a condition that its pack defines once; `always` needs no fact. Nothing else can be
said, so every condition can be shown, explained and checked.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from dure.governance.amounts import Amount
from dure.governance.answers import Applicability, conjunction, disjunction, known, negation, unknown
from dure.governance.facts import Facts


class Always(Struct, frozen=True, tag="always"):
    """Yes, whatever the facts."""


class All(Struct, frozen=True, kw_only=True, tag="all"):
    """Yes when every part is."""

    parts: tuple[Condition, ...]


class AnyOf(Struct, frozen=True, kw_only=True, tag="any"):
    """Yes when a part is."""

    parts: tuple[Condition, ...]


class Not(Struct, frozen=True, kw_only=True, tag="not"):
    """Yes when the part is no."""

    part: Condition


class Named(Struct, frozen=True, kw_only=True, tag="condition"):
    """A condition that its pack defined under a name."""

    name: str
    part: Condition


class Is(Struct, frozen=True, kw_only=True, tag="is"):
    """Yes when the fact has one of these values; where a fact has several words, when one of them is among these."""

    fact: str
    values: tuple[str, ...]


class AtLeast(Struct, frozen=True, kw_only=True, tag="at_least", omit_defaults=True):
    """Yes when the fact is this amount or more, or this day or later. `written` is as the pack says it.

    `digits` are those of the amount, as text because no 64-bit number holds 10^26; there are none when it is a day.
    """

    fact: str
    written: str
    digits: str = ""

    @property
    def amount(self) -> int | None:
        """The amount; None when the fact is a day, which `written` is."""
        return int(self.digits) if self.digits else None


class MoreThan(Struct, frozen=True, kw_only=True, tag="more_than"):
    """Yes when the fact is above this amount, whose `digits` are text as in `AtLeast`."""

    fact: str
    written: str
    digits: str

    @property
    def amount(self) -> int:
        """The amount that is passed."""
        return int(self.digits)


def evaluate(expression: Condition, facts: Facts) -> Applicability:
    """Whether the condition holds, by these facts and no others. What is not among them is unknown."""
    match expression:
        case Always():
            return known(True)
        case All(parts=parts):
            return conjunction(evaluate(part, facts) for part in parts)
        case AnyOf(parts=parts):
            return disjunction(evaluate(part, facts) for part in parts)
        case Not(part=part):
            return negation(evaluate(part, facts))
        case Named(part=part):
            return evaluate(part, facts)
        case Is():
            return _has_value(expression, facts)
        case AtLeast(amount=None):
            return _is_reached(expression.fact, facts, day=expression.written)
        case AtLeast(amount=amount):
            return _is_reached(expression.fact, facts, amount=amount)
        case MoreThan(amount=amount):
            return _is_reached(expression.fact, facts, amount=amount + 1)


def parts_of(expression: Condition) -> Iterator[Condition]:
    """The condition and everything inside it."""
    yield expression
    match expression:
        case All(parts=parts) | AnyOf(parts=parts):
            for part in parts:
                yield from parts_of(part)
        case Not(part=part) | Named(part=part):
            yield from parts_of(part)


def facts_in(expression: Condition) -> tuple[str, ...]:
    """Every fact that the condition asks for."""
    return tuple(sorted({part.fact for part in parts_of(expression) if isinstance(part, Is | AtLeast | MoreThan)}))


def _has_value(question: Is, facts: Facts) -> Applicability:
    value = facts.get(question.fact)
    if value is None:
        return unknown([question.fact])
    values = value if isinstance(value, tuple) else (value,)
    return known(any(each in question.values for each in values), [question.fact])


def _is_reached(fact: str, facts: Facts, amount: int | None = None, day: str = "") -> Applicability:
    """An amount that is only known between bounds answers when both bounds give the same answer."""
    value = facts.get(fact)
    if isinstance(value, str):
        return known(value >= day, [fact])
    if not isinstance(value, Amount) or amount is None:
        return unknown([fact])
    if value.least >= amount:
        return known(True, [fact])
    if value.most is not None and value.most < amount:
        return known(False, [fact])
    return unknown([fact])


Condition = Always | All | AnyOf | Not | Named | Is | AtLeast | MoreThan
