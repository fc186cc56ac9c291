"""From decisions to orders: what an engine must be told so that it has no choice left to make."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import assert_never

from dure.control.attempts import attempt_id
from dure.control.orders import (
    LOCAL,
    EngineAddress,
    LaunchOrder,
    Order,
    SpareOrder,
    StopOrder,
    WarnOrder,
    address_of,
)
from dure.control.ports import Launch
from dure.governance.register import Register
from dure.model.agreements import Condition
from dure.model.datasets import Dataset
from dure.model.jobs import JobSpec
from dure.model.plan import Claim, Decision, Spare, Start, Stop, Warn
from dure.policy import must_be_sandboxed
from dure.world.cards import JobCard
from dure.world.templates import split_copy
from dure.world.world import World

SecretOf = Callable[[str, str], str | None]
"""The value of a project's secret, by project and name."""

_NOT_IN_VARIABLES = re.compile(r"[^A-Z0-9]+")


class Launching:
    """Makes the orders for the jobs of a world."""

    def __init__(
        self,
        spec_of: Callable[[str], JobSpec | None],
        secret_of: SecretOf,
        checkpoint_root: str,
        register: Register,
    ) -> None:
        self._register = register
        self._spec_of = spec_of
        self._secret_of = secret_of
        self._checkpoint_root = checkpoint_root

    def order_for(self, world: World, decision: Decision) -> Order | None:
        """What an engine must do about a decision; None for a claim, which only holds GPUs in the world."""
        card = world.jobs[decision.job]
        match decision:
            case Start():
                return self.launch(world, card)
            case Warn():
                return self.warn(world, card, decision.stop_at_ms)
            case Spare():
                return SpareOrder(engine=engine_of(world, card), attempt_id=attempt_id(card.job, card.attempt))
            case Stop() if card.state.is_final:
                return None  # A replica that waited for GPUs and is not wanted any more: no engine knows of it.
            case Stop():
                return stop(world, card, grace_within(card, decision.grace_ms))
            case Claim():
                return None
            case _:
                assert_never(decision)

    def launch(self, world: World, card: JobCard) -> LaunchOrder:
        """Start the job's latest attempt where the plan says."""
        spec = self._spec_of(card.job)
        assert spec is not None, f"{card.job} has no spec, and an erased job is never started"
        project = card.submitted.project
        secrets = {name: self._secret_of(project, name) for name in spec.secrets}
        name = attempt_id(card.job, card.attempt)
        datasets = datasets_of(world, spec)
        launch = Launch(
            attempt_id=name,
            site=card.site,
            gpu_class=card.gpu_class,
            placements=card.placements,
            argv=spec.command,
            script=spec.script,
            setup=spec.setup,
            workdir=spec.workdir,
            env=spec.env | platform_variables(world, card, spec),
            secret_env={name: value for name, value in secrets.items() if value is not None},
            checkpoint_dir=self.checkpoint_dir(card.job),
            organisation=_organisation_of(world, project),
            project=project,
            time_limit_ms=spec.time_ms,
            cpus=spec.cpus,
            memory_mib=spec.memory_mib,
            sandbox=spec.sandbox
            or must_be_sandboxed(datasets, world.nation.data_classes)
            or self._register.asks_for(Condition.SANDBOX, card.submitted.agreements),
            read_only=tuple(dict.fromkeys(filter(None, (each.paths.get(card.site) for each in datasets)))),
        )
        return LaunchOrder(engine=engine_of(world, card), attempt_id=name, launch=launch)

    def checkpoint_dir(self, job: str) -> str:
        """Where a job saves its work, over all its attempts."""
        return f"{self._checkpoint_root}/{job}"

    def warn(self, world: World, card: JobCard, stop_at_ms: int) -> WarnOrder:
        """Tell the job's running attempt when it will be stopped, with the signal the job asked for."""
        spec = self._spec_of(card.job)
        return WarnOrder(
            engine=engine_of(world, card),
            attempt_id=attempt_id(card.job, card.attempt),
            stop_at_ms=stop_at_ms,
            signal=spec.checkpoint.signal if spec else "",
        )


def stop(world: World, card: JobCard, grace_ms: int) -> StopOrder:
    """Terminate the job's running attempt."""
    return StopOrder(engine=engine_of(world, card), attempt_id=attempt_id(card.job, card.attempt), grace_ms=grace_ms)


def grace_within(card: JobCard, grace_ms: int) -> int:
    """How long a job may take to end. Of a stop order's limit half is left, for processes that have to be killed."""
    return min(grace_ms, card.gone_within_ms // 2) if card.gone_within_ms else grace_ms


def engine_of(world: World, card: JobCard) -> EngineAddress:
    """The engine of the site where the job runs."""
    return next((address_of(site) for site in world.nation.sites if site.name == card.site), LOCAL)


def platform_variables(world: World, card: JobCard, spec: JobSpec) -> dict[str, str]:
    """What the platform tells a job besides what its engine does; these names are ours and win over the job's own."""
    copies = {each.name: each.paths.get(card.site, "") for each in datasets_of(world, spec)}
    number = str(split_copy(card.job)[1])
    # Scripts written for Slurm look for the second name.
    task_number = {"DURE_ARRAY_TASK": number, "SLURM_ARRAY_TASK_ID": number} if spec.array else {}
    if spec.replicas:
        task_number = {"DURE_REPLICA": number}
    about = {"DURE_PROJECT": card.submitted.project, "DURE_PURPOSE": card.submitted.purpose}
    return about | task_number | {f"DURE_DATA_{variable_name(dataset)}": path for dataset, path in copies.items()}


def _organisation_of(world: World, project: str) -> str:
    return next((each.name for each in world.nation.organisations if project in each.projects), "")


def datasets_of(world: World, spec: JobSpec) -> list[Dataset]:
    """The data that a job reads."""
    return [each for each in world.nation.datasets if each.name in spec.data]


def variable_name(name: str) -> str:
    """A dataset's name as the end of an environment variable: `lung-scans` becomes `LUNG_SCANS`."""
    return _NOT_IN_VARIABLES.sub("_", name.upper())
