"""Reads conditions of a rule pack, and refuses whatever the closed language does not have."""

from __future__ import annotations

from collections.abc import Mapping

from dure.governance.expressions import All, Always, AnyOf, AtLeast, Condition, Is, MoreThan, Named, Not
from dure.governance.facts import NO, YES, read_day, read_number
from dure.governance.vocabulary import Fact, FactType
from dure.intake.fields import Problems, inside, listing
from dure.intake.refusals import did_you_mean

OPERATORS = ("all", "any", "not", "is", "at_least", "more_than", "condition")
ALWAYS = "always"
MOST_PARTS = 50

_HARMLESS = Always()


class ConditionReader:
    """Knows the facts, and the conditions that the pack has defined so far.

    A condition can name only those defined before it, so none can go round in a circle.
    """

    def __init__(self, facts: Mapping[str, Fact]) -> None:
        self._facts = facts
        self._defined: dict[str, Condition] = {}

    def define(self, problems: Problems, field: str, name: str, value: object) -> None:
        """Give a condition a name that later ones may use."""
        self._defined[name] = self.read(problems, field, value)

    def read(self, problems: Problems, field: str, value: object) -> Condition:
        """One condition: `always`, or a mapping of one operator to what it works on."""
        if value == ALWAYS:
            return Always()
        if not isinstance(value, dict) or len(value) != 1:
            problems.add(field, value, f"must be {ALWAYS}, or exactly one of {', '.join(OPERATORS)}")
            return _HARMLESS
        (operator, operand), *_ = value.items()
        return self._operation(problems, inside(field, operator), operator, operand)

    def _operation(self, problems: Problems, field: str, operator: str, operand: object) -> Condition:
        match operator:
            case "all":
                return All(parts=self._parts(problems, field, operand))
            case "any":
                return AnyOf(parts=self._parts(problems, field, operand))
            case "not":
                return Not(part=self.read(problems, field, operand))
            case "is":
                return self._is(problems, field, operand)
            case "at_least" | "more_than":
                return self._compare(problems, field, operator, operand)
            case "condition":
                return self._named(problems, field, operand)
            case _:
                problems.add_about_field(field, "is not an operator", did_you_mean(operator, OPERATORS))
                return _HARMLESS

    def _parts(self, problems: Problems, field: str, operand: object) -> tuple[Condition, ...]:
        parts = tuple(listing(problems, field, operand, self.read, MOST_PARTS))
        if operand == []:
            problems.add_about_field(field, "has no parts", f"write {ALWAYS} for what always holds")
        return parts

    def _named(self, problems: Problems, field: str, operand: object) -> Condition:
        if isinstance(operand, str) and operand in self._defined:
            return Named(name=operand, part=self._defined[operand])
        hint = did_you_mean(operand, list(self._defined)) if isinstance(operand, str) else ""
        problems.add(field, operand, "is not a condition that the pack defines before", hint)
        return _HARMLESS

    def _is(self, problems: Problems, field: str, operand: object) -> Condition:
        fact, value = self._fact_and_value(problems, field, operand)
        if fact is None:
            return _HARMLESS
        if fact.type in {FactType.AMOUNT, FactType.DAY}:
            problems.add_about_field(field, f"{fact.name} is a quantity", "compare it with at_least or more_than")
            return _HARMLESS
        values = value if isinstance(value, list) else [value]
        for each in values:
            if not _may_be(fact, each):
                known = ", ".join(_words_of(fact)) or "a country of two letters, like KR"
                problems.add(field, each, f"is not a value of {fact.name}: {known}")
        if not values:
            problems.add_about_field(field, "has no values", "name at least one")
        return Is(fact=fact.name, values=tuple(str(each) for each in values))

    def _compare(self, problems: Problems, field: str, operator: str, operand: object) -> Condition:
        fact, value = self._fact_and_value(problems, field, operand)
        if fact is None:
            return _HARMLESS
        if fact.type is FactType.DAY and operator == "at_least":
            return AtLeast(fact=fact.name, written=read_day(problems, field, value))
        if fact.type is not FactType.AMOUNT:
            problems.add_about_field(field, f"{fact.name} has nothing to compare", "ask for its value with is")
            return _HARMLESS
        amount = read_number(problems, field, value, fact.unit)
        kind = AtLeast if operator == "at_least" else MoreThan
        return kind(fact=fact.name, written=str(value), digits=str(amount))

    def _fact_and_value(self, problems: Problems, field: str, operand: object) -> tuple[Fact | None, object]:
        if not isinstance(operand, dict) or len(operand) != 1:
            problems.add(field, operand, "must be one fact and what it is compared with")
            return None, None
        (name, value), *_ = operand.items()
        fact = self._facts.get(name)
        if fact is None:
            problems.add_about_field(
                inside(field, name), "is not a declared fact", did_you_mean(name, list(self._facts))
            )
        return fact, value


def _words_of(fact: Fact) -> tuple[str, ...]:
    return (YES, NO) if fact.type is FactType.YES_NO else tuple(fact.words)


def _may_be(fact: Fact, value: object) -> bool:
    if fact.type is FactType.COUNTRY:
        return isinstance(value, str) and len(value) == 2 and value.isascii() and value.isupper()
    return value in _words_of(fact)
