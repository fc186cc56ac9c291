"""`LocalExecutor`: the server's handle on the attempts that run as processes of this machine."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import assert_never

from msgspec import structs

from dure.executors.contract import (
    Contact,
    Ended,
    ExecutorError,
    GpuReading,
    Launch,
    NeverStarted,
    NodeCapacity,
    Observation,
    Refused,
    without_false_start,
)
from dure.executors.environment import objection, signal_number
from dure.executors.local import records, shim
from dure.executors.local.attempt import AttemptFolder, Fate, ended_attempt_ids, open_attempt_ids, remove_remains
from dure.executors.local.environment import USUAL_TERMS, Terms, order_of
from dure.executors.local.gpus import GpuDriver
from dure.executors.local.limits import MEBIBYTE
from dure.executors.local.link import Link
from dure.executors.local.metering import Metering, gpu_use
from dure.executors.local.results import Results
from dure.executors.local.sandbox import Sandboxes, objection_to_data
from dure.executors.outputs import OutputFolder
from dure.governance.inspection.terms import InspectionTerms
from dure.model.jobs import GpuUse
from dure.model.outputs import OutputListing
from dure.model.results import InspectedResult, ResultKind

_LOG = logging.getLogger(__name__)
_SERVER_LOCK = "server.lock"
_LOOK_EVERY_S = 1.0
"""How often every open attempt is looked at, in case a notice was lost."""
_SEND_AGAIN_AFTER_S = 1.0
"""Doubled each time. An order that nobody took is most likely one whose supervisor or shim was killed."""
_MOST_SENDS = 5
_ORPHAN_PATIENCE_S = 2.0
CLOSING_GRACE_MS = 2_000
"""How long jobs have to end by themselves when the engine is closed with `kill`."""
_CLOSING_PATIENCE_S = 10.0


class _OpenAttempt:
    """An attempt whose end has not been observed."""

    def __init__(self, folder: AttemptFolder, launch: Launch | None) -> None:
        self.folder = folder
        self.launch = launch
        """Kept, with its secrets, only in memory and only until its ranks run. None for one of an earlier server."""
        self.sends = 0
        self.send_again_at = 0.0
        self.problem = ""
        """What keeps it from starting."""
        self.is_refused = False
        """That will never change."""
        self.start_seen = False

    def is_due(self) -> bool:
        """True when its order, if it was sent, has had time enough to be taken."""
        return time.monotonic() >= self.send_again_at

    def is_hopeless(self) -> bool:
        """True when sending it, or sending it again, makes no sense."""
        return self.launch is None or bool(self.problem) or (self.sends >= _MOST_SENDS and self.is_due())


class LocalExecutor:
    """Runs attempts as processes of this machine; the package's docstring says who is who.

    Everything lies under `folder`, which belongs to one server at a time and must be on a local disk. `terms` hold for
    every attempt. Raises `ExecutorError` when the folder or the supervisor cannot be used.
    """

    def __init__(self, folder: Path, terms: Terms = USUAL_TERMS) -> None:
        self._root = str(folder.absolute())
        self._terms = terms
        driver = GpuDriver()
        self._gpus = driver.gpus
        self._sandboxes = Sandboxes(terms.shown_in_sandboxes, driver.gpus)
        self._results = Results(self._root)
        self._server_lock = _take_folder(self._root)
        self._mutex = threading.RLock()
        self._changed = threading.Condition(self._mutex)
        self._open: dict[str, _OpenAttempt] = {}
        self._ended: set[str] = set()
        """Attempts whose end was handed out in the life of this process."""
        self._observed: list[Observation] = []
        self._has_news = False
        self._wake: Callable[[], None] = lambda: None
        self._closing = False
        self._look_at_all_at = 0.0
        self._link = self._connected_link()
        self._metering = Metering(driver)
        self._watcher = threading.Thread(target=self._watch, name="local-executor", daemon=True)
        self._watcher.start()

    def start(self, launch: Launch) -> None:
        """Start an attempt and return at once. Starting the same attempt twice is starting it once."""
        folder = AttemptFolder(self._root, launch.attempt_id)
        if self._terms.sandbox_every_job:
            launch = structs.replace(launch, sandbox=True)
        with self._mutex:
            if launch.attempt_id in self._ended or launch.attempt_id in self._open:
                return
            self._observed = without_false_start(self._observed, launch.attempt_id)
            attempt = self._open[launch.attempt_id] = _OpenAttempt(folder, launch)
            attempt.problem = objection(launch)
            if launch.sandbox and not attempt.problem:
                attempt.problem = self._objection_to_sandbox(launch)
                attempt.is_refused = bool(attempt.problem)
            if not attempt.problem and folder.fate() in (Fate.ABSENT, Fate.UNCLAIMED):
                self._send(attempt)
            else:
                self._look_soon()

    def warn(self, attempt_id: str, stop_at_ms: int, signal: str) -> None:
        """Tell a running attempt that it will be stopped: write its notice file, and send `signal` if one is named.

        The signal (`USR1`) goes to those of its processes that have a handler for it, so that a shell around the
        program, or a program that is not ready yet, does not die of it.
        """
        number = signal_number(signal)
        folder = AttemptFolder(self._root, attempt_id)
        with self._mutex:
            if folder.fate() in (Fate.ABSENT, Fate.ENDED):
                return
            records.replace(folder.path, records.NOTICE, {"stop_at_ms": stop_at_ms}, durable=False)
            if number is not None:
                records.replace(folder.path, records.SIGNAL, {"number": number}, durable=False)
                folder.nudge()

    def spare(self, attempt_id: str) -> None:
        """Take a warning back: remove the notice file."""
        records.take(AttemptFolder(self._root, attempt_id).path, records.NOTICE)

    def stop(self, attempt_id: str, grace_ms: int) -> None:
        """Terminate (SIGTERM) every process of the attempt; kill (SIGKILL) what is left after the grace.

        From when this returns the attempt's shim sees to it, whatever happens to the server. An attempt that has not
        run yet ends without running, with the exit code of SIGTERM.
        """
        folder = AttemptFolder(self._root, attempt_id)
        with self._mutex:
            if folder.fate() in (Fate.ABSENT, Fate.ENDED):
                return
            records.replace(folder.path, records.STOP, {"grace_ms": grace_ms}, durable=False)
            folder.nudge()

    def observe(self) -> list[Observation]:
        """What was seen since the last call, each thing once per process life."""
        with self._mutex:
            seen, self._observed = self._observed, []
            return seen

    def recover(self, attempt_ids: Iterable[str]) -> dict[str, Observation | None]:
        """After a restart: what is known of each of these attempts; None while it runs or its fate is not proven.

        Whatever else still runs in the folder is watched too: `observe` then reports the start of an attempt that
        nobody asked about, and the caller stops it if it should not run.
        """
        with self._mutex:
            known = {attempt_id: self._recover(attempt_id) for attempt_id in attempt_ids}
            for attempt_id in open_attempt_ids(self._root):
                if attempt_id not in self._open:
                    self._open[attempt_id] = _OpenAttempt(AttemptFolder(self._root, attempt_id), None)
            self._look_soon()
        return known

    def on_observation(self, wake: Callable[[], None]) -> None:
        """Call `wake` (from any thread) whenever `observe` has something new."""
        self._wake = wake
        if self._observed:
            wake()

    def contact(self) -> Contact:
        """This machine is always there; only its supervisor may be missing for a moment."""
        return Contact(heard_at_ms=shim.now_ms())

    def waiting(self) -> dict[str, str]:
        """This machine starts at once whatever it is told to start."""
        return {}

    def capacity(self) -> tuple[NodeCapacity, ...] | None:
        """This machine, if it has real GPUs; else its nodes and GPUs are only declared."""
        if not self._gpus:
            return None
        memory_mib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MEBIBYTE
        cpus = os.cpu_count() or 1
        return (NodeCapacity(name=os.uname().nodename, gpus=len(self._gpus), cpus=cpus, memory_mib=memory_mib),)

    def gpu_use(self, attempt_id: str) -> GpuUse | None:
        """What the attempt's GPUs used so far; None where none of them is real."""
        return gpu_use(AttemptFolder(self._root, attempt_id).path)

    def gpu_readings(self) -> tuple[GpuReading, ...]:
        """What each real GPU of this machine last said of itself; none where there are none."""
        return self._metering.readings

    def log_path(self, attempt_id: str, rank: int) -> str | None:
        """Where the output of a rank lies on this machine, once there is any."""
        path = os.path.join(AttemptFolder(self._root, attempt_id).path, records.log_name(rank))
        return path if os.path.exists(path) else None

    def outputs(self, attempt_id: str) -> OutputListing | None:
        """What lies in the attempt's output folder; with types and digests once it has ended."""
        folder = AttemptFolder(self._root, attempt_id)
        return OutputFolder(folder.path, self._terms.output_bytes, self._terms.output_files).listing(
            is_over=folder.fate() is Fate.ENDED
        )

    def output(self, attempt_id: str, path: str) -> Iterator[bytes]:
        """The content of a file in the attempt's output folder; raises `ExecutorError` if it has none."""
        return OutputFolder(AttemptFolder(self._root, attempt_id).path).read(path)

    def inspect(
        self, attempt_ids: Sequence[str], data: Sequence[str], terms: InspectionTerms
    ) -> tuple[InspectedResult, ...]:
        """Have a process of its own find out about the results of these attempts; it is over when `terms` say."""
        return self._results.inspect(attempt_ids, data, terms)

    def end_inspection(self) -> None:
        """End the inspection that is under way, if one is."""
        self._results.end_inspection()

    def inspected(self, attempt_id: str) -> tuple[InspectedResult, ...]:
        """What `inspect` kept of an attempt; nothing where nothing was."""
        return self._results.inspected(attempt_id)

    def discard(self, attempt_id: str, kind: ResultKind, path: str) -> None:
        """Delete one result of an attempt that is over."""
        self._results.discard(attempt_id, kind, path)

    def discard_checkpoints(self, checkpoint_dir: str) -> None:
        """Delete the checkpoints of a job that is over."""
        self._results.discard_checkpoints(checkpoint_dir)

    def over(self) -> list[str]:
        """Attempts that ended and whose folders, with their output, are still there."""
        return ended_attempt_ids(self._root)

    def forget(self, attempt_id: str) -> None:
        """Delete the folder of an ended attempt, logs included; raises `ExecutorError` while it has not ended.

        Only for attempts that nobody will start or ask about again: without its folder an attempt would run once more.
        """
        folder = AttemptFolder(self._root, attempt_id)
        with self._mutex:
            fate = folder.fate()
            if fate is Fate.ABSENT:
                return
            if fate is not Fate.ENDED:
                raise ExecutorError(f"attempt {attempt_id} has not ended, it is {fate}; stop it before it is forgotten")
            folder.remove()
            self._ended.discard(attempt_id)

    def close(self, kill: bool) -> None:
        """Let go of the engine. With `kill`, stop everything that runs; else leave it running for the next process."""
        if self._closing:
            return
        if kill:
            self._stop_everything()
        self._closing = True
        self._link.wake()
        self._watcher.join()
        self._metering.close()
        self._link.close()
        os.close(self._server_lock)

    def _connected_link(self) -> Link:
        try:
            remove_remains(self._root)
            link = Link(self._root)
            link.connect()
        except OSError as error:
            os.close(self._server_lock)
            raise ExecutorError(f"the state folder {self._root} cannot be used: {error}") from error
        except ExecutorError:
            os.close(self._server_lock)
            raise
        return link

    def _stop_everything(self) -> None:
        with self._changed:
            self.recover(())
            for attempt_id in self._open:
                self.stop(attempt_id, CLOSING_GRACE_MS)
            if not self._changed.wait_for(lambda: not self._open, _CLOSING_PATIENCE_S):
                _LOG.warning("closed while these attempts were still ending: %s", ", ".join(sorted(self._open)))

    def _objection_to_sandbox(self, launch: Launch) -> str:
        """Why it cannot have the sandbox that it must run in: without one it does not run at all."""
        problem = self._sandboxes.problem()
        if problem:
            return f"it must run in a sandbox, and {problem}"
        return objection_to_data(launch, self._root)

    def _send(self, attempt: _OpenAttempt) -> None:
        assert attempt.launch is not None
        attempt.sends += 1
        attempt.send_again_at = time.monotonic() + _SEND_AGAIN_AFTER_S * 2 ** (attempt.sends - 1)
        try:
            attempt.folder.prepare(attempt.launch)
        except OSError as error:
            attempt.problem = f"its folder could not be written: {error}"
            self._look_soon()
        else:
            self._link.send(order_of(attempt.launch, attempt.folder.path, self._terms, self._sandboxes, self._gpus))

    def _look_soon(self) -> None:
        self._look_at_all_at = 0.0
        self._link.wake()

    def _watch(self) -> None:
        """The watcher's life: sleep until something is new, look at it, and tell whoever waits."""
        while not self._closing:
            noticed = self._link.wait(_LOOK_EVERY_S)
            with self._mutex:
                self._stay_connected()
                for attempt_id, problem in noticed:
                    self._note(attempt_id, problem)
                if time.monotonic() >= self._look_at_all_at:
                    self._look_at_all_at = time.monotonic() + _LOOK_EVERY_S
                    for attempt_id in list(self._open):
                        self._look(attempt_id)
                has_news, self._has_news = self._has_news, False
            if has_news:
                self._wake()

    def _stay_connected(self) -> None:
        """Call the supervisor again if it hung up; what it may have been told in vain is then due at once."""
        if self._link.is_connected():
            return
        try:
            self._link.connect()
        except (ExecutorError, OSError) as error:
            _LOG.warning("%s", error)
            return
        for attempt in self._open.values():
            attempt.send_again_at = 0.0
        self._look_at_all_at = 0.0

    def _note(self, attempt_id: str, problem: str) -> None:
        attempt = self._open.get(attempt_id)
        if attempt is not None:
            attempt.problem = attempt.problem or problem
            self._look(attempt_id)

    def _look(self, attempt_id: str) -> None:
        """Bring what is known of an open attempt up to date with its files."""
        attempt = self._open[attempt_id]
        try:
            last = self._judge(attempt)
        except OSError:
            return  # out of files or disk for the moment: it is looked at again
        started = None if attempt.start_seen else attempt.folder.started()
        if started is not None:
            attempt.start_seen = True
            if last is None:
                self._metering.begin(attempt_id, attempt.launch, attempt.folder.path)
            attempt.launch = None
            self._report(started)
        if last is not None:
            self._finish(attempt, last)
            self._report(last)

    def _report(self, observation: Observation) -> None:
        self._observed.append(observation)
        self._has_news = True

    def _finish(self, attempt: _OpenAttempt, last: Observation) -> None:
        self._open.pop(attempt.folder.attempt_id, None)
        self._metering.end(attempt.folder.attempt_id)
        if isinstance(last, Ended):
            self._ended.add(last.attempt_id)
        self._changed.notify_all()

    def _recover(self, attempt_id: str) -> Observation | None:
        attempt = self._open.get(attempt_id) or _OpenAttempt(AttemptFolder(self._root, attempt_id), None)
        last = self._judge(attempt)
        if last is not None:
            self._finish(attempt, last)
            return last
        self._open[attempt_id] = attempt
        if attempt.folder.is_stop_ordered():
            # The server may have died between writing the order and telling the shim.
            attempt.folder.nudge()
        return None

    def _judge(self, attempt: _OpenAttempt) -> Observation | None:
        """The last thing there is to say of an attempt, once its files prove it; gives its order again if need be."""
        fate = attempt.folder.fate()
        match fate:
            case Fate.ENDED:
                return attempt.folder.ended()
            case Fate.STARTING | Fate.RUNNING:
                return None
            case Fate.ORPHANED:
                return attempt.folder.ended() if attempt.folder.end_orphans(_ORPHAN_PATIENCE_S) else None
            case Fate.ABSENT | Fate.UNCLAIMED | Fate.NEVER_RAN:
                return self._judge_unrun(attempt, fate)
            case _:
                assert_never(fate)

    def _judge_unrun(self, attempt: _OpenAttempt, fate: Fate) -> Observation | None:
        folder = attempt.folder
        if folder.is_stop_ordered():
            return folder.ended() if folder.end_unrun() else None
        if attempt.is_hopeless():
            return self._never_started(attempt) if folder.give_up() else None
        if attempt.is_due() and (fate is not Fate.NEVER_RAN or folder.give_up()):
            self._send(attempt)
        return None

    def _never_started(self, attempt: _OpenAttempt) -> NeverStarted | Refused:
        reason = attempt.problem or "the process that should have started it was killed, or never got the order"
        if attempt.is_refused:
            return Refused(attempt_id=attempt.folder.attempt_id, at_ms=shim.now_ms(), reason=reason)
        return NeverStarted(attempt_id=attempt.folder.attempt_id, at_ms=shim.now_ms(), reason=reason)


def _take_folder(root: str) -> int:
    """Make the folder and hold its lock, which the kernel frees when this process is gone."""
    if not os.path.exists("/proc/self/stat"):
        raise ExecutorError("the local executor needs Linux with /proc; use another engine on this machine")
    try:
        os.makedirs(os.path.join(root, records.ATTEMPTS), mode=0o700, exist_ok=True)
        # Orders with secrets pass through a socket in it.
        os.chmod(root, 0o700)
        lock = records.try_lock(os.path.join(root, _SERVER_LOCK))
    except OSError as error:
        raise ExecutorError(
            f"the state folder {root} cannot be used: {error.strerror}; choose one that this user may write to"
        ) from error
    if lock is None:
        raise ExecutorError(f"the state folder {root} is in use by another server; stop it or choose another folder")
    return lock
