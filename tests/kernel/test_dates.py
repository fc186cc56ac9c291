"""Jobs with dates: not before, not after, and a deadline."""

from __future__ import annotations

import pytest

from dure.model.blockers import BlockerCode
from dure.model.jobs import JobState, Outcome
from dure.world.cards import MomentCode
from tests.kernel.nations import HOUR, MINUTE, TIMING, job, nation, share
from tests.kernel.story import Story, started

GUEST = [share("guest")]


def full(for_ms: int = 8 * HOUR) -> Story:
    """One node that somebody uses until its time limit."""
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("first", "guest", 8, time_ms=for_ms))
    return story


def last_moment(story: Story, name: str) -> MomentCode:
    return story.card(name).timeline[-1].what


def test_a_job_is_held_until_its_time_although_gpus_are_idle() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", not_before_ms=HOUR))
    assert story.card("j").state is JobState.HELD
    assert story.blocker("j", BlockerCode.HELD_UNTIL_ITS_TIME).until_ms == HOUR
    assert story.world.next_wake_ms() == HOUR
    story.now_ms = HOUR - 1
    assert started(story.decide()) == []
    assert started(story.wait(1)) == ["j"]


def test_a_time_that_has_come_holds_nothing() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.wait(HOUR)
    assert started(story.submit(job("j", "guest", not_before_ms=HOUR))) == ["j"]


def test_a_job_waits_for_others_and_for_its_time() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("a", "guest"), job("j", "guest", depends=("a",), not_before_ms=HOUR))
    assert {each.code for each in story.why("j").blockers} == {
        BlockerCode.HELD_BY_DEPENDENCY,
        BlockerCode.HELD_UNTIL_ITS_TIME,
    }
    story.wait(MINUTE)
    story.finish("a")
    assert story.card("j").state is JobState.HELD
    assert [each.code for each in story.why("j").blockers] == [BlockerCode.HELD_UNTIL_ITS_TIME]
    story.pass_time(HOUR)
    assert story.holds("j")
    assert story.card("j").started_at_ms == HOUR


def test_a_job_that_must_start_by_a_time_is_given_up_after_it() -> None:
    story = full()
    story.submit(job("j", "guest", not_after_ms=HOUR), job("other", "guest"))
    story.now_ms = HOUR
    story.decide()
    assert story.card("j").state is JobState.QUEUED
    assert story.world.next_wake_ms() == HOUR + 1
    story.pass_time(1)
    assert story.card("j").state is JobState.CANCELLED
    assert last_moment(story, "j") is MomentCode.TOO_LATE_TO_START
    assert story.card("other").state is JobState.QUEUED


def test_the_last_moment_is_still_a_moment() -> None:
    story = full(for_ms=HOUR)
    story.submit(job("j", "guest", not_after_ms=HOUR))
    story.now_ms = HOUR
    assert started(story.finish("first")) == ["j"]


def test_a_job_starts_only_where_its_limit_ends_by_the_deadline() -> None:
    story = full()
    story.submit(job("j", "guest", time_ms=HOUR, deadline_ms=3 * HOUR))
    story.pass_time(2 * HOUR)
    assert story.card("j").state is JobState.QUEUED
    story.pass_time(1)
    assert last_moment(story, "j") is MomentCode.TOO_LATE_FOR_DEADLINE


@pytest.mark.parametrize(
    ("not_after_ms", "deadline_ms", "gives_up", "what"),
    [
        (HOUR, 3 * HOUR, HOUR, MomentCode.TOO_LATE_TO_START),
        (3 * HOUR, 3 * HOUR, 2 * HOUR, MomentCode.TOO_LATE_FOR_DEADLINE),
    ],
)
def test_the_date_that_passes_first_is_named(
    not_after_ms: int, deadline_ms: int, gives_up: int, what: MomentCode
) -> None:
    story = full()
    story.submit(job("j", "guest", time_ms=HOUR, not_after_ms=not_after_ms, deadline_ms=deadline_ms))
    story.pass_time(4 * HOUR)
    assert last_moment(story, "j") is what
    assert story.card("j").ended_at_ms == gives_up + 1


def test_a_job_that_started_in_time_may_come_back_later() -> None:
    """It kept its word once: what stops it afterwards is no fault of its own."""
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", 8, time_ms=HOUR, not_after_ms=MINUTE))
    story.wait(2 * MINUTE)
    story.set_node("s0-h100-0000", "down")
    story.finish("j", outcome=Outcome.NODE_LOST)
    story.wait(MINUTE)
    assert started(story.set_node("s0-h100-0000", "up")) == ["j"]


def test_a_job_that_comes_back_too_late_for_its_deadline_is_given_up() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", 8, time_ms=HOUR, deadline_ms=HOUR + MINUTE))
    story.wait(2 * MINUTE)
    story.finish("j", outcome=Outcome.NODE_LOST)
    assert last_moment(story, "j") is MomentCode.TOO_LATE_FOR_DEADLINE
    assert not story.world.running()


def test_a_job_is_given_up_during_the_backoff_of_its_retry() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", time_ms=MINUTE, deadline_ms=MINUTE + 500, retry_limit=3))
    story.wait(100)
    story.finish("j", outcome=Outcome.FAILED)
    assert story.card("j").state is JobState.HELD
    story.pass_time(401)
    assert last_moment(story, "j") is MomentCode.TOO_LATE_FOR_DEADLINE


def test_a_claimant_that_is_given_up_spares_its_victims() -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=1))
    story.submit(job("g", "guest", 8, time_ms=8 * HOUR))
    story.wait(TIMING.protected_ms)
    story.submit(job("d", "owner", 8, not_after_ms=story.now_ms + 10_000))
    assert story.card("g").state is JobState.WARNED
    story.pass_time(10_001)
    assert story.card("d").state is JobState.CANCELLED
    assert story.holds("g")


def test_who_depends_on_a_job_that_is_given_up_is_doomed() -> None:
    story = full()
    story.submit(job("j", "guest", not_after_ms=HOUR), job("after", "guest", depends=("j",)))
    story.pass_time(HOUR + 1)
    assert story.world.doomed() == ["after"]


def test_dates_give_no_precedence() -> None:
    """Among equal priorities the order of submission stands: nobody overtakes by naming a deadline."""
    story = full(for_ms=HOUR)
    story.submit(job("plain", "guest", 8), job("urgent", "guest", 8, deadline_ms=9 * HOUR, time_ms=HOUR))
    story.now_ms = HOUR
    assert started(story.finish("first")) == ["plain"]


def test_a_replayed_world_gives_up_the_same_jobs() -> None:
    story = full()
    story.submit(job("j", "guest", not_after_ms=HOUR), job("held", "guest", not_before_ms=3 * HOUR))
    story.pass_time(2 * HOUR)
    other = Story(nation(GUEST, nodes=1))
    for event in story.events[1:]:
        other.world.apply(event)
    assert other.world.jobs == story.world.jobs
    assert other.world.next_wake_ms() == story.world.next_wake_ms() == 3 * HOUR


def test_a_fork_keeps_its_own_dates() -> None:
    story = full()
    story.submit(job("j", "guest", not_after_ms=HOUR), job("held", "guest", not_before_ms=HOUR))
    fork = story.world.fork()
    story.pass_time(2 * HOUR)
    assert [job_id for job_id, _ in fork.too_late(2 * HOUR)] == ["j"]
    assert fork.due_releases(2 * HOUR) == ["held"]
