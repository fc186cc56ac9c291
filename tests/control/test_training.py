"""Jobs that train a model: whoever submits them is told which thresholds of the law they may cross."""

from __future__ import annotations

from msgspec.structs import replace

from dure.control.access import Caller, Role
from dure.control.control import Control
from dure.control.oversight.model_requests import RegisterModel
from dure.control.ports import Ended
from dure.control.preview import preview
from dure.control.requests import ApplyNation, SubmitJob, Submitted
from dure.model.jobs import GpuRequest, JobSpec
from dure.model.model_versions import ModelName, Precision, TaskKind
from tests.control.builders import HANBIT, NATION, OPERATOR, START_MS, ask, empty_control, nation, run, spec

CHAT = ModelName("hanbit", "chat")
DAY_MS = 24 * 3_600_000


def large_control(gpu_class: str = "H100") -> Control:
    """A nation of 10,000 GPUs: they reach 10^23 FLOP in seven hours and 10^25 in a month."""
    control = empty_control()
    document = NATION.replace("count: 2", "count: 2500").replace("{H100: 4}", "{H100: 5000}")
    ask(control, ApplyNation(caller=OPERATOR, nation=nation(document.replace("H100", gpu_class))), START_MS)
    return control


def training(days: int, nodes: int = 1250, gpu_class: str = "H100", **more: object) -> JobSpec:
    gpus = (GpuRequest(gpu_class=gpu_class, milli=4000),)
    fields = {"trains": "chat", "precision": Precision.BF16} | more
    return replace(spec("chat", 0), gpus=gpus, nodes=nodes, time_ms=days * DAY_MS, **fields)


def submitted(control: Control, wanted: JobSpec, caller: Caller = HANBIT, now_ms: int = START_MS) -> Submitted:
    reply = ask(control, SubmitJob(caller=caller, spec=wanted), now_ms)
    assert isinstance(reply, Submitted), reply
    return reply


def kinds(control: Control) -> list[tuple[TaskKind, str]]:
    return [(each.kind, each.about.split()[0]) for each in control.memory.register.models.tasks.values()]


def test_a_training_that_stays_below_is_recorded_without_a_word() -> None:
    control = large_control()
    assert submitted(control, training(1, nodes=1)).warnings == ()
    assert control.memory.register.models.models[CHAT].training == {"j1": Precision.BF16}
    assert kinds(control) == []


def test_a_training_that_likely_crosses_a_threshold_is_told_so_and_opens_a_task_with_its_deadline() -> None:
    control = large_control()
    first, second = submitted(control, training(60)).warnings
    assert "hanbit/chat: this job likely takes its training over 1e23 FLOP (EU-GPAI-10e23)" in first
    assert "over 1e25 FLOP (EU-51-2, EU-52" in second
    assert "), 58d" in second
    assert kinds(control) == [(TaskKind.THRESHOLD_EXPECTED, "1e23"), (TaskKind.THRESHOLD_EXPECTED, "1e25")]
    ends = [each.due_at_ms for each in control.memory.register.models.tasks.values()]
    assert ends[0] == 0
    assert 14 * DAY_MS < ends[1] - START_MS <= 16 * DAY_MS, "EU AI Act 52: within two weeks of knowing"


def test_one_that_only_may_cross_is_told_so_and_opens_no_task_for_it() -> None:
    control = large_control()
    (_, second) = submitted(control, training(50)).warnings
    assert "may take its training over 1e25 FLOP" in second
    assert [about for _, about in kinds(control)] == ["1e23"]


def test_what_the_lineage_took_so_far_counts() -> None:
    control = large_control()
    job = submitted(control, training(1, nodes=500)).jobs[0]
    later = START_MS + 23 * 3_600_000
    run(control, seen=[Ended(attempt_id=f"{job}.1", at_ms=later, exit_code=0)], now_ms=later)
    (warning,) = submitted(control, training(1, nodes=300), now_ms=later).warnings
    assert "1e23" in warning
    ask(control, RegisterModel(caller=HANBIT, model=CHAT, jobs=(job,)), later)
    (warning,) = submitted(control, training(1, nodes=300), now_ms=later).warnings
    assert "1e23" in warning
    assert submitted(control, training(1, nodes=300, trains="other"), now_ms=later).warnings == ()


def test_a_preview_says_the_same_and_records_nothing() -> None:
    control = large_control()
    told = preview(control.memory, HANBIT, training(60), START_MS)
    entries = control.ledger.size
    assert told.warnings == submitted(control, training(60)).warnings  # type: ignore[union-attr]
    assert entries < control.ledger.size


def test_a_class_without_a_recorded_peak_is_said_to_be_unknown_and_no_precision_to_be_assumed() -> None:
    (warning,) = submitted(large_control("X9000"), training(60, gpu_class="X9000")).warnings
    assert "cannot be foreseen: no peak is recorded for GPU class X9000" in warning
    assert "bf16 is assumed" in submitted(large_control(), training(60, precision=None)).warnings[-1]


def test_a_registered_version_that_crossed_a_threshold_opens_a_task() -> None:
    control = large_control()
    job = submitted(control, training(2)).jobs[0]
    later = START_MS + DAY_MS
    run(control, seen=[Ended(attempt_id=f"{job}.1", at_ms=later, exit_code=0)], now_ms=later)
    caller = Caller(id="t93", role=Role.MEMBER, organisation="hanbit")
    ask(control, RegisterModel(caller=caller, model=CHAT, jobs=(job,)), later)
    assert kinds(control) == [(TaskKind.THRESHOLD_EXPECTED, "1e23"), (TaskKind.THRESHOLD_CROSSED, "1e23")]
