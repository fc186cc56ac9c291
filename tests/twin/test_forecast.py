"""When a waiting job may start: what the range says, and what really happens then."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dure.model.blockers import AssumptionCode, Eta
from dure.model.events import JobSubmitted
from dure.model.jobs import JobState, Outcome
from dure.twin import forecast as forecasting
from dure.twin.forecast import Forecasts, forecast, learnt_parts, moment_of
from dure.world.cards import JobCard
from tests.kernel.nations import HOUR, MINUTE, TIMING, job, nation, reservation, share
from tests.kernel.story import ENDS, Story

GUEST = [share("guest")]
OWNED = [share("owner", guarantee=8), share("guest")]
NODE = "s0-h100-0000"


def eta(story: Story, name: str) -> Eta:
    return forecast(story.world, name, story.now_ms)


def assumed_end_ms(card: JobCard, permille: int, asked_ms: int) -> int:
    """After this part of its limit; one that was past that when it was asked about, after the same part of the rest."""
    started_ms, limit_ms = card.started_at_ms or 0, card.submitted.time_ms
    end_ms = started_ms + limit_ms * permille // 1000
    return end_ms if end_ms > asked_ms else asked_ms + (started_ms + limit_ms - asked_ms) * permille // 1000


def play_until_started(story: Story, name: str, permille: int) -> int:
    """Let the future come true: every attempt ends after this part of its limit. Returns when the job starts."""
    asked_ms = story.now_ms
    while not story.holds(name):
        ends = {
            card.job: assumed_end_ms(card, permille, asked_ms)
            for card in story.world.running()
            if card.state is not JobState.STOPPING
        }
        gone = {
            card.job: int(story.world.columns.jobs[card.row].expected_end_ms)
            for card in story.world.running()
            if card.state is JobState.STOPPING
        }
        due = [*ends.values(), *gone.values()]
        wake_ms = story.world.next_wake_ms()
        assert due or wake_ms is not None, f"{name} never starts"
        story.now_ms = max(story.now_ms, min([*due, *([wake_ms] if wake_ms is not None else [])]))
        for each, end_ms in ends.items():
            if end_ms <= story.now_ms:
                story.end(each, Outcome.SUCCEEDED)
        for each, end_ms in gone.items():
            if end_ms <= story.now_ms:
                reason = story.card(each).stop_reason
                assert reason is not None
                story.end(each, ENDS[reason])
        story.decide()
    started_ms = story.card(name).started_at_ms
    assert started_ms is not None
    return started_ms


def test_the_future_knows_reservations_and_that_who_leaves_for_one_comes_back() -> None:
    """The running job has to leave for two hours, goes on from its start, and only then is it the next one's turn."""
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("r", "guest", 8, time_ms=3 * HOUR))
    story.wait(MINUTE)
    story.declare(nation(GUEST, nodes=1, reservations=[reservation("cooling", HOUR, 3 * HOUR, 0)]))
    story.submit(job("j", "guest", 8, time_ms=HOUR))
    latest_ms = eta(story, "j").latest_ms
    assert latest_ms is not None
    assert latest_ms > 5 * HOUR


def test_a_job_for_later_is_expected_at_its_time() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", 8, not_before_ms=2 * HOUR))
    expected = eta(story, "j")
    assert (expected.earliest_ms, expected.latest_ms) == (2 * HOUR, 2 * HOUR)


def test_a_job_behind_another_starts_when_that_ends_soon_or_at_its_limit() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("r", "guest", 8, time_ms=2 * HOUR), job("j", "guest", 8))
    found = eta(story, "j")
    assert (found.earliest_ms, found.latest_ms) == (HOUR, 2 * HOUR)
    assert (found.starts_first, found.followed_until_ms) == (0, None)
    story.wait(30 * MINUTE)
    assert (eta(story, "j").earliest_ms, eta(story, "j").latest_ms) == (HOUR, 2 * HOUR)


def test_what_has_outlived_the_usual_is_expected_to_take_the_usual_part_of_what_is_left() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("r", "guest", 8, time_ms=2 * HOUR), job("j", "guest", 8))
    story.wait(90 * MINUTE)
    assert (eta(story, "j").earliest_ms, eta(story, "j").latest_ms) == (105 * MINUTE, 2 * HOUR)


def test_those_who_start_first_are_counted() -> None:
    story = Story(nation([share("a"), share("b")], nodes=1))
    story.submit(job("r", "a", 8), job("first", "a", 8), job("other", "b", 8), job("j", "a", 8))
    assert eta(story, "j").starts_first == 2


def test_an_idle_fleet_starts_a_released_job_at_its_time() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(replace(job("j", "guest", 8), not_before_ms=3 * HOUR))
    assert story.card("j").state is JobState.HELD
    assert (eta(story, "j").earliest_ms, eta(story, "j").latest_ms) == (3 * HOUR, 3 * HOUR)


def test_a_failed_job_is_expected_after_its_backoff_and_what_took_its_place() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", 8, retry_limit=1), job("next", "guest", 8, time_ms=2 * HOUR))
    story.finish("j", outcome=Outcome.FAILED)
    assert story.holds("next")
    assert (eta(story, "j").earliest_ms, eta(story, "j").latest_ms) == (HOUR, 2 * HOUR)


def test_an_owner_is_told_the_time_of_warning_and_grace_in_both_futures() -> None:
    story = Story(nation(OWNED, nodes=1))
    story.submit(job("g", "guest", 8, time_ms=8 * HOUR))
    story.wait(TIMING.protected_ms)
    story.submit(job("j", "owner", 8))
    back_ms = story.now_ms + TIMING.warning_ms + TIMING.grace_ms
    assert (eta(story, "j").earliest_ms, eta(story, "j").latest_ms) == (back_ms, back_ms)
    story.wait(TIMING.warning_ms)
    assert story.card("g").state is JobState.STOPPING
    assert (eta(story, "j").earliest_ms, eta(story, "j").latest_ms) == (back_ms, back_ms)


def test_a_reclaimed_borrower_is_expected_when_the_owner_is_done() -> None:
    story = Story(nation(OWNED, nodes=1))
    story.submit(job("g", "guest", 8, time_ms=8 * HOUR))
    story.wait(TIMING.protected_ms)
    story.submit(job("o", "owner", 8, time_ms=HOUR))
    story.pass_time(TIMING.warning_ms + TIMING.grace_ms)
    story.finish_stopping()
    assert story.holds("o")
    started_ms = story.card("o").started_at_ms or 0
    assert (eta(story, "g").earliest_ms, eta(story, "g").latest_ms) == (started_ms + HOUR // 2, started_ms + HOUR)


def test_what_never_starts_as_things_stand_is_said_so() -> None:
    story = Story(nation([share("guest", limit=4)], nodes=1))
    story.submit(job("j", "guest", 8))
    found = eta(story, "j")
    assert (found.earliest_ms, found.latest_ms, found.followed_until_ms) == (None, None, None)


def test_a_long_line_is_played_out_in_both_futures() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("r", "guest", 8), *(job(f"w{number}", "guest", 8) for number in range(9)), job("j", "guest", 8))
    found = eta(story, "j")
    assert (found.earliest_ms, found.latest_ms, found.starts_first) == (10 * HOUR // 2, 10 * HOUR, 9)


def test_a_future_is_followed_no_further_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(*(job(f"w{number}", "guest", 8) for number in range(9)), job("j", "guest", 8))
    monkeypatch.setattr(forecasting, "MOST_EVENTS", 4)
    monkeypatch.setattr(forecasting, "EVENTS_AT_ONCE", 1)
    found = eta(story, "j")
    assert (found.earliest_ms, found.latest_ms, found.starts_first) == (None, None, 4)
    assert found.followed_until_ms == 4 * HOUR // 2


def test_shares_teach_how_much_of_their_limits_their_jobs_take() -> None:
    story = Story(nation([share("quick"), share("slow"), share("new")], nodes=1))
    for number in range(5):
        story.submit(job(f"q{number}", "quick", 4), job(f"s{number}", "slow", 4))
        story.wait(6 * MINUTE)
        story.finish(f"q{number}")
        story.wait(48 * MINUTE)
        story.finish(f"s{number}")
    parts = [(part.permille, part.jobs) for part in learnt_parts(story.world)]
    assert parts == [(500, 10), (100, 5), (900, 5), (500, 10)]
    story.submit(job("r", "quick", 8), job("j", "slow", 8))
    now_ms = story.now_ms
    found = eta(story, "j")
    assert (found.earliest_ms, found.latest_ms) == (now_ms + 6 * MINUTE, now_ms + HOUR)
    learnt = [each for each in found.assumptions if each.code is AssumptionCode.EARLIEST_LEARNT_PART]
    assert [(each.percent, each.jobs) for each in learnt] == [(90, 5)]


def test_without_ended_jobs_the_default_is_assumed_and_said() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("r", "guest", 8), job("j", "guest", 8))
    codes = [each.code for each in eta(story, "j").assumptions]
    assert codes == [
        AssumptionCode.LATEST_WHOLE_LIMITS,
        AssumptionCode.EARLIEST_DEFAULT_PART,
        AssumptionCode.NOTHING_NEW,
    ]


def test_cancelled_jobs_teach_nothing() -> None:
    story = Story(nation(GUEST, nodes=1))
    for number in range(6):
        story.submit(job(f"c{number}", "guest", 8))
        story.cancel(f"c{number}")
        story.finish_stopping()
    assert {part.jobs for part in learnt_parts(story.world)} == {0}


def crowd(seed: int) -> Story:
    """A random nation with running, waiting and yielding jobs of all kinds."""
    dice = random.Random(seed)
    tree = [share("firm", guarantee=10), share("a", "firm", guarantee=6), share("b", "firm"), share("c", guarantee=6)]
    story = Story(nation(tree, nodes=2, gpus=4, sites=2, timing=replace(TIMING, protected_ms=5 * MINUTE)))
    for number in range(16):
        story.submit(random_job(dice, f"j{number}"))
        story.pass_time(dice.choice((0, 0, 4, 20)) * MINUTE)
        story.decide()
    return story


def random_job(dice: random.Random, name: str) -> JobSubmitted:
    gpus = dice.choice((0, 0.5, 1, 2, 4))
    return job(
        name,
        dice.choice("abc"),
        gpus,
        nodes=dice.choice((1, 1, 2)) if gpus >= 1 else 1,
        time_ms=dice.choice((10, 30, 45, 60, 240)) * MINUTE,
        preemptible=dice.random() < 0.8,
        priority=dice.choice((0, 0, 5)),
    )


def waiting(story: Story) -> list[str]:
    return [card.job for card in story.world.queue() if card.state in {JobState.QUEUED, JobState.CLAIMED}]


def content(story: Story) -> list[bytes]:
    return [np.asarray(column).tobytes() for column in story.world.columns]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 30))
def test_asking_leaves_the_world_as_it_was_and_is_answered_alike_twice(seed: int) -> None:
    story = crowd(seed)
    before, cards = content(story), {name: replace(card) for name, card in story.world.jobs.items()}
    futures = Forecasts(moment_of(story.world, story.now_ms))
    for name in waiting(story):
        first = eta(story, name)
        assert first == eta(story, name)
        assert first == futures.eta(story.card(name).row, None)
    assert content(story) == before
    assert story.world.jobs == cards


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from([500, 1000]))
def test_when_what_is_assumed_comes_true_the_job_starts_at_that_end_of_the_range(seed: int, permille: int) -> None:
    story = crowd(seed)
    names = [name for name in waiting(story) if story.card(name).attempt == 0]
    if not names or any(part.jobs for part in learnt_parts(story.world)):
        return
    name = random.Random(seed).choice(names)
    found = eta(story, name)
    if found.earliest_ms is None or found.latest_ms is None:
        return
    started_ms = play_until_started(story, name, permille)
    assert found.earliest_ms <= started_ms <= found.latest_ms
    assert started_ms in (found.earliest_ms, found.latest_ms)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 9), st.integers(0, 8))
def test_more_work_ahead_never_makes_a_start_earlier(hours: list[int], added: int, place: int) -> None:
    """Of whole nodes in one line. With gangs the real schedule has no such rule, and the next test shows it."""

    def line(lengths: list[int]) -> Eta:
        story = Story(nation(GUEST, nodes=2))
        story.submit(*(job(f"w{number}", "guest", 8, time_ms=each * HOUR) for number, each in enumerate(lengths)))
        story.submit(job("x", "guest", 8), job("y", "guest", 8), job("j", "guest", 8))
        return eta(story, "j")

    before, after = line(hours), line([*hours[:place], added, *hours[place:]])
    assert before.earliest_ms is not None
    assert before.latest_ms is not None
    assert after.earliest_ms is not None
    assert after.latest_ms is not None
    assert before.earliest_ms <= after.earliest_ms
    assert before.latest_ms <= after.latest_ms


@pytest.mark.parametrize(("is_ahead", "starts_ms"), [(False, 110 * HOUR), (True, 10 * HOUR)])
def test_a_gang_ahead_may_be_put_off_and_let_a_job_pass_and_the_range_says_what_happens(
    is_ahead: bool, starts_ms: int
) -> None:
    story = Story(nation(GUEST, nodes=2))
    story.submit(job("until-10", "guest", 8, time_ms=10 * HOUR), job("until-5", "guest", 8, time_ms=5 * HOUR))
    if is_ahead:
        story.submit(job("long", "guest", 8, time_ms=200 * HOUR))
    story.submit(job("gang", "guest", 8, nodes=2, time_ms=100 * HOUR), job("j", "guest", 8, time_ms=50 * HOUR))
    assert eta(story, "j").latest_ms == starts_ms
    assert play_until_started(story, "j", 1000) == starts_ms


def test_in_a_large_world_ends_are_rounded_to_whole_steps_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("r", "guest", 8, time_ms=HOUR), job("w", "guest", 8, time_ms=HOUR), job("j", "guest", 8))
    story.now_ms = 10 * MINUTE + 1
    exact = eta(story, "j")
    assert (exact.earliest_ms, exact.latest_ms) == (HOUR, 2 * HOUR)
    monkeypatch.setattr(forecasting, "EXACT_UP_TO_JOBS", 2)
    rounded = eta(story, "j")
    assert rounded.earliest_ms == 10 * MINUTE + 1 + 19 * MINUTE + 30 * MINUTE
    assert rounded.latest_ms == 10 * MINUTE + 1 + 50 * MINUTE + HOUR
    assert [each.step_ms for each in rounded.assumptions if each.code is AssumptionCode.ROUNDED] == [MINUTE]


def test_a_job_that_takes_another_ones_row_is_not_mistaken_for_it() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("r", "guest", 8), job("gone", "guest", 8))
    futures = Forecasts(moment_of(story.world, story.now_ms))
    row = story.card("gone").row
    assert futures.waits(row, int(story.world.columns.jobs[row].sequence))
    story.cancel("gone")
    story.submit(job("new", "guest", 8))
    assert story.card("new").row == row
    assert not futures.waits(row, int(story.world.columns.jobs[row].sequence))
    assert not futures.waits(99, 0)


def test_tasks_of_an_array_are_played_one_after_the_other_with_rows_of_their_own() -> None:
    """All rows of the world are in use, so that the future has to make room."""
    story = Story(nation(GUEST, nodes=1))
    behind = [job(f"b{number}", "guest", 8) for number in range(1_021)]
    ahead = [job("a", "guest", 4, tasks=4, priority=5), job("j", "guest", 8, priority=4)]
    story.submit(job("r", "guest", 8))
    story.submit(*ahead, *behind)
    assert (eta(story, "a").earliest_ms, eta(story, "a").latest_ms) == (HOUR // 2, HOUR)
    assert (eta(story, "j").earliest_ms, eta(story, "j").latest_ms) == (3 * HOUR // 2, 3 * HOUR)
    assert len(story.world.columns.jobs) == 1_024


def test_a_job_behind_a_service_starts_when_its_load_profile_falls() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("s", "guest", 8, replicas=[(0, 1), (2 * HOUR, 0)]), job("j", "guest", 8))
    gone_ms = 2 * HOUR + TIMING.grace_ms
    assert (eta(story, "j").earliest_ms, eta(story, "j").latest_ms) == (gone_ms, gone_ms)


def test_a_job_behind_a_service_that_never_yields_never_starts() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("s", "guest", 8, replicas=1), job("j", "guest", 8))
    assert (eta(story, "j").earliest_ms, eta(story, "j").latest_ms) == (None, None)
