"""The lender's ledger of a live platform: fed by each step, and made anew from the ledger."""

from __future__ import annotations

from dure.control.access import Caller
from dure.control.control import Control
from dure.control.ports import Ended
from dure.control.requests import SubmitJob
from dure.reports.lending import LendingReport, lending_report
from tests.control.builders import HANBIT, MINISTRY, START_MS, empty_control, run, small_control, spec

HOUR_MS = 3_600_000


def submit(caller: Caller, project: str, gpus: int) -> SubmitJob:
    return SubmitJob(caller=caller, spec=spec(project, gpus, preemptible=True))


def lent_and_taken_back() -> tuple[Control, int]:
    """Hanbit borrows the ministry's four GPUs for half an hour; the ministry wants them and has them after a second."""
    control = small_control()
    now_ms = START_MS
    run(control, [submit(HANBIT, "chat", 4), submit(HANBIT, "vision", 4)], now_ms=now_ms)
    now_ms += HOUR_MS // 2
    run(control, [submit(MINISTRY, "weather", 4)], now_ms=now_ms)
    now_ms += 1_000
    run(control, now_ms=now_ms)
    run(control, seen=[Ended(attempt_id="j2.1", at_ms=now_ms, exit_code=-15)], now_ms=now_ms)
    assert control.world.jobs["j3"].placements
    return control, now_ms


def report_of(control: Control, now_ms: int, caller: Caller) -> LendingReport:
    return lending_report(control.world.nation, control.memory.lending.days(now_ms), 0, now_ms, now_ms, caller.viewer)


def test_each_side_sees_what_was_lent_and_taken_back() -> None:
    control, now_ms = lent_and_taken_back()
    for caller in (HANBIT, MINISTRY):
        (line,) = report_of(control, now_ms, caller).lines
        assert (line.lender, line.borrower, line.lent_gpu_hours) == ("ministry", "hanbit", 2.001111)
        assert (line.reclaims, line.longest_reclaim_ms) == (1, 1_000)


def test_another_control_on_the_same_ledger_has_the_same_totals() -> None:
    control, now_ms = lent_and_taken_back()
    again = empty_control(control.ledger)
    assert again.memory.lending.days(now_ms) == control.memory.lending.days(now_ms)
    control.rebuild()
    assert report_of(again, now_ms, MINISTRY) == report_of(control, now_ms, MINISTRY)
