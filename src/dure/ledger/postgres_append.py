"""The statement that appends to a ledger in PostgreSQL: everything of a batch, in one question and one answer.

A statement outside a transaction is a transaction of its own, so all of it becomes durable together or nothing does,
and the database is spoken to once: while a busy server waits for an answer, others of its threads run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import psycopg
from msgspec import Struct
from psycopg.sql import SQL, Identifier

from dure.ledger.contract import TABLES, Row
from dure.ledger.postgres_server import Connection

Fenced = psycopg.errors.DivisionByZero
"""What the database answers when the fence did not hold. It changed nothing."""

_FENCE = (
    "UPDATE log SET frontier = %b WHERE term = %s"
    " AND %s = (SELECT coalesce(max(position) + 1, 0) FROM entries) RETURNING 1"
)
_PUT_ENTRIES = (
    "INSERT INTO entries SELECT %s + n - 1, entry FROM unnest(%b::bytea[]) WITH ORDINALITY AS given (entry, n)"
)
_PUT_LEAVES = "INSERT INTO leaves SELECT %s + n - 1, hash FROM unnest(%b::bytea[]) WITH ORDINALITY AS given (hash, n)"
_FORGET_CHECKPOINT = "DELETE FROM checkpoints WHERE size = %s"
_PUT_CHECKPOINT = "INSERT INTO checkpoints VALUES (%s, %s, %s)"
_REMOVE_ROWS = "DELETE FROM {table} WHERE key = ANY(%s)"
_PUT_ROWS = (
    "INSERT INTO {table} (key, body) SELECT key, body FROM unnest(%b::text[], %b::bytea[]) WITH ORDINALITY"
    " AS given (key, body, n) ORDER BY n ON CONFLICT (key) DO UPDATE SET body = excluded.body,"
    " ordinal = CASE WHEN excluded.key = ANY(%s) THEN excluded.ordinal ELSE {table}.ordinal END"
)


class Part(Struct, frozen=True):
    """One change among those of a batch, and what it is made with. Parts of a batch touch no row twice."""

    text: str
    parameters: tuple[object, ...]
    table: str = ""
    """The table of rows that it is about."""


def fence(frontier: bytes, term: int, size: int) -> Part:
    """Holds when this server's term lasts and the log is as long as it believes. Keeps the frontier of the new tree."""
    return Part(_FENCE, (frontier, term, size))


def entries_part(first: int, entries: Sequence[bytes]) -> Part:
    """Entries from a position on."""
    return Part(_PUT_ENTRIES, (first, list(entries)))


def leaves_part(first: int, leaves: Sequence[bytes]) -> Part:
    """Leaf hashes of the entries from a position on."""
    return Part(_PUT_LEAVES, (first, list(leaves)))


def checkpoint_part(size: int, at_ms: int, note: str) -> Part:
    """A signed checkpoint."""
    return Part(_PUT_CHECKPOINT, (size, at_ms, note))


def forget_checkpoint_part(size: int) -> Part:
    """A checkpoint that is kept no longer."""
    return Part(_FORGET_CHECKPOINT, (size,))


def rows_parts(rows: Sequence[Row]) -> list[Part]:
    """What rows come to, table by table. Of what is written of a key, the last counts."""
    by_table: dict[str, list[Row]] = {table: [] for table in TABLES}
    for row in rows:
        by_table[row.table].append(row)
    return [part for table, its_rows in by_table.items() for part in _table_parts(table, its_rows)]


def _table_parts(table: str, rows: Sequence[Row]) -> list[Part]:
    put: dict[str, bytes] = {}
    removed: dict[str, None] = {}
    for row in rows:
        if row.body is None:
            put.pop(row.key, None)
            removed[row.key] = None
        else:
            put[row.key] = row.body
    parts = []
    # A key that was removed and written again gets a new place in the order; its row is not removed for that.
    again = [key for key in put if key in removed]
    if gone := [key for key in removed if key not in put]:
        parts.append(Part(_REMOVE_ROWS, (gone,), table))
    if put:
        parts.append(Part(_PUT_ROWS, (list(put), list(put.values()), again), table))
    return parts


def append(connection: Connection, holds: Part, parts: Sequence[Part]) -> None:
    """Make all parts durable if the fence holds. Raises `Fenced` when it does not, and changes nothing."""
    statement = _joined((holds.text, holds.table), *((part.text, part.table) for part in parts))
    connection.execute(statement, [each for part in (holds, *parts) for each in part.parameters])


@cache
def _joined(*texts: tuple[str, str]) -> bytes:
    """One statement of all parts. Few combinations occur, so the database keeps the plans of those that do.

    The division by the number of rows that the first part changed is what makes the whole fail when there are none.
    """
    parts = [SQL(text).format(table=Identifier(table)) if table else SQL(text) for text, table in texts]
    named = [SQL("{} AS ({})").format(Identifier(f"part_{number}"), part) for number, part in enumerate(parts)]
    return SQL("WITH {} SELECT 1 / count(*) FROM part_0").format(SQL(", ").join(named)).as_bytes()
