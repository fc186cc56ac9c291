"""Entries longer than the public formats allow are logged by their hash, and old ledgers still verify."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from dure.ledger.contract import Ledger
from dure.ledger.large import MOST_ENTRY_BYTES, digest_of_large, entry_leaf, entry_leaves, is_large, logged
from dure.ledger.memory import MemoryLedger
from dure.ledger.merkle import leaf_hash, root
from dure.ledger.note import sign_checkpoint
from dure.ledger.sqlite import SqliteLedger, read_stored
from dure.ledger.verify import FaultCode, verify
from dure.model.events import JobReleased, encode
from tests.ledger.ledger_samples import NOON_MS, SIGNER, entries, entry

LARGE = encode(JobReleased(at_ms=NOON_MS, job="j" * MOST_ENTRY_BYTES))


def append_all(ledger: Ledger) -> None:
    for each in (entry(0), LARGE, entry(2)):
        ledger.append(ledger.size, [each], [], NOON_MS)


def old_ledger(path: Path) -> None:
    """A ledger as it was written before large entries were logged by their hash."""
    with closing(SqliteLedger.open(path, SIGNER)) as ledger:
        append_all(ledger)
    leaves = [leaf_hash(each) for each in (entry(0), LARGE, entry(2))]
    with closing(sqlite3.connect(path)) as file, file:
        for position, leaf in enumerate(leaves):
            file.execute("UPDATE leaves SET hash = ? WHERE position = ?", (leaf, position))
        file.execute("DELETE FROM checkpoints")
        file.execute("INSERT INTO checkpoints VALUES (3, ?, ?)", (NOON_MS, sign_checkpoint(SIGNER, 3, root(leaves))))


def test_an_entry_of_the_greatest_length_stands_for_itself() -> None:
    assert logged(b"x" * MOST_ENTRY_BYTES) == b"x" * MOST_ENTRY_BYTES
    assert not is_large(b"x" * MOST_ENTRY_BYTES)


def test_a_longer_one_is_logged_by_length_and_hash() -> None:
    expected = b'{"bytes":%d,"event":"large-entry","sha256":"%s"}' % (len(LARGE), sha256(LARGE).hexdigest().encode())
    assert logged(LARGE) == expected
    assert digest_of_large(expected) == sha256(LARGE).hexdigest()
    assert digest_of_large(entry(0)) is None
    assert entry_leaf(LARGE) == leaf_hash(expected)


def test_a_ledger_with_a_large_entry_keeps_it_whole_and_verifies(tmp_path: Path) -> None:
    with closing(SqliteLedger.open(tmp_path / "ledger.sqlite", SIGNER)) as ledger:
        append_all(ledger)
        assert list(ledger.entries()) == [entry(0), LARGE, entry(2)]
        checkpoint = ledger.latest_checkpoint()
        with ledger.stored() as log:
            verdict = verify(log, SIGNER.verifier)
    assert checkpoint is not None
    assert checkpoint.root == root(entry_leaves([entry(0), LARGE, entry(2)]))
    assert verdict.is_sound


def test_a_ledger_that_hashed_a_large_entry_whole_still_verifies(tmp_path: Path) -> None:
    old_ledger(tmp_path / "ledger.sqlite")
    with read_stored(tmp_path / "ledger.sqlite") as log:
        verdict = verify(log, SIGNER.verifier)
    assert verdict.is_sound, verdict.faults


def test_an_altered_large_entry_is_named_in_either(tmp_path: Path) -> None:
    altered = encode(JobReleased(at_ms=NOON_MS, job="k" + "j" * (MOST_ENTRY_BYTES - 1)))
    old_ledger(tmp_path / "old.sqlite")
    with closing(SqliteLedger.open(tmp_path / "new.sqlite", SIGNER)) as ledger:
        append_all(ledger)
    for path in (tmp_path / "old.sqlite", tmp_path / "new.sqlite"):
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("UPDATE entries SET entry = ? WHERE position = 1", (altered,))
        with read_stored(path) as log:
            fault = verify(log, SIGNER.verifier).first_bad
        assert fault is not None
        assert (fault.code, fault.first_position, fault.last_position) == (FaultCode.ALTERED, 1, 1)


def test_the_root_in_memory_is_that_of_the_durable_ledger() -> None:
    memory = MemoryLedger(SIGNER)
    append_all(memory)
    assert memory.root() == root(entry_leaves([entry(0), LARGE, entry(2)]))
    assert memory.leaf_hashes(1, 2) == [entry_leaf(LARGE)]
    assert entry_leaves(entries(0, 3)) == [leaf_hash(each) for each in entries(0, 3)]
