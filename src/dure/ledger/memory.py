"""A ledger in memory: for the twin, whose world ends with the process, and for a first look at the contract."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from dure.ledger.contract import TABLES, Checkpoint, LedgerFenced, Row, StoredLog
from dure.ledger.large import entry_leaf, entry_leaves
from dure.ledger.merkle import Frontier
from dure.ledger.note import Signer, sign_checkpoint


class MemoryLedger:
    """Entries in a list, rows in dictionaries. The tree is only computed when somebody asks for its root.

    A simulated run needs no proof, so `signer` may be left out; then there are no checkpoints.
    """

    def __init__(self, signer: Signer | None = None) -> None:
        self._signer = signer
        self._entries: list[bytes] = []
        self._tables: dict[str, dict[str, bytes]] = {name: {} for name in TABLES}
        self._frontier = Frontier()
        self._checkpoint: Checkpoint | None = None
        self._at_ms = 0
        self._guard = threading.RLock()

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self._entries)

    def append(self, expected_size: int, entries: Sequence[bytes], rows: Sequence[Row], at_ms: int) -> None:
        """Add entries and rows. Raises `LedgerFenced` when the log does not have `expected_size` entries."""
        with self._guard:
            if expected_size != len(self._entries):
                raise LedgerFenced(f"the log has {len(self._entries)} entries, not {expected_size}")
            tables = [self._tables[row.table] for row in rows]
            self._entries.extend(entries)
            self._at_ms = at_ms if entries else self._at_ms
            for table, row in zip(tables, rows, strict=True):
                if row.body is None:
                    table.pop(row.key, None)
                else:
                    table[row.key] = row.body

    @property
    def is_leading(self) -> bool:
        """Always: nobody else can reach this memory."""
        return True

    def sign_with(self, signer: Signer) -> None:
        """Have what is appended from now on signed with another key of the same name."""
        self._signer = signer

    def resume(self) -> None:
        """Nothing can have changed meanwhile."""

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Entries by position, oldest first; those that are there when the iteration begins."""
        yield from self._entries[start:stop]

    def leaf_hashes(self, start: int, stop: int) -> list[bytes]:
        """Leaf hashes of entries `start` to `stop - 1`."""
        return entry_leaves(self._entries[start:stop])

    def row(self, table: str, key: str) -> bytes | None:
        """One row."""
        return self._tables[table].get(key)

    def rows_of(self, table: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Those of these rows that are there, by key."""
        rows = self._tables[table]
        return {key: rows[key] for key in keys if key in rows}

    def keys(self, table: str) -> Iterator[list[str]]:
        """All keys of a table."""
        with self._guard:
            keys = list(self._tables[table])
        yield keys

    def rows(
        self, table: str, prefix: str = "", limit: int | None = None, newest_first: bool = False
    ) -> list[tuple[str, bytes]]:
        """Rows of a table whose key starts with `prefix`, in the order in which their keys were first written."""
        with self._guard:
            ordered = self._tables[table].items()
            wanted = (item for item in (reversed(ordered) if newest_first else ordered) if item[0].startswith(prefix))
            return list(islice(wanted, limit))

    def root(self) -> bytes:
        """Root of the Merkle tree over all entries: equal roots are equal runs."""
        with self._guard:
            self._frontier.extend(entry_leaves(self._entries[self._frontier.size :]))
            return self._frontier.root()

    def latest_checkpoint(self) -> Checkpoint | None:
        """A signed checkpoint of everything appended so far; None without entries or signer."""
        with self._guard:
            if self._signer is None or not self._entries:
                return None
            if self._checkpoint is None or self._checkpoint.size != self.size:
                root = self.root()
                note = sign_checkpoint(self._signer, self.size, root)
                self._checkpoint = Checkpoint(size=self.size, root=root, at_ms=self._at_ms, note=note)
            return self._checkpoint

    @contextmanager
    def stored(self) -> Iterator[StoredLog]:
        """The log as of now, for verification."""
        with self._guard:
            checkpoint = self.latest_checkpoint()
            snapshot = _Snapshot(list(self._entries), [checkpoint.note] if checkpoint else [])
        yield snapshot

    def scrub(self) -> None:
        """What was removed is nowhere."""

    def close(self) -> None:
        """Nothing to let go of."""


class _Snapshot:
    """What a memory ledger held at one moment."""

    def __init__(self, entries: list[bytes], notes: list[str]) -> None:
        self._entries = entries
        self._notes = notes

    def checkpoints(self) -> list[str]:
        return self._notes

    def entries(self, start: int = 0) -> Iterator[list[tuple[int, bytes]]]:
        yield list(enumerate(self._entries[start:], start))

    def leaf_hashes(self, stop: int, start: int = 0) -> Iterator[bytes]:
        return map(entry_leaf, self._entries[start:stop])
