"""What policy allowed once is asked again when its facts change, of what waits and of what runs."""

from __future__ import annotations

from typing import Any

import pytest

from dure.control.control import Control
from dure.control.orders import StopOrder
from dure.control.oversight.requests import IssueStopOrder
from dure.control.ports import Ended, Started
from dure.control.requests import ApplyNation, CancelJob, SubmitJob
from dure.intake.refusals import Refusal
from dure.ledger.memory import MemoryLedger
from dure.model.agreements import Operation, Terms
from dure.model.datasets import Purpose
from dure.model.events import CancelRequested, SitesChanged, decode, encode
from dure.model.jobs import ArrayRange, JobState
from dure.model.oversight import AgreementAccepted, AgreementOffered

from .builders import HANBIT, MINISTRY, NATION, OPERATOR, START_MS, ask, empty_control, nation, run, spec

SECOND_SITE = """
  - name: busan
    country: KR
    owner: ministry
    nodes:
      - {name: bs, count: 2, gpus: "H100:4", cpus: 64, memory: 256GB}
organisations:"""
DATA = """
datasets:
  - {name: scans, owner: hanbit, classes: [medical], jurisdiction: KR, purposes: [%s], sites: [%s], readers: []}
"""


def declared(purposes: str = "research", sites: str = "daejeon, busan") -> ApplyNation:
    document = NATION.replace("\norganisations:", SECOND_SITE) + DATA % (purposes, sites)
    return ApplyNation(caller=OPERATOR, nation=nation(document))


def control_with(*jobs: SubmitJob, ledger: MemoryLedger | None = None) -> Control:
    control = empty_control(ledger)
    ask(control, declared())
    run(control, jobs)
    return control


def on_scans(gpus: int = 4, **more: Any) -> SubmitJob:
    return SubmitJob(caller=HANBIT, spec=spec(gpus=gpus, data=("scans",), **more))


def start(control: Control, job: str, now_ms: int) -> None:
    run(control, seen=[Started(attempt_id=f"{job}.1", at_ms=now_ms)], now_ms=now_ms)


def test_a_running_job_is_stopped_at_once_when_its_purpose_is_withdrawn() -> None:
    control = control_with(on_scans())
    start(control, "j1", START_MS + 1)
    step = run(control, [declared(purposes="statistics")], now_ms=START_MS + 2)
    [order] = step.orders
    assert isinstance(order, StopOrder)
    assert order.attempt_id == "j1.1"
    [cancelled] = [each for each in step.events if isinstance(each, CancelRequested)]
    assert cancelled.rules == ("purpose-limitation",)
    run(control, seen=[Ended(attempt_id="j1.1", at_ms=START_MS + 3, exit_code=-15)], now_ms=START_MS + 3)
    card = control.world.jobs["j1"]
    assert card.state is JobState.CANCELLED
    assert card.timeline[-1].detail == "purpose-limitation"


def test_a_waiting_job_that_may_run_nowhere_is_cancelled_with_the_rule_that_says_so() -> None:
    control = control_with(*[on_scans() for _ in range(5)])
    step = run(control, [declared(purposes="statistics")], now_ms=START_MS + 2)
    cancelled = [each for each in step.events if isinstance(each, CancelRequested)]
    assert [each.job for each in cancelled] == ["j1", "j2", "j3", "j4", "j5"]
    assert control.world.jobs["j5"].state is JobState.CANCELLED


def test_a_job_goes_only_where_it_may_run_now() -> None:
    control = control_with(*[on_scans() for _ in range(5)])
    running = {control.world.jobs[f"j{number}"].site for number in range(1, 5)}
    assert running == {"daejeon", "busan"}
    step = run(control, [declared(sites="busan")], now_ms=START_MS + 2)
    [changed] = [each for each in step.events if isinstance(each, SitesChanged)]
    assert changed.cases == (("chat", "research", ("scans",), ("busan",)),)
    stopped = {each.attempt_id for each in step.orders if isinstance(each, StopOrder)}
    assert stopped == {f"j{n}.1" for n in range(1, 5) if control.world.jobs[f"j{n}"].site == "daejeon"}
    assert control.world.jobs["j5"].sites == ["busan"]


def test_a_job_that_nothing_changed_for_is_left_alone() -> None:
    control = control_with(SubmitJob(caller=HANBIT, spec=spec()), on_scans())
    step = run(control, [declared(purposes="statistics")], now_ms=START_MS + 2)
    assert [each.job for each in step.events if isinstance(each, CancelRequested)] == ["j2"]


def test_tasks_of_an_array_are_judged_by_where_they_run() -> None:
    control = control_with(on_scans(array=ArrayRange(first=1, last=6)))
    sites = {job: card.site for job, card in control.world.jobs.items() if card.template}
    step = run(control, [declared(sites="busan")], now_ms=START_MS + 2)
    cancelled = {each.job for each in step.events if isinstance(each, CancelRequested)}
    assert cancelled == {job for job, site in sites.items() if site == "daejeon"} != set()
    assert control.world.jobs["j1"].sites == ["busan"]


def test_replaying_the_ledger_gives_the_same_world() -> None:
    ledger = MemoryLedger()
    control = control_with(*[on_scans() for _ in range(5)], ledger=ledger)
    run(control, [declared(sites="busan")], now_ms=START_MS + 2)
    before = {job: (card.state, card.sites, card.forbidden_by) for job, card in control.world.jobs.items()}
    control.rebuild()
    assert {job: (card.state, card.sites, card.forbidden_by) for job, card in control.world.jobs.items()} == before
    assert any(isinstance(decode(entry), SitesChanged) for entry in ledger.entries())


def test_after_a_restart_nothing_is_written_that_was_written_before() -> None:
    control = control_with(*[on_scans() for _ in range(3)])
    size = control.ledger.size
    control.rebuild()
    assert run(control, now_ms=START_MS + 10).events == []
    assert control.ledger.size == size


def stop_order(**named: str) -> IssueStopOrder:
    return IssueStopOrder(caller=OPERATOR, within_ms=1_000, reason="ordered by the commission", **named)


@pytest.mark.parametrize("named", [{"dataset": "scans"}, {"recipient": "hanbit"}, {"country": "KR"}])
def test_a_stop_order_stops_what_runs_within_its_limit(named: dict[str, str]) -> None:
    control = control_with(on_scans())
    start(control, "j1", START_MS + 1)
    step = run(control, [stop_order(**named)], now_ms=START_MS + 2)
    [order] = step.orders
    assert isinstance(order, StopOrder)
    assert (order.attempt_id, order.grace_ms) == ("j1.1", 500)
    [cancelled] = [each for each in step.events if isinstance(each, CancelRequested)]
    assert (cancelled.rules, cancelled.stop_orders, cancelled.within_ms) == (("stop-order",), ("s1",), 1_000)


@pytest.mark.parametrize("named", [{"dataset": "books"}, {"recipient": "ministry"}, {"country": "NO"}])
def test_a_stop_order_leaves_alone_what_it_does_not_fit(named: dict[str, str]) -> None:
    control = empty_control()
    books = DATA % ("research", "daejeon") + "  - {name: books, owner: hanbit, classes: [public], jurisdiction: KR,"
    books += " purposes: [research], sites: [daejeon], readers: []}\n"
    ask(control, ApplyNation(caller=OPERATOR, nation=nation(NATION + books)))
    run(control, [on_scans()])
    assert run(control, [stop_order(**named)], now_ms=START_MS + 2).orders == []
    assert control.world.jobs["j1"].state is JobState.STARTING


def test_while_a_stop_order_holds_nothing_like_it_begins() -> None:
    control = control_with()
    run(control, [stop_order(dataset="scans")])
    [refusal] = run(control, [on_scans()], now_ms=START_MS + 1).answers
    assert isinstance(refusal, Refusal)
    assert "stop-order" in refusal.rules
    run(control, [SubmitJob(caller=HANBIT, spec=spec())], now_ms=START_MS + 2)
    assert "j1" in control.world.jobs


def test_what_was_being_stopped_with_more_time_gets_no_more_than_the_order_leaves() -> None:
    control = control_with(on_scans())
    start(control, "j1", START_MS + 1)
    run(control, [CancelJob(caller=HANBIT, job="j1")], now_ms=START_MS + 2)
    [order] = run(control, [stop_order(dataset="scans")], now_ms=START_MS + 3).orders
    assert isinstance(order, StopOrder)
    assert order.grace_ms == 500


def test_an_agreement_that_runs_out_stops_what_ran_on_it_without_anybody_asking() -> None:
    control = empty_control()
    ask(control, declared())
    terms = Terms(
        provider="hanbit",
        recipient="ministry",
        datasets=("scans",),
        purposes=(Purpose.RESEARCH,),
        operations=(Operation.COMPUTE,),
        sites=("daejeon",),
        from_ms=START_MS,
        until_ms=START_MS + 60_000,
    )
    offer = AgreementOffered(at_ms=START_MS, agreement="a1", terms=terms, organisation="hanbit", by="t1")
    accept = AgreementAccepted(at_ms=START_MS, agreement="a1", version=1, organisation="ministry", by="t2")
    for event in (offer, accept):
        control.ledger.append(control.ledger.size, [encode(event)], [], START_MS)
    control.rebuild()
    run(control, [SubmitJob(caller=MINISTRY, spec=spec("weather", data=("scans",)))], now_ms=START_MS + 1)
    assert control.world.jobs["j1"].submitted.agreements == ("a1",)
    assert control.next_wake_ms() == START_MS + 60_000
    step = run(control, now_ms=START_MS + 60_000)
    assert [each.job for each in step.events if isinstance(each, CancelRequested)] == ["j1"]
    assert isinstance(step.orders[0], StopOrder)
