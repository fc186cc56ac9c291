"""Amounts and times as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dure.model.blockers import Assumption, AssumptionCode, Blocker, BlockerCode, Eta, EtaMethod, NoEta, Why
from dure.model.jobs import JobState, Outcome
from dure.model.plan import StopReason
from dure.reports.wording import (
    ago,
    expected_start,
    gpus_text,
    how_expected,
    rough_duration,
    rounded_hours,
    short_reason,
    unblock,
    what_happened,
)
from dure.world.cards import REQUEUED, STOPPED, Moment, MomentCode


@pytest.mark.parametrize(
    ("gpu_class", "milli", "nodes", "written"),
    [
        ("H100", 8_000, 1, "H100:8"),
        ("H100", 8_000, 2, "2 × H100:8"),
        ("", 500, 1, "0.5"),
        ("", 0, 1, "-"),
        ("H100", 0, 4, "4 × -"),
    ],
)
def test_gpus_are_written_as_users_write_them(gpu_class: str, milli: int, nodes: int, written: str) -> None:
    assert gpus_text(gpu_class, milli, nodes) == written


@pytest.mark.parametrize(
    ("milliseconds", "written"),
    [
        (0, "0s"),
        (59_999, "59s"),
        (60_000, "1m"),
        (61_000, "1m01s"),
        (10 * 60_000 + 5_000, "10m"),
        (3_600_000, "1h"),
        (3_600_000 + 300_000, "1h05m"),
        (25 * 3_600_000, "1d1h"),
        (48 * 3_600_000, "2d"),
    ],
)
def test_durations_have_two_figures_at_most(milliseconds: int, written: str) -> None:
    assert rough_duration(milliseconds) == written


@given(st.integers(-(10**12), 10**12))
def test_a_time_is_past_now_or_ahead(distance_ms: int) -> None:
    said = ago(10**13 - distance_ms, 10**13)
    if abs(distance_ms) < 1_000:
        assert said == "now"
    else:
        assert said.endswith(" ago") == (distance_ms > 0)
        assert said.startswith("in ") == (distance_ms < 0)


def test_a_time_that_never_was_is_a_dash() -> None:
    assert ago(None, 0) == "-"


@pytest.mark.parametrize("code", BlockerCode)
def test_every_blocker_has_a_phrase_with_what_is_short(code: BlockerCode) -> None:
    assert short_reason(Blocker(code=code))
    assert short_reason(Blocker(code=code, gpu_class="H100", short_milli=4_000)).endswith(": 4 H100 short")


@pytest.mark.parametrize("code", BlockerCode)
def test_every_blocker_has_a_sentence_on_what_would_end_it(code: BlockerCode) -> None:
    blocker = Blocker(code=code, gpu_class="H100", share="firm", short_milli=2_000, nodes=3, holders=("j1", "j2"))
    said = unblock(blocker)
    assert said.endswith(".")
    assert "{" not in said
    assert ("j1, j2" in said) == (code in {BlockerCode.HELD_BY_DEPENDENCY, BlockerCode.WAITING_FOR_VICTIMS})


def test_a_guarantee_says_that_it_takes_gpus_back() -> None:
    assert "takes the GPUs back" in unblock(Blocker(code=BlockerCode.NOT_LENT, guaranteed=True))
    assert "takes the GPUs back" not in unblock(Blocker(code=BlockerCode.NOT_LENT))


def expecting(earliest_ms: int | None, latest_ms: int | None, followed_until_ms: int | None = None) -> Why:
    eta = Eta(
        at_ms=0,
        earliest_ms=earliest_ms,
        latest_ms=latest_ms,
        followed_until_ms=followed_until_ms,
        starts_first=0,
        method=EtaMethod.SIMULATED,
        assumptions=(),
    )
    return Why(job="j1", state="queued", position=1, blockers=(), eta=eta, no_eta=None)


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (expecting(60_000, 60_000), "in 1m"),
        (expecting(60_000, 3_600_000), "in 1m to in 1h"),
        (expecting(-5_000, 0), "now"),
        (expecting(60_000, None, 86_400_000), "in 1m at the earliest, or later than in 1d"),
        (expecting(60_000, None), "in 1m at the earliest, or never as things stand"),
        (expecting(None, None), "never as things stand"),
        (expecting(None, None, 86_400_000), "later than in 1d"),
    ],
)
def test_an_expected_start_is_a_range_and_open_where_it_is_not_known(why: Why, said: str) -> None:
    assert expected_start(why, 0) == said


@pytest.mark.parametrize("reason", NoEta)
def test_every_reason_for_no_expected_start_has_a_phrase(reason: NoEta) -> None:
    assert expected_start(Why(job="j1", state="queued", position=1, blockers=(), no_eta=reason), 0)


@pytest.mark.parametrize("code", AssumptionCode)
def test_every_assumption_is_said_with_its_amounts(code: AssumptionCode) -> None:
    assumption = Assumption(code=code, percent=37, jobs=212, step_ms=60_000)
    eta = expecting(0, 0).eta
    assert eta is not None
    said = how_expected(replace(eta, assumptions=(assumption,)))[1]
    assert "{" not in said
    assert ("37%" in said) == code.startswith("earliest")
    assert ("212 jobs" in said) == (code is AssumptionCode.EARLIEST_LEARNT_PART)
    assert ("1m" in said) == (code is AssumptionCode.ROUNDED)


@pytest.mark.parametrize("what", MomentCode)
def test_every_step_of_a_job_has_a_phrase(what: MomentCode) -> None:
    said = what_happened(Moment(0, JobState.QUEUED, what, jobs=("j3", "j4"), site="seoul", attempt=2, exit_code=7))
    assert "{" not in said
    assert ("j3, j4" in said) == (what in {MomentCode.WAITS_FOR_JOBS, MomentCode.MUST_YIELD})
    assert ("attempt 2" in said) == what.startswith("attempt-")
    assert ("exit code 7" in said) == what.startswith(("attempt-failed", "attempt-ended"))


def test_every_way_to_stop_or_to_go_back_to_the_queue_has_its_own_step() -> None:
    assert set(STOPPED) == set(StopReason)
    assert len(set(STOPPED.values())) == len(STOPPED)
    its_own = {Outcome.SUCCEEDED, Outcome.FAILED, Outcome.CANCELLED, Outcome.TIME_LIMIT, Outcome.SCALED_DOWN}
    stays = set(Outcome) - its_own
    assert set(REQUEUED) == stays
    assert len(set(REQUEUED.values())) == len(REQUEUED)


def test_gpu_hours_are_as_precise_as_they_are_small() -> None:
    assert [rounded_hours(hours) for hours in (0.0444, 12.46, 1234.5)] == ["0.04", "12.5", "1,234"]
