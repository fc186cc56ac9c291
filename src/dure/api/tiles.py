"""The ledger as static files would have it (C2SP tlog-tiles), made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable

from dure.ledger.contract import Ledger
from dure.ledger.cosigning import Finality
from dure.ledger.large import is_large, logged
from dure.ledger.rows import LedgerRows
from dure.ledger.tiles import ENTRIES, Tile, is_in, pack_entries, pack_hashes


class Tiles:
    """Tiles of a ledger that is being appended to. May be asked from any thread."""

    def __init__(self, ledger: Callable[[], Ledger], finality: Callable[[], Finality | None]) -> None:
        self._ledger = ledger
        self._finality = finality
        self._rows = LedgerRows(ledger())

    def checkpoint(self) -> str:
        """The last final checkpoint if there is one, else the newest; empty before the first."""
        finality = self._finality()
        if finality is not None and finality.note:
            return finality.note
        latest = self._ledger().latest_checkpoint()
        return latest.note if latest else ""

    def tile(self, tile: Tile) -> bytes | None:
        """What is in a tile; None when the signed log does not have all of it."""
        latest = self._ledger().latest_checkpoint()
        if latest is None or not is_in(tile, latest.size):
            return None
        if tile.level == ENTRIES:
            return pack_entries([logged(entry) for entry in self._ledger().entries(tile.start, tile.stop)])
        return pack_hashes(self._rows.hashes(tile.level, tile.start, tile.stop))

    def large(self, position: int) -> bytes | None:
        """A whole large entry; None when the entry at this position is none."""
        entry = next(self._ledger().entries(position, position + 1), b"")
        return entry if is_large(entry) else None
