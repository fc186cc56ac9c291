"""Results of attempts on restricted data, as they lie here: inspected by a process of its own, and deleted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from subprocess import PIPE

import msgspec

from dure.executors.contract import ExecutorError
from dure.executors.environment import split_attempt_id
from dure.executors.inspection import Question
from dure.executors.local import records
from dure.executors.local.attempt import AttemptFolder
from dure.executors.local.folders import open_up_and_retry
from dure.executors.outputs import OutputFolder
from dure.governance.inspection.terms import InspectionTerms
from dure.model.results import InspectedResult, ResultKind

_PATIENCE_S = 60.0
"""How long an inspection may take beyond the time that it gives itself."""
_LOG = re.compile(r"rank\d+\.log")
_ANSWER = msgspec.json.Decoder(tuple[InspectedResult, ...])
_PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "LD_LIBRARY_PATH")


class Results:
    """The results under an engine's folder `root`."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        """The inspection that is under way."""

    def inspect(
        self, attempt_ids: Sequence[str], data: Sequence[str], terms: InspectionTerms
    ) -> tuple[InspectedResult, ...]:
        """Inspect, and keep what was found with each attempt. Raises `ExecutorError` when that fails."""
        folders = {int(split_attempt_id(name)[1]): AttemptFolder(self._root, name).path for name in attempt_ids}
        there = {attempt: path for attempt, path in folders.items() if os.path.isdir(path)}
        found = self._ask(Question(attempts=there, data=tuple(data), terms=terms))
        for attempt, path in there.items():
            own = [msgspec.to_builtins(each) for each in found if each.attempt == attempt]
            records.replace(path, records.INSPECTED, {"results": own}, durable=True)
        return found

    def end_inspection(self) -> None:
        """Kill the inspection that is under way. May be called from any thread."""
        process = self._process
        if process is not None:
            process.kill()

    def _ask(self, question: Question) -> tuple[InspectedResult, ...]:
        """Inspect in a process of its own: what a job left is read and parsed there, and it may be killed."""
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        command = [sys.executable, "-m", "dure.executors.inspection"]
        try:
            with subprocess.Popen(  # noqa: S603 - the program is our own
                command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment
            ) as process:
                self._process = process
                answer, said = _answered(process, question)
        except OSError as error:
            raise ExecutorError(f"the inspection could not be started: {error}") from error
        finally:
            self._process = None
        if process.returncode:
            last = said.decode(errors="replace").strip().splitlines()[-1:]
            raise ExecutorError(f"the inspection failed: {''.join(last) or f'exit code {process.returncode}'}")
        return _ANSWER.decode(answer)

    def inspected(self, attempt_id: str) -> tuple[InspectedResult, ...]:
        """What was kept of an attempt."""
        record = records.read(AttemptFolder(self._root, attempt_id).path, records.INSPECTED) or {}
        return msgspec.convert(record.get("results", []), tuple[InspectedResult, ...])

    def discard(self, attempt_id: str, kind: ResultKind, path: str) -> None:
        """Delete one result."""
        folder = AttemptFolder(self._root, attempt_id).path
        if kind is ResultKind.OUTPUT:
            OutputFolder(folder).discard(path)
        elif _LOG.fullmatch(path):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, path))

    def discard_checkpoints(self, checkpoint_dir: str) -> None:
        """Delete a checkpoint folder and all that is in it. Follows no link."""
        try:
            if checkpoint_dir and os.path.lexists(checkpoint_dir):
                shutil.rmtree(checkpoint_dir, onerror=open_up_and_retry)
        except OSError as error:
            raise ExecutorError(f"the checkpoints in {checkpoint_dir} cannot be deleted: {error.strerror}") from error


def _answered(process: subprocess.Popen[bytes], question: Question) -> tuple[bytes, bytes]:
    """What the process answers, and what it complains of; it is killed when it takes too long."""
    try:
        return process.communicate(msgspec.json.encode(question), question.terms.seconds + _PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0], b"it took too long"
