"""`SlurmExecutor`: the server's handle on the attempts that run as jobs of a site's Slurm."""

from __future__ import annotations

import logging
import os
import pwd
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
    Started,
)
from dure.executors.environment import objection, signal_number
from dure.executors.local import records
from dure.executors.slurm import folder as folders
from dure.executors.slurm import secrets, submission
from dure.executors.slurm.agent import files
from dure.executors.slurm.commands import Commands, SlurmRefused, SlurmUnreachable
from dure.executors.slurm.folder import Fate, SharedFolder
from dure.executors.slurm.installing import install_agent
from dure.executors.slurm.jobs import QUERY, Phase, SlurmJob, alive_or_last, read_jobs, reason_sentence
from dure.executors.slurm.judging import Conclusion, Verdict, judge
from dure.executors.slurm.nodes import NodeNames, read_capacity
from dure.executors.slurm.polling import Pace
from dure.executors.slurm.site import PlacedBy, SlurmSite

_LOG = logging.getLogger(__name__)
_QUERY = (*QUERY, "--user", pwd.getpwuid(os.getuid()).pw_name)
_CHECKPOINTS = "checkpoints"
_ACCOUNT_PATIENCE_S = 60.0
"""How long an account that Dure keeps may be missing: the next reconciliation makes it."""
_CLOSING_GRACE_MS = 2_000
_CLOSING_PATIENCE_S = 15.0


class _OpenAttempt:
    """An attempt whose end has not been observed."""

    def __init__(self, folder: SharedFolder) -> None:
        self.folder = folder
        self.start_seen = False
        self.missing_since: float | None = None
        """Since when Slurm has not known any job of it."""
        self.waiting = ""
        """Why Slurm keeps it waiting."""


class SlurmExecutor:
    """Runs attempts as jobs of one Slurm; the package's docstring says how.

    Raises `ExecutorError` when the work folder cannot be used. A controller that does not answer is no error: `contact`
    tells of it.
    """

    def __init__(self, site: SlurmSite) -> None:
        self._site = site
        self._root = os.path.abspath(site.work_folder)
        self._attempts = os.path.join(self._root, records.ATTEMPTS)
        self._commands = Commands(site)
        self._agent = _prepare(self._root)
        self._names: NodeNames | None = None
        self._mutex = threading.RLock()
        self._changed = threading.Condition(self._mutex)
        self._open: dict[str, _OpenAttempt] = {}
        self._ended: set[str] = set()
        """Attempts whose end was handed out in the life of this process."""
        self._unknown_accounts: dict[str, float] = {}
        """When Slurm first did not know an account that Dure keeps (monotonic seconds)."""
        self._observed: list[Observation] = []
        self._wake: Callable[[], None] = lambda: None
        self._contact = Contact(heard_at_ms=0)
        self._pace = Pace(site.poll_interval_s)
        self._closing = False
        self._watcher = threading.Thread(target=self._watch, name="slurm-executor", daemon=True)
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
            self._nudge(folder)

    def spare(self, attempt_id: str) -> None:
        """Take a warning back: remove the notice file."""
        records.take(SharedFolder(self._root, attempt_id).path, records.NOTICE)

    def stop(self, attempt_id: str, grace_ms: int) -> None:
        """Terminate (SIGTERM) every process of the attempt; kill (SIGKILL) what is left after the grace.

        From when this returns the agents see to it, whatever happens to the server or to Slurm's controller. An attempt
        that no job has claimed ends without running, with the exit code of SIGTERM.
        """
        folder = SharedFolder(self._root, attempt_id)
        if folder.fate() in (Fate.ABSENT, Fate.ENDED):
            return
        folder.order_stop(grace_ms)
        if not folder.end_unrun():
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
        """When Slurm's controller last answered, and what is wrong if it does not. Returns at once."""
        return self._contact

    def waiting(self) -> Mapping[str, str]:
        """Attempts that were submitted and that Slurm keeps waiting: why, in words."""
        with self._mutex:
            return {name: each.waiting for name, each in self._open.items() if each.waiting}

    def capacity(self) -> tuple[NodeCapacity, ...]:
        """The nodes Slurm has for Dure. Raises `ExecutorError` while the controller does not answer."""
        return read_capacity(self._site, self._commands, self._node_names())

    def gpu_use(self, attempt_id: str) -> None:
        """Slurm's own accounting measures that, where it is set up."""

    def log_path(self, attempt_id: str, rank: int) -> str | None:
        """Where the output of a rank lies on this machine, once there is any."""
        folder = files.rank_folder(SharedFolder(self._root, attempt_id).path, rank)
        path = os.path.join(folder, records.log_name(0))
        return path if os.path.exists(path) else None

    def over(self) -> list[str]:
        """Attempts that ended and whose folders, with their output, are still there."""
        return [name for name in folders.attempt_ids(self._root) if SharedFolder(self._root, name).fate() is Fate.ENDED]

    def forget(self, attempt_id: str) -> None:
        """Delete the folder of an ended attempt, logs included; raises `ExecutorError` while it has not ended."""
        folder = SharedFolder(self._root, attempt_id)
        fate = folder.fate()
        if fate is Fate.ABSENT:
            return
        if fate is not Fate.ENDED:
            raise ExecutorError(f"attempt {attempt_id} has not ended, it is {fate}; stop it before it is forgotten")
        folder.remove()
        with self._mutex:
            self._ended.discard(attempt_id)

    def close(self, kill: bool) -> None:
        """Let go of Slurm. With `kill`, stop everything that runs; else leave it running for the next process."""
        if self._closing:
            return
        if kill:
            self._stop_everything()
        self._closing = True
        self._pace.hurry()
        self._watcher.join()

    # Submitting

    def _submit(self, launch: Launch, folder: SharedFolder) -> bool:
        """Have Slurm take the attempt; False when it is refused. Raises `ExecutorError` when nobody can tell."""
        if folder.fate() is Fate.GIVEN_UP:
            folder.give_up()
        if self._contact.problem:
            # The watcher asks again and again. Were every order to find out for itself, stops would wait behind starts.
            raise SlurmUnreachable(self._contact.problem)
        if folder.was_submitted() and self._ask_slurm().get(launch.attempt_id):
            return True  # it arrived, though its answer was lost
        nodes = self._nodes_of(launch)
        launch = _with_shared_checkpoints(launch, self._root)
        folder.prepare(launch, self._site.path, nodes)
        share = secrets.split(folder.path, launch.secret_env)
        folder.note_submission()
        try:
            self._commands.run(
                "sbatch",
                *submission.arguments(launch, self._site, folder.path, nodes),
                text=submission.script(self._site, self._agent, folder.path),
                variables=share,
            )
        except SlurmRefused as refused:
            self._expect_account(launch, refused)
            if folder.give_up():
                self._refuse(launch, str(refused))
                return False
        return True

    def _expect_account(self, launch: Launch, refused: SlurmRefused) -> None:
        """An account that Dure keeps is made soon: until then the order was not taken, and will be given again."""
        account = submission.account_of(launch, self._site)
        if not account or "Invalid account" not in str(refused):
            return
        since = self._unknown_accounts.setdefault(account, time.monotonic())
        if time.monotonic() - since < _ACCOUNT_PATIENCE_S:
            raise SlurmUnreachable(f"Slurm does not know the account {account} yet; Dure makes it") from None

    def _nodes_of(self, launch: Launch) -> list[str]:
        """Slurm's names of the plan's nodes, in rank order; none where Slurm chooses."""
        match self._site.placement:
            case PlacedBy.SITE:
                return []
            case PlacedBy.NODE:
                names = self._node_names()
                return [names.in_slurm(each.node) for each in launch.placements]
            case _:
                assert_never(self._site.placement)

    def _node_names(self) -> NodeNames:
        if self._names is None:
            self._names = NodeNames(self._site, self._commands)
        return self._names

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
        """The watcher's life: see what agents have news of, and every so often ask Slurm about everything."""
        while not self._closing:
            self._pace.wait(is_anything_open=bool(self._open))
            try:
                self._look_at_news()
                if self._pace.is_poll_due():
                    self._poll()
            except Exception:  # Whatever it is, the next look may fare better, and nobody else looks.
                _LOG.exception("the jobs of Slurm could not be looked at; it is tried again")

    def _look_at_news(self) -> None:
        news = os.path.join(self._root, files.NEWS)
        for name in os.listdir(news):
            os.unlink(os.path.join(news, name))
            self._look(name, None)

    def _poll(self) -> None:
        """Ask Slurm about all jobs, and hold what it says against the files."""
        try:
            jobs = self._ask_slurm()
        except ExecutorError:
            jobs = None  # `contact` says so; files may have news all the same
        with self._mutex:
            names = list(self._open)
        for name in names:
            self._look(name, jobs)
        if jobs is not None:
            self._cancel_strays(jobs)

    def _ask_slurm(self) -> dict[str, list[SlurmJob]]:
        """Every job of this work folder by attempt. Raises `ExecutorError` when Slurm does not answer."""
        try:
            listing = self._commands.run("squeue", *_QUERY)
        except ExecutorError as error:
            self._note_contact(Contact(heard_at_ms=self._contact.heard_at_ms, problem=str(error)))
            raise
        self._note_contact(Contact(heard_at_ms=folders.now_ms()))
        return read_jobs(listing, self._attempts)

    def _note_contact(self, contact: Contact) -> None:
        had_problem = bool(self._contact.problem)
        self._contact = contact
        if had_problem != bool(contact.problem):
            self._wake()

    def _look(self, attempt_id: str, jobs: Mapping[str, list[SlurmJob]] | None) -> None:
        """Bring what is known of an open attempt up to date. `jobs` is what Slurm says, if it was asked."""
        with self._mutex:
            attempt = self._open.get(attempt_id)
        if attempt is None:
            return
        try:
            job = self._job_of(attempt, jobs) if jobs is not None else None
            verdict = judge(attempt.folder, job, is_gone=self._is_gone(attempt, job, was_asked=jobs is not None))
            last = _conclude(attempt.folder, verdict)
        except OSError:
            return  # the shared folder is away for the moment: it is looked at again
        if verdict.must_ask:
            self._pace.poll_soon()
        started = None if attempt.start_seen else self._started(attempt.folder, has_ended=isinstance(last, Ended))
        if started is not None:
            attempt.start_seen = True
            self._report(started)
        if last is not None:
            self._finish(attempt, last)

    def _job_of(self, attempt: _OpenAttempt, jobs: Mapping[str, list[SlurmJob]]) -> SlurmJob | None:
        """The job that has claimed the attempt, or else one that may."""
        mine = jobs.get(attempt.folder.attempt_id, [])
        claimed = attempt.folder.job_id()
        job = alive_or_last(each for each in mine if claimed in (None, each.job_id))
        attempt.waiting = reason_sentence(job.reason) if job is not None and job.phase is Phase.WAITING else ""
        return job

    def _is_gone(self, attempt: _OpenAttempt, job: SlurmJob | None, *, was_asked: bool) -> bool:
        """True when Slurm has not known any job of the attempt for long enough to believe it."""
        if not was_asked:
            return False
        if job is not None:
            attempt.missing_since = None
            return False
        now = time.monotonic()
        attempt.missing_since = attempt.missing_since or now
        self._pace.poll_soon()
        return self._pace.is_long_enough(now - attempt.missing_since)

    def _started(self, folder: SharedFolder, *, has_ended: bool) -> Started | None:
        """Its start, with the nodes by Dure's names where Slurm chose them."""
        started = folder.started(even_in_part=has_ended)
        if started is None:
            return None
        nodes = started.nodes if self._site.placement is PlacedBy.SITE else ()
        names = self._names
        return structs.replace(started, nodes=tuple(names.in_dure(each) if names else each for each in nodes))

    def _finish(self, attempt: _OpenAttempt, last: Observation) -> None:
        with self._mutex:
            self._open.pop(attempt.folder.attempt_id, None)
            if isinstance(last, Ended):
                self._ended.add(last.attempt_id)
            self._changed.notify_all()
        self._report(last)

    def _report(self, observation: Observation) -> None:
        with self._mutex:
            self._observed.append(observation)
        self._wake()

    def _recover(self, attempt_id: str) -> Observation | None:
        folder = SharedFolder(self._root, attempt_id)
        verdict = judge(folder, None, is_gone=not folder.was_submitted())
        last = _conclude(folder, verdict)
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

    # Telling Slurm

    def _nudge(self, folder: SharedFolder) -> None:
        """Have the agents look for orders now. They do so by themselves within seconds, so nothing waits for it."""
        job_id = folder.job_id()
        if job_id is not None and not self._contact.problem:
            self._tell("scancel", "--signal=URG", str(job_id))

    def _cancel_strays(self, jobs: Mapping[str, list[SlurmJob]]) -> None:
        """Cancel jobs that would run nothing: their attempt belongs to another job, was given up, or is over."""
        for attempt_id, mine in jobs.items():
            strays = [each for each in mine if each.phase is Phase.WAITING]
            if not strays:
                continue
            folder = SharedFolder(self._root, attempt_id)
            if folder.fate() is not Fate.ORDERED:
                for each in strays:
                    if each.job_id != folder.job_id():
                        self._tell("scancel", str(each.job_id))

    def _tell(self, program: str, *arguments: str) -> None:
        try:
            self._commands.run(program, *arguments)
        except SlurmRefused as refused:
            _LOG.debug("%s", refused)  # the job is over, or not begun: there is nobody to tell
        except SlurmUnreachable as problem:
            _LOG.warning("%s", problem)

    def _stop_everything(self) -> None:
        with self._mutex:
            names = list(self._open)
        for name in names:
            self.stop(name, _CLOSING_GRACE_MS)
        with self._mutex:
            if not self._changed.wait_for(lambda: not self._open, _CLOSING_PATIENCE_S):
                _LOG.warning("closed while these attempts were still ending: %s", ", ".join(sorted(self._open)))


def _with_shared_checkpoints(launch: Launch, root: str) -> Launch:
    """The launch with its checkpoints in the work folder: the server's own disk is not there on the nodes."""
    if not launch.checkpoint_dir:
        return launch
    shared = os.path.join(root, _CHECKPOINTS, os.path.basename(launch.checkpoint_dir))
    return structs.replace(launch, checkpoint_dir=shared)


def _conclude(folder: SharedFolder, verdict: Verdict) -> Observation | None:
    """Put on record what was concluded, and say it; None while there is nothing to say, or an agent was faster."""
    match verdict.conclusion:
        case Conclusion.OPEN:
            return None
        case Conclusion.ENDED:
            return folder.ended()
        case Conclusion.LOST | Conclusion.CUT:
            # Should a node of it only be out of reach, its agents find this when they look by themselves.
            folder.order_stop(grace_ms=0)
            folder.record_exit(verdict.exit_code, was_lost=verdict.was_taken)
            return folder.ended()
        case Conclusion.NEVER_RAN:
            return _conclude_unrun(folder, verdict.reason)
        case Conclusion.HOPELESS:
            if not folder.give_up():
                return None
            return Refused(attempt_id=folder.attempt_id, at_ms=folders.now_ms(), reason=verdict.reason)
        case _:
            assert_never(verdict.conclusion)


def _conclude_unrun(folder: SharedFolder, reason: str) -> Observation | None:
    if folder.is_stop_ordered():
        folder.end_unstarted()
        return folder.ended()
    if not folder.abandon():
        return None
    return NeverStarted(attempt_id=folder.attempt_id, at_ms=folders.now_ms(), reason=reason)


def _prepare(root: str) -> str:
    """Make the work folder and put the agent in; the agent's folder."""
    try:
        for name in (root, os.path.join(root, records.ATTEMPTS), os.path.join(root, files.NEWS)):
            os.makedirs(name, mode=0o700, exist_ok=True)
        folders.remove_remains(root)
        return install_agent(root)
    except OSError as error:
        raise ExecutorError(
            f"the work folder {root} cannot be used: {error.strerror}; it must be on a file system that the server and "
            "every node of Slurm share, at the same path, and this user must be able to write to it"
        ) from error
