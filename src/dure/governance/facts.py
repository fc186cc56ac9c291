"""Facts as declared: which value a fact may have, and the reader of a file of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dure.governance.amounts import Amount, AmountError, exactly, format_amount, parse_amount, parse_flop
from dure.governance.vocabulary import Fact, FactType, Vocabulary
from dure.intake.documents import Value
from dure.intake.fields import Entry, Problems, inside, mapping
from dure.intake.refusals import did_you_mean
from dure.model.dates import parse_day
from dure.model.units import UnitError

FLOP = "FLOP"
YES = "yes"
NO = "no"
UNKNOWN = "unknown"
"""Written for a fact that nobody knows yet; it is the same as leaving the fact out."""

FactValue = str | tuple[str, ...] | Amount
Facts = Mapping[str, FactValue]
"""What is known. A fact that is not in it is unknown; there is no default for any."""

_COUNTRY = re.compile(r"[A-Z]{2}")


def read_facts(document: Value, vocabulary: Vocabulary) -> dict[str, FactValue]:
    """The facts of a document that maps names to values, perhaps under `facts:`.

    Raises `BadInput` with every problem.
    """
    problems = Problems()
    values = mapping(problems, "", document)
    if set(values) == {"facts"}:
        values = mapping(problems, "facts", values["facts"])
    facts = {}
    for name, value in values.items():
        fact = vocabulary.facts.get(name)
        if fact is None:
            hint = did_you_mean(name, list(vocabulary.facts), "`dure assess --template` lists all facts")
            problems.add_about_field(inside("", name), "is not a fact that any rule pack knows", hint)
        elif value is not None and value != UNKNOWN:
            facts[name] = read_value(problems, inside("", name), value, fact)
    problems.raise_if_any()
    return facts


def read_value(problems: Problems, field: str, value: object, fact: Fact) -> FactValue:
    """A value that the fact may have."""
    match fact.type:
        case FactType.YES_NO:
            return _word(problems, field, value, (YES, NO))
        case FactType.CHOICE:
            return _word(problems, field, value, tuple(fact.words))
        case FactType.CHOICES:
            return _words(problems, field, value, fact)
        case FactType.AMOUNT:
            return _amount(problems, field, value, fact)
        case FactType.DAY:
            return read_day(problems, field, value)
        case FactType.COUNTRY:
            return _country(problems, field, value)


def read_number(problems: Problems, field: str, value: object, unit: str) -> int:
    """One whole number; floating-point operations must show their exponent."""
    try:
        text = value if isinstance(value, str) else ""
        return parse_flop(text) if unit == FLOP else parse_amount(text)
    except AmountError as error:
        problems.add_about_field(field, str(error), "amounts are whole numbers")
        return 0


def read_day(problems: Problems, field: str, value: object) -> str:
    """A day of the calendar."""
    try:
        return parse_day(value if isinstance(value, str) else "")
    except UnitError:
        problems.add(field, value, "is not a day", "write it like 2026-01-22")
        return "0001-01-01"


def written(value: FactValue) -> str:
    """A value as people read it."""
    match value:
        case Amount(least=least, most=most) if least == most:
            return format_amount(least)
        case Amount(least=least, most=most):
            return f"{format_amount(least)} to {format_amount(most) if most is not None else '?'}"
        case tuple():
            return ", ".join(value) or "none"
        case str():
            return value


def _amount(problems: Problems, field: str, value: object, fact: Fact) -> Amount:
    if not isinstance(value, dict):
        return exactly(read_number(problems, field, value, fact.unit))
    entry = Entry(problems, field, value, ("least", "most"))

    def number(problems: Problems, field: str, value: object) -> int:
        return read_number(problems, field, value, fact.unit)

    least = entry.required("least", number, "write the least it can be", 0)
    most = entry.required("most", number, "write the most it can be", least)
    if most < least:
        problems.add(inside(field, "most"), most, "is less than `least`")
    return Amount(least=least, most=most)


def _word(problems: Problems, field: str, value: object, words: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in words:
        return value
    meant = did_you_mean(value, words, "") if isinstance(value, str) else ""
    problems.add(field, value, f"must be one of {', '.join(words)}, or {UNKNOWN}", meant)
    return words[0]


def _words(problems: Problems, field: str, value: object, fact: Fact) -> tuple[str, ...]:
    words = tuple(fact.words)
    if isinstance(value, list):
        chosen = [_word(problems, f"{field}[{index}]", each, words) for index, each in enumerate(value)]
        return tuple(sorted(set(chosen)))
    if value == "none":
        return ()
    return (_word(problems, field, value, words),)


def _country(problems: Problems, field: str, value: object) -> str:
    if isinstance(value, str) and _COUNTRY.fullmatch(value):
        return value
    problems.add(field, value, "is not a country", "write its two letters, like KR")
    return "ZZ"
