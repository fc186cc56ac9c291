"""Columns, choices and the even split of gangs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.sources.trace import (
    MOST_CHOICES,
    Trace,
    arranged,
    nodes_for,
    pack_choices,
    repeated,
    split_evenly,
    unpack_choices,
)


def trace_of(submit_ms: list[int], duration_ms: list[int]) -> Trace:
    ones = np.ones(len(submit_ms), dtype=np.int64)
    return arranged(
        name="made",
        origin="made by a test",
        gpu_classes=("any",),
        shares=("everyone",),
        submit_ms=np.array(submit_ms, dtype=np.int64),
        duration_ms=np.array(duration_ms, dtype=np.int64),
        nodes=ones,
        gpus_milli=ones * 500,
        choices=ones,
    )


@given(gpus=st.integers(1, 5_000), most_gpus_per_node=st.integers(1, 16))
def test_a_gang_splits_evenly_over_the_fewest_nodes(gpus: int, most_gpus_per_node: int) -> None:
    nodes = nodes_for(gpus, most_gpus_per_node)
    assert gpus % nodes == 0
    assert gpus // nodes <= most_gpus_per_node
    assert not any(gpus % fewer == 0 and gpus // fewer <= most_gpus_per_node for fewer in range(1, nodes))


@pytest.mark.parametrize(("gpus", "expected"), [(1, (1, 1)), (8, (1, 8)), (12, (2, 6)), (16, (2, 8)), (13, (13, 1))])
def test_gangs_split_over_eight_gpu_nodes_as_written_down(gpus: int, expected: tuple[int, int]) -> None:
    nodes, gpus_milli = split_evenly(np.array([gpus, gpus], dtype=np.int64), 8)
    assert (nodes.tolist(), gpus_milli.tolist()) == ([expected[0]] * 2, [expected[1] * 1000] * 2)


@given(st.lists(st.integers(0, 126), max_size=MOST_CHOICES, unique=True))
def test_choices_unpack_to_what_was_packed_and_stay_positive(classes: list[int]) -> None:
    packed = pack_choices(classes)
    assert unpack_choices(packed) == tuple(classes)
    assert 0 <= packed < 1 << 63


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1, max_size=40))
def test_a_trace_starts_at_zero_and_is_a_stable_sort_of_its_rows(rows: list[tuple[int, int]]) -> None:
    trace = trace_of([submit for submit, _ in rows], [duration for _, duration in rows])
    start = min(submit for submit, _ in rows)
    expected = [(submit - start, duration) for submit, duration in sorted(rows, key=lambda row: row[0])]
    assert list(zip(trace.submit_ms.tolist(), trace.duration_ms.tolist(), strict=True)) == expected
    assert (trace.limit_ms == trace.duration_ms).all()


def test_columns_cannot_be_changed() -> None:
    trace = trace_of([0, 5], [1, 2])
    with pytest.raises(ValueError, match="read-only"):
        trace.duration_ms[0] = 7


def test_the_fingerprint_tells_traces_apart() -> None:
    trace = trace_of([0, 5], [1, 2])
    assert trace.fingerprint() == trace_of([0, 5], [1, 2]).fingerprint()
    assert trace.fingerprint() != trace_of([0, 5], [1, 3]).fingerprint()
    assert trace.fingerprint() != trace.first(1).fingerprint()
    assert len(trace.first(1)) == 1


def test_gpu_hours_count_parts_of_gpus_on_every_node() -> None:
    assert trace_of([0, 0], [3_600_000, 7_200_000]).gpu_hours == pytest.approx(1.5)


@given(
    rows=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1, max_size=12),
    copies=st.integers(1, 5),
    shift_ms=st.integers(0, 30),
)
def test_copies_of_a_trace_are_merged_by_time_then_copy_then_job(
    rows: list[tuple[int, int]], copies: int, shift_ms: int
) -> None:
    trace = trace_of([submit for submit, _ in rows], [duration for _, duration in rows])
    several = repeated(trace, copies, shift_ms)
    jobs = list(enumerate(zip(trace.submit_ms.tolist(), trace.duration_ms.tolist(), strict=True)))
    expected = sorted(
        (submit + copy * shift_ms, copy, job, duration) for copy in range(copies) for job, (submit, duration) in jobs
    )
    assert several.submit_ms.tolist() == [submit for submit, _, _, _ in expected]
    assert several.duration_ms.tolist() == [duration for _, _, _, duration in expected]
