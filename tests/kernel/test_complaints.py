"""Days in a small nation, after what users of other schedulers complain about: see docs/concepts/complaints.md."""

from __future__ import annotations

from dure.model.fleet import Timing
from dure.model.jobs import JobState, Outcome
from tests.kernel.nations import HOUR, MINUTE, TIMING, job, nation, share
from tests.kernel.story import Story, claimed, started, warned

DAY = 24 * HOUR
EAGER = Timing(protected_ms=0, warning_ms=MINUTE, grace_ms=30_000)


def test_two_owners_that_borrow_from_each_other_settle_and_do_not_push_each_other_out() -> None:
    """Both have work for all sixteen GPUs, all day. Each loses once what it had borrowed, and that is all."""
    story = Story(nation([share("a", guarantee=8), share("b", guarantee=8)], nodes=2, timing=EAGER))
    story.submit(*[job(f"a{number}", "a", 4, time_ms=2 * DAY) for number in range(4)])
    story.wait(MINUTE)
    story.submit(*[job(f"b{number}", "b", 4, time_ms=2 * DAY) for number in range(4)])
    story.pass_time(HOUR)
    settled = sum(card.preemptions for card in story.world.jobs.values())
    assert settled == 2
    story.pass_time(DAY)
    assert sum(card.preemptions for card in story.world.jobs.values()) == settled
    assert {card.name: card.used_milli for card in story.world.shares()} == {"a": 8000, "b": 8000}


def test_a_resubmitted_victim_sets_off_no_chain() -> None:
    """Three shares on one node: the victim of the first waits, and never makes the third its own victim."""
    tree = [share("owner", guarantee=4), share("tenant", guarantee=2), share("guest")]
    story = Story(nation(tree, nodes=1, timing=EAGER))
    story.submit(job("tenant", "tenant", 4, time_ms=DAY), job("guest", "guest", 4, time_ms=DAY))
    story.wait(MINUTE)
    story.submit(job("owner", "owner", 4, time_ms=DAY))
    story.pass_time(12 * HOUR)
    assert sum(card.preemptions for card in story.world.jobs.values()) == 1
    assert story.card("owner").state is JobState.STARTING


def test_a_large_gang_is_not_starved_by_small_jobs() -> None:
    """Small jobs of another share arrive every five minutes and would keep every node busy for ever."""
    story = Story(nation([share("lab"), share("crowd")], nodes=4, timing=TIMING))
    story.submit(*[job(f"first{number}", "crowd", 8, time_ms=HOUR) for number in range(4)])
    story.submit(job("gang", "lab", 8, nodes=4, time_ms=HOUR))
    for number in range(30):
        story.submit(job(f"small{number}", "crowd", 1, time_ms=HOUR))
        story.pass_time(5 * MINUTE)
    assert story.card("gang").started_at_ms == HOUR


def test_small_jobs_use_what_a_waiting_gang_leaves_idle() -> None:
    story = Story(nation([share("lab"), share("crowd")], nodes=2))
    story.submit(job("long", "crowd", 8, time_ms=2 * HOUR))
    story.submit(job("gang", "lab", 8, nodes=2, time_ms=HOUR))
    assert started(story.submit(job("brief", "crowd", 8, time_ms=HOUR))) == ["brief"]


def test_a_gang_never_stands_half_up() -> None:
    story = Story(nation([share("lab")], nodes=4))
    story.submit(job("one", "lab", 8, time_ms=HOUR), job("gang", "lab", 8, nodes=4))
    assert story.nodes_of("gang") == []
    story.finish("one")
    assert len(story.nodes_of("gang")) == 4


def test_what_was_lent_is_back_within_protection_warning_and_grace() -> None:
    story = Story(nation([share("owner", guarantee=16), share("guest")], nodes=2))
    story.submit(*[job(f"g{number}", "guest", 8, time_ms=DAY) for number in range(2)])
    story.wait(MINUTE)
    asked_ms = story.now_ms
    story.submit(job("d", "owner", 8, nodes=2))
    story.pass_time(TIMING.protected_ms + TIMING.warning_ms + TIMING.grace_ms)
    started_at_ms = story.card("d").started_at_ms
    assert started_at_ms is not None
    assert started_at_ms - asked_ms <= TIMING.protected_ms + TIMING.warning_ms + TIMING.grace_ms


def test_who_works_in_bursts_is_served_before_who_always_works() -> None:
    """A lab that comes back after two idle days goes first, because what it used long ago has faded."""
    story = Story(nation([share("always"), share("bursts")], nodes=1, timing=Timing(half_life_ms=DAY)))
    story.submit(job("burst", "bursts", 8, time_ms=HOUR))
    story.wait(HOUR)
    story.finish("burst")
    for number in range(24):
        story.submit(job(f"always{number}", "always", 8, time_ms=2 * HOUR))
        story.wait(2 * HOUR)
        story.finish(f"always{number}")
    story.submit(job("busy", "always", 8, time_ms=HOUR))
    story.submit(job("next", "always", 8), job("back", "bursts", 8))
    assert started(story.finish("busy")) == ["back"]


def test_a_second_choice_that_is_idle_is_taken_before_anyone_must_yield() -> None:
    owner = share("owner", guarantee=8)
    story = Story(nation([owner, share("guest")], nodes=1, classes=("H100", "B200"), timing=EAGER))
    story.submit(job("g", "guest", 8, time_ms=DAY, classes=("H100",)))
    story.wait(MINUTE)
    plan = story.submit(job("d", "owner", 8, classes=("H100", "B200")))
    assert (started(plan), warned(plan)) == (["d"], [])
    assert story.card("d").gpu_class == "B200"
    assert claimed(story.submit(job("only", "owner", 8, classes=("H100",)))) == ["only"]


def test_a_job_that_comes_back_may_get_another_of_its_classes() -> None:
    story = Story(nation([share("guest")], nodes=1, classes=("H100", "B200")))
    story.submit(job("j", "guest", 8, classes=("H100", "B200")))
    story.finish("j", outcome=Outcome.NODE_LOST)
    assert story.card("j").gpu_class == "H100"
    story.set_node(story.nodes_of("j")[0], "down")
    story.finish("j", outcome=Outcome.NODE_LOST)
    assert story.card("j").gpu_class == "B200"
