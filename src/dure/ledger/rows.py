"""The hashes of a ledger that is being appended to, as proofs and tiles need them.

Leaf hashes are read where the ledger keeps them. Of every 256 the hash above is computed once and kept: 4,000 hashes
for a million entries. Nothing of this is believed by whoever checks a proof, so it need not be stored.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from dure.ledger.contract import Ledger
from dure.ledger.merkle import root
from dure.ledger.tree import TILE_WIDTH

_TILES_AT_ONCE = 16


class LedgerRows:
    """Rows of hashes over a ledger. May be asked from any thread; the first time takes a second per million entries."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rows: list[list[bytes]] = []
        """Row 1 and those above, as far as they were needed."""
        self._growing = threading.Lock()

    def hashes(self, row: int, start: int, stop: int) -> Sequence[bytes]:
        """Part of a row; all of it must be there."""
        if row == 0:
            return self._ledger.leaf_hashes(start, stop)
        with self._growing:
            self._grow(row, stop)
            return self._rows[row - 1][start:stop]

    def _grow(self, row: int, stop: int) -> None:
        while len(self._rows) < row:
            self._rows.append([])
        grown = self._rows[row - 1]
        if row > 1:
            self._grow(row - 1, stop * TILE_WIDTH)
        while len(grown) < stop:
            first = len(grown) * TILE_WIDTH
            below = self._below(row, first, min(first + _TILES_AT_ONCE * TILE_WIDTH, stop * TILE_WIDTH))
            grown.extend(root(below[at : at + TILE_WIDTH]) for at in range(0, len(below), TILE_WIDTH))

    def _below(self, row: int, start: int, stop: int) -> Sequence[bytes]:
        return self._ledger.leaf_hashes(start, stop) if row == 1 else self._rows[row - 2][start:stop]
