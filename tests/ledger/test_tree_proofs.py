"""Proofs from rows of hashes are those of the tree in memory, which others' vectors are tried on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dure.ledger.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root,
    verify_consistency,
    verify_inclusion,
)
from dure.ledger.tree import LeafRows, prove_consistency, prove_inclusion, tree_root
from tests.ledger.test_merkle import REFERENCE_ENTRIES, REFERENCE_ROOTS

LEAVES = [leaf_hash(number.to_bytes(4, "big")) for number in range(70_000)]


class CountedRows:
    """Rows over leaves, with a count of the hashes that were asked for."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._rows = LeafRows(leaves)
        self.asked = 0

    def hashes(self, row: int, start: int, stop: int) -> Sequence[bytes]:
        self.asked += stop - start
        return self._rows.hashes(row, start, stop)


def test_roots_of_the_reference_tree_are_the_published_ones() -> None:
    leaves = [leaf_hash(entry) for entry in REFERENCE_ENTRIES]
    assert [tree_root(size, LeafRows(leaves)).hex() for size in range(len(leaves) + 1)] == REFERENCE_ROOTS


@given(st.integers(1, 700), st.data())
def test_an_inclusion_proof_from_rows_is_the_one_from_all_leaves(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = prove_inclusion(index, size, LeafRows(LEAVES))
    assert proof == inclusion_proof(index, LEAVES[:size])


@given(st.integers(0, 700), st.data())
def test_a_consistency_proof_from_rows_is_the_one_from_all_leaves(size: int, data: st.DataObject) -> None:
    old_size = data.draw(st.integers(0, size))
    proof = prove_consistency(old_size, size, LeafRows(LEAVES))
    assert proof == consistency_proof(old_size, LEAVES[:size])


@settings(max_examples=10, deadline=None)
@given(st.integers(65_000, 70_000), st.data())
def test_proofs_about_a_tree_of_three_rows_verify(size: int, data: st.DataObject) -> None:
    index, old_size = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    rows = LeafRows(LEAVES)
    whole = tree_root(size, rows)
    assert whole == root(LEAVES[:size])
    assert verify_inclusion(index, size, LEAVES[index], prove_inclusion(index, size, rows), whole)
    old = root(LEAVES[:old_size])
    assert verify_consistency(old_size, old, size, whole, prove_consistency(old_size, size, rows))


def test_a_proof_needs_a_few_tiles_and_not_the_tree() -> None:
    rows = CountedRows(LEAVES)
    prove_inclusion(12_345, 70_000, rows)
    assert rows.asked < 8 * 256


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_what_is_not_in_a_tree_is_not_proven(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="is not in a tree"):
        prove_inclusion(index, size, LeafRows(LEAVES))


def test_a_longer_tree_is_no_beginning_of_a_shorter() -> None:
    with pytest.raises(ValueError, match="has no beginning"):
        prove_consistency(4, 3, LeafRows(LEAVES))
