"""Compiled code and Python see the same arrays behind one pointer."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import numpy as np
import pytest

from dure.world.array_struct import ArrayStruct
from dure.world.compiled import compiled, entry_point, is_compiling

ROW = np.dtype([("amount", np.int64), ("next", np.int64)])


@dataclass(frozen=True, eq=False)
class Pair(ArrayStruct):
    rows: Any
    table: Any


@compiled
def add(pair: Pair, row: int, amount: int) -> None:
    pair.rows[row].amount += amount
    pair.table[row, 1] += amount


@entry_point
def add_everywhere(pair: Pair, amount: int) -> int:
    total = 0
    for row in range(len(pair.rows)):
        add(pair, row, amount)
        total += pair.table[row, 0] + pair.table.shape[1]
    return total


def pair() -> Pair:
    return Pair(rows=np.zeros(3, dtype=ROW).view(np.recarray), table=np.arange(12, dtype=np.int64).reshape(3, 4))


def test_what_compiled_code_writes_is_in_the_arrays() -> None:
    both = pair()
    assert add_everywhere(both, 5) == (0 + 4 + 8) + 3 * 4
    assert both.rows["amount"].tolist() == [5, 5, 5]
    assert both.table[:, 1].tolist() == [6, 10, 14]


def test_a_struct_with_other_arrays_leaves_the_first_alone() -> None:
    first = pair()
    second = first.replace(table=np.zeros((3, 4), dtype=np.int64))
    add_everywhere(second, 1)
    assert second.rows is first.rows
    assert first.table[:, 1].tolist() == [1, 5, 9]
    assert [each is array for each, array in zip(second, (second.rows, second.table), strict=True)] == [True, True]


def test_arrays_stay_where_compiled_code_was_told_they_are() -> None:
    with pytest.raises(FrozenInstanceError):
        pair().rows = np.zeros(1, dtype=ROW)  # type: ignore[misc]
    with pytest.raises(AssertionError):
        pair().replace(table=np.zeros((4, 3), dtype=np.int64).T)


@pytest.mark.skipif(not is_compiling(), reason="types are only made where the kernel is compiled")
def test_a_type_from_the_compilers_cache_is_found_in_another_process() -> None:
    """Hashes of text differ from process to process; one that came along would have everything compiled anew."""
    known = vars(pair())["_compiled_type"]
    assert hash(known) == hash(known.key)
    assert known.__getstate__()["_hash"] is None
