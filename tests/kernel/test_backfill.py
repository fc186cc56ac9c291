"""A later job may start early where it delays nobody whose turn came first."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dure.model.blockers import BlockerCode
from dure.model.jobs import Outcome
from tests.kernel.nations import HOUR, MINUTE, job, nation, share
from tests.kernel.story import Story, started

GUEST = [share("guest")]


def half_full(*, nodes: int = 1, sites: int = 1) -> Story:
    """One node has 4 GPUs in use for an hour; the head of the line wants 8 on one node of the first site."""
    story = Story(nation(GUEST, nodes=nodes, sites=sites))
    story.submit(job("running", "guest", 4, time_ms=HOUR, sites=["site0"]))
    return story


def test_a_job_that_ends_before_the_head_can_start_passes_it() -> None:
    story = half_full()
    story.submit(job("head", "guest", 8), job("short", "guest", 4, time_ms=HOUR))
    assert story.holding() == {"running", "short"}


def test_a_job_that_would_delay_the_head_waits() -> None:
    story = half_full()
    story.submit(job("head", "guest", 8), job("long", "guest", 4, time_ms=HOUR + 1))
    assert story.holding() == {"running"}
    blocker = story.blocker("long", BlockerCode.RESERVED_FOR_HEAD)
    assert (blocker.holders, blocker.until_ms) == (("head",), HOUR)
    assert started(story.finish("running")) == ["head"]


def test_passing_never_delays_the_head_when_it_arrives_later() -> None:
    story = half_full()
    story.submit(job("head", "guest", 8))
    story.wait(30 * MINUTE)
    story.submit(job("late", "guest", 1, time_ms=30 * MINUTE + 1))
    story.submit(job("exact", "guest", 1, time_ms=30 * MINUTE))
    assert story.holding() == {"running", "exact"}


def test_a_job_at_another_site_passes() -> None:
    story = half_full(sites=2)
    story.submit(job("head", "guest", 8, sites=["site0"]), job("long", "guest", 4, sites=["site1"], time_ms=9 * HOUR))
    assert story.holding() == {"running", "long"}


def test_nodes_that_the_head_does_not_need_are_used() -> None:
    story = half_full(nodes=3)
    story.submit(*[job(f"full-{number}", "guest", 8, time_ms=2 * HOUR) for number in range(2)])
    story.submit(job("head", "guest", 8, time_ms=HOUR))
    # The head will have the first node in an hour; the others are not ready by then, so nobody spoils them.
    story.finish("full-0")
    assert story.holds("head")


def test_a_spare_node_is_spent_only_once() -> None:
    story = Story(nation(GUEST, nodes=2))
    story.submit(job("a", "guest", 4, time_ms=HOUR), job("b", "guest", 5, time_ms=HOUR))
    assert story.nodes_of("a") != story.nodes_of("b")
    plan = story.submit(
        job("head", "guest", 8, time_ms=HOUR),
        job("first", "guest", 3, time_ms=9 * HOUR),
        job("second", "guest", 4, time_ms=9 * HOUR),
    )
    assert started(plan) == ["first"]


def test_what_stays_ready_beside_a_job_is_not_spoiled() -> None:
    story = half_full()
    story.submit(job("head", "guest", 6), job("beside", "guest", 2, time_ms=9 * HOUR))
    assert story.holding() == {"running", "beside"}


def test_a_part_of_a_gpu_does_not_delay_the_head_either() -> None:
    story = half_full()
    story.submit(job("head", "guest", 8), job("part", "guest", 0.5, time_ms=9 * HOUR))
    assert story.holding() == {"running"}
    story.submit(job("short", "guest", 0.5, time_ms=HOUR))
    assert story.holding() == {"running", "short"}


def surely_free_ms(story: Story, name: str) -> int:
    """When enough nodes are free for a job if everything that runs uses its whole time limit."""
    (until_ms,) = (each.until_ms for each in story.why(name).blockers if each.until_ms is not None)
    return until_ms


def test_a_reserved_pool_counts_jobs_that_share_a_gpu() -> None:
    story = Story(nation(GUEST, nodes=1, gpus=2))
    story.submit(job("part", "guest", 0.5, time_ms=HOUR), job("other", "guest", 0.5, time_ms=2 * HOUR))
    story.submit(job("head", "guest", 2))
    assert surely_free_ms(story, "head") == 2 * HOUR


def test_a_gang_may_not_spoil_more_nodes_than_are_spare() -> None:
    story = Story(nation(GUEST, nodes=3))
    story.submit(*[job(f"r{number}", "guest", 5, time_ms=HOUR) for number in range(3)])
    story.submit(job("head", "guest", 8, nodes=2), job("gang", "guest", 3, nodes=2, time_ms=9 * HOUR))
    assert not story.holds("gang")
    story.submit(job("single", "guest", 3, time_ms=9 * HOUR))
    assert story.holds("single")


def test_the_reservation_moves_on_when_the_head_is_cancelled() -> None:
    story = half_full()
    story.submit(job("head", "guest", 8), job("long", "guest", 4, time_ms=9 * HOUR))
    assert started(story.cancel("head")) == ["long"]


def test_a_job_over_its_time_limit_makes_way_for_the_head() -> None:
    story = half_full()
    story.submit(job("head", "guest", 8))
    story.wait(HOUR)
    assert started(story.finish("running", outcome=Outcome.TIME_LIMIT)) == ["head"]


LINES = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 4), st.integers(1, 3), st.integers(1, 40)), min_size=3, max_size=25
)


@settings(max_examples=100, deadline=None)
@given(LINES)
def test_the_head_never_starts_later_than_it_was_first_promised(line: list[tuple[int, int, int, int]]) -> None:
    """With exact durations: every job ends just when its time limit says."""
    story = Story(nation(GUEST, nodes=3, gpus=4))
    arrivals = sorted((minute * MINUTE, number) for number, (minute, *_) in enumerate(line))
    promised: dict[str, int] = {}
    while arrivals or story.world.running():
        ends = [
            card.started_at_ms + card.submitted.time_ms
            for card in story.world.running()
            if card.started_at_ms is not None
        ]
        story.now_ms = min([*ends, *(at_ms for at_ms, _ in arrivals)])
        for card in story.world.running():
            if card.started_at_ms is not None and card.started_at_ms + card.submitted.time_ms == story.now_ms:
                story.end(card.job, Outcome.SUCCEEDED)
        while arrivals and arrivals[0][0] == story.now_ms:
            _, number = arrivals.pop(0)
            _, gpus, nodes, minutes = line[number]
            arriving = job(f"j{number}", "guest", gpus, nodes=nodes, at_ms=story.now_ms, time_ms=minutes * MINUTE)
            story.happen(arriving)
        story.decide()
        for card in story.world.running():
            assert story.now_ms <= promised.get(card.job, story.now_ms)
            promised.pop(card.job, None)
        if waiting := story.world.queue():
            head = waiting[0].job
            earliest_ms = surely_free_ms(story, head)
            assert earliest_ms <= promised.setdefault(head, earliest_ms)
    assert not story.world.queue()


def every_half_minute(*, nodes: int = 1) -> Story:
    """As `half_full`, but those behind the head are looked at every 30 seconds at most; a look has just been taken."""
    declared = nation([share("owner", guarantee=4), share("guest")], nodes=nodes)
    story = Story(replace(declared, timing=replace(declared.timing, backfill_interval_ms=30_000)))
    story.submit(job("running", "guest", 4, time_ms=HOUR), job("head", "guest", 8, nodes=nodes))
    return story


def test_those_behind_the_head_are_looked_at_no_sooner_than_the_interval_says() -> None:
    story = every_half_minute()
    story.wait(10_000)
    story.submit(job("short", "guest", 1, time_ms=20 * MINUTE), job("gone", "guest", 1))
    assert story.holding() == {"running"}
    assert story.world.next_wake_ms() == 30_000
    assert story.blocker("short", BlockerCode.BACKFILL_NOT_DUE).until_ms == 30_000
    story.pass_time(20_000)
    assert story.holding() == {"running", "short"}


def test_the_first_that_does_not_fit_never_waits_for_the_interval() -> None:
    story = every_half_minute()
    story.wait(10_000)
    assert started(story.finish("running")) == ["head"]


def test_who_is_within_a_guarantee_never_waits_for_the_interval() -> None:
    story = every_half_minute()
    story.wait(10_000)
    story.submit(job("mine", "owner", 4, time_ms=20 * MINUTE))
    assert story.holding() == {"running", "mine"}
