"""Chapters 1 to 3: idle GPUs are lent, their owner takes them back, and the borrower loses nothing by it."""

from __future__ import annotations

import math
import re

from dure.demo.chapters import jobs
from dure.demo.story import Proof, Story, WatchedJob
from dure.demo.telling import curve
from dure.model.jobs import JobState

BORROWER, OWNER, GPU_CLASS = "saessak", "samsung", "B200"
LENT_MILLI = 4_000
BORROWER_WORKS_S = 15.0
OWNER_WORKS_S = 5.0

_REPORT = re.compile(r"^step (?P<step>\d+) of \d+, loss (?P<loss>\S+)")
_SAVED = re.compile(r"saved at step (?P<step>\d+), loss (?P<loss>[\d.]+)")
_RESUMED = re.compile(r"^resumed at step (?P<step>\d+), loss (?P<loss>[\d.]+)")
_FINISHED = re.compile(r"^finished at step (?P<step>\d+), loss (?P<loss>[\d.]+)")


class Sharing:
    """Saessak, a startup, on GPUs of Samsung."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._steps = story.steps_for(BORROWER_WORKS_S)
        self._borrower: WatchedJob
        self._owner: WatchedJob
        self._document = jobs.training(
            "defect-finder", "saessak-vision", f"{GPU_CLASS}:4", self._steps, seed=7, reports=16
        )

    def lend(self) -> Proof:
        """A job above its organisation's guarantee starts on what others leave idle."""
        story = self._story
        story.teller.say(
            f"Samsung's 8 {GPU_CLASS} at Pyeongtaek are idle. Saessak, a startup that is guaranteed none of them, "
            f"trains a network there, {self._steps:,} steps long."
        )
        self._borrower = borrower = story.submit(BORROWER, self._document)
        story.until(f"{borrower.id} runs", lambda: borrower.state is JobState.RUNNING, borrower)
        story.expect("Saessak's job runs at Samsung's site", "pyeongtaek", borrower.report.line.site)
        story.expect("its GPUs are borrowed", True, borrower.report.line.borrowed)
        lent_milli = story.operator.share(OWNER, GPU_CLASS).lent_milli
        story.expect(f"Samsung lends {LENT_MILLI // 1000} {GPU_CLASS}", LENT_MILLI, lent_milli)
        protected_ms = story.nation.timing.protected_ms
        story.teller.say(f"For {protected_ms / 1000:g} s a borrower is left alone.")
        story.until("its protected time is over", lambda: (borrower.report.ran_ms or 0) > protected_ms, borrower)
        story.until("it reports a step", lambda: bool(_found(borrower, _REPORT)), borrower)
        started_ms = _between(borrower, JobState.QUEUED, JobState.RUNNING)
        return Proof("4 idle GPUs of Samsung run a startup's training", f"{started_ms} ms from submission to start")

    def take_back(self) -> Proof:
        """The owner's own demand gets its guarantee within warning and grace."""
        story, borrower, timing = self._story, self._borrower, self._story.nation.timing
        promise_ms = timing.warning_ms + timing.grace_ms
        document = jobs.training(
            "yield-model", "fab-yield-model", f"{GPU_CLASS}:6", story.steps_for(OWNER_WORKS_S), seed=3, reports=4
        )
        story.teller.say(
            f"Samsung needs 6 of its 8 GPUs; 4 are free. It is promised the rest within {promise_ms / 1000:g} s."
        )
        preview = story.members[OWNER].plan(document)
        story.expect(
            f"`plan` says beforehand that {borrower.id} will be asked to yield", (borrower.id,), preview.warned
        )
        self._owner = owner = story.submit(OWNER, document)
        story.until(f"{owner.id} runs", lambda: owner.state is JobState.RUNNING, owner)
        # From when it has its GPUs, its start is the machine's matter, as it is for every other job.
        took_ms = _between(owner, JobState.QUEUED, JobState.STARTING)
        started_ms = _between(owner, JobState.QUEUED, JobState.RUNNING)
        story.require(
            f"Samsung had its GPUs {took_ms / 1000:.2f} s after it asked; its job ran after {started_ms / 1000:.2f} s",
            took_ms <= promise_ms,
            f"at most {promise_ms} ms",
            f"{took_ms} ms",
        )
        story.until("the borrower waits", lambda: borrower.state is JobState.QUEUED, borrower)
        story.require(
            "the borrower was warned and saved its work before it yielded",
            borrower.entered(JobState.WARNED) is not None and bool(_found(borrower, _SAVED, attempt=1)),
            "a warning and a saved checkpoint",
            f'its last line: "{borrower.lines[-1].text}"',
        )
        story.tell_why(borrower)
        return Proof("the borrower saved and yielded", f"{took_ms / 1000:.2f} s of at most {promise_ms / 1000:g} s")

    def resume(self) -> Proof:
        """The borrower goes on from the step it had come to, and finishes."""
        story, borrower, owner = self._story, self._borrower, self._owner
        story.until(f"{owner.id} is done", lambda: owner.is_over, owner)
        story.expect("Samsung's job succeeded", "succeeded", owner.state.value)
        story.until(f"{borrower.id} is done", lambda: borrower.is_over, borrower)
        story.expect("Saessak's job succeeded", "succeeded", borrower.state.value)
        story.expect("it took two attempts", 2, borrower.report.line.attempt)
        saved, resumed = _found(borrower, _SAVED, attempt=1), _found(borrower, _RESUMED, attempt=2)
        story.expect("it resumed at the very step, and with the very loss, it had saved", saved[-1:], resumed[:1])
        finished = _found(borrower, _FINISHED, attempt=2)
        story.expect("no step was lost or done twice", [self._steps], [int(step) for step, _ in finished])
        reports = _found(borrower, _REPORT)
        steps = [int(step) for step, _ in reports]
        story.expect("its reports go on without a gap", sorted(set(steps)), steps)
        story.teller.say(
            f"  Loss over both attempts (logarithm): {curve([math.log(float(loss)) for _, loss in reports])}"
        )
        at = resumed[0][0]
        return Proof("its training continued where it was", f"resumed at step {int(at):,} of {self._steps:,}")


def _found(job: WatchedJob, pattern: re.Pattern[str], attempt: int | None = None) -> list[tuple[str, str]]:
    """Step and loss of every line of the output that fits, as they were written."""
    lines = [line.text for line in job.lines if attempt in (None, line.attempt)]
    return [(found["step"], found["loss"]) for found in map(pattern.search, lines) if found]


def _between(job: WatchedJob, earlier: JobState, later: JobState) -> int:
    """Milliseconds from the first time in one state to the first time in another."""
    began_ms, ended_ms = job.entered(earlier), job.entered(later)
    assert began_ms is not None, f"{job.id} was never {earlier}"
    assert ended_ms is not None, f"{job.id} was never {later}"
    return ended_ms - began_ms
