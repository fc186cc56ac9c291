"""What only the ledger in memory does."""

from __future__ import annotations

from dure.ledger.memory import MemoryLedger
from dure.ledger.merkle import EMPTY_ROOT, leaf_hashes, root
from tests.ledger.ledger_samples import NOON_MS, entries


def test_equal_runs_have_equal_roots_however_they_were_batched() -> None:
    first, second = MemoryLedger(), MemoryLedger()
    first.append(0, entries(0, 100), [], NOON_MS)
    for number in range(100):
        second.append(number, entries(number, number + 1), [], NOON_MS)
        second.root()
    assert first.root() == second.root() == root(leaf_hashes(entries(0, 100)))


def test_an_empty_run_has_the_empty_root() -> None:
    assert MemoryLedger().root() == EMPTY_ROOT


def test_without_a_signer_there_are_no_checkpoints() -> None:
    ledger = MemoryLedger()
    ledger.append(0, entries(0, 3), [], NOON_MS)
    assert ledger.latest_checkpoint() is None
    with ledger.stored() as log:
        assert log.checkpoints() == []
