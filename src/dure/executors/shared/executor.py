"""`SharedFolderExecutor`: the server's handle on attempts that are jobs of a cluster, with a folder they share."""

from __future__ import annotations

import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from msgspec import structs

from dure.executors.contract import (
    Contact,
    Ended,
    ExecutorError,
    Launch,
    NeverStarted,
    NodeCapacity,
    Observation,
    Refused,
    Started,
    without_false_start,
)
from dure.executors.environment import objection, signal_number
from dure.executors.local import records
from dure.executors.outputs import OutputFolder
from dure.executors.shared import folder as folders
from dure.executors.shared.agent import files
from dure.executors.shared.folder import Fate, SharedFolder
from dure.executors.shared.installing import install_agent
from dure.executors.shared.polling import Pace
from dure.governance.inspection.terms import InspectionTerms
from dure.model.outputs import OutputListing
from dure.model.results import InspectedResult, ResultKind

_LOG = logging.getLogger(__name__)
_CHECKPOINTS = "checkpoints"
_CLOSING_GRACE_MS = 2_000
_CLOSING_PATIENCE_S = 30.0

Jobs = TypeVar("Jobs")
"""What the engine says of all jobs at once."""
Job = TypeVar("Job")
"""What it says of one."""


class OpenAttempt:
    """An attempt whose end has not been observed. Times are monotonic seconds."""

    def __init__(self, folder: SharedFolder) -> None:
        self.folder = folder
        self.start_seen = False
        self.missing_since: float | None = None
        """Since when the engine has not known any job of it."""
        self.abandoned_since: float | None = None
        """Since when its job is gone, though ranks of it may still run."""
        self.waiting = ""
        """Why the engine keeps it waiting."""


class SharedFolderExecutor(ABC, Generic[Jobs, Job]):
    """All of an executor but how its engine is spoken to, which subclasses add in the methods without a body.

    `engine` is what people call it, and `agent` where its agent's sources are. Raises `ExecutorError` when the work
    folder cannot be used. An engine that does not answer is no error: `contact` tells of it.
    """

    def __init__(self, engine: str, agent: str, work_folder: str, poll_interval_s: float) -> None:
        self._engine = engine
        self._root = os.path.abspath(work_folder)
        self._agent = _prepare(self._root, agent, engine)
        self._mutex = threading.RLock()
        self._changed = threading.Condition(self._mutex)
        self._concluding = threading.Lock()
        """Held by whoever puts the end of an attempt on record."""
        self._open: dict[str, OpenAttempt] = {}
        self._ended: set[str] = set()
        """Attempts whose end was handed out in the life of this process."""
        self._observed: list[Observation] = []
        self._wake: Callable[[], None] = lambda: None
        self._contact = Contact(heard_at_ms=0)
        self._pace = Pace(poll_interval_s)
        self._closing = False
        self._watcher = threading.Thread(target=self._watch, name=f"{engine} executor", daemon=True)

    # What each engine does in its own way

    @abstractmethod
    def _unsuitable(self, launch: Launch) -> str:
        """Why the engine can never run this; empty when it can."""

    @abstractmethod
    def _submit(self, launch: Launch, folder: SharedFolder) -> bool:
        """Have the engine take the attempt; False when it is refused. Raises `ExecutorError` when nobody can tell."""

    @abstractmethod
    def _list_jobs(self) -> Jobs:
        """Ask about all jobs. Raises `ExecutorError` when the engine does not answer."""

    @abstractmethod
    def _job_of(self, attempt: OpenAttempt, jobs: Jobs) -> Job | None:
        """The job that has claimed the attempt, or else one that may."""

    @abstractmethod
    def _why_waiting(self, job: Job) -> str:
        """Why the engine keeps a job waiting, in words; empty when it does not."""

    @abstractmethod
    def _conclude(self, attempt: OpenAttempt, job: Job | None, *, is_gone: bool) -> Observation | None:
        """Put on record what is to be concluded, and say it; None while there is nothing, or an agent was faster.

        `job` is None when the engine was not asked or knows none; `is_gone`: it surely has none any more.
        """

    @abstractmethod
    def capacity(self) -> tuple[NodeCapacity, ...]:
        """The nodes the engine has for Dure. Raises `ExecutorError` while it does not answer."""

    def _nudge(self, folder: SharedFolder) -> None:
        """Have the agents look for orders now, where the engine can; they do so by themselves before long."""

    def _named(self, started: Started) -> Started:
        """A start with its nodes by Dure's names, where the engine has others."""
        return started

    def _after_poll(self, jobs: Jobs) -> None:
        """Put right what the engine has and should not."""

    def _forget_job(self, attempt_id: str) -> None:
        """Have the engine forget the job of an attempt that ended."""

    def _let_go(self) -> None:
        """Close connections."""

    # What the loop asks for

    def start(self, launch: Launch) -> None:
        """Submit an attempt. Starting the same attempt twice is starting it once."""
        folder = SharedFolder(self._root, launch.attempt_id)
        with self._mutex:
            if launch.attempt_id in self._ended or launch.attempt_id in self._open:
                return
            self._observed = without_false_start(self._observed, launch.attempt_id)
        if problem := objection(launch):
            self._report(NeverStarted(attempt_id=launch.attempt_id, at_ms=folders.now_ms(), reason=problem))
        elif problem := self._unsuitable(launch):
            self._refuse(launch, problem)
        elif folder.fate() not in (Fate.ABSENT, Fate.ORDERED, Fate.GIVEN_UP) or self._submit(launch, folder):
            self._attend(folder)

    def warn(self, attempt_id: str, stop_at_ms: int, signal: str) -> None:
        """Tell a running attempt that it will be stopped: write its notice file, and send `signal` if one is named.

        The signal (`USR1`) goes to those of its processes that have a handler for it.
        """
        number = signal_number(signal)
        folder = SharedFolder(self._root, attempt_id)
        if folder.fate() in (Fate.ABSENT, Fate.ENDED):
            return
        records.replace(folder.path, records.NOTICE, {"stop_at_ms": stop_at_ms}, durable=False)
        if number is not None:
            folder.order_signal(number)
            self._nudge(folder)

    def spare(self, attempt_id: str) -> None:
        """Take a warning back: remove the notice file."""
        records.take(SharedFolder(self._root, attempt_id).path, records.NOTICE)

    def stop(self, attempt_id: str, grace_ms: int) -> None:
        """Terminate (SIGTERM) every process of the attempt; kill (SIGKILL) what is left after the grace.

        From when this returns the agents see to it, whatever happens to the server or to the engine. An attempt that no
        job has claimed ends without running, with the exit code of SIGTERM.
        """
        folder = SharedFolder(self._root, attempt_id)
        if folder.fate() in (Fate.ABSENT, Fate.ENDED):
            return
        folder.order_stop(grace_ms)
        with self._concluding:
            has_ended = folder.end_unrun()
        if not has_ended:
            self._nudge(folder)
        self._attend(folder)

    def observe(self) -> list[Observation]:
        """What was seen since the last call, each thing once per process life."""
        with self._mutex:
            seen, self._observed = self._observed, []
            return seen

    def recover(self, attempt_ids: Iterable[str]) -> dict[str, Observation | None]:
        """After a restart: what is known of each of these attempts; None while it runs or its fate is not proven.

        Whatever else is in the work folder is watched too: `observe` then reports the start of an attempt that nobody
        asked about, and the caller stops it if it should not run.
        """
        known = {attempt_id: self._recover(attempt_id) for attempt_id in attempt_ids}
        for attempt_id in folders.attempt_ids(self._root):
            folder = SharedFolder(self._root, attempt_id)
            if folder.fate() is not Fate.ENDED:
                self._attend(folder)
        return known

    def on_observation(self, wake: Callable[[], None]) -> None:
        """Call `wake` (from any thread) whenever `observe` has something new, or contact is lost or found again."""
        self._wake = wake
        if self._observed:
            wake()

    def contact(self) -> Contact:
        """When the engine last answered, and what is wrong if it does not. Returns at once."""
        return self._contact

    def waiting(self) -> Mapping[str, str]:
        """Attempts that were submitted and that the engine keeps waiting: why, in words."""
        with self._mutex:
            return {name: each.waiting for name, each in self._open.items() if each.waiting}

    def gpu_use(self, attempt_id: str) -> None:
        """Nobody of ours measures that on the engine's nodes."""

    def gpu_readings(self) -> tuple[()]:
        """None: on the engine's nodes NVIDIA's own exporter tells, if its operators run it."""
        return ()

    def log_path(self, attempt_id: str, rank: int) -> str | None:
        """Where the output of a rank lies on this machine, once there is any."""
        folder = files.rank_folder(SharedFolder(self._root, attempt_id).path, rank)
        path = os.path.join(folder, records.log_name(0))
        return path if os.path.exists(path) else None

    def outputs(self, attempt_id: str) -> OutputListing | None:
        """What lies in the attempt's output folder; with types and digests once it has ended."""
        folder = SharedFolder(self._root, attempt_id)
        return OutputFolder(folder.path).listing(is_over=folder.fate() is Fate.ENDED)

    def output(self, attempt_id: str, path: str) -> Iterator[bytes]:
        """The content of a file in the attempt's output folder; raises `ExecutorError` if it has none."""
        return OutputFolder(SharedFolder(self._root, attempt_id).path).read(path)

    def inspect(
        self, attempt_ids: Sequence[str], data: Sequence[str], terms: InspectionTerms
    ) -> tuple[InspectedResult, ...]:
        """Refused, as every job on restricted data is: what has no sandbox here left no results to inspect."""
        raise ExecutorError(f"jobs on restricted data do not run on {self._engine}, so none of their results is there")

    def end_inspection(self) -> None:
        """Nothing: nothing is inspected here."""

    def inspected(self, attempt_id: str) -> tuple[InspectedResult, ...]:
        """Nothing: nothing is inspected here."""
        return ()

    def discard(self, attempt_id: str, kind: ResultKind, path: str) -> None:
        """Nothing: nothing is held here."""

    def discard_checkpoints(self, checkpoint_dir: str) -> None:
        """Nothing: no job on restricted data has any here."""

    def over(self) -> list[str]:
        """Attempts that ended and whose folders, with their output, are still there."""
        return [name for name in folders.attempt_ids(self._root) if SharedFolder(self._root, name).fate() is Fate.ENDED]

    def forget(self, attempt_id: str) -> None:
        """Delete what is kept of an ended attempt, logs included; raises `ExecutorError` while it has not ended."""
        folder = SharedFolder(self._root, attempt_id)
        fate = folder.fate()
        if fate is Fate.ABSENT:
            return
        if fate is not Fate.ENDED:
            raise ExecutorError(f"attempt {attempt_id} has not ended, it is {fate}; stop it before it is forgotten")
        self._forget_job(attempt_id)
        folder.remove()
        with self._mutex:
            self._ended.discard(attempt_id)

    def close(self, kill: bool) -> None:
        """Let go of the engine. With `kill`, stop everything that runs; else leave it running for the next process."""
        if self._closing:
            return
        if kill:
            self._stop_everything()
        self._closing = True
        self._pace.hurry()
        self._watcher.join()
        self._let_go()

    # Watching

    def _attend(self, folder: SharedFolder) -> None:
        """Watch an attempt from now on, and closely for a while."""
        with self._mutex:
            if folder.attempt_id not in self._ended:
                self._open.setdefault(folder.attempt_id, OpenAttempt(folder))
        self._pace.hurry()

    def _watch(self) -> None:
        """The watcher's life: see what agents have news of, and every so often ask the engine about everything."""
        while not self._closing:
            self._pace.wait(is_anything_open=bool(self._open))
            try:
                self._look_at_news()
                if self._pace.is_poll_due():
                    self._poll()
            except Exception:  # Whatever it is, the next look may fare better, and nobody else looks.
                _LOG.exception("the jobs of %s could not be looked at; it is tried again", self._engine)

    def _look_at_news(self) -> None:
        news = os.path.join(self._root, files.NEWS)
        for name in os.listdir(news):
            os.unlink(os.path.join(news, name))
            self._look(name, None)

    def _poll(self) -> None:
        """Ask the engine about all jobs, and hold what it says against the files."""
        try:
            jobs: Jobs | None = self._ask()
        except ExecutorError:
            jobs = None  # `contact` says so; files may have news all the same
        with self._mutex:
            names = list(self._open)
        for name in names:
            self._look(name, jobs)
        if jobs is not None:
            self._after_poll(jobs)

    def _ask(self) -> Jobs:
        """Every job. Raises `ExecutorError` when the engine does not answer."""
        try:
            jobs = self._list_jobs()
        except ExecutorError as error:
            self._note_contact(Contact(heard_at_ms=self._contact.heard_at_ms, problem=str(error)))
            raise
        self._note_contact(Contact(heard_at_ms=folders.now_ms()))
        return jobs

    def _note_contact(self, contact: Contact) -> None:
        had_problem = bool(self._contact.problem)
        self._contact = contact
        if had_problem != bool(contact.problem):
            self._wake()

    def _look(self, attempt_id: str, jobs: Jobs | None) -> None:
        """Bring what is known of an open attempt up to date. `jobs` is what the engine says, if it was asked."""
        with self._mutex:
            attempt = self._open.get(attempt_id)
        if attempt is None:
            return
        try:
            job = self._job_of(attempt, jobs) if jobs is not None else None
            is_gone = jobs is not None and self._is_gone(attempt, job)
            with self._concluding:
                last = self._conclude(attempt, job, is_gone=is_gone)
            started = None if attempt.start_seen else attempt.folder.started(even_in_part=isinstance(last, Ended))
        except OSError:
            return  # the shared folder is away for the moment: it is looked at again
        if started is not None:
            attempt.start_seen = True
            self._report(self._named(started))
        if jobs is not None:
            attempt.waiting = self._why_waiting(job) if job is not None and not attempt.start_seen else ""
        if last is not None:
            self._finish(attempt, last)

    def _is_gone(self, attempt: OpenAttempt, job: Job | None) -> bool:
        """True when the engine, which was asked, has not known a job of it for long enough to believe it.

        A job may not be listed yet that was only just submitted.
        """
        if job is not None:
            attempt.missing_since = None
            return False
        now = time.monotonic()
        attempt.missing_since = attempt.missing_since or now
        self._pace.poll_soon()
        return self._pace.is_long_enough(now - attempt.missing_since)

    def _recover(self, attempt_id: str) -> Observation | None:
        folder = SharedFolder(self._root, attempt_id)
        with self._concluding:
            last = self._conclude(OpenAttempt(folder), None, is_gone=not folder.was_submitted())
        with self._mutex:
            if isinstance(last, Ended):
                self._ended.add(attempt_id)
            if last is not None:
                self._open.pop(attempt_id, None)
        if last is None:
            self._attend(folder)
        if last is None and folder.is_stop_ordered():
            # The server may have died between writing the order and telling the agents.
            self._nudge(folder)
        return last

    def _finish(self, attempt: OpenAttempt, last: Observation) -> None:
        with self._changed:
            self._open.pop(attempt.folder.attempt_id, None)
            if isinstance(last, Ended):
                self._ended.add(last.attempt_id)
            self._changed.notify_all()
        self._report(last)

    def _report(self, observation: Observation) -> None:
        with self._mutex:
            self._observed.append(observation)
        self._wake()

    def _refuse(self, launch: Launch, reason: str) -> None:
        self._report(Refused(attempt_id=launch.attempt_id, at_ms=folders.now_ms(), reason=reason))

    def _stop_everything(self) -> None:
        self.recover(())
        with self._mutex:
            names = list(self._open)
        for name in names:
            self.stop(name, _CLOSING_GRACE_MS)
        with self._changed:
            if not self._changed.wait_for(lambda: not self._open, _CLOSING_PATIENCE_S):
                _LOG.warning("closed while these attempts were still ending: %s", ", ".join(sorted(self._open)))

    def _with_shared_checkpoints(self, launch: Launch) -> Launch:
        """The launch with its checkpoints in the work folder: the server's own disk is not there on the nodes."""
        if not launch.checkpoint_dir:
            return launch
        shared = os.path.join(self._root, _CHECKPOINTS, os.path.basename(launch.checkpoint_dir))
        return structs.replace(launch, checkpoint_dir=shared)


def conclude_unrun(folder: SharedFolder, reason: str) -> Observation | None:
    """Put on record that no job will ever run an attempt; None when a job was faster after all."""
    if folder.is_stop_ordered():
        folder.end_unstarted()
        return folder.ended()
    if not folder.abandon():
        return None
    return NeverStarted(attempt_id=folder.attempt_id, at_ms=folders.now_ms(), reason=reason)


def _prepare(root: str, agent: str, engine: str) -> str:
    """Make the work folder and put the agent in; the agent's folder."""
    try:
        for name in (root, os.path.join(root, records.ATTEMPTS), os.path.join(root, files.NEWS)):
            os.makedirs(name, mode=0o700, exist_ok=True)
        folders.remove_remains(root)
        return install_agent(root, agent)
    except OSError as error:
        raise ExecutorError(
            f"the work folder {root} cannot be used: {error.strerror}; it must be on a file system that the server and "
            f"every node of {engine} share, at the same path, and this user must be able to write to it"
        ) from error
