"""Reserved starts: those that are told are true, and no plan starts anybody who would delay one."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dure.audit import Books
from dure.model.events import JobSubmitted, NationApplied, NodeChanged, Planned
from dure.model.plan import Decision, Placement, Plan, Reserved, Start
from tests.kernel.nations import HOUR, MINUTE, TIMING, job, nation, share

FIRST, LAST = "s0-h100-0000", "s0-h100-0001"
WAITING = (
    job("head", "guest", 8, nodes=2, time_ms=HOUR),
    job("second", "guest", 8, time_ms=HOUR),
    job("short", "guest", 8, time_ms=30 * MINUTE),
    job("long", "guest", 8, time_ms=31 * MINUTE),
    job("small", "guest", 1, time_ms=9 * HOUR),
)


def reserved(name: str, minute: int) -> Reserved:
    return Reserved(job=name, at_ms=minute * MINUTE, first_node=FIRST, last_node=LAST)


def start(name: str, node: str, gpus: int = 8) -> Start:
    placement = Placement(node=node, gpus=tuple(range(gpus)), milli=1000)
    return Start(job=name, attempt=1, site="site0", gpu_class="H100", placements=(placement,), borrowed=True)


def broken(*told: Reserved, then: tuple[Decision, ...] = (), anew: tuple[Reserved, ...] | None = None) -> list[str]:
    """What is wrong with a plan after 30 minutes, when one of two nodes is in use for an hour and this was told."""
    found = books(*told)
    plan = Plan(at_ms=30 * MINUTE, decisions=then, reserved=anew)
    return [each.rule for each in found.check(plan, plan.at_ms)]


def books(*told: Reserved) -> Books:
    timing = replace(TIMING, backfill_reservations=2)
    found = Books()
    found.apply(NationApplied(at_ms=0, by="test", nation=nation([share("guest")], nodes=2, timing=timing)))
    running: JobSubmitted = job("running", "guest", 8, time_ms=HOUR)
    for each in (running, *WAITING):
        found.apply(each)
    found.apply(Planned(at_ms=0, plan=Plan(at_ms=0, decisions=(start("running", FIRST),), reserved=told)))
    return found


def test_a_start_that_is_over_by_then_delays_nobody() -> None:
    assert broken(reserved("head", 60), then=(start("short", LAST),)) == []


def test_a_start_that_is_not_over_by_then_delays_a_reserved_one() -> None:
    assert broken(reserved("head", 60), then=(start("long", LAST),)) == ["reservation-delayed"]


def test_a_start_may_delay_one_that_is_told_anew_for_later() -> None:
    later = (reserved("head", 61),)
    assert broken(reserved("head", 60), then=(start("long", LAST),), anew=later) == []


def test_a_start_beside_a_reserved_one_delays_it_where_a_whole_node_is_needed() -> None:
    assert broken(reserved("second", 60), then=(start("small", LAST, 1),)) == []
    assert broken(reserved("head", 60), then=(start("small", LAST, 1),)) == ["reservation-delayed"]


@pytest.mark.parametrize(("minute", "rules"), [(60, []), (59, ["reservation-delayed"])])
def test_what_is_told_must_be_true(minute: int, rules: list[str]) -> None:
    assert broken(anew=(reserved("head", minute),)) == rules


def test_all_that_is_told_must_be_true_together() -> None:
    assert broken(anew=(reserved("head", 60), reserved("second", 120))) == []
    assert broken(anew=(reserved("head", 60), reserved("second", 119))) == ["reservation-delayed"]


def test_no_more_starts_are_reserved_than_the_nation_allows_and_one_for_each_job() -> None:
    three = (reserved("head", 60), reserved("second", 120), reserved("short", 120))
    assert broken(anew=three) == ["too-many-reserved"]
    assert "reserved-twice" in broken(anew=(reserved("second", 60), reserved("second", 120)))


def test_no_start_is_to_blame_for_a_node_that_failed_or_a_time_that_passed() -> None:
    found = books(reserved("head", 60))
    found.apply(NodeChanged(at_ms=0, node=LAST, state="down", by="test"))
    assert found.check(Plan(at_ms=30 * MINUTE, decisions=()), 30 * MINUTE) == []
    assert books(reserved("head", 20)).check(Plan(at_ms=30 * MINUTE, decisions=()), 30 * MINUTE) == []
