"""The ledger as people read it: its last signed statement, and its entries."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct


class LedgerReport(Struct, frozen=True, kw_only=True):
    """How long the ledger is and what was last signed. `root` is hexadecimal; `note` is the C2SP signed note."""

    entries: int
    checkpoint_entries: int
    """Entries that the last checkpoint covers."""
    root: str
    at_ms: int | None
    key_name: str
    note: str
    quorum: int = 0
    """Witnesses that must cosign a checkpoint to make it final; 0 for a ledger without witnesses."""
    witnesses: int = 0
    final_entries: int = 0
    """Entries under the last final checkpoint."""
    cosigned_by: tuple[str, ...] = ()
    """Who cosigned that one."""
    not_cosigned_by: tuple[str, ...] = ()
    """Who did not cosign the newest, when it was asked last."""


class LedgerEntry(Struct, frozen=True, kw_only=True):
    """One entry by its position, first is 0. `body` is the entry's own bytes, which are JSON."""

    position: int
    body: msgspec.Raw


class LedgerEntries(Struct, frozen=True, kw_only=True):
    """Consecutive entries, and the position to ask for next (null at the end)."""

    entries: tuple[LedgerEntry, ...]
    next: int | None


def ledger_report(entries: int, checkpoint_entries: int, root: bytes, at_ms: int | None, note: str) -> LedgerReport:
    """The ledger's size beside its last checkpoint. Before the first checkpoint `note` is empty and `at_ms` null."""
    return LedgerReport(
        entries=entries,
        checkpoint_entries=checkpoint_entries,
        root=root.hex(),
        at_ms=at_ms,
        key_name=key_name(note),
        note=note,
    )


def key_name(note: str) -> str:
    """Name of the key that signed a C2SP signed note: the second word of its first signature line."""
    return next(
        (line.split(" ")[1] for line in note.splitlines() if line.startswith("— ") and line.count(" ") >= 2), ""
    )


def entries_report(start: int, entries: Iterable[bytes], size: int) -> LedgerEntries:
    """Entries from position `start` of a ledger that has `size` of them."""
    shown = tuple(
        LedgerEntry(position=position, body=msgspec.Raw(entry)) for position, entry in enumerate(entries, start)
    )
    after = start + len(shown)
    return LedgerEntries(entries=shown, next=after if after < size else None)
