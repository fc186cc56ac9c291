"""Which layout of tables this program writes; every change of it is a revision under `migrations`.

A new ledger is made in today's layout at once, by the texts in `sqlite_file` and `postgres_schema`; only an older one
goes through the revisions, which is when Alembic is imported. A test sees that both ways lead to the same tables.
"""

from __future__ import annotations

from dure.ledger.contract import LedgerUnreadable

SCHEMA_VERSION = 3
"""The newest revision, and in SQLite the file's `user_version`."""
VERSION_TABLE = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"


def revision(version: int) -> str:
    """A version's name among the revisions."""
    return f"{version:04d}"


def newer(where: str, version: int | str) -> LedgerUnreadable:
    """The complaint about a ledger that only a later program understands."""
    return LedgerUnreadable(
        f"{where} was written by a newer Dure (ledger format {version}; this one knows up to {SCHEMA_VERSION}). "
        "Upgrade Dure to open it."
    )
