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


# Proofs in that tree, as Certificate Transparency implementations test themselves with: of the leaf (from 1), or the
# beginning, in the tree of the size.
AB, CD = (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
)
E, GH = (
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
)
EFGH = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
EF = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
REFERENCE_INCLUSIONS = {
    (1, 1): [],
    (1, 8): [AB, CD, EFGH],
    (6, 8): [E, GH, REFERENCE_ROOTS[4]],
    (3, 3): [REFERENCE_ROOTS[2]],
    (2, 5): [REFERENCE_ROOTS[1], CD, E],
}
REFERENCE_CONSISTENCIES = {
    (1, 1): [],
    (1, 8): [AB, CD, EFGH],
    (6, 8): [EF, GH, REFERENCE_ROOTS[4]],
    (2, 5): [CD, E],
}


@pytest.mark.parametrize(("leaf", "size"), REFERENCE_INCLUSIONS)
def test_inclusion_proofs_in_the_reference_tree_are_the_published_ones(leaf: int, size: int) -> None:
    leaves = [leaf_hash(entry) for entry in REFERENCE_ENTRIES]
    proof = prove_inclusion(leaf - 1, size, LeafRows(leaves))
    assert [each.hex() for each in proof] == REFERENCE_INCLUSIONS[leaf, size]


@pytest.mark.parametrize(("old", "size"), REFERENCE_CONSISTENCIES)
def test_consistency_proofs_in_the_reference_tree_are_the_published_ones(old: int, size: int) -> None:
    leaves = [leaf_hash(entry) for entry in REFERENCE_ENTRIES]
    proof = prove_consistency(old, size, LeafRows(leaves))
    assert [each.hex() for each in proof] == REFERENCE_CONSISTENCIES[old, size]


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
