"""`RayExecutor`: the server's handle on the attempts that run as jobs of a site's Ray cluster."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import assert_never

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
)
from dure.executors.environment import objection, signal_number
from dure.executors.local import records
from dure.executors.local.environment import USUAL_TERMS, limits_of
from dure.executors.ray import feasibility, submission
from dure.executors.ray.agent import terms
from dure.executors.ray.api import Phase, RayApi, RayJob, RayRefused
from dure.executors.ray.judging import Conclusion, judge, why_unrun
from dure.executors.ray.site import RaySite
from dure.executors.slurm import folder as folders
from dure.executors.slurm import secrets
from dure.executors.slurm.agent import files
from dure.executors.slurm.agent.lead import LOST_EXIT_CODE
from dure.executors.slurm.folder import Fate, SharedFolder
from dure.executors.slurm.installing import install_agent
from dure.executors.slurm.polling import Pace

_LOG = logging.getLogger(__name__)
_AGENT = "dure/executors/ray/agent"
_CHECKPOINTS = "checkpoints"
_MEBIBYTE = 1 << 20
_ABANDONED_PATIENCE_S = 10.0
"""How long ranks whose job is gone may take to record their end: their nodes are gone if they have not by then."""
_CLOSING_GRACE_MS = 2_000
_CLOSING_PATIENCE_S = 30.0


class _OpenAttempt:
    """An attempt whose end has not been observed. Times are monotonic seconds."""

    def __init__(self, folder: SharedFolder) -> None:
        self.folder = folder
        self.start_seen = False
        self.missing_since: float | None = None
        """Since when Ray has not known any job of it."""
        self.abandoned_since: float | None = None
        self.waiting = ""
        """Why Ray keeps it waiting."""


class RayExecutor:
    """Runs attempts as jobs of one Ray cluster; the package's docstring says how.

    Raises `ExecutorError` when the work folder cannot be used. A cluster that does not answer is no error: `contact`
    tells of it.
    """

    def __init__(self, site: RaySite) -> None:
        self._site = site
        self._root = os.path.abspath(site.work_folder)
        self._agent = _prepare(self._root)
        self._api = RayApi(site)
        self._mutex = threading.RLock()
        self._changed = threading.Condition(self._mutex)
        self._concluding = threading.Lock()
        """Held by whoever puts the end of an attempt on record."""
        self._open: dict[str, _OpenAttempt] = {}
        self._ended: set[str] = set()
        """Attempts whose end was handed out in the life of this process."""
        self._observed: list[Observation] = []
        self._wake: Callable[[], None] = lambda: None
        self._contact = Contact(heard_at_ms=0)
        self._pace = Pace(site.poll_interval_s)
        self._closing = False
        self._watcher = threading.Thread(target=self._watch, name="ray-executor", daemon=True)
        self._watcher.start()

    def start(self, launch: Launch) -> None:
        """Submit an attempt. Starting the same attempt twice is starting it once."""
        folder = SharedFolder(self._root, launch.attempt_id)
        with self._mutex:
            if launch.attempt_id in self._ended or launch.attempt_id in self._open:
                return
        if problem := objection(launch):
            self._report(NeverStarted(attempt_id=launch.attempt_id, at_ms=folders.now_ms(), reason=problem))
        elif problem := submission.unsuitable(launch, self._site):
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

    def spare(self, attempt_id: str) -> None:
        """Take a warning back: remove the notice file."""
        records.take(SharedFolder(self._root, attempt_id).path, records.NOTICE)

    def stop(self, attempt_id: str, grace_ms: int) -> None:
        """Terminate (SIGTERM) every process of the attempt; kill (SIGKILL) what is left after the grace.

        From when this returns the agents see to it, whatever happens to the server or to Ray's head node. An attempt
        that no job has claimed ends without running, with the exit code of SIGTERM.
        """
        folder = SharedFolder(self._root, attempt_id)
        if folder.fate() in (Fate.ABSENT, Fate.ENDED):
            return
        folder.order_stop(grace_ms)
        with self._concluding:
            folder.end_unrun()
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
        """When Ray last answered, and what is wrong if it does not. Returns at once."""
        return self._contact

    def waiting(self) -> Mapping[str, str]:
        """Attempts that were submitted and that Ray keeps waiting: why, in words."""
        with self._mutex:
            return {name: each.waiting for name, each in self._open.items() if each.waiting}

    def capacity(self) -> tuple[NodeCapacity, ...]:
        """The nodes in service. Raises `ExecutorError` while Ray does not answer."""
        return read_capacity(self._api)

    def gpu_use(self, attempt_id: str) -> None:
        """Nobody measures that on Ray's nodes."""

    def log_path(self, attempt_id: str, rank: int) -> str | None:
        """Where the output of a rank lies on this machine, once there is any."""
        folder = files.rank_folder(SharedFolder(self._root, attempt_id).path, rank)
        path = os.path.join(folder, records.log_name(0))
        return path if os.path.exists(path) else None

    def over(self) -> list[str]:
        """Attempts that ended and whose folders, with their output, are still there."""
        return [name for name in folders.attempt_ids(self._root) if SharedFolder(self._root, name).fate() is Fate.ENDED]

    def forget(self, attempt_id: str) -> None:
        """Delete what is kept of an ended attempt, here and by Ray; raises `ExecutorError` while it has not ended."""
        folder = SharedFolder(self._root, attempt_id)
        fate = folder.fate()
        if fate is Fate.ABSENT:
            return
        if fate is not Fate.ENDED:
            raise ExecutorError(f"attempt {attempt_id} has not ended, it is {fate}; stop it before it is forgotten")
        self._api.delete(submission.submission_id(self._root, attempt_id))
        folder.remove()
        with self._mutex:
            self._ended.discard(attempt_id)

    def close(self, kill: bool) -> None:
        """Let go of Ray. With `kill`, stop everything that runs; else leave it running for the next process."""
        if self._closing:
            return
        if kill:
            self._stop_everything()
        self._closing = True
        self._pace.hurry()
        self._watcher.join()
        self._api.close()

    # Submitting

    def _submit(self, launch: Launch, folder: SharedFolder) -> bool:
        """Have Ray take the attempt; False when it is refused. Raises `ExecutorError` when nobody can tell."""
        if folder.fate() is Fate.GIVEN_UP:
            folder.give_up()
        name = submission.submission_id(self._root, launch.attempt_id)
        earlier = self._api.job(name)
        if earlier is not None and earlier.phase is Phase.ALIVE and folder.fate() is Fate.ORDERED:
            return True  # it arrived, though its answer was lost
        wanted = feasibility.bundles(launch, self._site)
        if shortage := feasibility.shortage(wanted, self._api.nodes(), self._site):
            self._refuse(launch, shortage)
            return False
        if earlier is not None:
            self._api.delete(name)
        return self._send(launch, folder, name, wanted)

    def _send(self, launch: Launch, folder: SharedFolder, name: str, wanted: list[feasibility.Bundle]) -> bool:
        launch = _with_shared_checkpoints(launch, self._root)
        folder.prepare(launch, self._site.path, nodes=[])
        limits = limits_of(launch, USUAL_TERMS).as_dict()
        agreed = {"bundles": wanted, "spread": self._site.spread, "limits": limits}
        records.replace(folder.path, terms.TERMS, agreed, durable=False)
        share = secrets.split(folder.path, launch.secret_env)
        folder.note_submission()
        try:
            self._api.submit(submission.document(name, self._site, self._agent, folder.path, wanted, share))
        except RayRefused as refused:
            if folder.give_up():
                self._refuse(launch, f"Ray does not take it: {refused}")
                return False
        return True

    def _refuse(self, launch: Launch, reason: str) -> None:
        self._report(Refused(attempt_id=launch.attempt_id, at_ms=folders.now_ms(), reason=reason))

    # Watching

    def _attend(self, folder: SharedFolder) -> None:
        """Watch an attempt from now on, and closely for a while."""
        with self._mutex:
            if folder.attempt_id not in self._ended:
                self._open.setdefault(folder.attempt_id, _OpenAttempt(folder))
        self._pace.hurry()

    def _watch(self) -> None:
        """The watcher's life: see what agents have news of, and every so often ask Ray about everything."""
        while not self._closing:
            self._pace.wait(is_anything_open=bool(self._open))
            try:
                self._look_at_news()
                if self._pace.is_poll_due():
                    self._poll()
            except Exception:  # Whatever it is, the next look may fare better, and nobody else looks.
                _LOG.exception("the jobs of Ray could not be looked at; it is tried again")

    def _look_at_news(self) -> None:
        news = os.path.join(self._root, files.NEWS)
        for name in os.listdir(news):
            os.unlink(os.path.join(news, name))
            self._look(name, None)

    def _poll(self) -> None:
        """Ask Ray about all jobs, and hold what it says against the files."""
        try:
            jobs: Mapping[str, RayJob] | None = self._ask_ray()
        except ExecutorError:
            jobs = None  # `contact` says so; files may have news all the same
        with self._mutex:
            names = list(self._open)
        for name in names:
            self._look(name, jobs)

    def _ask_ray(self) -> dict[str, RayJob]:
        """Every job of the cluster. Raises `ExecutorError` when Ray does not answer."""
        try:
            jobs = self._api.jobs()
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

    def _look(self, attempt_id: str, jobs: Mapping[str, RayJob] | None) -> None:
        """Bring what is known of an open attempt up to date. `jobs` is what Ray says, if it was asked."""
        with self._mutex:
            attempt = self._open.get(attempt_id)
        if attempt is None:
            return
        try:
            job = jobs.get(submission.submission_id(self._root, attempt_id)) if jobs is not None else None
            last = self._conclude(attempt, job, is_gone=self._is_gone(attempt, job, was_asked=jobs is not None))
            started = None if attempt.start_seen else attempt.folder.started(even_in_part=isinstance(last, Ended))
        except OSError:
            return  # the shared folder is away for the moment: it is looked at again
        if started is not None:
            attempt.start_seen = True
            self._report(started)
        attempt.waiting = _why_waiting(job) if not attempt.start_seen and job is not None else ""
        if last is not None:
            self._finish(attempt, last)

    def _is_gone(self, attempt: _OpenAttempt, job: RayJob | None, *, was_asked: bool) -> bool:
        """True when Ray has surely no job of it any more: a job may not be listed yet that was only just submitted."""
        if job is not None:
            attempt.missing_since = None
        if job is not None or not was_asked:
            return False
        if attempt.missing_since is None:
            attempt.missing_since = time.monotonic()
        return self._pace.is_long_enough(time.monotonic() - attempt.missing_since)

    def _conclude(self, attempt: _OpenAttempt, job: RayJob | None, *, is_gone: bool) -> Observation | None:
        """Put on record what was concluded, and say it; None while there is nothing to say, or an agent was faster."""
        with self._concluding:
            return self._conclude_as(judge(attempt.folder, job, is_gone=is_gone), attempt, job)

    def _conclude_as(self, conclusion: Conclusion, attempt: _OpenAttempt, job: RayJob | None) -> Observation | None:
        folder = attempt.folder
        match conclusion:
            case Conclusion.OPEN:
                return None
            case Conclusion.ENDED:
                return folder.ended()
            case Conclusion.NEVER_RAN:
                return _conclude_unrun(folder, job)
            case Conclusion.ABANDONED:
                return self._conclude_abandoned(attempt)
            case Conclusion.LOST:
                folder.record_exit(LOST_EXIT_CODE, was_lost=True)
                return folder.ended()
            case _:
                assert_never(conclusion)

    def _conclude_abandoned(self, attempt: _OpenAttempt) -> Observation | None:
        """Give its ranks time to end and say so: until then it may be running, and nobody else may have its GPUs."""
        if attempt.abandoned_since is None:
            attempt.abandoned_since = time.monotonic()
            attempt.folder.order_stop(grace_ms=0)
        self._pace.poll_soon()
        if time.monotonic() - attempt.abandoned_since < _ABANDONED_PATIENCE_S:
            return None
        attempt.folder.record_exit(LOST_EXIT_CODE, was_lost=True)
        return attempt.folder.ended()

    def _recover(self, attempt_id: str) -> Observation | None:
        folder = SharedFolder(self._root, attempt_id)
        attempt = _OpenAttempt(folder)
        last = self._conclude(attempt, None, is_gone=False)
        if last is None:
            self._attend(folder)
            return None
        with self._mutex:
            if isinstance(last, Ended):
                self._ended.add(attempt_id)
        return last

    def _report(self, observation: Observation) -> None:
        with self._mutex:
            self._observed.append(observation)
        self._wake()

    def _finish(self, attempt: _OpenAttempt, last: Observation) -> None:
        with self._changed:
            self._open.pop(attempt.folder.attempt_id, None)
            if isinstance(last, Ended):
                self._ended.add(last.attempt_id)
            self._changed.notify_all()
        self._report(last)

    def _stop_everything(self) -> None:
        self.recover(())
        with self._mutex:
            names = list(self._open)
        for name in names:
            self.stop(name, _CLOSING_GRACE_MS)
        with self._changed:
            if not self._changed.wait_for(lambda: not self._open, _CLOSING_PATIENCE_S):
                _LOG.warning("closed while these attempts were still ending: %s", ", ".join(sorted(self._open)))


def read_capacity(api: RayApi) -> tuple[NodeCapacity, ...]:
    """The nodes that a cluster has in service. Raises `ExecutorError` when it does not answer."""
    return tuple(
        NodeCapacity(
            name=node.node_name,
            gpus=int(node.resources_total.get("GPU", 0)),
            cpus=int(node.resources_total.get("CPU", 0)),
            memory_mib=int(node.resources_total.get("memory", 0)) // _MEBIBYTE,
        )
        for node in sorted(api.nodes(), key=lambda each: each.node_name)
    )


def _with_shared_checkpoints(launch: Launch, root: str) -> Launch:
    """The launch with its checkpoints in the work folder: the server's own disk is not there on the nodes."""
    if not launch.checkpoint_dir:
        return launch
    shared = os.path.join(root, _CHECKPOINTS, os.path.basename(launch.checkpoint_dir))
    return structs.replace(launch, checkpoint_dir=shared)


def _conclude_unrun(folder: SharedFolder, job: RayJob | None) -> Observation | None:
    reason = why_unrun(folder, job)
    if folder.is_stop_ordered():
        folder.end_unstarted()
        return folder.ended()
    if not folder.abandon():
        return None
    return NeverStarted(attempt_id=folder.attempt_id, at_ms=folders.now_ms(), reason=reason)


def _why_waiting(job: RayJob) -> str:
    return f"Ray: {job.message}" if job.status == "PENDING" and job.message else ""


def _prepare(root: str) -> str:
    """Make the work folder and put the agent in; the agent's folder."""
    try:
        for name in (root, os.path.join(root, records.ATTEMPTS), os.path.join(root, files.NEWS)):
            os.makedirs(name, mode=0o700, exist_ok=True)
        folders.remove_remains(root)
        return install_agent(root, _AGENT)
    except OSError as error:
        raise ExecutorError(
            f"the work folder {root} cannot be used: {error.strerror}; it must be on a file system that the server and "
            "every node of Ray share, at the same path, and this user must be able to write to it"
        ) from error
