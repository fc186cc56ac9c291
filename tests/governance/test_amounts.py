"""Amounts that law counts keep their magnitude, exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.governance.amounts import AmountError, format_amount, parse_amount, parse_flop
from dure.governance.periods import PeriodError, end_of, parse_period
from dure.model.dates import add_to_day, parse_day
from dure.model.units import UnitError


@pytest.mark.parametrize(
    ("text", "amount"),
    [("1e26", 10**26), ("3.79e25", 379 * 10**23), ("30000000", 30_000_000), ("0", 0), ("2.50", None), ("2.0", 2)],
)
def test_amounts_are_whole_and_exact(text: str, amount: int | None) -> None:
    if amount is None:
        with pytest.raises(AmountError, match="not a whole number"):
            parse_amount(text)
    else:
        assert parse_amount(text) == amount


@pytest.mark.parametrize("text", ["", "-1", "1e", "e26", "10^26", "1,000", "1e99", "nan", "0x10", "1e41", "１e26"])
def test_what_is_not_an_amount_is_refused(text: str) -> None:
    with pytest.raises(AmountError):
        parse_amount(text)


@pytest.mark.parametrize("text", ["1025", "1026", "100000000000000000000000000"])
def test_floating_point_operations_without_an_exponent_are_refused(text: str) -> None:
    """Copies of laws lose the superscript of 10^25 and 10^26."""
    with pytest.raises(AmountError, match="exponent"):
        parse_flop(text)


@given(st.integers(0, 10**30))
def test_what_is_written_reads_back_within_half_a_per_cent(amount: int) -> None:
    assert abs(parse_amount(format_amount(amount)) - amount) * 200 <= amount


@pytest.mark.parametrize(
    ("period", "day", "end"),
    [
        ("2 weeks", "2026-11-22", "2026-12-06"),
        ("30 days", "2026-11-22", "2026-12-22"),
        ("1 month", "2027-01-31", "2027-02-28"),
        ("5 years", "2024-02-29", "2029-02-28"),
        ("1 year", "2026-12-31", "2027-12-31"),
    ],
)
def test_a_period_ends_on_the_calendars_day(period: str, day: str, end: str) -> None:
    assert end_of(parse_period(period), day) == end


@pytest.mark.parametrize("text", ["", "2weeks", "two weeks", "0 days", "P30D", "-1 day", "30"])
def test_what_is_not_a_period_is_refused(text: str) -> None:
    with pytest.raises(PeriodError):
        parse_period(text)


@pytest.mark.parametrize("text", ["2026-02-30", "20260122", "2026-1-2", "today", "2026-W04-4", ""])
def test_what_is_not_a_day_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        parse_day(text)


def test_no_day_lies_beyond_the_last() -> None:
    assert add_to_day("9999-12-31", days=1) == "9999-12-31"
    assert add_to_day("9999-12-31", months=1) == "9999-12-31"
