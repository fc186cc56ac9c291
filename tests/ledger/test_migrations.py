"""An older ledger is brought up to date when it is opened, whole or not at all, in SQLite and in PostgreSQL."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from dure.ledger.contract import LedgerUnreadable
from dure.ledger.migrating import MIGRATIONS, _config
from dure.ledger.postgres import PostgresLedger
from dure.ledger.schema import SCHEMA_VERSION, revision
from dure.ledger.sqlite import SqliteLedger, read_stored
from dure.ledger.verify import verify
from tests.ledger.ledger_samples import NOON_MS, ORIGIN, SIGNER, entries
from tests.postgres import PostgresServer

VERSION_1 = Path(__file__).with_name("ledger_v1.sql")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of format 1 with five entries and three rows."""
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1.read_text("utf-8"))
    return path


def old_database(url: str) -> None:
    """A PostgreSQL ledger as the first revision makes it, without entries."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
    with engine.begin() as connection:
        command.upgrade(_config(connection), revision(1))
        connection.exec_driver_sql("INSERT INTO log VALUES (1, %s, '')", (ORIGIN,))
    engine.dispose()


def content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [*connection.iterdump(), *map(str, connection.execute("PRAGMA user_version"))]


def test_a_file_of_the_first_version_is_adopted_with_all_that_is_in_it(old: Path) -> None:
    with closing(SqliteLedger.open(old, SIGNER)) as ledger:
        assert list(ledger.entries()) == entries(0, 5)
        assert ledger.rows("jobs") == [("job-0", b"running"), ("job-1", b"queued")]
        assert ledger.row("tokens", "t1") == b"token"
        ledger.append(5, entries(5, 9), [], NOON_MS)
    with read_stored(old) as log:
        assert verify(log, SIGNER.verifier).size == 9
    with closing(SqliteLedger.open(old, SIGNER)) as ledger:
        assert ledger.size == 9


def test_a_file_of_the_first_version_can_be_verified_without_being_changed(old: Path) -> None:
    before = old.read_bytes()
    with read_stored(old) as log:
        verdict = verify(log, SIGNER.verifier)
    assert verdict.is_sound
    assert verdict.size == 5
    assert old.read_bytes() == before


def test_a_migration_that_fails_leaves_everything_as_it_was(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE alembic_version (nonsense TEXT)")
    before = content(old)
    with pytest.raises(LedgerUnreadable, match="It is as it was"):
        SqliteLedger.open(old, SIGNER)
    assert content(old) == before


def test_a_step_that_fails_after_others_takes_them_back(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("ALTER TABLE log ADD COLUMN term TEXT")
    before = content(old)
    with pytest.raises(LedgerUnreadable, match=r"from ledger format 1 to \d+ \(duplicate column name: term\)"):
        SqliteLedger.open(old, SIGNER)
    assert content(old) == before


def test_a_database_of_the_first_version_is_brought_up_to_date(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    old_database(url)
    with closing(PostgresLedger.open(url, SIGNER)) as ledger:
        ledger.append(0, entries(0, 3), [], NOON_MS)
        assert list(ledger.entries()) == entries(0, 3)


def test_a_database_whose_migration_fails_is_as_it_was(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    old_database(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE log ADD COLUMN term TEXT")
        before = layout_of(url)
        with pytest.raises(LedgerUnreadable, match="It is as it was"):
            PostgresLedger.open(url, SIGNER)
        assert layout_of(url) == before
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]


def test_a_new_file_has_the_layout_that_migrations_lead_to(old: Path, tmp_path: Path) -> None:
    SqliteLedger.open(old, SIGNER).close()
    SqliteLedger.open(tmp_path / "new.sqlite", SIGNER).close()
    assert layout_of_file(old) == layout_of_file(tmp_path / "new.sqlite")


def test_a_new_database_has_the_layout_that_migrations_lead_to(postgres: PostgresServer) -> None:
    migrated, new = postgres.new_database(), postgres.new_database()
    old_database(migrated)
    for url in (migrated, new):
        PostgresLedger.open(url, SIGNER).close()
    assert layout_of(migrated) == layout_of(new)


def test_the_newest_revision_is_the_version_that_this_program_writes() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [revision(SCHEMA_VERSION)]


def test_a_ledger_that_is_up_to_date_is_opened_without_what_migrates(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from dure.ledger.sqlite import SqliteLedger;"
        "import dure.ledger.postgres; from tests.ledger.ledger_samples import SIGNER;"
        "SqliteLedger.open(Path(sys.argv[1]), SIGNER).close(); SqliteLedger.open(Path(sys.argv[1]), SIGNER).close();"
        "print(sorted({'alembic', 'sqlalchemy'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "ledger.sqlite")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def layout_of_file(path: Path) -> dict[str, object]:
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            table: (
                connection.execute(f"PRAGMA table_info({table})").fetchall(),
                connection.execute(f"PRAGMA index_list({table})").fetchall(),
            )
            for table in tables
        } | {"versions": connection.execute("SELECT * FROM alembic_version").fetchall()}


def layout_of(url: str) -> list[object]:
    """Columns, with the constraints and keys on them, of every table."""
    with psycopg.connect(url) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name, is_identity"
            " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
        ).fetchall()
        constraints = connection.execute(
            "SELECT conrelid::regclass::text, contype, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2, 3"
        ).fetchall()
    return [*columns, *constraints]
