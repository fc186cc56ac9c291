"""At one instant, what is lent is what is borrowed, divided in proportion and never beyond what anyone has."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dure.reports.lending_rule import divide, lent_between

AMOUNT = st.integers(0, 400_000_000)
SIBLINGS = st.lists(st.tuples(AMOUNT, AMOUNT, AMOUNT), min_size=1, max_size=8)


def pairs_of(siblings: list[tuple[int, int, int]], unowned: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    held, guarantee, lend = (np.array(column) for column in zip(*siblings, strict=True))
    return lent_between(held, guarantee, lend, unowned)


@given(SIBLINGS, AMOUNT)
def test_what_is_lent_is_what_is_borrowed_as_far_as_it_can_be_covered(
    siblings: list[tuple[int, int, int]], unowned: int
) -> None:
    pairs = pairs_of(siblings, unowned)
    borrowed = [max(0, held - guarantee) for held, guarantee, _ in siblings]
    lendable = [max(0, min(guarantee - held, lend)) for held, guarantee, lend in siblings]
    assert pairs.min(initial=0) >= 0
    assert pairs.sum() == min(sum(borrowed), unowned + sum(lendable))
    assert pairs[0].sum() == min(sum(borrowed), unowned)
    assert all(pairs[1:].sum(axis=1) <= lendable)
    assert all(pairs.sum(axis=0) <= borrowed)


@given(SIBLINGS, AMOUNT)
def test_every_pair_is_in_proportion_up_to_rounding(siblings: list[tuple[int, int, int]], unowned: int) -> None:
    pairs = pairs_of(siblings, unowned)
    total = int(pairs.sum())
    for row in range(len(pairs)):
        for column in range(len(siblings)):
            exact = int(pairs[row].sum()) * int(pairs[:, column].sum()) / max(1, total)
            assert abs(int(pairs[row, column]) - exact) <= len(pairs) + len(siblings)


def test_what_is_undivided_is_lent_first_and_owners_lend_in_proportion() -> None:
    # Two owners with 6 and 3 GPUs idle, 2 GPUs nobody's, and a borrower of 5.
    pairs = pairs_of([(2_000, 8_000, 8_000), (0, 3_000, 3_000), (5_000, 0, 0)], 2_000)
    assert pairs[:, 2].tolist() == [2_000, 2_000, 1_000, 0]
    assert pairs[:, :2].sum() == 0


def test_an_owner_lends_no_more_than_its_lending_limit() -> None:
    assert pairs_of([(0, 8_000, 3_000), (5_000, 0, 0)], 0)[:, 1].tolist() == [0, 3_000, 0]


def test_what_rounding_leaves_goes_to_the_first_in_the_document() -> None:
    assert divide(2, np.array([1, 1, 1])).tolist() == [1, 1, 0]
    assert divide(5, np.array([3, 0, 3, 3])).tolist() == [2, 0, 2, 1]
