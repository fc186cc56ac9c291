"""Proofs about a tree that is too large to hold in memory, from the few of its hashes that they need.

Hashes are asked for in rows: row 0 are the leaves, and each hash of row r + 1 stands for 256 of row r, as C2SP tiles
have them. Any node of the tree is made from at most 255 hashes of one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dure.ledger.merkle import EMPTY_ROOT, node_hash, root

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT


class HashRows(Protocol):
    """Where a tree's hashes come from."""

    def hashes(self, row: int, start: int, stop: int) -> Sequence[bytes]:
        """Hashes `start` to `stop - 1` of a row; all of them stand for 256**row leaves, none for fewer."""
        ...


class LeafRows:
    """Rows of a tree whose leaves are all in memory; higher rows are computed when they are asked for."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._leaves = leaves

    def hashes(self, row: int, start: int, stop: int) -> Sequence[bytes]:
        """Part of a row."""
        width = TILE_WIDTH**row
        if row == 0:
            return self._leaves[start:stop]
        return [root(self._leaves[at * width : (at + 1) * width]) for at in range(start, stop)]


def tree_root(size: int, rows: HashRows) -> bytes:
    """Root of the tree over the first `size` leaves."""
    return _range_root(0, size, rows) if size else EMPTY_ROOT


def prove_inclusion(index: int, size: int, rows: HashRows) -> list[bytes]:
    """RFC 6962's audit path of leaf `index` in the tree over `size` leaves, lowest first."""
    if not 0 <= index < size:
        raise ValueError(f"entry {index} is not in a tree of {size} entries")
    return _audit_path(index, 0, size, rows)


def prove_consistency(old_size: int, size: int, rows: HashRows) -> list[bytes]:
    """RFC 6962's proof that the tree over `old_size` leaves is a beginning of that over `size`."""
    if not 0 <= old_size <= size:
        raise ValueError(f"a tree of {size} entries has no beginning of {old_size} entries")
    return _subproof(old_size, 0, size, rows, old_root_is_known=True) if old_size else []


def _audit_path(index: int, start: int, stop: int, rows: HashRows) -> list[bytes]:
    if stop - start == 1:
        return []
    split = start + _split(stop - start)
    if index < split:
        return [*_audit_path(index, start, split, rows), _range_root(split, stop, rows)]
    return [*_audit_path(index, split, stop, rows), _range_root(start, split, rows)]


def _subproof(old_stop: int, start: int, stop: int, rows: HashRows, old_root_is_known: bool) -> list[bytes]:
    if old_stop == stop:
        return [] if old_root_is_known else [_range_root(start, stop, rows)]
    split = start + _split(stop - start)
    if old_stop <= split:
        return [*_subproof(old_stop, start, split, rows, old_root_is_known), _range_root(split, stop, rows)]
    return [*_subproof(old_stop, split, stop, rows, old_root_is_known=False), _range_root(start, split, rows)]


def _range_root(start: int, stop: int, rows: HashRows) -> bytes:
    """Root over leaves `start` to `stop - 1`, a range that RFC 6962's recursion comes upon."""
    count = stop - start
    if count.bit_count() != 1:
        split = start + _split(count)
        return node_hash(_range_root(start, split, rows), _range_root(split, stop, rows))
    row, height = divmod(count.bit_length() - 1, TILE_HEIGHT)
    first = start >> TILE_HEIGHT * row
    return root(rows.hashes(row, first, first + (1 << height)))


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1
