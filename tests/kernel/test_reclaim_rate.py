"""A share may promise its borrowers that it takes back no more than so many GPUs in an hour."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dure.model.blockers import BlockerCode
from dure.model.fleet import Timing
from dure.model.jobs import JobState, Outcome
from dure.model.nation import Nation
from tests.kernel.nations import HOUR, MINUTE, job, nation, share
from tests.kernel.story import Story, claimed, started, warned

UNPROTECTED = Timing(protected_ms=0, warning_ms=MINUTE, grace_ms=30_000)
DAY = 24 * HOUR


def lending(per_hour: int | None = 4) -> Nation:
    """An owner of eight GPUs that takes back four of them in an hour, and a guest."""
    owner = share("owner", guarantee=8, reclaim_per_hour=per_hour)
    return nation([owner, share("guest")], nodes=1, timing=UNPROTECTED)


def lent_out(declared: Nation, guests: int = 8, gpus: int = 1) -> Story:
    story = Story(declared)
    story.submit(*[job(f"g{number}", "guest", gpus, time_ms=DAY) for number in range(guests)])
    story.wait(MINUTE)
    return story


def test_what_was_taken_back_is_paid_off_before_more_is_taken() -> None:
    story = lent_out(lending(per_hour=4))
    assert len(warned(story.submit(job("d0", "owner", 2)))) == 2
    assert warned(story.submit(job("d1", "owner", 1))) == []
    # Two GPUs at four in an hour: the next may be taken after half an hour, and the kernel wakes for it.
    story.pass_time(HOUR // 2 - 1)
    assert story.card("d1").state is JobState.QUEUED
    story.pass_time(1)
    assert story.card("d1").state is JobState.CLAIMED


def test_a_reclaim_may_be_larger_than_the_rate_and_is_paid_off_afterwards() -> None:
    story = lent_out(lending(per_hour=4))
    assert len(warned(story.submit(job("d0", "owner", 6)))) == 6
    story.pass_time(2 * MINUTE)
    story.submit(job("d1", "owner", 1))
    assert story.blocker("d1", BlockerCode.RECLAIM_RATE).until_ms == MINUTE + 90 * MINUTE


def test_idle_gpus_cost_nothing_and_need_no_patience() -> None:
    story = lent_out(lending(per_hour=1), guests=6)
    story.submit(job("d0", "owner", 3))
    plan = story.submit(job("d1", "owner", 1))
    assert (started(plan), warned(plan)) == ([], [])
    # The first GPU that becomes idle goes to the claim, the second to the job that would have to wait an hour.
    story.finish("g5")
    story.finish("g4")
    assert story.holds("d1")


def test_demand_that_flickers_stops_no_more_than_the_rate() -> None:
    """The owner wants one GPU for a minute, every five minutes, and the guest is there again in between."""

    def stopped(per_hour: int | None) -> int:
        story = lent_out(lending(per_hour))
        for number in range(60):
            story.submit(job(f"d{number}", "owner", 1, time_ms=MINUTE))
            story.pass_time(5 * MINUTE)
        return sum(card.preemptions for card in story.world.jobs.values())

    assert stopped(None) == 60
    assert stopped(4) <= 5 * 4 + 1


def test_a_cancelled_claim_is_not_given_back() -> None:
    """Whoever asks and cancels, again and again, must not warn the borrowers again and again."""
    story = lent_out(lending(per_hour=4))
    story.submit(job("d0", "owner", 1))
    story.cancel("d0")
    assert claimed(story.submit(job("d1", "owner", 1))) == []


def test_a_rate_above_a_share_holds_for_all_below_it_together() -> None:
    firm = share("firm", guarantee=8, reclaim_per_hour=4)
    teams = [share("a", "firm", guarantee=4), share("b", "firm", guarantee=4)]
    story = lent_out(nation([firm, *teams, share("guest")], nodes=1, timing=UNPROTECTED))
    assert len(warned(story.submit(job("da", "a", 1)))) == 1
    assert warned(story.submit(job("db", "b", 1))) == []
    story.pass_time(15 * MINUTE)
    assert story.card("db").state is JobState.CLAIMED


def test_another_share_takes_back_meanwhile() -> None:
    patient = share("patient", guarantee=4, reclaim_per_hour=1)
    story = lent_out(nation([patient, share("owner", guarantee=4), share("guest")], nodes=1, timing=UNPROTECTED))
    story.submit(job("p0", "patient", 1))
    plan = story.submit(job("p1", "patient", 1), job("d", "owner", 4))
    assert claimed(plan) == ["d"]


def test_a_new_declaration_forgets_neither_debt_nor_the_borrowers_peace() -> None:
    story = lent_out(lending(per_hour=4))
    story.submit(job("d0", "owner", 4))
    story.pass_time(2 * MINUTE)
    assert claimed(story.declare(lending(per_hour=2))) == []
    assert claimed(story.submit(job("d1", "owner", 1))) == []
    assert claimed(story.declare(lending(per_hour=None))) == ["d1"]


def test_a_replayed_world_is_as_patient_as_the_one_that_decided() -> None:
    story = lent_out(lending(per_hour=4))
    story.submit(job("d0", "owner", 3))
    other = Story(lending(per_hour=4))
    for event in story.events:
        other.world.apply(event)
    assert other.world.columns.shares["reclaim_allowed_at_ms"].tolist() == (
        story.world.columns.shares["reclaim_allowed_at_ms"].tolist()
    )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5), st.integers(1, 90)), min_size=1, max_size=15),
)
def test_over_any_time_no_more_is_taken_back_than_the_rate_and_one_reclaim(
    per_hour: int, demands: list[tuple[int, int, int]]
) -> None:
    story = lent_out(lending(per_hour))
    taken: list[tuple[int, int]] = []
    for number, (minutes, gpus, time) in enumerate(demands):
        before = len(story.plans)
        story.submit(job(f"d{number}", "owner", gpus, time_ms=time * MINUTE))
        story.pass_time(minutes * MINUTE)
        taken += [(plan.at_ms, len(warned(plan))) for plan in story.plans[before:] if warned(plan)]
    largest = max((count for _, count in taken), default=0)
    for first, (begins_ms, _) in enumerate(taken):
        for last in range(first, len(taken)):
            total = sum(count for _, count in taken[first : last + 1])
            assert (total - largest) * HOUR <= per_hour * (taken[last][0] - begins_ms) + HOUR // 1000


def test_a_victim_that_saved_its_work_counts_like_any_other() -> None:
    story = Story(lending(per_hour=4))
    story.submit(job("g", "guest", 8, time_ms=DAY, saves_when_warned=True))
    story.wait(MINUTE)
    story.submit(job("d0", "owner", 1))
    story.wait(MINUTE)
    story.finish("g", outcome=Outcome.PREEMPTED)
    story.cancel("g")
    story.submit(job("g2", "guest", 7, time_ms=DAY))
    # The whole gang of eight had to go for one GPU: that is what the borrowers lost.
    assert story.holds("g2")
    story.submit(job("d1", "owner", 1))
    assert story.blocker("d1", BlockerCode.RECLAIM_RATE).until_ms == MINUTE + 2 * HOUR
