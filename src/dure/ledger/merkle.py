"""The Merkle tree of RFC 6962: one hash that stands for a whole log, and short proofs about what is in it.

Everything here works on leaf hashes; `leaf_hash` turns an entry into one. A tree is hashed level by level: neighbours
are paired, and a last one without a neighbour moves up as it is, which gives the same root as the RFC's recursion.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
_LEAF = sha256(b"\x00")


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry. The prefix keeps an entry from ever being taken for an inner node."""
    return sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Hashes of several entries, in order."""
    hashes = []
    for entry in entries:
        # To go on from a begun hash is cheaper than to copy every entry behind the prefix.
        begun = _LEAF.copy()
        begun.update(entry)
        hashes.append(begun.digest())
    return hashes


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Root of the tree over these leaf hashes."""
    level = leaves
    while len(level) > 1:
        level = _parents(level)
    return level[0] if level else EMPTY_ROOT


def _parents(level: Sequence[bytes]) -> list[bytes]:
    parents = [sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
    if len(level) % 2:
        parents.append(level[-1])
    return parents


class Frontier:
    """The right edge of a growing tree: all that is needed to add leaves and to know the root, in O(log size) memory.

    The tree over `size` leaves is a row of perfect subtrees, one for each bit that is set in `size`; their roots are
    the peaks, kept by height. Adding leaves pairs them upwards and leaves at most one unpaired peak at each height.
    """

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes | None] = []

    @classmethod
    def over(cls, leaves: Iterable[bytes]) -> Frontier:
        """The frontier of the tree over these leaf hashes."""
        frontier = cls()
        frontier.extend(leaves)
        return frontier

    @classmethod
    def restore(cls, size: int, peaks: Sequence[bytes]) -> Frontier:
        """The frontier that gave `peaks()`. Raises `ValueError` when they cannot belong to a tree of this size.

        Whoever restores from storage compares `root()` with a signed one: peaks that give the right root are the right
        peaks.
        """
        if len(peaks) != size.bit_count() or any(len(peak) != HASH_BYTES for peak in peaks):
            raise ValueError(f"{len(peaks)} peaks cannot be the frontier of a tree of {size} leaves")
        frontier = cls()
        frontier.size = size
        left = iter(peaks)
        frontier._peaks = [next(left) if size >> height & 1 else None for height in range(size.bit_length())]
        return frontier

    def copy(self) -> Frontier:
        """An independent frontier in the same state."""
        return Frontier.restore(self.size, self.peaks())

    def peaks(self) -> list[bytes]:
        """Roots of the perfect subtrees, smallest (rightmost) first."""
        return [peak for peak in self._peaks if peak is not None]

    def add(self, leaf: bytes) -> None:
        """Append one leaf hash."""
        self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append leaf hashes in order."""
        arriving = list(leaves)
        self.size += len(arriving)
        height = 0
        while arriving:
            if height == len(self._peaks):
                self._peaks.append(None)
            peak = self._peaks[height]
            if peak is not None:
                arriving.insert(0, peak)
            self._peaks[height] = arriving.pop() if len(arriving) % 2 else None
            arriving = _parents(arriving)
            height += 1

    def root(self) -> bytes:
        """Root of the tree over everything appended so far."""
        peaks = self.peaks()
        if not peaks:
            return EMPTY_ROOT
        whole = peaks[0]
        for peak in peaks[1:]:
            whole = node_hash(peak, whole)
        return whole


def inclusion_proof(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Hashes that, with leaf `index`, give the root over `leaves`: the RFC's audit path, lowest first."""
    if not 0 <= index < len(leaves):
        raise ValueError(f"entry {index} is not in a tree of {len(leaves)} entries")
    path = []
    level = leaves
    while len(level) > 1:
        if index ^ 1 < len(level):
            path.append(level[index ^ 1])
        level, index = _parents(level), index >> 1
    return path


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """True when `proof` shows that `leaf` is entry `index` of the tree of `size` entries with this root."""
    if not 0 <= index < size:
        return False
    last = size - 1
    whole = leaf
    for sibling in proof:
        if last == 0:
            return False
        if index & 1 or index == last:
            whole = node_hash(sibling, whole)
            index, last = _skip_levels_without_sibling(index, last)
        else:
            whole = node_hash(whole, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and whole == root


def _skip_levels_without_sibling(index: int, last: int) -> tuple[int, int]:
    while index and not index & 1:
        index, last = index >> 1, last >> 1
    return index, last


def consistency_proof(old_size: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Hashes that show the tree over the first `old_size` leaves to be a beginning of the tree over `leaves`."""
    if not 0 <= old_size <= len(leaves):
        raise ValueError(f"a tree of {len(leaves)} entries has no beginning of {old_size} entries")
    return _subproof(old_size, leaves, old_root_is_known=True) if old_size else []


def _subproof(old_size: int, leaves: Sequence[bytes], old_root_is_known: bool) -> list[bytes]:
    if old_size == len(leaves):
        return [] if old_root_is_known else [root(leaves)]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = leaves[:split], leaves[split:]
    if old_size <= split:
        return [*_subproof(old_size, left, old_root_is_known), root(right)]
    return [*_subproof(old_size - split, right, old_root_is_known=False), root(left)]


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """True when `proof` shows that the tree with `old_root` is a beginning of the tree with `new_root`."""
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    if old_size >= new_size:
        return old_size == new_size and not proof and old_root == new_root
    # A perfect old tree is itself a node of the new one, so its root is not repeated in the proof.
    path = [old_root, *proof] if old_size.bit_count() == 1 else list(proof)
    if not path:
        return False
    rebuilt = _roots_along(old_size, new_size, path)
    return rebuilt == (old_root, new_root)


def _roots_along(old_size: int, new_size: int, path: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """Old and new root as the path of a consistency proof gives them; None when its length does not fit the sizes."""
    index, last = old_size - 1, new_size - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if index & 1 or index == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            index, last = _skip_levels_without_sibling(index, last)
        else:
            new = node_hash(new, sibling)
        index, last = index >> 1, last >> 1
    return (old, new) if last == 0 else None
