"""Killed at any instant, a ledger has all that it acknowledged, nothing by halves, and still proves itself."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dure.ledger.contract import Ledger
from dure.ledger.postgres import Candidate, PostgresLedger
from dure.ledger.sqlite import SqliteLedger
from dure.ledger.verify import verify
from tests.ledger.ledger_samples import SIGNER, entries
from tests.postgres import PostgresServer, running_postgres

CHILD = "tests.ledger.ledger_child"
KILLED_AFTER = [1, 2, 3, 5, 8, 40, 150]
"""Number of acknowledged appends after which each process in turn is killed, in the middle of whatever comes next."""


def kill_after(deed: str, place: str, acknowledgements: int, kill: Callable[[], None] | None = None) -> int:
    """Let another process append, kill it (or what it needs), and return the last size it had acknowledged."""
    command = [sys.executable, "-m", CHILD, deed, place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("opened ")
        for _ in range(acknowledgements):
            line = child.stdout.readline()
        (kill or child.kill)()
        # What it still said before it died counts as well.
        said = [line, *child.stdout.read().splitlines(keepends=True)]
    whole = [line for line in said if line.startswith("acknowledged") and line.endswith("\n")]
    return int(whole[-1].split()[1])


def assert_whole(ledger: Ledger, acknowledged: int) -> None:
    """All that was acknowledged is there, nothing by halves, and it proves itself."""
    assert ledger.size >= acknowledged
    assert list(ledger.entries()) == entries(0, ledger.size)
    assert [key for key, _ in ledger.rows("jobs")] == [f"job-{number}" for number in range(ledger.size)]
    with ledger.stored() as log:
        assert verify(log, SIGNER.verifier).is_sound


@pytest.mark.parametrize("warm", [False, True], ids=["new-file", "grown-file"])
def test_a_killed_ledger_keeps_every_acknowledged_entry_and_verifies(tmp_path: Path, warm: bool) -> None:
    path = tmp_path / "ledger.sqlite"
    for acknowledgements in KILLED_AFTER:
        acknowledged = kill_after("append-forever", str(path), acknowledgements)
        with closing(SqliteLedger.open(path, SIGNER)) as ledger:
            assert_whole(ledger, acknowledged)
        if not warm:
            path.unlink()


def test_a_killed_server_leaves_every_acknowledged_entry_in_the_database(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    for acknowledgements in KILLED_AFTER:
        acknowledged = kill_after("append-forever-to-database", url, acknowledgements)
        with closing(led(url)) as ledger:
            assert_whole(ledger, acknowledged)


def test_a_killed_database_has_every_acknowledged_entry() -> None:
    with running_postgres() as server:
        url = server.new_database()
        for acknowledgements in KILLED_AFTER[::3]:
            acknowledged = kill_after("append-forever-to-database", url, acknowledgements, server.kill)
            server.start()
            with closing(led(url)) as ledger:
                assert_whole(ledger, acknowledged)


def led(url: str) -> PostgresLedger:
    """The ledger, as soon as the server has seen that the process before is gone."""
    with closing(Candidate(url, SIGNER)) as candidate:
        while (ledger := candidate.try_to_lead()) is None:
            time.sleep(0.01)
        return ledger
