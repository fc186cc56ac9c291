"""Amounts as people write them, and the integers that are kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.model.units import (
    DAY_MS,
    HOUR_MS,
    LONGEST_DURATION_MS,
    MINUTE_MS,
    SECOND_MS,
    UnitError,
    format_duration,
    format_gpus,
    parse_duration,
    parse_gpu_count,
    parse_memory,
)


@given(st.integers(0, LONGEST_DURATION_MS))
def test_a_duration_reads_back_as_it_was_written(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds)) == milliseconds


@given(st.integers(1, 999) | st.integers(1, 1_000_000).map(lambda gpus: gpus * 1000))
def test_an_amount_of_gpus_reads_back_as_it_was_written(milli: int) -> None:
    assert parse_gpu_count(format_gpus(milli)) == milli


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("4h", 4 * HOUR_MS),
        ("1h30m", 90 * MINUTE_MS),
        ("0.5h", 30 * MINUTE_MS),
        ("250ms", 250),
        ("04:00:00", 4 * HOUR_MS),
        ("00:05", 5 * MINUTE_MS),
        ("1-12:00:00", DAY_MS + 12 * HOUR_MS),
        (90, 90 * SECOND_MS),
    ],
)
def test_durations_are_read_as_cluster_users_write_them(text: str | int, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize("text", ["", "4", "h", "4 hours", "-1h", "1:75:00", True, -1, "99999d"])
def test_what_is_no_duration_is_refused_with_an_example(text: str | int) -> None:
    with pytest.raises(UnitError, match=r"4h, 90s or 04:00:00|between 0 and ten years"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "mib"), [("256GB", 262_144), ("512MiB", 512), ("1.5G", 1536), ("1T", 1 << 20), (64, 64)]
)
def test_memory_is_counted_in_mebibytes(text: str | int, mib: int) -> None:
    assert parse_memory(text) == mib


@pytest.mark.parametrize("text", ["256", "GB", "-1GB", "1XB", True, -1, "9999T"])
def test_what_is_no_amount_of_memory_is_refused(text: str | int) -> None:
    with pytest.raises(UnitError):
        parse_memory(text)


@pytest.mark.parametrize("text", ["1.5", "-1", "many", "nan", "inf", "1e9"])
def test_what_is_no_number_of_gpus_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        parse_gpu_count(text)
