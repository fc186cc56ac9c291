"""What jobs run: remembered for the latest, read from the ledger for the others, by one question for many."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dure.control import specs
from dure.control.specs import Specs
from dure.ledger.memory import MemoryLedger
from tests.control.builders import spec


class AskedLedger(MemoryLedger):
    """Notes what it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []

    def rows_of(self, table: str, keys: Sequence[str]) -> dict[str, bytes]:
        self.asked.append(list(keys))
        return super().rows_of(table, keys)


@pytest.fixture
def ledger() -> AskedLedger:
    return AskedLedger()


def kept(ledger: AskedLedger, jobs: Sequence[str]) -> Specs:
    """Specs of jobs whose rows are in the ledger."""
    all_specs = Specs(ledger, bytes)
    for job in jobs:
        _, row = all_specs.add(job, spec(name=f"name-of-{job}"))
        ledger.append(ledger.size, [], [row], 0)
    return all_specs


def test_those_that_are_not_remembered_are_read_by_one_question_and_remembered(
    ledger: AskedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(specs, "MOST_REMEMBERED", 2)
    all_specs = kept(ledger, ["j1", "j2", "j3", "j4"])
    all_specs.forget_oldest()
    found = all_specs.of_all(["j1", "j2", "j4", "j9"])
    assert {job: each.name for job, each in found.items()} == {job: f"name-of-{job}" for job in ("j1", "j2", "j4")}
    assert ledger.asked == [["j1", "j2", "j9"]]
    assert all_specs.of_all(["j4", "j2"]) == {"j4": found["j4"], "j2": found["j2"]}
    assert len(ledger.asked) == 1


def test_tasks_of_an_array_run_what_the_array_does(ledger: AskedLedger) -> None:
    kept(ledger, ["j5"])
    found = Specs(ledger, bytes).of_all(["j5_0", "j5_7", "j5"])
    assert {job: each.name for job, each in found.items()} == dict.fromkeys(("j5_0", "j5_7", "j5"), "name-of-j5")
    assert ledger.asked == [["j5"]]


def test_what_was_erased_is_not_found(ledger: AskedLedger) -> None:
    all_specs = kept(ledger, ["j1"])
    ledger.append(0, [], [all_specs.erase("j1")], 0)
    assert all_specs.of_all(["j1"]) == {}
    assert all_specs.of("j1") is None
