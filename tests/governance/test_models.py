"""The registry of models, as the ledger's entries make it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.governance.models import ModelRegister
from dure.model.events import decode, encode
from dure.model.model_events import (
    IncidentReported,
    ModelAliased,
    ModelEvaluated,
    ModelRegistered,
    ModelWithdrawn,
    TaskClosed,
    TaskOpened,
    TrainingAccepted,
)
from dure.model.model_versions import (
    Evaluation,
    Incident,
    IncidentKind,
    JobRun,
    Making,
    ModelName,
    Precision,
    Task,
    TaskKind,
    VersionName,
    VersionState,
)

CHAT = ModelName("hanbit", "chat")


def version(number: int, model: str = "chat") -> VersionName:
    return VersionName("hanbit", model, number)


def run_of(job: str) -> JobRun:
    return JobRun(
        job=job,
        project="chat",
        commitment="0" * 64,
        submitted_at_ms=0,
        started_at_ms=1,
        ended_at_ms=2,
        attempts=((1, 2),),
        hardware=(),
        sites=("daejeon",),
    )


def registered(register: ModelRegister, name: VersionName, *parents: VersionName, jobs: tuple[str, ...] = ()) -> None:
    making = Making(parents=parents, jobs=tuple(run_of(job) for job in jobs))
    event = ModelRegistered(at_ms=1, version=name, making=making, by="t1")
    again = decode(encode(event))
    assert isinstance(again, ModelRegistered)
    register.apply(again)


def withdrawn(register: ModelRegister, name: VersionName) -> None:
    register.apply(ModelWithdrawn(at_ms=2, version=name, reason="unsafe", by="t1"))


def test_versions_count_up_and_the_latest_metric_counts() -> None:
    register = ModelRegister()
    registered(register, version(1))
    registered(register, version(2), version(1))
    for value in ("0.6", "0.7"):
        measured = Evaluation(at_ms=3, metrics=(("mmlu", value),), by="t1")
        register.apply(ModelEvaluated(at_ms=3, version=version(2), evaluation=measured))
    assert register.known(version(2)).metrics == {"mmlu": "0.7"}
    assert register.known(version(1)).metrics == {}
    assert register.version(version(3)) is None
    assert register.version(version(0)) is None


def test_an_alias_stands_for_one_version_until_it_is_moved_or_removed() -> None:
    register = ModelRegister()
    registered(register, version(1))
    for number, expected in ((1, {"live": 1}), (0, {})):
        register.apply(ModelAliased(at_ms=2, model=CHAT, alias="live", version=number, by="t1"))
        assert register.models[CHAT].aliases == expected


def test_what_descends_from_a_withdrawn_version_is_flagged() -> None:
    register = ModelRegister()
    registered(register, version(1))
    registered(register, version(1, "tuned"), version(1))
    registered(register, version(2, "tuned"), version(1, "tuned"))
    registered(register, version(1, "other"))
    withdrawn(register, version(1))
    assert register.withdrawn_ancestors(version(2, "tuned")) == (version(1),)
    assert register.withdrawn_ancestors(version(1, "other")) == ()
    assert [each.name for each in register.descendants(version(1))] == [version(1, "tuned"), version(2, "tuned")]
    assert register.known(version(1)).withdrawn_because == "unsafe"


def test_what_was_withdrawn_is_never_promoted() -> None:
    register = ModelRegister()
    registered(register, version(1))
    registered(register, version(2))
    for number in (1, 2):
        if number == 1:
            withdrawn(register, version(1))
        register.promote(version(number), 3, 4)
    assert register.known(version(1)).state is VersionState.WITHDRAWN
    assert register.known(version(2)).state is VersionState.PROMOTED
    with pytest.raises(AssertionError):
        withdrawn(register, version(1))


def test_a_training_job_belongs_to_its_model_until_a_version_has_it() -> None:
    register = ModelRegister()
    for job in ("j1", "j2"):
        register.apply(TrainingAccepted(at_ms=1, model=CHAT, job=job, precision=Precision.BF16))
    assert register.models[CHAT].latest is None
    registered(register, version(1), jobs=("j1",))
    assert register.models[CHAT].training == {"j2": Precision.BF16}


def test_a_task_is_open_until_it_is_closed() -> None:
    register = ModelRegister()
    registered(register, version(1))
    incident = Incident(at_ms=2, kind=IncidentKind.SERIOUS, reference="INC-1", by="t1")
    register.apply(IncidentReported(at_ms=2, version=version(1), incident=incident))
    task = Task(id="task1", kind=TaskKind.INCIDENT, model=CHAT, version=1, about="INC-1", opened_at_ms=2)
    register.apply(TaskOpened(at_ms=2, task=task))
    assert (register.known(version(1)).incidents, register.tasks) == ((incident,), {"task1": task})
    register.apply(TaskClosed(at_ms=3, task="task1", by="t1"))
    assert (register.tasks, register.tasks_opened) == ({}, 1)


@given(st.lists(st.sets(st.integers(0, 19), max_size=4), min_size=1, max_size=20))
def test_a_lineage_has_every_ancestor_once(parents_of: list[set[int]]) -> None:
    register = ModelRegister()
    names: list[VersionName] = []
    expected: list[set[VersionName]] = []
    for number, chosen in enumerate(parents_of, 1):
        parents = sorted(each for each in chosen if each < len(names))
        registered(register, version(number), *(names[each] for each in parents))
        names.append(version(number))
        expected.append({version(number)}.union(*(expected[each] for each in parents)))
    for name, ancestors in zip(names, expected, strict=True):
        found = [each.name for each in register.lineage(name)]
        assert found[0] == name
        assert len(found) == len(set(found))
        assert set(found) == ancestors
        assert all(name in {each.name for each in register.descendants(other)} for other in ancestors - {name})
