"""The tree against the published test vectors and against a recursion copied from the words of RFC 6962."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

# The tree that Certificate Transparency implementations test themselves with, and its root at every size.
REFERENCE_ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
REFERENCE_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def split(size: int) -> int:
    """RFC 6962, 2.1: the largest power of two smaller than n."""
    k = 1
    while k * 2 < size:
        k *= 2
    return k


def tree_hash(entries: list[bytes]) -> bytes:
    """RFC 6962, 2.1: MTH(D[n])."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = split(len(entries))
    return sha256(b"\x01" + tree_hash(entries[:k]) + tree_hash(entries[k:])).digest()


def audit_path(m: int, entries: list[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1: PATH(m, D[n])."""
    if len(entries) == 1:
        return []
    k = split(len(entries))
    if m < k:
        return [*audit_path(m, entries[:k]), tree_hash(entries[k:])]
    return [*audit_path(m - k, entries[k:]), tree_hash(entries[:k])]


def subproof(m: int, entries: list[bytes], complete: bool) -> list[bytes]:
    """RFC 6962, 2.1.2: SUBPROOF(m, D[n], b)."""
    if m == len(entries):
        return [] if complete else [tree_hash(entries)]
    k = split(len(entries))
    if m <= k:
        return [*subproof(m, entries[:k], complete), tree_hash(entries[k:])]
    return [*subproof(m - k, entries[k:], False), tree_hash(entries[:k])]


some_entries = st.integers(0, 70).map(lambda size: [b"entry %d" % number for number in range(size)])
two_sizes = st.tuples(st.integers(0, 70), st.integers(0, 70)).map(lambda sizes: (min(sizes), max(sizes)))


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_the_reference_tree(size: int) -> None:
    leaves = leaf_hashes(REFERENCE_ENTRIES[:size])
    assert root(leaves).hex() == REFERENCE_ROOTS[size]
    assert Frontier.over(leaves).root().hex() == REFERENCE_ROOTS[size]


def test_an_empty_tree_has_the_hash_of_nothing() -> None:
    assert root([]) == Frontier().root() == EMPTY_ROOT == sha256(b"").digest()


def test_a_leaf_is_never_mistaken_for_an_inner_node() -> None:
    left, right = leaf_hash(b"left"), leaf_hash(b"right")
    assert leaf_hash(left + right) != node_hash(left, right)


@given(some_entries)
def test_the_root_is_what_the_recursion_of_the_rfc_gives(entries: list[bytes]) -> None:
    assert root(leaf_hashes(entries)) == tree_hash(entries)


@given(st.lists(st.integers(0, 40), max_size=8))
def test_a_frontier_has_the_right_root_however_its_leaves_arrive(batches: list[int]) -> None:
    frontier, entries = Frontier(), list[bytes]()
    for size in batches:
        arriving = [b"entry %d" % number for number in range(len(entries), len(entries) + size)]
        entries += arriving
        frontier.extend(leaf_hashes(arriving))
        assert (frontier.size, frontier.root()) == (len(entries), tree_hash(entries))


@given(some_entries)
def test_a_frontier_grows_leaf_by_leaf_as_it_does_in_batches(entries: list[bytes]) -> None:
    frontier = Frontier()
    for entry in entries:
        frontier.add(leaf_hash(entry))
    assert frontier.peaks() == Frontier.over(leaf_hashes(entries)).peaks()


@given(some_entries, some_entries)
def test_a_restored_frontier_goes_on_as_the_first_would_have(before: list[bytes], after: list[bytes]) -> None:
    first = Frontier.over(leaf_hashes(before))
    restored = Frontier.restore(first.size, first.peaks())
    restored.extend(leaf_hashes(after))
    assert restored.root() == tree_hash(before + after)


def test_a_copied_frontier_leaves_the_first_alone() -> None:
    first = Frontier.over(leaf_hashes(REFERENCE_ENTRIES[:5]))
    first.copy().add(leaf_hash(b"more"))
    assert first.root().hex() == REFERENCE_ROOTS[5]


@pytest.mark.parametrize(("size", "peaks"), [(3, 1), (4, 2), (0, 1)])
def test_peaks_that_cannot_belong_to_the_size_are_refused(size: int, peaks: int) -> None:
    with pytest.raises(ValueError, match="cannot be the frontier"):
        Frontier.restore(size, [bytes(32)] * peaks)


def test_peaks_of_the_wrong_length_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be the frontier"):
        Frontier.restore(1, [bytes(31)])


@given(some_entries.filter(bool), st.data())
def test_an_entry_is_proven_to_be_in_the_log(entries: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(entries) - 1))
    proof = inclusion_proof(index, leaf_hashes(entries))
    assert proof == audit_path(index, entries)
    assert verify_inclusion(index, len(entries), leaf_hash(entries[index]), proof, tree_hash(entries))


@given(some_entries.filter(bool), st.data())
def test_no_proof_shows_what_is_not_so(entries: list[bytes], data: st.DataObject) -> None:
    size, leaves, whole = len(entries), leaf_hashes(entries), tree_hash(entries)
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, leaves)
    other = data.draw(st.integers(-1, size + 1).filter(lambda other: other != index))
    assert not verify_inclusion(index, size, leaf_hash(b"another entry"), proof, whole)
    assert not verify_inclusion(other, size, leaves[index], proof, whole)
    assert not verify_inclusion(index, size, leaves[index], [*proof, bytes(32)], whole)
    assert not verify_inclusion(index, size, leaves[index], proof, bytes(32))
    for at in range(len(proof)):
        assert not verify_inclusion(index, size, leaves[index], proof[:at] + proof[at + 1 :], whole)
        assert not verify_inclusion(index, size, leaves[index], [*proof[:at], bytes(32), *proof[at + 1 :]], whole)


def test_a_proof_longer_than_the_tree_is_high_is_refused_even_if_it_gives_the_root() -> None:
    left, right = leaf_hash(b"left"), leaf_hash(b"right")
    assert verify_inclusion(1, 2, right, [left], node_hash(left, right))
    assert not verify_inclusion(0, 1, right, [left], node_hash(left, right))


def test_an_entry_that_is_not_there_has_no_proof() -> None:
    with pytest.raises(ValueError, match="entry 8 is not in a tree of 8 entries"):
        inclusion_proof(8, leaf_hashes(REFERENCE_ENTRIES))


@given(two_sizes)
def test_a_log_is_proven_to_go_on_from_an_older_one(sizes: tuple[int, int]) -> None:
    old, new = sizes
    entries = [b"entry %d" % number for number in range(new)]
    proof = consistency_proof(old, leaf_hashes(entries))
    if old:
        assert proof == subproof(old, entries, True)
    assert verify_consistency(old, tree_hash(entries[:old]), new, tree_hash(entries), proof)


@given(two_sizes)
def test_a_rewritten_log_cannot_prove_that_it_goes_on(sizes: tuple[int, int]) -> None:
    old, new = sizes
    entries = [b"entry %d" % number for number in range(new)]
    proof = consistency_proof(old, leaf_hashes(entries))
    old_root, new_root = tree_hash(entries[:old]), tree_hash(entries)
    assert not verify_consistency(old, bytes(32), new, new_root, proof)
    assert not verify_consistency(old, old_root, new, new_root, [*proof, bytes(32)])
    if old:
        assert not verify_consistency(old, old_root, new, bytes(32), proof)
    for at in range(len(proof)):
        assert not verify_consistency(old, old_root, new, new_root, proof[:at] + proof[at + 1 :])
        assert not verify_consistency(old, old_root, new, new_root, [*proof[:at], bytes(32), *proof[at + 1 :]])


def test_a_consistency_proof_that_is_too_long_is_refused_even_if_it_gives_both_roots() -> None:
    leaves, above = leaf_hashes(REFERENCE_ENTRIES[:4]), leaf_hash(b"above")
    old, new, proof = root(leaves[:3]), root(leaves), consistency_proof(3, leaves)
    assert verify_consistency(3, old, 4, new, proof)
    assert not verify_consistency(3, node_hash(above, old), 4, node_hash(above, new), [*proof, above])


def test_a_log_cannot_go_on_from_a_longer_one() -> None:
    leaves = leaf_hashes(REFERENCE_ENTRIES)
    assert not verify_consistency(8, root(leaves), 5, root(leaves[:5]), [])
    with pytest.raises(ValueError, match="has no beginning of 9 entries"):
        consistency_proof(9, leaves)
