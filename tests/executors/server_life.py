"""A small server for the fault tests, run as a program that gets killed: `server_life.py HOME`.

It does what a real one must: an attempt is durably in the journal before it is ordered, and what is observed is
durably there before anything follows from it. A job whose attempt never started gets another attempt. New jobs come
until there is a file `enough`; then it finishes what is open and ends.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from dure.executors.contract import Ended, Launch, NeverStarted, Observation, Refused, Started
from dure.executors.local.executor import LocalExecutor
from dure.model.plan import Placement

AT_ONCE = 12


class Journal:
    """What was ordered and what came of it, one durable line each."""

    def __init__(self, path: Path) -> None:
        self.ordered: list[str] = []
        self.outcomes: dict[str, str] = {}
        for line in path.read_text().splitlines() if path.exists() else []:
            self._take(line)
        self._file = path.open("a")

    def write(self, kind: str, attempt_id: str, outcome: str = "") -> None:
        line = f"{kind} {attempt_id} {outcome}"
        self._file.write(line + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._take(line)

    def _take(self, line: str) -> None:
        kind, attempt_id, outcome = line.split(" ")
        if kind == "ordered":
            self.ordered.append(attempt_id)
        else:
            self.outcomes[attempt_id] = outcome

    def unresolved(self) -> list[str]:
        return [each for each in self.ordered if each not in self.outcomes]

    def next_attempt(self, is_enough: bool) -> str | None:
        """The next attempt of a job whose latest never started, else the first of a new job unless it is enough."""
        for attempt_id in reversed(self.ordered):
            job, _, attempt = attempt_id.partition(".")
            again = f"{job}.{int(attempt) + 1}"
            if self.outcomes.get(attempt_id) == "never" and again not in self.ordered:
                return again
        begun = len({each.partition(".")[0] for each in self.ordered})
        return None if is_enough else f"j{begun}.1"


def outcome_of(observation: Observation) -> str | None:
    match observation:
        case Ended():
            return str(observation.exit_code)
        case NeverStarted() | Refused():
            return "never"
        case Started():
            return None


def note(journal: Journal, observation: Observation | None) -> None:
    outcome = outcome_of(observation) if observation is not None else None
    if observation is not None and outcome is not None:
        assert observation.attempt_id not in journal.outcomes, f"told twice: {observation}"
        journal.write("outcome", observation.attempt_id, outcome)


def order(attempt_id: str, lines: str) -> Launch:
    # One write of one short line to a file opened for appending cannot be torn or overwritten.
    return Launch(
        attempt_id=attempt_id,
        site="seoul",
        gpu_class="H100",
        placements=(Placement(node="seoul-0", gpus=(0,), milli=1000),),
        argv=("sh", "-c", 'echo "$DURE_ATTEMPT_ID" >> "$LINES"; exec sleep 0.05'),
        script="",
        setup="",
        workdir="",
        env={"LINES": lines},
        secret_env={},
        checkpoint_dir="",
    )


def main(home: Path) -> None:
    journal = Journal(home / "journal")
    executor = LocalExecutor(home / "state")
    news = threading.Event()
    executor.on_observation(news.set)
    for observation in executor.recover(journal.unresolved()).values():
        note(journal, observation)
    while True:
        news.clear()
        for seen in executor.observe():
            note(journal, seen)
        is_enough = (home / "enough").exists()
        while len(journal.unresolved()) < AT_ONCE and (attempt_id := journal.next_attempt(is_enough)) is not None:
            journal.write("ordered", attempt_id)
            executor.start(order(attempt_id, str(home / "lines")))
        if not journal.unresolved():
            break
        news.wait()
    executor.close(kill=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
