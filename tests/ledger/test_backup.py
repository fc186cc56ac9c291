"""A backup has everything as of one moment, proves itself, goes back into either storage, and overwrites nothing."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from dure.ledger.backup import BackupRefused, make_backup, restore_backup
from dure.ledger.contract import TABLES, Ledger, LedgerError, LedgerInUse, LedgerUnreadable
from dure.ledger.keys import load_signer
from dure.ledger.location import Location, locate, read_stored
from dure.ledger.opening import open_ledger
from dure.ledger.verify import verify
from dure.model.events import JobReleased, LedgerRestored, decode, encode
from tests.ledger.ledger_samples import NOON_MS, row
from tests.postgres import PostgresServer


def no_progress(entries: int) -> Callable[[int], None]:
    return lambda more: None


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else request.getfixturevalue("postgres").new_database()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def events(start: int, stop: int) -> list[bytes]:
    return [encode(JobReleased(at_ms=NOON_MS + number, job=f"j{number}")) for number in range(start, stop)]


def opened(state: Path, database: str | None) -> Ledger:
    ledger = open_ledger(state, locate(state, database), "dure.example/backup")
    (state / "secrets.key").write_bytes(bytes(32))
    return ledger


def filled(state: Path, database: str | None) -> None:
    with closing(opened(state, database)) as ledger:
        ledger.append(
            0, events(0, 5_000), [row(f"k{number}", "x", table) for number in range(3) for table in TABLES], 1
        )
        ledger.append(5_000, events(5_000, 5_010), [row("k1", "y")], NOON_MS)


def back_up(state: Path, database: str | None, folder: Path, *, with_keys: bool = True) -> None:
    make_backup(state, locate(state, database), folder, with_keys, no_progress)


def restore(backup: Path, state: Path, database: str | None = None, now_ms: int = NOON_MS * 2) -> None:
    restore_backup(backup, state, database, now_ms, no_progress)


@pytest.mark.parametrize("into_database", [False, True], ids=["to-sqlite", "to-postgres"])
def test_what_was_backed_up_comes_back_and_goes_on(
    state: Path, database: str | None, tmp_path: Path, into_database: bool, postgres: PostgresServer
) -> None:
    filled(state, database)
    with closing(opened(state, database)) as ledger:
        entries, rows = list(ledger.entries()), {table: ledger.rows(table) for table in TABLES}
    back_up(state, database, tmp_path / "backup")
    new = tmp_path / "new"
    target = postgres.new_database() if into_database else None
    restore(tmp_path / "backup", new, target)
    with closing(opened(new, target)) as ledger:
        *restored, last = ledger.entries()
        assert restored == entries
        assert {table: ledger.rows(table) for table in TABLES} == rows
        assert decode(last) == LedgerRestored(at_ms=NOON_MS * 2, first_job=1_000_000)
        ledger.append(ledger.size, events(0, 3), [row("k9", "z")], NOON_MS * 2)
        assert ledger.rows("jobs", newest_first=True, limit=1) == [("k9", b"z")]
        with ledger.stored() as log:
            assert verify(log, load_signer(new / "ledger.key").verifier).is_sound


def test_a_backup_is_of_one_moment_while_a_server_appends(state: Path, database: str | None, tmp_path: Path) -> None:
    filled(state, database)
    done = threading.Event()
    with closing(opened(state, database)) as ledger:

        def append() -> None:
            while not done.is_set():
                ledger.append(ledger.size, events(ledger.size, ledger.size + 3), [row(f"n{ledger.size}", "x")], NOON_MS)

        appender = threading.Thread(target=append)
        appender.start()
        back_up(state, database, tmp_path / "backup")
        done.set()
        appender.join()
        assert ledger.size > 5_013
    with closing(open_ledger(tmp_path / "backup", Location(tmp_path / "backup" / "ledger.sqlite"), "")) as copy:
        assert len(copy.rows("jobs", "n")) == (copy.size - 5_010) // 3


def test_a_backup_has_no_keys_unless_asked_and_nobody_else_can_read_it(state: Path, tmp_path: Path) -> None:
    filled(state, None)
    back_up(state, None, tmp_path / "without", with_keys=False)
    back_up(state, None, tmp_path / "with")
    assert {each.name for each in (tmp_path / "without").iterdir()} == {"ledger.sqlite", "ledger.pub"}
    assert {each.name for each in (tmp_path / "with").iterdir()} == {
        "ledger.sqlite",
        "ledger.pub",
        "ledger.key",
        "secrets.key",
    }
    for path in (tmp_path / "with", tmp_path / "with" / "ledger.sqlite", tmp_path / "with" / "secrets.key"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_nothing_is_overwritten(state: Path, tmp_path: Path, postgres: PostgresServer) -> None:
    filled(state, None)
    back_up(state, None, tmp_path / "backup")
    with pytest.raises(BackupRefused, match="there already"):
        back_up(state, None, tmp_path / "backup")
    with pytest.raises(BackupRefused, match="there already"):
        restore(tmp_path / "backup", state)
    url = postgres.new_database()
    restore(tmp_path / "backup", tmp_path / "first", url)
    with pytest.raises(LedgerUnreadable, match="holds a ledger already"):
        restore(tmp_path / "backup", tmp_path / "second", url)
    with closing(opened(tmp_path / "first", url)), pytest.raises(LedgerInUse):
        restore(tmp_path / "backup", tmp_path / "third", url)
    assert not (tmp_path / "second" / "ledger.key").exists()


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [("entries", "does not prove itself"), ("ledger.sqlite", "is not a backup"), ("ledger.key", "without its keys")],
)
def test_what_does_not_prove_itself_or_could_not_go_on_is_not_put_in_place(
    state: Path, tmp_path: Path, broken: str, complaint: str
) -> None:
    filled(state, None)
    back_up(state, None, tmp_path / "backup")
    if broken == "entries":
        with closing(sqlite3.connect(tmp_path / "backup" / "ledger.sqlite")) as file, file:
            file.execute("UPDATE entries SET entry = (SELECT entry FROM entries WHERE position = 1) WHERE position = 7")
    else:
        (tmp_path / "backup" / broken).unlink()
    with pytest.raises(LedgerError, match=complaint):
        restore(tmp_path / "backup", tmp_path / "new")
    assert not list((tmp_path / "new").glob("*"))


def test_a_backup_of_a_ledger_that_was_altered_is_refused(state: Path, database: str | None, tmp_path: Path) -> None:
    filled(state, database)
    change = "UPDATE entries SET entry = (SELECT entry FROM entries WHERE position = 1) WHERE position = 7"
    if database:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(change.encode())
    else:
        with closing(sqlite3.connect(state / "ledger.sqlite")) as file, file:
            file.execute(change)
    with pytest.raises(BackupRefused, match=r"this is no backup: .*entry 7 was altered"):
        back_up(state, database, tmp_path / "backup")
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


def test_the_keys_of_the_state_folder_are_used_when_the_backup_has_none(
    state: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.new_database()
    filled(state, url)
    back_up(state, url, tmp_path / "backup", with_keys=False)
    replacement = postgres.new_database()
    restore(tmp_path / "backup", state, replacement)
    with closing(opened(state, None)) as ledger:
        assert ledger.size == 5_011
    with read_stored(locate(state, None)) as log:
        assert verify(log, load_signer(state / "ledger.key").verifier).is_sound
