"""Moments as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.model.dates import format_moment, parse_moment
from dure.model.units import UnitError


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:01Z", 1_000),
        ("2027-03-02T09:00:00+09:00", 1_803_945_600_000),
        ("2027-03-02T00:00Z", 1_803_945_600_000),
        ("2027-03-02T00:00:00.250+00:00", 1_803_945_600_250),
    ],
)
def test_a_moment_is_read_with_its_time_zone(text: str, at_ms: int) -> None:
    assert parse_moment(text) == at_ms


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2027-03-02T09:00:00", "has no time zone"),
        ("2027-03-02", "has no time zone"),
        ("2027-02-29T09:00:00Z", "is not a date and time"),
        ("tomorrow", "is not a date and time"),
        ("", "is not a date and time"),
        ("1969-12-31T23:59:59Z", "is out of range"),
    ],
)
def test_what_could_be_another_moment_elsewhere_is_refused(text: str, says: str) -> None:
    with pytest.raises(UnitError, match=says):
        parse_moment(text)


@given(st.integers(1, 4_000_000_000_000))
def test_a_moment_that_is_written_is_read_back(at_ms: int) -> None:
    assert parse_moment(format_moment(at_ms)) == at_ms
