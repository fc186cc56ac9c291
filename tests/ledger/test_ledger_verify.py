"""Every way to tamper with a log is found, and the first bad entry is named."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dure.ledger.merkle import Frontier, leaf_hash, leaf_hashes, root
from dure.ledger.note import Signer, sign_checkpoint
from dure.ledger.sqlite import SqliteLedger, read_stored
from dure.ledger.verify import Fault, FaultCode, Verdict, verify
from dure.model.events import JobReleased, encode
from tests.ledger.ledger_samples import NOON_MS, ORIGIN, SIGNER, entries, entry, key_agreed, key_changed, row

SIZE = 100
BATCH = 10
OTHER = Signer(ORIGIN, bytes(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger of 100 entries with a checkpoint after every ten."""
    return make(tmp_path / "ledger.sqlite")


def make(path: Path) -> Path:
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        for start in range(0, SIZE, BATCH):
            rows = [row(f"job-{start}", "queued")]
            ledger.append(start, entries(start, start + BATCH), rows, NOON_MS + start * 60_000)
    return path


def tamper(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def replace(path: Path, position: int, content: bytes) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE entries SET entry = ? WHERE position = ?", (content, position))


def replace_with_hash(path: Path, position: int, content: bytes) -> None:
    """As somebody does who also knows of the recorded leaf hashes."""
    replace(path, position, content)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE leaves SET hash = ? WHERE position = ?", (leaf_hash(content), position))


def judge(path: Path, held: tuple[str, ...] = (), signer: Signer = SIGNER) -> Verdict:
    with read_stored(path) as log:
        return verify(log, signer.verifier, held)


def first_bad(path: Path) -> tuple[FaultCode, int | None, int | None]:
    fault = judge(path).first_bad
    assert fault is not None
    return fault.code, fault.first_position, fault.last_position


def only_fault(verdict: Verdict) -> Fault:
    (fault,) = verdict.faults
    return fault


def test_an_untouched_log_is_sound(path: Path) -> None:
    verdict = judge(path)
    assert verdict.is_sound
    assert verdict.first_bad is None
    assert (verdict.size, verdict.checkpoints) == (SIZE, SIZE // BATCH)
    assert verdict.root == root(leaf_hashes(entries(0, SIZE)))


def test_an_empty_log_is_sound(tmp_path: Path) -> None:
    SqliteLedger.open(tmp_path / "ledger.sqlite", SIGNER).close()
    assert judge(tmp_path / "ledger.sqlite").is_sound


@pytest.mark.parametrize("position", [0, 1, 9, 10, 11, 55, 98, 99])
def test_an_altered_entry_is_named(path: Path, position: int) -> None:
    replace(path, position, entry(1_000))
    assert first_bad(path) == (FaultCode.ALTERED, position, position)


def test_the_first_of_two_altered_entries_is_named(path: Path) -> None:
    replace(path, 71, entry(1_000))
    replace(path, 42, entry(1_001))
    assert first_bad(path) == (FaultCode.ALTERED, 42, 42)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, SIZE - 1), data=st.data())
def test_one_changed_bit_anywhere_is_found(path: Path, position: int, data: st.DataObject) -> None:
    content = bytearray(entry(position))
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    replace(path, position, bytes(content))
    found = first_bad(path)
    replace(path, position, entry(position))
    assert found == (FaultCode.ALTERED, position, position)


def test_an_entry_altered_together_with_its_recorded_hash_is_bounded_by_checkpoints(path: Path) -> None:
    replace_with_hash(path, 42, entry(1_000))
    assert first_bad(path) == (FaultCode.ALTERED, 40, 49)


def test_an_entry_cannot_be_blamed_by_altering_a_recorded_hash(path: Path) -> None:
    replace_with_hash(path, 42, entry(1_000))
    tamper(path, "UPDATE leaves SET hash = zeroblob(32) WHERE position = 3")
    assert first_bad(path) == (FaultCode.ALTERED, 40, 49)


def test_a_recorded_hash_altered_alone_does_not_touch_the_verdict(path: Path) -> None:
    tamper(path, "UPDATE leaves SET hash = zeroblob(32) WHERE position = 3")
    assert judge(path).is_sound


@pytest.mark.parametrize("position", [0, 1, 42, 98])
def test_a_deleted_entry_is_named(path: Path, position: int) -> None:
    tamper(path, f"DELETE FROM entries WHERE position = {position}")
    assert first_bad(path) == (FaultCode.MISSING, position, position)


def test_a_deleted_entry_is_named_without_recorded_hashes_too(path: Path) -> None:
    tamper(path, "DELETE FROM entries WHERE position = 42", "DELETE FROM leaves")
    assert first_bad(path) == (FaultCode.MISSING, 42, 42)


def test_a_deleted_entry_whose_gap_was_closed_is_named(path: Path) -> None:
    tamper(
        path,
        "DELETE FROM entries WHERE position = 42",
        "UPDATE entries SET position = -position WHERE position > 42",
        "UPDATE entries SET position = -position - 1 WHERE position < -42",
    )
    assert first_bad(path) == (FaultCode.ALTERED, 42, 42)


def test_an_entry_put_before_all_others_is_found(path: Path) -> None:
    tamper(path, "INSERT INTO entries VALUES (-1, x'7b7d')")
    assert first_bad(path) == (FaultCode.MISSING, 0, 0)


def test_a_shortened_log_is_found(path: Path) -> None:
    tamper(path, "DELETE FROM entries WHERE position >= 97", "DELETE FROM leaves WHERE position >= 97")
    assert first_bad(path) == (FaultCode.TRUNCATED, 97, 99)


def test_a_log_emptied_but_for_its_checkpoints_is_found(path: Path) -> None:
    tamper(path, "DELETE FROM entries")
    assert first_bad(path) == (FaultCode.TRUNCATED, 0, 9)


def test_reordered_entries_are_found(path: Path) -> None:
    replace(path, 42, entry(43))
    replace(path, 43, entry(42))
    assert first_bad(path) == (FaultCode.ALTERED, 42, 42)


def test_entries_reordered_together_with_their_hashes_are_bounded_by_checkpoints(path: Path) -> None:
    replace_with_hash(path, 42, entry(57))
    replace_with_hash(path, 57, entry(42))
    assert first_bad(path) == (FaultCode.ALTERED, 40, 49)


def test_an_entry_added_without_a_signature_is_found(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO entries VALUES (?, ?)", (SIZE, entry(SIZE)))
    assert first_bad(path) == (FaultCode.UNSIGNED, SIZE, SIZE)


def test_entries_without_any_checkpoint_are_found(path: Path) -> None:
    tamper(path, "DELETE FROM checkpoints")
    assert first_bad(path) == (FaultCode.UNSIGNED, 0, SIZE - 1)


def test_an_altered_checkpoint_is_found(path: Path) -> None:
    tamper(
        path, "UPDATE checkpoints SET note = replace(note, char(10) || '50' || char(10), char(10) || '51' || char(10))"
    )
    fault = only_fault(judge(path))
    assert fault.code is FaultCode.BAD_CHECKPOINT
    assert "1 of 10 checkpoints" in fault.message


def test_a_checkpoint_that_is_not_text_is_found(path: Path) -> None:
    tamper(path, "UPDATE checkpoints SET note = CAST(x'ff00fe' AS TEXT) WHERE size = 50")
    assert only_fault(judge(path)).code is FaultCode.BAD_CHECKPOINT


def test_an_altered_last_checkpoint_leaves_its_entries_unsigned(path: Path) -> None:
    tamper(path, f"UPDATE checkpoints SET note = replace(note, 'dure', 'pure') WHERE size = {SIZE}")
    verdict = judge(path)
    assert [fault.code for fault in verdict.faults] == [FaultCode.BAD_CHECKPOINT, FaultCode.UNSIGNED]
    assert first_bad(path) == (FaultCode.UNSIGNED, 90, 99)


def test_a_log_signed_by_another_key_is_not_believed(path: Path) -> None:
    verdict = judge(path, signer=OTHER)
    assert not verdict.is_sound
    assert verdict.checkpoints == 0
    assert f"not by {ORIGIN}+{OTHER.verifier.id.hex()}" in verdict.faults[0].message


def test_a_log_written_anew_with_the_key_contradicts_a_checkpoint_handed_out_before(path: Path) -> None:
    with read_stored(path) as log:
        handed_out = log.checkpoints()[4]
    path.unlink()
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        ledger.append(0, [*entries(0, 42), entry(1_000), *entries(43, SIZE)], [], NOON_MS)
    assert judge(path).is_sound
    verdict = judge(path, held=(handed_out,))
    assert only_fault(verdict).code is FaultCode.BAD_CHECKPOINT
    assert "contradicts" in verdict.faults[0].message


def test_a_shortened_log_without_its_last_checkpoints_needs_one_handed_out_before(path: Path) -> None:
    with read_stored(path) as log:
        handed_out = log.checkpoints()[-1]
    tamper(path, "DELETE FROM entries WHERE position >= 90", "DELETE FROM checkpoints WHERE size > 90")
    assert judge(path).is_sound
    assert only_fault(judge(path, held=(handed_out,))).code is FaultCode.TRUNCATED


def test_a_checkpoint_signed_for_a_root_the_log_never_had_is_found(path: Path) -> None:
    forged = sign_checkpoint(SIGNER, 50, bytes(32))
    verdict = judge(path, held=(forged,))
    assert only_fault(verdict).code is FaultCode.BAD_CHECKPOINT
    assert "the checkpoint of 50 entries contradicts" in verdict.faults[0].message


def test_a_checkpoint_handed_out_twice_is_counted_once(path: Path) -> None:
    with read_stored(path) as log:
        held = (*log.checkpoints(), *log.checkpoints())
    assert judge(path, held).checkpoints == SIZE // BATCH


@pytest.mark.parametrize(
    "content",
    [
        b'{"event":"job-released","at_ms":1,"job":"job-1"}',
        b'{"at_ms": 1,"event":"job-released","job":"job-1"}',
        b'{"at_ms":1,"event":"job-released","extra":1,"job":"job-1"}',
        b'{"at_ms":1,"event":"job-released","job":"job-1","job":"job-1"}',
        b'{"at_ms":1,"event":"no-such-event"}',
        b'{"at_ms":"1","event":"job-released","job":"job-1"}',
        b'{"at_ms":1,"event":"job-released","job":"\xff"}',
        b"[" * 2_000,
        b'{"at_ms":1,"event":"job-released","extra":' + b"[" * 100_000,
        b"",
    ],
)
def test_a_signed_entry_that_is_no_canonical_event_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        ledger.append(0, [*entries(0, 7), content, *entries(8, 20)], [], NOON_MS)
    assert first_bad(path) == (FaultCode.NOT_CANONICAL, 7, 7)


def test_an_entry_altered_into_nonsense_is_named_for_both(path: Path) -> None:
    replace(path, 42, b"nonsense")
    codes = [(fault.code, fault.first_position) for fault in judge(path).faults]
    assert codes == [(FaultCode.ALTERED, 42), (FaultCode.NOT_CANONICAL, 42)]


def test_a_file_with_a_broken_page_is_reported_and_does_not_end_in_an_error(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        ledger.append(0, entries(0, 5_000), [], NOON_MS)
    content = bytearray(path.read_bytes())
    middle = content.index(entry(2_500)) // 4096 * 4096
    content[middle : middle + 4096] = bytes(4096)
    path.write_bytes(content)
    fault = only_fault(judge(path))
    assert fault.code in {FaultCode.UNREADABLE, FaultCode.MISSING}
    assert fault.first_position is not None
    assert fault.first_position <= 2_500


def test_a_log_longer_than_one_batch_is_verified_across_batches(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        for start in range(0, 15_000, 5_000):
            ledger.append(start, entries(start, start + 5_000), [], NOON_MS + start * 60_000)
    verdict = judge(path)
    assert verdict.is_sound
    assert (verdict.size, verdict.checkpoints) == (15_000, 3)
    replace(path, 12_345, encode(JobReleased(at_ms=0, job="job-0")))
    assert first_bad(path) == (FaultCode.ALTERED, 12_345, 12_345)


def test_altered_rows_are_outside_of_what_is_verified(path: Path) -> None:
    tamper(path, "UPDATE jobs SET body = x'00'")
    assert judge(path).is_sound


def test_the_verdict_has_the_root_of_what_is_there(path: Path) -> None:
    replace(path, 42, entry(1_000))
    there = [*entries(0, 42), entry(1_000), *entries(43, SIZE)]
    assert judge(path).root == Frontier.over(leaf_hashes(there)).root()


# A ledger that changed its key.


CHANGED = SIZE + 2
"""The first entry under the other key."""


def succeeded(path: Path, note: str | None = None, approved_by: str = "bob") -> None:
    """After 100 entries signed with one key two people agree on another, and the ledger goes on under that."""
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        ledger.append(SIZE, key_agreed(OTHER, approved_by), [], NOON_MS + SIZE * 60_000)
        latest = ledger.latest_checkpoint()
        assert latest is not None
        ledger.sign_with(OTHER)
        ledger.append(CHANGED, [key_changed(SIGNER, OTHER, note or latest.note)], [], NOON_MS + SIZE * 70_000)
        ledger.append(CHANGED + 1, entries(CHANGED + 1, CHANGED + 9), [], NOON_MS + SIZE * 80_000)


def test_what_the_former_key_signed_counts_for_its_time(path: Path) -> None:
    succeeded(path)
    verdict = judge(path, signer=OTHER)
    assert verdict.is_sound, verdict.faults
    assert verdict.former_keys == (SIGNER.verifier,)
    assert verdict.checkpoints == SIZE // BATCH + 3


def test_the_former_key_counts_for_nothing_after_its_time(path: Path) -> None:
    succeeded(path)
    with read_stored(path) as log:
        leaves = list(log.leaf_hashes(CHANGED + 5))
    leaked = sign_checkpoint(SIGNER, CHANGED + 5, root(leaves))
    fault = only_fault(judge(path, held=(leaked,), signer=OTHER))
    assert fault.code is FaultCode.BAD_CHECKPOINT
    assert "1 of" in fault.message


def test_whoever_trusts_the_former_key_learns_that_another_signed(path: Path) -> None:
    succeeded(path)
    verdict = judge(path)
    assert {fault.code for fault in verdict.faults} == {FaultCode.BAD_CHECKPOINT, FaultCode.UNSIGNED}


def test_an_entry_altered_in_the_time_of_the_former_key_is_named(path: Path) -> None:
    succeeded(path)
    replace(path, 42, entry(1_000))
    fault = judge(path, signer=OTHER).first_bad
    assert fault is not None
    assert (fault.code, fault.first_position) == (FaultCode.ALTERED, 42)


@pytest.mark.parametrize("size", [CHANGED, CHANGED - 1, CHANGED + 7])
def test_a_change_whose_checkpoint_does_not_fit_is_named(path: Path, size: int) -> None:
    succeeded(path, sign_checkpoint(SIGNER, size, bytes(32)))
    verdict = judge(path, signer=OTHER)
    assert not verdict.is_sound
    if size != CHANGED:
        said = f"entry {CHANGED} does not show that the ledger's key was changed"
        assert any(said in fault.message for fault in verdict.faults)


def test_a_key_of_somebody_else_is_no_former_key(path: Path) -> None:
    stranger = Signer("dure.example/strange", bytes(32))
    succeeded(path, sign_checkpoint(stranger, CHANGED, bytes(32)))
    verdict = judge(path, signer=OTHER)
    assert verdict.former_keys == ()
    assert not verdict.is_sound


def test_a_change_that_one_person_made_alone_is_named(path: Path) -> None:
    succeeded(path, approved_by="ann")
    fault = only_fault(judge(path, signer=OTHER))
    assert (fault.code, fault.first_position) == (FaultCode.NOT_APPROVED, CHANGED)


def test_a_change_to_another_key_than_the_one_agreed_on_is_named(path: Path) -> None:
    third = Signer(ORIGIN, bytes(31) + b"3")
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        ledger.append(SIZE, key_agreed(OTHER), [], NOON_MS + SIZE * 60_000)
        latest = ledger.latest_checkpoint()
        assert latest is not None
        ledger.sign_with(third)
        ledger.append(CHANGED, [key_changed(SIGNER, third, latest.note)], [], NOON_MS + SIZE * 70_000)
    assert only_fault(judge(path, signer=third)).code is FaultCode.NOT_APPROVED
