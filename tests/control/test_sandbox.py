"""Which jobs are ordered to run in a sandbox, and what of their data the engine is told."""

from __future__ import annotations

import pytest

from dure.control.orders import LaunchOrder
from dure.control.ports import Launch
from dure.control.requests import ApplyNation, SubmitJob
from dure.model.datasets import DataClass, DataClassDefinition, Dataset, Purpose
from dure.policy import must_be_sandboxed

from .builders import HANBIT, NATION, OPERATOR, ask, empty_control, nation, run, spec

DATA = """
datasets:
  - {name: scans, owner: hanbit, classes: [medical], jurisdiction: KR, purposes: [research],
     sites: [daejeon], readers: [hanbit], paths: {daejeon: /data/scans}}
  - {name: books, owner: hanbit, classes: [public], jurisdiction: KR, purposes: [research],
     sites: [daejeon], readers: ["*"], paths: {daejeon: /data/books}}
"""


def launched(*data: str, sandbox: bool = False) -> Launch:
    control = empty_control()
    ask(control, ApplyNation(caller=OPERATOR, nation=nation(NATION + DATA)))
    step = run(control, [SubmitJob(caller=HANBIT, spec=spec(data=data, sandbox=sandbox))])
    [order] = step.orders
    assert isinstance(order, LaunchOrder)
    return order.launch


def test_a_job_on_restricted_data_is_sandboxed_whether_it_asks_or_not() -> None:
    launch = launched("scans", "books")
    assert launch.sandbox
    assert sorted(launch.read_only) == ["/data/books", "/data/scans"]
    assert launch.env["DURE_DATA_SCANS"] == "/data/scans"


def test_a_job_on_public_data_is_sandboxed_only_when_it_asks() -> None:
    assert not launched("books").sandbox
    assert launched("books", sandbox=True).sandbox
    assert not launched().sandbox


@pytest.mark.parametrize("data_class", DataClass)
def test_every_class_but_public_data_needs_a_sandbox(data_class: DataClass) -> None:
    assert must_be_sandboxed([of_classes(DataClass.PUBLIC, data_class)]) == (data_class is not DataClass.PUBLIC)


def test_a_programme_says_which_of_its_own_classes_need_a_sandbox() -> None:
    own = [DataClassDefinition(name="grid", restricted=True), DataClassDefinition(name="weather", restricted=False)]
    assert must_be_sandboxed([of_classes("grid")], own)
    assert not must_be_sandboxed([of_classes("weather")], own)


def test_a_class_that_nobody_declared_needs_a_sandbox_and_no_programme_frees_what_the_law_restricts() -> None:
    own = [DataClassDefinition(name=DataClass.PERSONAL, restricted=False)]
    assert must_be_sandboxed([of_classes("weather")], own)
    assert must_be_sandboxed([of_classes(DataClass.PERSONAL)], own)


def of_classes(*classes: str) -> Dataset:
    return Dataset(
        name="d",
        owner="o",
        classes=classes,
        jurisdiction="KR",
        purposes=(Purpose.RESEARCH,),
        sites=(),
        readers=(),
    )
