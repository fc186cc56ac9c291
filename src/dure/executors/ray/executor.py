"""`RayExecutor`: the server's handle on the attempts that run as jobs of a site's Ray cluster."""

from __future__ import annotations

import time
from typing import assert_never

from dure.executors.contract import Launch, NodeCapacity, Observation
from dure.executors.local import records
from dure.executors.local.environment import USUAL_TERMS, limits_of
from dure.executors.ray import feasibility, submission
from dure.executors.ray.agent import terms
from dure.executors.ray.api import Phase, RayApi, RayJob, RayRefused
from dure.executors.ray.judging import Conclusion, judge, why_unrun
from dure.executors.ray.site import RaySite
from dure.executors.shared import secrets
from dure.executors.shared.agent.files import LOST_EXIT_CODE
from dure.executors.shared.executor import OpenAttempt, SharedFolderExecutor, conclude_unrun
from dure.executors.shared.folder import Fate, SharedFolder

_AGENT = "dure/executors/ray/agent"
_MEBIBYTE = 1 << 20
_ABANDONED_PATIENCE_S = 10.0
"""How long ranks whose job is gone may take to record their end: their nodes are gone if they have not by then."""


class RayExecutor(SharedFolderExecutor[dict[str, RayJob], RayJob]):
    """Runs attempts as jobs of one Ray cluster; the package's docstring says how. Raises as its base does."""

    def __init__(self, site: RaySite) -> None:
        super().__init__("Ray", _AGENT, site.work_folder, site.poll_interval_s)
        self._site = site
        self._api = RayApi(site)
        self._watcher.start()

    def capacity(self) -> tuple[NodeCapacity, ...]:
        """The nodes in service. Raises `ExecutorError` while Ray does not answer."""
        return read_capacity(self._api)

    # Submitting

    def _unsuitable(self, launch: Launch) -> str:
        return submission.unsuitable(launch, self._site)

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
        launch = self._with_shared_checkpoints(launch)
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

    # Watching

    def _list_jobs(self) -> dict[str, RayJob]:
        return self._api.jobs()

    def _job_of(self, attempt: OpenAttempt, jobs: dict[str, RayJob]) -> RayJob | None:
        return jobs.get(submission.submission_id(self._root, attempt.folder.attempt_id))

    def _why_waiting(self, job: RayJob) -> str:
        return f"Ray: {job.message}" if job.status == "PENDING" and job.message else ""

    def _conclude(self, attempt: OpenAttempt, job: RayJob | None, *, is_gone: bool) -> Observation | None:
        folder = attempt.folder
        conclusion = judge(folder, job, is_gone=is_gone)
        match conclusion:
            case Conclusion.OPEN:
                return None
            case Conclusion.ENDED:
                return folder.ended()
            case Conclusion.NEVER_RAN:
                return conclude_unrun(folder, why_unrun(folder, job))
            case Conclusion.ABANDONED:
                return self._conclude_abandoned(attempt)
            case Conclusion.LOST:
                folder.record_exit(LOST_EXIT_CODE, was_lost=True)
                return folder.ended()
            case _:
                assert_never(conclusion)

    def _conclude_abandoned(self, attempt: OpenAttempt) -> Observation | None:
        """Give its ranks time to end and say so: until then it may be running, and nobody else may have its GPUs."""
        if attempt.abandoned_since is None:
            attempt.abandoned_since = time.monotonic()
            attempt.folder.order_stop(grace_ms=0)
        self._pace.poll_soon()
        if time.monotonic() - attempt.abandoned_since < _ABANDONED_PATIENCE_S:
            return None
        attempt.folder.record_exit(LOST_EXIT_CODE, was_lost=True)
        return attempt.folder.ended()

    # Letting go

    def _forget_job(self, attempt_id: str) -> None:
        self._api.delete(submission.submission_id(self._root, attempt_id))

    def _let_go(self) -> None:
        self._api.close()


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
