"""Usage adds up, whoever looks and in whatever order attempts come."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.model.fleet import GpuClass
from dure.model.jobs import Outcome
from dure.model.nation import Nation
from dure.model.organisations import Organisation, OrganisationKind
from dure.model.units import HOUR_MS
from dure.reports.usage import Attempt, UsageReport, usage_report
from dure.reports.viewer import EVERYTHING, PUBLIC, Viewer

NATION = Nation(
    gpu_classes=(GpuClass(name="H100"), GpuClass(name="B200", exchange_milli=2500)),
    organisations=tuple(
        Organisation(
            name=name,
            kind=OrganisationKind.STARTUP,
            country="KR",
            parent_country="KR",
            projects=(f"{name}-a", f"{name}-b"),
        )
        for name in ("maru", "haneul")
    ),
)


def attempt_of(
    project: str = "maru-a",
    gpu_class: str = "H100",
    gpus_milli: int = 8_000,
    started_h: float = 0,
    ended_h: float | None = 1,
    borrowed: bool = False,
    outcome: str = Outcome.SUCCEEDED,
) -> Attempt:
    return Attempt(
        job="j1",
        attempt=1,
        project=project,
        organisation=project.split("-")[0],
        gpu_class=gpu_class,
        gpus_milli=gpus_milli,
        started_at_ms=round(started_h * HOUR_MS),
        ended_at_ms=None if ended_h is None else round(ended_h * HOUR_MS),
        borrowed=borrowed,
        outcome="" if ended_h is None else outcome,
    )


def report_of(*attempts: Attempt, viewer: Viewer = EVERYTHING, from_h: float = 0, until_h: float = 100) -> UsageReport:
    return usage_report(NATION, attempts, round(from_h * HOUR_MS), round(until_h * HOUR_MS), 10 * HOUR_MS, viewer)


def test_gpu_hours_are_gpus_times_hours_and_reference_hours_use_the_exchange_factor() -> None:
    report = report_of(attempt_of(), attempt_of(gpu_class="B200", gpus_milli=500, ended_h=2))
    b200, h100 = report.lines
    assert (h100.used_gpu_hours, h100.reference_gpu_hours) == (8.0, 8.0)
    assert (b200.used_gpu_hours, b200.reference_gpu_hours) == (1.0, 2.5)
    assert (report.used_gpu_hours, report.reference_gpu_hours) == (9.0, 10.5)


def test_borrowed_and_preempted_hours_are_part_of_used_hours() -> None:
    report = report_of(
        attempt_of(ended_h=1),
        attempt_of(ended_h=2, borrowed=True),
        attempt_of(ended_h=3, borrowed=True, outcome=Outcome.PREEMPTED),
    )
    (line,) = report.lines
    assert (line.attempts, line.used_gpu_hours, line.borrowed_gpu_hours, line.preempted_gpu_hours) == (3, 48, 40, 24)


def test_a_running_attempt_counts_up_to_now() -> None:
    (line,) = report_of(attempt_of(started_h=4, ended_h=None)).lines
    assert (line.running, line.used_gpu_hours) == (1, 48.0)


def test_only_what_lies_between_the_two_times_counts() -> None:
    attempts = (
        attempt_of(started_h=0, ended_h=1),
        attempt_of(started_h=1, ended_h=3),
        attempt_of(started_h=4, ended_h=None),
        attempt_of(started_h=6, ended_h=7),
    )
    report = report_of(*attempts, from_h=2, until_h=5)
    (line,) = report.lines
    assert (line.attempts, line.used_gpu_hours) == (2, 16.0)
    assert report.until_ms == 5 * HOUR_MS


def test_a_member_sees_its_own_projects_and_of_others_only_the_organisation() -> None:
    attempts = [attempt_of(project=project) for project in ("maru-a", "maru-b", "haneul-a", "haneul-b")]
    member = report_of(*attempts, viewer=Viewer(organisation="maru"))
    assert [(line.organisation, line.project, line.used_gpu_hours) for line in member.lines] == [
        ("haneul", None, 16.0),
        ("maru", "maru-a", 8.0),
        ("maru", "maru-b", 8.0),
    ]
    assert [line.project for line in report_of(*attempts, viewer=PUBLIC).lines] == [None, None]


def test_an_attempt_row_of_the_tables_is_an_attempt() -> None:
    row = (
        b'{"job":"j7","attempt":2,"project":"maru-a","organisation":"maru","gpu_class":"H100","gpus_milli":1000,'
        b'"started_at_ms":5,"ended_at_ms":null,"borrowed":true,"outcome":""}'
    )
    assert msgspec.json.decode(row, type=Attempt).borrowed


@given(
    hours=st.lists(
        st.tuples(
            st.sampled_from(["maru-a", "maru-b", "haneul-a"]),
            st.sampled_from(["H100", "B200"]),
            st.integers(0, 9),
            st.one_of(st.none(), st.integers(0, 9)),
            st.booleans(),
        ),
        max_size=20,
    ),
    cut=st.integers(0, 10),
)
def test_usage_before_and_after_a_moment_adds_up_in_any_order(
    hours: list[tuple[str, str, int, int | None, bool]], cut: int
) -> None:
    attempts = [
        attempt_of(project, gpu_class, 1_500, start, None if length is None else start + length, borrowed)
        for project, gpu_class, start, length, borrowed in hours
    ]
    whole = report_of(*attempts)
    assert whole == report_of(*reversed(attempts))
    halves = report_of(*attempts, until_h=cut), report_of(*attempts, from_h=cut)
    assert sum(half.used_gpu_hours for half in halves) == pytest.approx(whole.used_gpu_hours)
    assert whole.used_gpu_hours == pytest.approx(sum(line.used_gpu_hours for line in whole.lines))
    assert whole.reference_gpu_hours == pytest.approx(sum(line.reference_gpu_hours for line in whole.lines))
    assert whole.borrowed_gpu_hours <= whole.used_gpu_hours
