"""Models made by jobs: what the platform records of the jobs, and who may say what about a model."""

from __future__ import annotations

import msgspec
import pytest

from dure.control.access import Caller, Role
from dure.control.control import Control
from dure.control.oversight.model_requests import (
    AliasModel,
    CloseTask,
    DeclareModelFacts,
    EvaluateModel,
    ModelRequest,
    ModelStands,
    RegisterModel,
    ReportIncident,
    WithdrawModel,
)
from dure.control.ports import Ended
from dure.control.requests import NotDone, NotDoneCode, Reply
from dure.model.model_versions import (
    HardwareTime,
    IncidentKind,
    ModelName,
    Precision,
    TaskKind,
    VersionName,
    VersionState,
)
from tests.control.builders import (
    HANBIT,
    MINISTRY,
    OPERATOR,
    START_MS,
    ask,
    empty_control,
    run,
    small_control,
    spec,
    submit,
)

CHAT = ModelName("hanbit", "chat")
LATER = START_MS + 3_600_000
HOUR_OF_GPU = 3_600_000 * 1000


def trained(control: Control, gpus: int = 2, caller: Caller = HANBIT, **more: object) -> str:
    """A job that held its GPUs for an hour and ended well."""
    job = submit(control, spec("chat" if caller is HANBIT else "weather", gpus, **more), caller=caller)
    run(control, seen=[Ended(attempt_id=f"{job}.1", at_ms=LATER, exit_code=0)], now_ms=LATER)
    assert control.world.jobs[job].state.is_final
    return job


def registered(control: Control, caller: Caller = HANBIT, **more: object) -> Reply:
    wanted = {"jobs": (trained(control),), "model": CHAT} | more
    return ask(control, RegisterModel(caller=caller, **wanted), LATER)  # type: ignore[arg-type]


def version(number: int = 1, model: str = "chat") -> VersionName:
    return VersionName("hanbit", model, number)


def code(reply: Reply) -> NotDoneCode | None:
    return reply.code if isinstance(reply, NotDone) else None


def test_a_version_has_what_the_platform_recorded_of_its_jobs() -> None:
    control = small_control()
    reply = registered(control, precision=Precision.BF16, busy_percent={"j1": 87})
    assert reply == ModelStands(model="hanbit/chat@1", state="registered")
    (job,) = control.memory.register.models.known(version()).making.jobs
    assert job.hardware == (HardwareTime(gpu_class="H100", gpu_milli_ms=2 * HOUR_OF_GPU),)
    assert (job.started_at_ms, job.ended_at_ms, job.attempts) == (START_MS, LATER, ((START_MS, LATER),))
    assert (job.sites, job.precision, job.busy_percent, job.project) == (("daejeon",), Precision.BF16, 87, "chat")
    assert job.commitment == control.world.jobs["j1"].submitted.commitment


def test_precision_comes_from_the_job_file_unless_the_registration_says_otherwise() -> None:
    control = small_control()
    job = trained(control, precision=Precision.FP8)
    ask(control, RegisterModel(caller=HANBIT, model=CHAT, jobs=(job,)), LATER)
    assert control.memory.register.models.known(version()).making.jobs[0].precision is Precision.FP8


def test_the_registry_is_the_same_after_a_restart() -> None:
    control = small_control()
    registered(control)
    ask(control, EvaluateModel(caller=HANBIT, version=version(), metrics=(("mmlu", "0.7"),)), LATER)
    ask(control, DeclareModelFacts(caller=HANBIT, model=CHAT, facts={"generates": ("text",)}), LATER)
    ask(control, WithdrawModel(caller=HANBIT, version=version(), reason="leaks"), LATER)
    again = empty_control(control.ledger).memory.register.models
    assert msgspec.to_builtins(again.models[CHAT]) == msgspec.to_builtins(control.memory.register.models.models[CHAT])


def test_only_jobs_of_the_same_organisation_that_are_over_make_a_model() -> None:
    control = small_control()
    foreign = trained(control, caller=MINISTRY)
    running = submit(control, spec(), caller=HANBIT, now_ms=LATER)
    assert code(registered(control, jobs=(foreign,))) is NotDoneCode.UNKNOWN_JOB
    assert code(registered(control, jobs=("j99",))) is NotDoneCode.UNKNOWN_JOB
    assert code(registered(control, jobs=(running,))) is NotDoneCode.JOB_NOT_OVER
    assert control.memory.register.models.models == {}


def test_a_token_for_one_project_registers_the_models_of_that_project_only() -> None:
    control = small_control()
    job = trained(control)
    for project, expected in (("vision", NotDoneCode.UNKNOWN_MODEL), ("chat", None)):
        caller = Caller(id="t95", role=Role.MEMBER, organisation="hanbit", project=project)
        assert code(ask(control, RegisterModel(caller=caller, model=CHAT, jobs=(job,)), LATER)) is expected


@pytest.mark.parametrize(
    "wanted",
    [
        lambda who: RegisterModel(caller=who, model=CHAT, jobs=("j1",)),
        lambda who: AliasModel(caller=who, model=CHAT, alias="live", version=1),
        lambda who: EvaluateModel(caller=who, version=version(), metrics=(("mmlu", "1"),)),
        lambda who: DeclareModelFacts(caller=who, model=CHAT, facts={}),
        lambda who: WithdrawModel(caller=who, version=version(), reason="mine now"),
        lambda who: ReportIncident(caller=who, version=version(), kind=IncidentKind.OTHER, reference="x"),
    ],
)
def test_a_model_of_another_organisation_is_as_unknown_as_none(wanted: object) -> None:
    control = small_control()
    registered(control)
    assert callable(wanted)
    request: ModelRequest = wanted(MINISTRY)
    assert code(ask(control, request, LATER)) is NotDoneCode.UNKNOWN_MODEL
    assert code(ask(control, wanted(OPERATOR), LATER)) is None


def test_withdrawing_takes_aliases_away_and_opens_a_task_for_each_descendant() -> None:
    control = small_control()
    registered(control)
    registered(control, model=ModelName("hanbit", "tuned"), parents=(version(),))
    ask(control, AliasModel(caller=HANBIT, model=CHAT, alias="live", version=1), LATER)
    ask(control, WithdrawModel(caller=HANBIT, version=version(), reason="leaks"), LATER)
    models = control.memory.register.models
    assert models.known(version()).state is VersionState.WITHDRAWN
    assert models.models[CHAT].aliases == {}
    (task,) = models.tasks.values()
    assert (task.kind, task.model.model, task.version, task.about) == (
        TaskKind.PARENT_WITHDRAWN,
        "tuned",
        1,
        "hanbit/chat@1",
    )
    again = registered(control, model=ModelName("hanbit", "tuned"), parents=(version(),))
    assert code(again) is NotDoneCode.MODEL_WITHDRAWN
    assert code(ask(control, WithdrawModel(caller=HANBIT, version=version(), reason="x"), LATER)) is (
        NotDoneCode.MODEL_WITHDRAWN
    )


def test_a_task_is_closed_by_its_own_organisation() -> None:
    control = small_control()
    registered(control)
    for reference in ("I1", "I1", "I2"):
        wanted = ReportIncident(caller=HANBIT, version=version(), kind=IncidentKind.OTHER, reference=reference)
        ask(control, wanted, LATER)
    tasks = control.memory.register.models.tasks
    assert [(each.kind, each.about) for each in tasks.values()] == [
        (TaskKind.INCIDENT, "other I1"),
        (TaskKind.INCIDENT, "other I2"),
    ]
    assert code(ask(control, CloseTask(caller=MINISTRY, task="task1"), LATER)) is NotDoneCode.UNKNOWN_TASK
    assert code(ask(control, CloseTask(caller=HANBIT, task="task1", reference="D-1"), LATER)) is None
    assert list(control.memory.register.models.tasks) == ["task2"]
