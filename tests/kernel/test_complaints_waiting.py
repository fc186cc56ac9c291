"""What users of other schedulers ask most and get no answer to, as stories: why, when, behind whom, and is it true.

The complaints are the first, second, third and fifteenth of those collected from issue trackers: "Why is my job
waiting?", "When will it start?", "Who is ahead of me, who holds the GPUs?", "The plan shown differs from what happens".
"""

from __future__ import annotations

from dure.kernel import decide
from dure.model.blockers import BlockerCode
from dure.model.jobs import JobState, Outcome
from dure.model.plan import Start, Warn
from dure.reports.wording import short_reason, unblock
from dure.twin.forecast import forecast
from tests.kernel.nations import HOUR, MINUTE, TIMING, job, nation, share
from tests.kernel.story import Story

OWNED = [share("owner", guarantee=8), share("startup"), share("school")]


def busy_day() -> Story:
    """A node of the owner's lent out whole; the startup and the school have more to do."""
    story = Story(nation(OWNED, nodes=1))
    story.submit(job("train", "startup", 8, time_ms=4 * HOUR))
    story.submit(job("tune", "startup", 4, time_ms=2 * HOUR), job("thesis", "school", 8, time_ms=HOUR))
    return story


def test_why_is_my_job_waiting() -> None:
    """It is told how much is short, who holds it, until when at the latest, and what would end it."""
    story = busy_day()
    blocker = story.blocker("thesis", BlockerCode.NOT_ENOUGH_GPUS)
    assert short_reason(blocker) == "not enough free GPUs: 8 H100 short"
    assert unblock(blocker) == "8 more H100 GPU(s) must become idle."
    assert (blocker.holders, blocker.until_ms) == (("startup",), 4 * HOUR)


def test_a_stuck_job_is_told_what_has_to_change() -> None:
    story = Story(nation([share("startup", limit=4)], nodes=1))
    story.submit(job("large", "startup", 8))
    (blocker,) = story.why("large").blockers
    assert (blocker.code, blocker.short_milli) == (BlockerCode.SHARE_LIMIT, 4000)
    eta = forecast(story.world, "large", story.now_ms)
    assert (eta.earliest_ms, eta.latest_ms, eta.followed_until_ms) == (None, None, None)


def test_when_will_it_start() -> None:
    """The school has used nothing lately, so it goes first; both are told a range, and both start within it."""
    story = busy_day()
    expected = {name: forecast(story.world, name, story.now_ms) for name in ("thesis", "tune")}
    assert (expected["thesis"].earliest_ms, expected["thesis"].latest_ms) == (2 * HOUR, 4 * HOUR)
    assert (expected["tune"].earliest_ms, expected["tune"].latest_ms) == (2 * HOUR + HOUR // 2, 5 * HOUR)
    story.wait(3 * HOUR)
    story.finish("train")
    story.wait(40 * MINUTE)
    story.finish("thesis")
    for name, eta in expected.items():
        started_ms = story.card(name).started_at_ms
        assert started_ms is not None
        assert eta.earliest_ms is not None
        assert eta.latest_ms is not None
        assert eta.earliest_ms <= started_ms <= eta.latest_ms


def test_who_is_ahead_of_me() -> None:
    """In the own share by name; of all shares together, as many as start first."""
    story = busy_day()
    story.submit(job("tune-2", "startup", 8))
    why = story.why("tune-2")
    assert why.position == 2
    assert story.blocker("tune-2", BlockerCode.BEHIND_IN_QUEUE).holders == ("tune",)
    assert forecast(story.world, "tune-2", story.now_ms).starts_first == 2


def test_who_holds_the_gpus_that_are_guaranteed_to_me() -> None:
    story = busy_day()
    story.wait(MINUTE)
    story.submit(job("model", "owner", 8))
    protected = story.blocker("model", BlockerCode.VICTIMS_PROTECTED)
    assert (protected.holders, protected.until_ms) == (("train",), TIMING.protected_ms)
    story.wait(TIMING.protected_ms)
    yielding = story.blocker("model", BlockerCode.WAITING_FOR_VICTIMS)
    assert (yielding.holders, yielding.until_ms) == (("train",), story.now_ms + TIMING.warning_ms + TIMING.grace_ms)


def test_what_is_planned_is_what_happens() -> None:
    """A preview is the decision on a copy of the world: placements, victims and start come true to the last GPU."""
    story = busy_day()
    story.wait(TIMING.protected_ms)
    copy = story.world.fork()
    asked = job("model", "owner", 8, at_ms=story.now_ms)
    copy.apply(asked)
    planned = decide(copy, story.now_ms)
    expected = forecast(copy, "model", story.now_ms)
    happened = story.submit(asked)
    assert happened == planned
    assert [each.job for each in planned.decisions if isinstance(each, Warn)] == ["train"]
    story.wait(TIMING.warning_ms)
    story.wait(TIMING.grace_ms)
    plan = story.finish("train", outcome=Outcome.PREEMPTED)
    assert [each.job for each in plan.decisions if isinstance(each, Start)] == ["model"]
    assert story.card("model").state is JobState.STARTING
    assert story.now_ms == expected.earliest_ms == expected.latest_ms
