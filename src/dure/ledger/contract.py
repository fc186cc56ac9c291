"""What every ledger promises, whatever it is stored in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from msgspec import Struct


class LedgerFenced(Exception):
    """An append was refused because somebody else appended first: this writer's world is out of date."""


class Row(Struct, frozen=True):
    """One row of a table that people query, written in the same transaction as the entries it follows from.

    `body` None removes the row. Tables: `jobs`, `specs`, `attempts`, `requests`, `tokens`, `secrets`.
    """

    table: str
    key: str
    body: bytes | None


class Checkpoint(Struct, frozen=True, kw_only=True):
    """A signed statement of the tree's size and root. `note` is the C2SP signed note as text."""

    size: int
    root: bytes
    at_ms: int
    note: str


class Ledger(Protocol):
    """The append-only log and the tables derived from it."""

    @property
    def size(self) -> int:
        """Number of entries."""
        ...

    def append(self, expected_size: int, entries: Sequence[bytes], rows: Sequence[Row], at_ms: int) -> None:
        """Make entries and rows durable together, or raise and change nothing.

        Raises `LedgerFenced` when the log does not have `expected_size` entries.
        """
        ...

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Entries by position, oldest first."""
        ...

    def row(self, table: str, key: str) -> bytes | None:
        """One row."""
        ...

    def rows(
        self, table: str, prefix: str = "", limit: int | None = None, newest_first: bool = False
    ) -> list[tuple[str, bytes]]:
        """Rows of a table whose key starts with `prefix`, in the order in which their keys were first written."""
        ...

    def latest_checkpoint(self) -> Checkpoint | None:
        """The newest signed checkpoint."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
