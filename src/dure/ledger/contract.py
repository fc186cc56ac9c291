"""What every ledger promises, whatever it is stored in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from dure.ledger.note import Signer

TABLES = ("jobs", "specs", "attempts", "requests", "tokens", "secrets", "accounts")


class LedgerError(Exception):
    """Something a ledger could not do. The message says what, where, and what to do about it."""


class LedgerFenced(LedgerError):
    """An append was refused because somebody else appended first: this writer's world is out of date."""


class LedgerWriteFailed(LedgerError):
    """An append could not be made durable (disk full, database gone). It may be tried again after `resume`.

    Nothing was recorded, unless a database's connection broke during the commit: then nobody here can know, and only
    reading the log again tells.
    """


class LedgerInUse(LedgerError):
    """Another server holds this ledger."""


class LedgerUnreachable(LedgerError):
    """The database that holds the ledger does not answer, or does not let us in."""


class LedgerUnreadable(LedgerError):
    """What is stored is not a ledger this program can continue: foreign, newer, damaged, or signed by another key."""


# Many are made in each step, and none is ever part of a cycle: the garbage collector need not look at them.
class Row(Struct, frozen=True, gc=False):
    """One row of a table that people query, written in the same transaction as the entries it follows from.

    `table` is one of `TABLES`. `body` None removes the row.
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


class StoredLog(Protocol):
    """A log as it lies in its storage at one moment: to be judged by `dure.ledger.verify`, not believed."""

    def checkpoints(self) -> list[str]:
        """The signed notes that were kept, oldest first."""
        ...

    def entries(self, start: int = 0) -> Iterator[list[tuple[int, bytes]]]:
        """Batches of entries with their positions, in order of position."""
        ...

    def leaf_hashes(self, stop: int, start: int = 0) -> Iterator[bytes]:
        """Recorded hashes of the entries from `start` to before `stop`, in order. They point at an altered entry."""
        ...


class Ledger(Protocol):
    """The append-only log and the tables derived from it."""

    @property
    def size(self) -> int:
        """Number of entries."""
        ...

    def append(self, expected_size: int, entries: Sequence[bytes], rows: Sequence[Row], at_ms: int) -> None:
        """Make entries and rows durable together, or raise and change nothing.

        Raises `LedgerFenced` when the log does not have `expected_size` entries, `LedgerWriteFailed` when it cannot
        be written. Called from one thread at a time; everything else may be called from any thread meanwhile.
        """
        ...

    @property
    def is_leading(self) -> bool:
        """True while no other process can append. While it is False no engine must be told anything."""
        ...

    def sign_with(self, signer: Signer) -> None:
        """Have what is appended from now on signed with another key of the same name."""
        ...

    def resume(self) -> None:
        """Be ready to append again, before the world is made again from the log: to be called after any failed append.

        Raises `LedgerInUse` when another server has taken the log over, for good, and `LedgerUnreachable` when it is
        worth trying again in a moment.
        """
        ...

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Entries by position, oldest first."""
        ...

    def leaf_hashes(self, start: int, stop: int) -> Sequence[bytes]:
        """Leaf hashes of entries `start` to `stop - 1`, as they were recorded: what proofs are made from."""
        ...

    def row(self, table: str, key: str) -> bytes | None:
        """One row."""
        ...

    def rows_of(self, table: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Those of these rows that are there, by key: one question instead of one for each."""
        ...

    def keys(self, table: str) -> Iterator[list[str]]:
        """All keys of a table, some thousands at a time; those written after the iteration began may be missing."""
        ...

    def rows(
        self, table: str, prefix: str = "", limit: int | None = None, newest_first: bool = False
    ) -> list[tuple[str, bytes]]:
        """Rows of a table whose key starts with `prefix`, in the order in which their keys were first written."""
        ...

    def latest_checkpoint(self) -> Checkpoint | None:
        """The newest signed checkpoint; None before the first entry."""
        ...

    def stored(self) -> AbstractContextManager[StoredLog]:
        """The log as of now, for verification; appends may go on meanwhile."""
        ...

    def scrub(self) -> None:
        """Have rows that were removed leave the storage, and not only its tables, as far as can be.

        Raises `LedgerError`.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
