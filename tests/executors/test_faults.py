"""Server, supervisor and shims are killed at random moments: no attempt runs twice, and none is lost silently."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from .engines import PATIENCE_S, eventually, helpers_of, processes_of
from .server_life import Journal

KILLS_OF_EACH = 8
FEWEST_RUNS = 60
"""Attempts that must have run in the end, so that killing met work."""
SERVER = Path(__file__).with_name("server_life.py")


class Story:
    """One folder, the server lives that use it, and what is killed in between."""

    def __init__(self, home: Path, kinds: list[str]) -> None:
        self.home = home
        self.dice = random.Random(len(kinds))
        self.left = Counter(dict.fromkeys(kinds, KILLS_OF_EACH))
        self.server = self._begin_life()

    def _begin_life(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, SERVER, self.home])

    def run(self) -> None:
        """Live, and be killed, as often as was asked for; the last life finishes the work in peace."""
        deadline = time.monotonic() + 6 * PATIENCE_S
        while kinds := sorted((+self.left).elements()):
            assert time.monotonic() < deadline, f"nothing left to kill; still to do: {self.left}"
            self._live_a_little()
            self._kill(self.dice.choice(kinds))
        eventually(lambda: len(self._lines()) >= FEWEST_RUNS, "enough attempts run")
        (self.home / "enough").touch()
        assert self.server.wait(deadline - time.monotonic()) == 0

    def _live_a_little(self) -> None:
        """Most lives get to do something before they are killed, and some are killed while they begin."""
        if self.dice.random() < 0.7:
            before = self._journal_size()
            eventually(lambda: self._journal_size() > before, "the server goes on")
        with suppress(subprocess.TimeoutExpired):
            self.server.wait(self.dice.uniform(0.01, 0.15))
            raise AssertionError("the server ended by itself")

    def _journal_size(self) -> int:
        journal = self.home / "journal"
        return journal.stat().st_size if journal.exists() else 0

    def _lines(self) -> list[str]:
        lines = self.home / "lines"
        return lines.read_text().split() if lines.exists() else []

    def _kill(self, kind: str) -> None:
        supervisors, shims = helpers_of(self.home / "state")
        victims = {"server": [self.server.pid], "supervisor": supervisors, "shim": shims}[kind]
        for pid in self.dice.sample(sorted(victims), min(len(victims), 3)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.left[kind] -= bool(victims)
        if kind == "server":
            self.server.wait()
            self.server = self._begin_life()

    def check(self) -> Counter[str]:
        """What the jobs did must be what the journal says, whatever was killed; how often each outcome came."""
        journal = Journal(self.home / "journal")
        lines = Counter(self._lines())
        assert journal.unresolved() == []
        assert set(lines) <= set(journal.ordered)
        for attempt_id in journal.ordered:
            outcome, ran = journal.outcomes[attempt_id], lines[attempt_id]
            may_have_run = {"0": (1,), "-9": (0, 1), "never": (0,)}[outcome]
            assert ran in may_have_run, f"{attempt_id} ended with {outcome} and ran {ran} times"
        return Counter(journal.outcomes.values())


@pytest.mark.parametrize(
    "kinds", [["server"], ["server", "supervisor"], ["server", "supervisor", "shim"]], ids=lambda kinds: "-".join(kinds)
)
def test_no_attempt_runs_twice_and_none_is_lost(tmp_path: Path, kinds: list[str]) -> None:
    story = Story(tmp_path, kinds)
    try:
        story.run()
    finally:
        story.server.kill()
        story.server.wait()
    outcomes = story.check()
    # Only a killed shim may cost an attempt that ran.
    assert bool(outcomes["-9"]) == ("shim" in kinds), outcomes
    eventually(lambda: not processes_of(tmp_path / "state"), "no process is left behind")
