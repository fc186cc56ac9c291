"""What every ledger promises, asked of each of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dure.ledger.contract import TABLES, Ledger, LedgerFenced, Row
from dure.ledger.memory import MemoryLedger
from dure.ledger.merkle import leaf_hashes, root
from dure.ledger.note import Signer, TreeHead, open_checkpoint
from dure.ledger.postgres import PostgresLedger
from dure.ledger.sqlite import SqliteLedger
from dure.ledger.verify import verify
from tests.ledger.ledger_samples import NOON_MS, ORIGIN, SIGNER, entries, entry, key_agreed, key_changed, row
from tests.postgres import PostgresServer


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    made: Ledger
    match request.param:
        case "memory":
            made = MemoryLedger(SIGNER)
        case "sqlite":
            made = SqliteLedger.open(tmp_path / "ledger.sqlite", SIGNER)
        case _:
            made = PostgresLedger.open(request.getfixturevalue("postgres").new_schema(), SIGNER)
    yield made
    made.close()


def test_a_new_ledger_is_empty(ledger: Ledger) -> None:
    assert ledger.size == 0
    assert list(ledger.entries()) == []
    assert ledger.rows("jobs") == []
    assert ledger.row("jobs", "job-1") is None
    assert ledger.latest_checkpoint() is None


def test_entries_come_back_byte_for_byte_and_in_order(ledger: Ledger) -> None:
    ledger.append(0, entries(0, 3), [], NOON_MS)
    ledger.append(3, entries(3, 2_500), [], NOON_MS)
    assert ledger.size == 2_500
    assert list(ledger.entries()) == entries(0, 2_500)


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 1), (3, 7), (5, None), (9, 99), (10, None), (20, 30)])
def test_a_range_of_entries_is_what_a_slice_would_be(ledger: Ledger, start: int, stop: int | None) -> None:
    ledger.append(0, entries(0, 10), [], NOON_MS)
    assert list(ledger.entries(start, stop)) == entries(0, 10)[start:stop]


def test_leaf_hashes_are_given_out_by_position(ledger: Ledger) -> None:
    ledger.append(0, entries(0, 10), [], NOON_MS)
    assert list(ledger.leaf_hashes(3, 7)) == leaf_hashes(entries(3, 7))
    assert list(ledger.leaf_hashes(8, 99)) == leaf_hashes(entries(8, 10))


def test_an_append_at_the_wrong_size_is_fenced_and_changes_nothing(ledger: Ledger) -> None:
    ledger.append(0, entries(0, 2), [row("job-0", "queued")], NOON_MS)
    before = ledger.latest_checkpoint()
    for wrong in (0, 1, 3):
        with pytest.raises(LedgerFenced):
            ledger.append(wrong, [entry(9)], [row("job-0", "running"), row("job-9", "queued")], NOON_MS)
    assert list(ledger.entries()) == entries(0, 2)
    assert ledger.rows("jobs") == [("job-0", b"queued")]
    assert ledger.latest_checkpoint() == before


def test_a_ledger_goes_on_after_an_append_was_fenced(ledger: Ledger) -> None:
    with pytest.raises(LedgerFenced):
        ledger.append(5, entries(0, 1), [], NOON_MS)
    ledger.append(0, entries(0, 1), [], NOON_MS)
    assert list(ledger.entries()) == entries(0, 1)


def test_a_row_of_an_unknown_table_changes_nothing(ledger: Ledger) -> None:
    with pytest.raises(KeyError):
        ledger.append(0, entries(0, 1), [row("job-0", "queued"), row("x", "y", table="nonsense")], NOON_MS)
    assert ledger.size == 0
    assert ledger.rows("jobs") == []
    ledger.append(0, entries(0, 1), [], NOON_MS)
    assert list(ledger.entries()) == entries(0, 1)


@pytest.mark.parametrize("table", TABLES)
def test_every_table_keeps_its_own_rows(ledger: Ledger, table: str) -> None:
    ledger.append(0, entries(0, 1), [Row(table, "key", b"\x00body\xff")], NOON_MS)
    assert ledger.row(table, "key") == b"\x00body\xff"
    assert [other for other in TABLES if ledger.rows(other)] == [table]


def test_rows_can_be_written_without_an_entry(ledger: Ledger) -> None:
    ledger.append(0, entries(0, 1), [row("p/token", "secret", "secrets")], NOON_MS)
    before = ledger.latest_checkpoint()
    ledger.append(1, [], [Row("secrets", "p/token", None)], NOON_MS)
    assert ledger.row("secrets", "p/token") is None
    assert (ledger.size, ledger.latest_checkpoint()) == (1, before)


def test_rows_keep_the_order_in_which_their_keys_were_first_written(ledger: Ledger) -> None:
    ledger.append(0, entries(0, 1), [row("b", "1"), row("a", "1"), row("c", "1")], NOON_MS)
    ledger.append(1, entries(1, 2), [row("b", "2"), row("d", "1")], NOON_MS)
    assert ledger.rows("jobs") == [("b", b"2"), ("a", b"1"), ("c", b"1"), ("d", b"1")]
    assert ledger.rows("jobs", limit=2) == [("b", b"2"), ("a", b"1")]
    assert ledger.rows("jobs", limit=2, newest_first=True) == [("d", b"1"), ("c", b"1")]
    assert ledger.rows("jobs", limit=0) == []


def test_of_several_keys_those_that_have_rows_are_found(ledger: Ledger) -> None:
    ledger.append(0, entries(0, 1), [row("a", "1"), row("작업", "2"), row('"b"', "3")], NOON_MS)
    assert ledger.rows_of("jobs", ["작업", "nowhere", '"b"', "a", "a"]) == {"a": b"1", "작업": b"2", '"b"': b"3"}
    assert ledger.rows_of("jobs", []) == {}
    assert ledger.rows_of("tokens", ["a"]) == {}


def test_a_row_removed_and_written_again_comes_last(ledger: Ledger) -> None:
    again = [row("a", "1"), row("b", "1"), Row("jobs", "a", None), row("a", "2"), Row("jobs", "never-there", None)]
    ledger.append(0, entries(0, 1), again, NOON_MS)
    assert ledger.rows("jobs") == [("b", b"1"), ("a", b"2")]


def test_all_keys_of_a_table_are_given_out_in_some_pieces(ledger: Ledger) -> None:
    assert list(chain.from_iterable(ledger.keys("requests"))) == []
    rows = [row(f"t{number % 7}:작업 {number}", "{}", table="requests") for number in range(9_000)]
    ledger.append(0, entries(0, 1), rows, NOON_MS)
    ledger.append(1, [], [Row("requests", each.key, None) for each in rows[::3]], NOON_MS)
    left = [each.key for number, each in enumerate(rows) if number % 3]
    assert list(chain.from_iterable(ledger.keys("requests"))) == left
    assert list(chain.from_iterable(ledger.keys("jobs"))) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from([b"1", b"2", None])), max_size=8), max_size=4)
)
def test_rows_written_in_batches_are_as_if_written_one_by_one(
    ledger: Ledger, batches: list[list[tuple[str, bytes | None]]]
) -> None:
    ledger.append(ledger.size, [], [Row("jobs", key, None) for key, _ in ledger.rows("jobs")], NOON_MS)
    expected: dict[str, bytes] = {}
    for batch in batches:
        ledger.append(ledger.size, [], [Row("jobs", key, body) for key, body in batch], NOON_MS)
        for key, body in batch:
            if body is None:
                expected.pop(key, None)
            else:
                expected[key] = body
    assert ledger.rows("jobs") == list(expected.items())


def test_a_prefix_selects_exactly_the_keys_that_start_with_it(ledger: Ledger) -> None:
    keys = ["job-1.2", "job-1", "job-10", "job-1.1", "job-2", "작업-1", "작업", "a%b", "a_b", "JOB-1"]
    ledger.append(0, entries(0, 1), [row(key, "x") for key in keys], NOON_MS)
    for prefix in ["job-1", "job-1.", "작업", "작", "a%", "a_", "job-\ud7ff", "nothing"]:
        expected = [key for key in keys if key.startswith(prefix)]
        assert [key for key, _ in ledger.rows("jobs", prefix)] == expected
        assert [key for key, _ in ledger.rows("jobs", prefix, limit=1, newest_first=True)] == expected[::-1][:1]


def test_every_batch_ends_in_a_signed_checkpoint_of_the_whole_log(ledger: Ledger) -> None:
    for first, stop in [(0, 1), (1, 4), (4, 11)]:
        ledger.append(first, entries(first, stop), [], NOON_MS + first)
        checkpoint = ledger.latest_checkpoint()
        assert checkpoint is not None
        expected = root(leaf_hashes(entries(0, stop)))
        assert (checkpoint.size, checkpoint.root, checkpoint.at_ms) == (stop, expected, NOON_MS + first)
        assert open_checkpoint(checkpoint.note, SIGNER.verifier) == TreeHead(ORIGIN, stop, expected)


def test_what_was_appended_verifies(ledger: Ledger) -> None:
    ledger.append(0, entries(0, 10), [], NOON_MS)
    ledger.append(10, entries(10, 5_000), [], NOON_MS)
    with ledger.stored() as log:
        verdict = verify(log, SIGNER.verifier)
    assert verdict.is_sound
    assert verdict.size == 5_000


def test_it_goes_on_under_another_key(ledger: Ledger) -> None:
    other = Signer(ORIGIN, bytes(32))
    ledger.append(0, [*entries(0, 8), *key_agreed(other)], [], NOON_MS)
    checkpoint = ledger.latest_checkpoint()
    assert checkpoint is not None
    ledger.sign_with(other)
    ledger.append(10, [key_changed(SIGNER, other, checkpoint.note)], [], NOON_MS)
    ledger.append(11, entries(11, 20), [], NOON_MS)
    with ledger.stored() as log:
        verdict = verify(log, other.verifier, [checkpoint.note])
    assert verdict.is_sound, verdict.faults
    assert verdict.former_keys == (SIGNER.verifier,)


def test_a_stored_log_is_as_it_was_when_it_was_opened(ledger: Ledger) -> None:
    ledger.append(0, entries(0, 10), [], NOON_MS)
    with ledger.stored() as log:
        assert len(log.checkpoints()) == 1
        ledger.append(10, entries(10, 20), [], NOON_MS)
        verdict = verify(log, SIGNER.verifier)
    assert verdict.is_sound
    assert verdict.size == 10


def test_reading_goes_on_from_other_threads_while_one_appends(ledger: Ledger) -> None:
    batches, wrong, done = 60, list[str](), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen = list(ledger.entries())
            rows = ledger.rows("jobs")
            checkpoint = ledger.latest_checkpoint()
            if seen != entries(0, len(seen)) or len(seen) % 10:
                wrong.append(f"{len(seen)} entries")
            if len(rows) < len(seen) // 10 or (checkpoint and checkpoint.size < len(seen)):
                wrong.append(f"{len(seen)} entries, {len(rows)} rows, {checkpoint}")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(batches):
        batch = entries(number * 10, number * 10 + 10)
        ledger.append(number * 10, batch, [row(f"job-{number}", "queued")], NOON_MS)
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert ledger.size == batches * 10


keys = st.sampled_from(["a", "b", "job-1", "job-1.1", "job-2", "작업"])
row_changes = st.builds(Row, st.sampled_from(TABLES[:2]), keys, st.none() | st.binary(max_size=3))
batches = st.lists(st.tuples(st.integers(0, 4), st.lists(row_changes, max_size=8)), max_size=6)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches)
def test_memory_and_sqlite_answer_alike(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[int, list[Row]]]
) -> None:
    with closing(SqliteLedger.open(tmp_path_factory.mktemp("ledger") / "ledger.sqlite", SIGNER)) as sqlite:
        answers_like_memory(sqlite, batches)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches)
def test_memory_and_postgresql_answer_alike(postgres: PostgresServer, batches: list[tuple[int, list[Row]]]) -> None:
    with closing(PostgresLedger.open(postgres.new_schema(), SIGNER)) as ledger:
        answers_like_memory(ledger, batches)


def answers_like_memory(other: Ledger, batches: list[tuple[int, list[Row]]]) -> None:
    memory = MemoryLedger(SIGNER)
    for count, changes in batches:
        for ledger in (memory, other):
            ledger.append(ledger.size, entries(ledger.size, ledger.size + count), changes, NOON_MS + ledger.size)
    for table in TABLES:
        for prefix in ("", "job-1", "작"):
            assert memory.rows(table, prefix) == other.rows(table, prefix)
            assert memory.rows(table, prefix, 1, True) == other.rows(table, prefix, 1, True)
    assert memory.latest_checkpoint() == other.latest_checkpoint()
