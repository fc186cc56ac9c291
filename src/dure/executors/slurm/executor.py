"""`SlurmExecutor`: the server's handle on the attempts that run as jobs of a site's Slurm."""

from __future__ import annotations

import logging
import os
import pwd
import time
from collections.abc import Mapping
from typing import assert_never

from msgspec import structs

from dure.executors.contract import Launch, NodeCapacity, Observation, Refused, Started
from dure.executors.local import records
from dure.executors.shared import folder as folders
from dure.executors.shared import secrets
from dure.executors.shared.executor import OpenAttempt, SharedFolderExecutor, conclude_unrun
from dure.executors.shared.folder import Fate, SharedFolder
from dure.executors.slurm import submission
from dure.executors.slurm.commands import Commands, SlurmRefused, SlurmUnreachable
from dure.executors.slurm.jobs import QUERY, Phase, SlurmJob, alive_or_last, read_jobs, reason_sentence
from dure.executors.slurm.judging import Conclusion, Verdict, judge
from dure.executors.slurm.nodes import NodeNames, read_capacity
from dure.executors.slurm.site import PlacedBy, SlurmSite

_LOG = logging.getLogger(__name__)
_AGENT = "dure/executors/slurm/agent"
_QUERY = (*QUERY, "--user", pwd.getpwuid(os.getuid()).pw_name)
_ACCOUNT_PATIENCE_S = 60.0
"""How long an account that Dure keeps may be missing: the next reconciliation makes it."""


class SlurmExecutor(SharedFolderExecutor[dict[str, list[SlurmJob]], SlurmJob]):
    """Runs attempts as jobs of one Slurm; the package's docstring says how. Raises as its base does."""

    def __init__(self, site: SlurmSite) -> None:
        super().__init__("Slurm", _AGENT, site.work_folder, site.poll_interval_s)
        self._site = site
        self._attempts = os.path.join(self._root, records.ATTEMPTS)
        self._commands = Commands(site)
        self._names: NodeNames | None = None
        self._unknown_accounts: dict[str, float] = {}
        """When Slurm first did not know an account that Dure keeps (monotonic seconds)."""
        self._watcher.start()

    def capacity(self) -> tuple[NodeCapacity, ...]:
        """The nodes Slurm has for Dure. Raises `ExecutorError` while the controller does not answer."""
        return read_capacity(self._site, self._commands, self._node_names())

    def gpu_use(self, attempt_id: str) -> None:
        """Slurm's own accounting measures that, where it is set up."""

    # Submitting

    def _unsuitable(self, launch: Launch) -> str:
        return submission.unsuitable(launch, self._site)

    def _submit(self, launch: Launch, folder: SharedFolder) -> bool:
        """Have Slurm take the attempt; False when it is refused. Raises `ExecutorError` when nobody can tell."""
        if folder.fate() is Fate.GIVEN_UP:
            folder.give_up()
        if self._contact.problem:
            # The watcher asks again and again. Were every order to find out for itself, stops would wait behind starts.
            raise SlurmUnreachable(self._contact.problem)
        if folder.was_submitted() and self._ask().get(launch.attempt_id):
            return True  # it arrived, though its answer was lost
        nodes = self._nodes_of(launch)
        launch = self._with_shared_checkpoints(launch)
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

    # Watching

    def _list_jobs(self) -> dict[str, list[SlurmJob]]:
        """Every job of this work folder by attempt."""
        return read_jobs(self._commands.run("squeue", *_QUERY), self._attempts)

    def _job_of(self, attempt: OpenAttempt, jobs: dict[str, list[SlurmJob]]) -> SlurmJob | None:
        mine = jobs.get(attempt.folder.attempt_id, [])
        claimed = attempt.folder.job_id()
        return alive_or_last(each for each in mine if claimed in (None, each.job_id))

    def _why_waiting(self, job: SlurmJob) -> str:
        return reason_sentence(job.reason) if job.phase is Phase.WAITING else ""

    def _conclude(self, attempt: OpenAttempt, job: SlurmJob | None, *, is_gone: bool) -> Observation | None:
        verdict = judge(attempt.folder, job, is_gone=is_gone)
        if verdict.must_ask:
            self._pace.poll_soon()
        return _conclude(attempt.folder, verdict)

    def _named(self, started: Started) -> Started:
        nodes = started.nodes if self._site.placement is PlacedBy.SITE else ()
        names = self._names
        return structs.replace(started, nodes=tuple(names.in_dure(each) if names else each for each in nodes))

    def _after_poll(self, jobs: dict[str, list[SlurmJob]]) -> None:
        self._cancel_strays(jobs)

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
            return conclude_unrun(folder, verdict.reason)
        case Conclusion.HOPELESS:
            if not folder.give_up():
                return None
            return Refused(attempt_id=folder.attempt_id, at_ms=folders.now_ms(), reason=verdict.reason)
        case _:
            assert_never(verdict.conclusion)
