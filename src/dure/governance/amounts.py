"""Amounts that law counts: money, people, floating-point operations. Whole numbers of any size, never floats.

10^26 is more than a 64-bit integer holds, and a float would round it; so an amount is a Python integer, and is
written as text.
"""

from __future__ import annotations

import re
from decimal import Decimal, localcontext

from msgspec import Struct

from dure.intake.refusals import shown

LARGEST_EXPONENT = 40
_AMOUNT = re.compile(r"\d{1,40}(?:\.\d{1,40})?(?:[eE]\+?\d{1,2})?", re.ASCII)


class AmountError(ValueError):
    """Text that is not an amount; the message says how it should have been written."""


class Amount(Struct, frozen=True, kw_only=True):
    """An amount that is known to lie between two bounds, both included. `most` is None when nothing bounds it above."""

    least: int
    most: int | None


def exactly(amount: int) -> Amount:
    """An amount that is known exactly."""
    return Amount(least=amount, most=amount)


def parse_amount(text: str) -> int:
    """The whole number in `30000000`, `1e26` or `3.8e25`. Raises `AmountError` for anything else."""
    if not isinstance(text, str) or not _AMOUNT.fullmatch(text):
        raise AmountError(f"{shown(text)} is not an amount; write it like 1000000 or 1e26")
    with localcontext() as context:
        # Enough digits for every amount that the pattern admits, so that nothing is ever rounded.
        context.prec = 200
        number = Decimal(text)
        if number.adjusted() > LARGEST_EXPONENT:
            raise AmountError(f"{shown(text)} is out of range; amounts are below 1e{LARGEST_EXPONENT + 1}")
        if number != number.to_integral_value():
            raise AmountError(f"{shown(text)} is not a whole number")
        return int(number)


def parse_flop(text: str) -> int:
    """Floating-point operations, from `1e26` or `3.8e25`.

    They must be written with an exponent: copies of laws that lost the superscript read `1025` or `1026`, and such a
    number must never become a threshold.
    """
    if not isinstance(text, str) or "e" not in text.lower():
        raise AmountError(f"{shown(text)} has no exponent; write floating-point operations like 1e26")
    return parse_amount(text)


def format_amount(amount: int) -> str:
    """Three significant figures and an exponent from ten million on (`3.79e25`), the digits themselves below."""
    if amount < 10_000_000:
        return str(amount)
    mantissa, exponent = f"{Decimal(amount):.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
