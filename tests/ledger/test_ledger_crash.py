"""Killed at any instant, a ledger has all that it acknowledged, nothing by halves, and still proves itself."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from dure.ledger.sqlite import SqliteLedger
from dure.ledger.verify import verify
from tests.ledger.ledger_samples import SIGNER, entries

CHILD = "tests.ledger.ledger_child"
KILLED_AFTER = [1, 2, 3, 5, 8, 40, 150]
"""Number of acknowledged appends after which each process in turn is killed, in the middle of whatever comes next."""


def kill_after(path: Path, acknowledgements: int) -> int:
    """Let another process append, kill it, and return the last size it had acknowledged."""
    command = [sys.executable, "-m", CHILD, "append-forever", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("opened ")
        for _ in range(acknowledgements):
            line = child.stdout.readline()
        child.kill()
        # What it still said before it died counts as well.
        said = [line, *child.stdout.read().splitlines(keepends=True)]
    return int([line for line in said if line.endswith("\n")][-1].split()[1])


@pytest.mark.parametrize("warm", [False, True], ids=["new-file", "grown-file"])
def test_a_killed_ledger_keeps_every_acknowledged_entry_and_verifies(tmp_path: Path, warm: bool) -> None:
    path = tmp_path / "ledger.sqlite"
    for acknowledgements in KILLED_AFTER:
        acknowledged = kill_after(path, acknowledgements)
        with closing(SqliteLedger.open(path, SIGNER)) as ledger:
            assert ledger.size >= acknowledged
            assert list(ledger.entries()) == entries(0, ledger.size)
            assert [key for key, _ in ledger.rows("jobs")] == [f"job-{number}" for number in range(ledger.size)]
            with ledger.stored() as log:
                assert verify(log, SIGNER.verifier).is_sound
        if not warm:
            path.unlink()
