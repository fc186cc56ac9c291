"""What only the ledger in a file does: lasting, locking, fencing, failing whole, and refusing what it does not know."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from dure.ledger.contract import LedgerFenced, LedgerInUse, LedgerUnreadable, LedgerWriteFailed, Row
from dure.ledger.note import Signer, open_checkpoint
from dure.ledger.sqlite import SqliteLedger, read_stored
from dure.ledger.sqlite_file import ROWS_AT_ONCE
from dure.ledger.verify import verify
from tests.ledger.ledger_samples import NOON_MS, ORIGIN, SIGNER, entries, entry, row

CHILD = "tests.ledger.ledger_child"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def filled(path: Path, size: int = 10) -> None:
    """A closed ledger of `size` entries."""
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        ledger.append(0, entries(0, size), [row("job-0", "queued")], NOON_MS)


def change(path: Path, statement: str, *parameters: object) -> None:
    """What somebody with the file and a database tool would do."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, parameters)


def test_a_reopened_ledger_has_everything_and_goes_on(path: Path) -> None:
    filled(path)
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        assert list(ledger.entries()) == entries(0, 10)
        assert ledger.row("jobs", "job-0") == b"queued"
        ledger.append(10, entries(10, 13), [], NOON_MS)
    with read_stored(path) as log:
        verdict = verify(log, SIGNER.verifier)
    assert verdict.is_sound
    assert verdict.size == 13


def test_a_reopened_ledger_still_has_its_last_checkpoint(path: Path) -> None:
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        ledger.append(0, entries(0, 10), [], NOON_MS)
        before = ledger.latest_checkpoint()
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        assert ledger.latest_checkpoint() == before


def test_many_rows_are_written_in_their_order_and_the_last_of_a_key_counts(path: Path) -> None:
    count = 2 * ROWS_AT_ONCE + 7
    rows = [Row("jobs", f"j{number % (count - 9)}", b"%d" % number) for number in range(count)]
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        ledger.append(0, entries(0, count), rows, NOON_MS)
        assert list(ledger.entries()) == entries(0, count)
        last = {row.key: row.body for row in rows}
        assert ledger.rows("jobs") == list(last.items())
    with read_stored(path) as log:
        assert verify(log, SIGNER.verifier).is_sound


def test_only_its_owner_may_read_the_file(path: Path) -> None:
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        ledger.append(0, entries(0, 1), [], NOON_MS)
        for each in path.parent.iterdir():
            assert stat.S_IMODE(each.stat().st_mode) == 0o600, each


def test_commits_are_durable_before_append_returns(path: Path) -> None:
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        pragmas = [ledger._writer.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]


def test_a_removed_secret_is_not_left_in_the_file(path: Path) -> None:
    secret = b"correct horse battery staple"
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        ledger.append(0, [], [Row("secrets", "p/password", secret)], NOON_MS)
    assert secret in path.read_bytes()
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        ledger.append(0, [], [Row("secrets", "p/password", None)], NOON_MS)
    assert [each.name for each in path.parent.iterdir() if secret in each.read_bytes()] == []


def test_a_checkpoint_a_minute_is_kept_and_always_the_last(path: Path) -> None:
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        for number, at_s in enumerate([0, 1, 59, 61, 62, 200]):
            ledger.append(number, [entry(number)], [], 60_000 * 1_000_000 + at_s * 1_000)
        with ledger.stored() as log:
            notes = log.checkpoints()
    assert [open_checkpoint(note, SIGNER.verifier).size for note in notes] == [3, 5, 6]


def test_a_second_server_is_told_who_has_the_ledger(path: Path) -> None:
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        ledger.append(0, entries(0, 1), [], NOON_MS)
        second = run_child("open", path)
        assert "LedgerInUse" in second
        assert f"{path} is in use by another server" in second
        ledger.append(1, entries(1, 2), [], NOON_MS)
    assert run_child("open", path) == "opened with 2 entries\n"


def test_one_process_cannot_open_a_ledger_twice_and_keeps_the_first(path: Path) -> None:
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        with pytest.raises(LedgerInUse):
            SqliteLedger.open(path, SIGNER)
        assert "LedgerInUse" in run_child("open", path)
        ledger.append(0, entries(0, 1), [], NOON_MS)


def test_a_failed_opening_lets_go_of_the_lock(path: Path) -> None:
    filled(path)
    with pytest.raises(LedgerUnreadable):
        SqliteLedger.open(path, Signer(ORIGIN, bytes(32)))
    SqliteLedger.open(path, SIGNER).close()


def test_whoever_is_overtaken_despite_the_lock_is_fenced(path: Path) -> None:
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        ledger.append(0, entries(0, 3), [], NOON_MS)
        # Somebody removes the lock file to "repair" a server that will not start.
        Path(f"{path}.lock").unlink()
        assert run_child("append", path, "3") == "appended 3 entries\n"
        for _ in range(2):
            with pytest.raises(LedgerFenced, match="changed by another process and has 6 entries"):
                ledger.append(3, entries(3, 6), [row("job-3", "queued")], NOON_MS)
        assert ledger.row("jobs", "job-3") is None
    with read_stored(path) as log:
        verdict = verify(log, SIGNER.verifier)
    assert verdict.is_sound
    assert verdict.size == 6


def test_a_ledger_held_by_a_killed_process_can_be_opened_at_once(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-m", CHILD, "hold", str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "holding\n"
        with pytest.raises(LedgerInUse, match=f"process {child.pid}"):
            SqliteLedger.open(path, SIGNER)
        child.kill()
        child.wait()
    SqliteLedger.open(path, SIGNER).close()


def test_a_child_that_outlives_its_server_does_not_hold_the_ledger(path: Path) -> None:
    survivor = int(run_child("leave-a-child-behind", path))
    try:
        SqliteLedger.open(path, SIGNER).close()
    finally:
        # Fails if the child did not outlive its parent, which would have shown nothing.
        os.kill(survivor, signal.SIGKILL)


def test_a_full_disk_refuses_the_append_whole_and_the_ledger_goes_on(path: Path) -> None:
    printed = run_child("fill-the-disk", path)
    assert "LedgerWriteFailed" in printed
    assert "Nothing was recorded" in printed
    assert "usable again: 3 entries, job-1 is None, sound True" in printed


def test_a_failure_within_the_transaction_leaves_nothing(path: Path) -> None:
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        ledger.append(0, entries(0, 2), [], NOON_MS)
        before = ledger.latest_checkpoint()
        ledger._writer.execute("PRAGMA max_page_count = 20")
        with pytest.raises(LedgerWriteFailed, match="full"):
            ledger.append(2, entries(2, 9_000), [row("job-2", "queued")], NOON_MS)
        assert (ledger.size, ledger.latest_checkpoint(), ledger.row("jobs", "job-2")) == (2, before, None)
        ledger._writer.execute("PRAGMA max_page_count = 100000")
        ledger.append(2, entries(2, 9_000), [row("job-2", "queued")], NOON_MS)
        with ledger.stored() as log:
            assert verify(log, SIGNER.verifier).is_sound


def test_an_append_interrupted_at_any_step_is_recorded_whole_or_refused_whole(path: Path) -> None:
    refused = 0
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        for steps in (*range(1, 1_200, 7), 10_000):
            before, once = ledger.size, iter([1])
            # SQLite asks after so many of its steps whether to go on; some of them come after the commit.
            ledger._writer.set_progress_handler(partial(next, once, 0), steps)
            try:
                ledger.append(before, entries(before, before + 3), [row(f"job-{before}", "queued")], NOON_MS)
            except LedgerWriteFailed:
                refused += 1
                assert ledger.size == before
            finally:
                ledger._writer.set_progress_handler(None, 0)
            assert list(ledger.entries()) == entries(0, ledger.size)
        recorded = ledger.size
    assert refused
    assert recorded
    with read_stored(path) as log:
        verdict = verify(log, SIGNER.verifier)
    assert verdict.is_sound
    assert verdict.size == recorded


def test_a_busy_database_refuses_the_append_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dure.ledger.sqlite_file.BUSY_TIMEOUT_S", 0.01)
    with closing(SqliteLedger.open(path, SIGNER)) as ledger, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerWriteFailed, match="locked"):
            ledger.append(0, entries(0, 1), [], NOON_MS)
        other.rollback()
        ledger.append(0, entries(0, 1), [], NOON_MS)


def test_appends_may_come_from_one_thread_after_another(path: Path) -> None:
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        for number in range(5):
            worker = threading.Thread(target=ledger.append, args=(number, [entry(number)], [], NOON_MS))
            worker.start()
            worker.join()
        assert list(ledger.entries()) == entries(0, 5)


def test_closing_twice_is_closing_once(path: Path) -> None:
    ledger = SqliteLedger.open(path, SIGNER)
    ledger.close()
    ledger.close()
    with closing(SqliteLedger.open(path, SIGNER)):
        ledger.close()
        assert "LedgerInUse" in run_child("open", path)


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"a diary, not a database" * 100)
    with pytest.raises(LedgerUnreadable, match="cannot be read"):
        SqliteLedger.open(path, SIGNER)
    assert path.read_bytes() == b"a diary, not a database" * 100


def test_somebody_elses_database_is_refused_and_left_alone(path: Path) -> None:
    change(path, "CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(LedgerUnreadable, match="is not a Dure ledger"):
        SqliteLedger.open(path, SIGNER)
    assert path.read_bytes() == before


def test_a_ledger_of_a_newer_program_is_refused(path: Path) -> None:
    filled(path)
    change(path, "PRAGMA user_version = 99")
    with pytest.raises(LedgerUnreadable, match="newer Dure"):
        SqliteLedger.open(path, SIGNER)
    with pytest.raises(LedgerUnreadable, match="newer Dure"), read_stored(path):
        pass


def test_a_ledger_of_another_origin_is_refused(path: Path) -> None:
    filled(path)
    with pytest.raises(LedgerUnreadable, match=r"is the ledger 'dure\.example/ledger'"):
        SqliteLedger.open(path, Signer("dure.example/other", bytes(range(32))))


def test_a_ledger_signed_by_another_key_is_not_continued(path: Path) -> None:
    filled(path)
    with pytest.raises(LedgerUnreadable, match=r"signed by .*, not by"):
        SqliteLedger.open(path, Signer(ORIGIN, bytes(32)))


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM entries WHERE position = 9",
        "DELETE FROM checkpoints",
        "UPDATE log SET frontier = zeroblob(64)",
        "UPDATE log SET frontier = zeroblob(32)",
        "UPDATE checkpoints SET note = replace(note, 'dure', 'pure')",
        "INSERT INTO entries VALUES (10, x'7b7d')",
    ],
)
def test_a_ledger_that_does_not_fit_its_checkpoint_is_not_continued(path: Path, tampering: str) -> None:
    filled(path)
    change(path, tampering)
    with pytest.raises(LedgerUnreadable, match="dure ledger verify"):
        SqliteLedger.open(path, SIGNER)


def test_an_altered_entry_never_gets_a_new_signature_of_its_own(path: Path) -> None:
    filled(path)
    change(path, "UPDATE entries SET entry = ? WHERE position = 4", entry(99))
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        ledger.append(10, entries(10, 20), [], NOON_MS)
        with ledger.stored() as log:
            verdict = verify(log, SIGNER.verifier)
    assert verdict.first_bad is not None
    assert verdict.first_bad.first_position == verdict.first_bad.last_position == 4


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnreadable, match="No such file or directory"):
        SqliteLedger.open(tmp_path / "nowhere" / "ledger.sqlite", SIGNER)


def test_reading_a_ledger_that_is_not_there_makes_none(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no ledger at"), read_stored(path):
        pass
    assert list(path.parent.iterdir()) == []


def run_child(deed: str, path: Path, *arguments: str) -> str:
    """What another process prints when it does this with the ledger."""
    command = [sys.executable, "-m", CHILD, deed, str(path), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout
