"""An owner's demand takes its guarantee back."""

from __future__ import annotations

from dure.model.blockers import BlockerCode
from dure.model.fleet import Timing
from dure.model.jobs import JobState, Outcome
from dure.model.plan import Stop, StopReason, Warn
from tests.kernel.nations import HOUR, MINUTE, TIMING, job, nation, share
from tests.kernel.story import Story, claimed, decision, started, warned

UNPROTECTED = Timing(protected_ms=0, warning_ms=MINUTE, grace_ms=30_000)
NODE = "s0-h100-0000"


def lent_out(*, guests: int = 8, gpus: int = 1, nodes: int = 1, timing: Timing = TIMING) -> Story:
    """An owner of everything, whose GPUs guests have borrowed long enough that they are no longer protected."""
    story = Story(nation([share("owner", guarantee=8 * nodes), share("guest")], nodes=nodes, timing=timing))
    story.submit(*[job(f"g{number}", "guest", gpus, time_ms=8 * HOUR) for number in range(guests)])
    story.wait(timing.protected_ms)
    return story


def test_an_owner_gets_its_gpus_back_after_warning_and_stop() -> None:
    story = lent_out(guests=1, gpus=8)
    plan = story.submit(job("d", "owner", 8))
    assert (claimed(plan), warned(plan)) == (["d"], ["g0"])
    warning = decision(plan, "g0")
    assert isinstance(warning, Warn)
    assert warning.stop_at_ms == story.now_ms + TIMING.warning_ms
    assert story.wait(TIMING.warning_ms - 1).decisions == ()
    stop = decision(story.wait(1), "g0")
    assert isinstance(stop, Stop)
    assert (stop.reason, stop.grace_ms) == (StopReason.RECLAIMED, TIMING.grace_ms)
    assert story.card("d").state is JobState.CLAIMED
    assert started(story.finish("g0", outcome=Outcome.PREEMPTED)) == ["d"]
    assert story.card("g0").state is JobState.QUEUED
    assert not story.card("d").borrowed


def test_the_kernel_asks_to_be_woken_when_a_warning_ends() -> None:
    story = lent_out(guests=1, gpus=8)
    story.submit(job("d", "owner", 8))
    assert story.world.next_wake_ms() == story.now_ms + TIMING.warning_ms


def test_no_more_victims_than_needed() -> None:
    story = lent_out()
    assert len(warned(story.submit(job("d", "owner", 3)))) == 3


def test_a_victim_that_turns_out_not_to_be_needed_is_put_back() -> None:
    """The cheapest victim comes first; when a later, larger one is enough by itself, it is let off."""
    story = Story(nation([share("owner", guarantee=16), share("guest")], nodes=2))
    story.submit(job("cheap", "guest", 1), job("mate", "guest", 7))
    story.wait(2 * MINUTE)
    story.submit(job("large", "guest", 8))
    story.wait(TIMING.protected_ms)
    assert story.nodes_of("cheap") == story.nodes_of("mate") != story.nodes_of("large")
    assert warned(story.submit(job("d", "owner", 8))) == ["large"]
    assert shares_used(story) == {"owner": 8000, "guest": 8000}


def test_parts_of_gpus_yield_until_the_gpus_are_whole() -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=1))
    story.submit(*[job(f"g{number}", "guest", 0.5, time_ms=8 * HOUR) for number in range(16)])
    story.wait(TIMING.protected_ms)
    plan = story.submit(job("d", "owner", 2))
    assert claimed(plan) == ["d"]
    assert warned(plan) == ["g0", "g1", "g2", "g3"]
    story.wait(TIMING.warning_ms)
    assert started(story.finish("g0", "g1", "g2", outcome=Outcome.PREEMPTED)) == []
    assert "d" in started(story.finish("g3", outcome=Outcome.PREEMPTED))


def shares_used(story: Story) -> dict[str, int]:
    return {card.name: card.used_milli for card in story.world.shares()}


def test_the_least_lost_work_yields_first() -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=1))
    story.submit(job("older", "guest", 4, time_ms=8 * HOUR))
    story.wait(MINUTE)
    story.submit(job("younger", "guest", 4, time_ms=8 * HOUR))
    story.wait(HOUR)
    assert warned(story.submit(job("d", "owner", 4))) == ["younger"]


def test_a_checkpoint_makes_old_work_cheap_to_stop() -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=1))
    story.submit(job("older", "guest", 4, time_ms=8 * HOUR, checkpoint_every_ms=10 * MINUTE))
    story.wait(MINUTE)
    story.submit(job("younger", "guest", 4, time_ms=8 * HOUR))
    story.wait(HOUR)
    assert warned(story.submit(job("d", "owner", 4))) == ["older"]


def test_a_job_that_saves_when_it_is_warned_yields_first() -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=1))
    story.submit(job("older", "guest", 4, time_ms=8 * HOUR, saves_when_warned=True))
    story.wait(HOUR)
    story.submit(job("younger", "guest", 4, time_ms=8 * HOUR))
    story.wait(30 * MINUTE)
    assert warned(story.submit(job("d", "owner", 4))) == ["older"]


def test_equal_losses_and_starts_are_settled_by_the_lowest_row() -> None:
    story = lent_out(guests=2, gpus=4)
    assert warned(story.submit(job("d", "owner", 4))) == ["g0"]


def test_equal_losses_of_unequal_jobs_are_settled_by_the_latest_start() -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=1))
    story.submit(job("wide", "guest", 2, time_ms=8 * HOUR))
    story.wait(30 * MINUTE)
    story.submit(job("narrow", "guest", 4, time_ms=8 * HOUR))
    story.wait(30 * MINUTE)
    assert 2 * 60 == 4 * 30
    assert warned(story.submit(job("d", "owner", 4)))[0] == "narrow"


def test_jobs_that_borrowed_when_they_started_yield_before_jobs_that_did_not() -> None:
    story = Story(
        nation([share("owner", guarantee=4), share("firm", guarantee=2), share("rest", guarantee=2)], nodes=1)
    )
    story.submit(job("covered", "firm", 2, time_ms=8 * HOUR))
    story.wait(5 * MINUTE)
    story.submit(job("borrowed", "firm", 6, time_ms=8 * HOUR, checkpoint_every_ms=0))
    story.wait(HOUR)
    assert not story.card("covered").borrowed
    assert story.card("borrowed").borrowed
    assert warned(story.submit(job("d", "owner", 2))) == ["borrowed"]


def test_jobs_within_their_own_guarantee_never_yield() -> None:
    story = Story(nation([share("owner", guarantee=4), share("other", guarantee=4)], nodes=1))
    story.submit(job("theirs", "other", 4), job("mine", "owner", 4))
    story.wait(HOUR)
    assert warned(story.submit(job("more", "owner", 1))) == []


def test_a_borrower_may_not_reclaim() -> None:
    story = lent_out(guests=1, gpus=8)
    plan = story.submit(job("other", "guest", 4))
    assert (claimed(plan), warned(plan)) == ([], [])


def test_an_owner_takes_back_no_more_than_its_guarantee() -> None:
    story = Story(nation([share("owner", guarantee=4), share("guest")], nodes=1))
    story.submit(job("g0", "guest", 4), job("g1", "guest", 4))
    story.wait(HOUR - MINUTE)
    assert claimed(story.submit(job("five", "owner", 5))) == []
    story.cancel("five")
    assert len(warned(story.submit(job("four", "owner", 4)))) == 1
    assert claimed(story.submit(job("more", "owner", 1))) == []


def test_a_child_takes_back_from_its_sibling_what_is_its_own() -> None:
    tree = [share("firm", guarantee=8), share("a", "firm", guarantee=4), share("b", "firm", guarantee=4)]
    story = Story(nation(tree, nodes=1))
    story.submit(job("b8", "b", 8))
    story.wait(TIMING.protected_ms)
    assert warned(story.submit(job("a4", "a", 4))) == ["b8"]


def test_a_child_takes_back_from_strangers_what_is_its_parents() -> None:
    tree = [share("firm", guarantee=8), share("a", "firm"), share("guest")]
    story = Story(nation(tree, nodes=1))
    story.submit(job("g", "guest", 8))
    story.wait(TIMING.protected_ms)
    assert warned(story.submit(job("a4", "a", 4))) == ["g"]


def test_jobs_that_may_not_be_preempted_are_left_alone() -> None:
    story = Story(nation([share("owner", guarantee=6), share("firm", guarantee=2)], nodes=1))
    story.submit(
        job("fixed", "firm", 2, preemptible=False, time_ms=8 * HOUR), job("loose", "firm", 6, time_ms=8 * HOUR)
    )
    story.wait(TIMING.protected_ms)
    assert warned(story.submit(job("d", "owner", 6))) == ["loose"]


def test_a_borrower_is_protected_at_first_and_the_kernel_wakes_when_that_ends() -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=1))
    story.submit(job("g", "guest", 8))
    story.wait(4 * MINUTE)
    assert story.submit(job("d", "owner", 8)).decisions == ()
    assert story.world.next_wake_ms() == TIMING.protected_ms
    blocker = story.blocker("d", BlockerCode.VICTIMS_PROTECTED)
    assert (blocker.until_ms, blocker.holders) == (TIMING.protected_ms, ("g",))
    story.now_ms = TIMING.protected_ms - 1
    assert warned(story.decide()) == []
    story.now_ms = TIMING.protected_ms
    assert warned(story.decide()) == ["g"]


def test_a_gang_is_taken_back_whole() -> None:
    story = lent_out(guests=16, nodes=2)
    story.submit(job("d", "owner", 8, nodes=2))
    assert story.card("d").state is JobState.CLAIMED
    assert all(story.card(f"g{number}").state is JobState.WARNED for number in range(16))
    story.wait(TIMING.warning_ms)
    for number in range(15):
        assert started(story.finish(f"g{number}", outcome=Outcome.PREEMPTED)) == []
    assert started(story.finish("g15", outcome=Outcome.PREEMPTED)) == ["d"]
    assert len(set(story.nodes_of("d"))) == 2


def test_a_borrowed_gang_yields_as_a_whole_although_one_node_is_wanted() -> None:
    story = Story(nation([share("owner", guarantee=16), share("guest")], nodes=2))
    story.submit(job("g", "guest", 8, nodes=2))
    story.wait(TIMING.protected_ms)
    assert warned(story.submit(job("d", "owner", 8))) == ["g"]
    story.wait(TIMING.warning_ms)
    assert started(story.finish("g", outcome=Outcome.PREEMPTED)) == ["d"]


def test_idle_gpus_are_used_before_anyone_must_yield() -> None:
    story = lent_out(guests=6)
    assert len(warned(story.submit(job("d", "owner", 4)))) == 2


def test_idle_gpus_of_a_claim_are_held_for_it() -> None:
    story = lent_out(guests=6)
    story.submit(job("d", "owner", 4))
    story.submit(job("late", "guest", 1))
    assert not story.holds("late")
    assert story.blocker("late", BlockerCode.NOT_ENOUGH_GPUS).short_milli == 1000


def test_a_victim_that_ends_by_itself_hands_over_at_once() -> None:
    story = lent_out(guests=1, gpus=8)
    story.submit(job("d", "owner", 8))
    assert started(story.finish("g0")) == ["d"]
    assert story.card("g0").state is JobState.SUCCEEDED


def test_a_victim_is_stopped_by_its_time_limit_if_that_comes_first() -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=1))
    story.submit(job("g", "guest", 8, time_ms=TIMING.protected_ms + 1000))
    story.wait(TIMING.protected_ms)
    story.submit(job("d", "owner", 8))
    stop = decision(story.wait(1000), "g")
    assert isinstance(stop, Stop)
    assert stop.reason is StopReason.TIME_LIMIT


def test_a_resubmitted_victim_never_reclaims() -> None:
    """A tenant's job lost borrowed GPUs. Its share is below its guarantee now, but it waits for GPUs that are free."""
    tree = [share("owner", guarantee=8), share("tenant", guarantee=8), share("guest")]
    story = Story(nation(tree, nodes=3, timing=UNPROTECTED))
    story.submit(job("g", "guest", 8, time_ms=8 * HOUR))
    story.wait(MINUTE)
    story.submit(job("covered", "tenant", 8, time_ms=8 * HOUR), job("victim", "tenant", 8, time_ms=8 * HOUR))
    assert warned(story.submit(job("d", "owner", 8, time_ms=8 * HOUR))) == ["victim"]
    story.wait(MINUTE)
    story.finish("victim", outcome=Outcome.PREEMPTED)
    assert story.holds("d")
    story.set_node(story.nodes_of("covered")[0], "drained")
    assert claimed(story.finish("covered")) == []
    assert story.card("victim").state is JobState.QUEUED
    plan = story.submit(job("fresh", "tenant", 8))
    assert (claimed(plan), warned(plan)) == (["fresh"], ["g"])


def test_a_cancelled_claimant_spares_its_victims() -> None:
    story = lent_out(guests=2, gpus=4)
    story.submit(job("d", "owner", 8))
    story.wait(TIMING.warning_ms // 2)
    story.cancel("d")
    assert story.card("d").state is JobState.CANCELLED
    assert story.holding() == {"g0", "g1"}
    assert story.card("g0").stop_at_ms is None
    assert story.wait(TIMING.warning_ms).decisions == ()


def test_a_victim_that_was_already_stopped_is_not_spared() -> None:
    story = lent_out(guests=1, gpus=8)
    story.submit(job("d", "owner", 8))
    story.wait(TIMING.warning_ms)
    story.cancel("d")
    assert story.card("g0").state is JobState.STOPPING
    assert started(story.finish("g0", outcome=Outcome.PREEMPTED)) == ["g0"]


def test_a_spared_borrower_counts_again_and_can_be_reclaimed_again() -> None:
    story = lent_out(guests=1, gpus=8)
    story.submit(job("d", "owner", 8))
    story.cancel("d")
    assert {card.name: card.used_milli for card in story.world.shares()} == {"owner": 0, "guest": 8000}
    assert warned(story.submit(job("again", "owner", 8))) == ["g0"]


def test_what_a_cancelled_claim_held_is_free_again() -> None:
    story = lent_out(guests=6)
    story.submit(job("d", "owner", 8))
    story.cancel("d")
    story.submit(job("late", "guest", 2))
    assert story.holds("late")


def test_a_claim_on_a_node_that_goes_down_is_given_up() -> None:
    story = Story(nation([share("owner", guarantee=16), share("guest")], nodes=2))
    story.submit(job("g0", "guest", 8, time_ms=8 * HOUR), job("g1", "guest", 8, time_ms=8 * HOUR))
    story.wait(TIMING.protected_ms)
    story.submit(job("d", "owner", 8))
    (node,) = story.nodes_of("d")
    plan = story.set_node(node, "down")
    # The other borrower must yield now; the one on the lost node is stopped.
    assert claimed(plan) == ["d"]
    assert story.nodes_of("d") != [node]
    assert {story.card("g0").state, story.card("g1").state} == {JobState.STOPPING, JobState.WARNED}


def test_a_claim_on_a_node_that_is_cordoned_is_given_up_and_its_victims_spared() -> None:
    story = lent_out(guests=1, gpus=8)
    story.submit(job("d", "owner", 8))
    story.set_node(NODE, "cordoned")
    assert story.card("d").state is JobState.QUEUED
    assert story.holds("g0")
    assert started(story.finish("g0")) == []
    assert started(story.set_node(NODE, "up")) == ["d"]


def test_two_owners_claim_at_once_and_both_get_theirs() -> None:
    story = Story(nation([share("a", guarantee=4), share("b", guarantee=4), share("guest")], nodes=1))
    story.submit(*[job(f"g{number}", "guest", 1, time_ms=8 * HOUR) for number in range(8)])
    story.wait(TIMING.protected_ms)
    plan = story.submit(job("da", "a", 4), job("db", "b", 4))
    assert claimed(plan) == ["da", "db"]
    assert len(set(warned(plan))) == 8
    story.wait(TIMING.warning_ms)
    story.finish(*[f"g{number}" for number in range(8)], outcome=Outcome.PREEMPTED)
    assert {"da", "db"} <= story.holding()
    cards = {card.name: card.used_milli for card in story.world.shares()}
    assert cards == {"a": 4000, "b": 4000, "guest": 0}


def test_gpus_that_become_idle_go_to_the_oldest_claim_of_the_node() -> None:
    story = Story(nation([share("a", guarantee=4), share("b", guarantee=4), share("guest")], nodes=1))
    story.submit(job("g0", "guest", 4, time_ms=8 * HOUR), job("g1", "guest", 4, time_ms=8 * HOUR))
    story.wait(TIMING.protected_ms)
    story.submit(job("da", "a", 4))
    story.submit(job("db", "b", 4))
    first = next(name for name in ("g0", "g1") if story.card(name).claimant == "da")
    second = {"g0": "g1", "g1": "g0"}[first]
    # The other's victim yields first, and its GPUs are not wasted on waiting.
    assert started(story.finish(second)) == []
    assert set(started(story.finish(first))) == {"da", "db"}


def test_what_is_promised_is_not_promised_twice() -> None:
    story = lent_out(guests=1, gpus=8)
    story.submit(job("d0", "owner", 4), job("d1", "owner", 4))
    claims = [name for name in ("d0", "d1") if story.card(name).state is JobState.CLAIMED]
    assert len(claims) == 1
    story.wait(TIMING.warning_ms)
    story.finish("g0", outcome=Outcome.PREEMPTED)
    assert {"d0", "d1"} <= story.holding()


def test_an_owner_finds_the_borrowers_on_a_large_fleet_full_of_owners() -> None:
    tree = [share("a", guarantee=70), share("b", guarantee=30), share("guest")]
    story = Story(nation(tree, nodes=100, gpus=1))
    story.submit(*[job(f"a{number}", "a", 1) for number in range(70)])
    story.submit(*[job(f"g{number}", "guest", 1) for number in range(30)])
    story.wait(TIMING.protected_ms)
    assert warned(story.submit(job("d", "b", 1))) != []


def test_an_owner_finds_a_borrower_deep_in_another_branch() -> None:
    shares = [
        share("owner", guarantee=8),
        share("alliance"),
        share("region", "alliance"),
        share("startup", "region"),
        share("school", "region"),
    ]
    story = Story(nation(shares, nodes=1))
    story.submit(job("borrowed", "school", 8, time_ms=HOUR))
    story.wait(TIMING.protected_ms)
    assert warned(story.submit(job("own", "owner", 8))) == ["borrowed"]


def test_one_jobs_vain_reclaim_does_not_stop_another_at_another_site() -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=1, sites=2))
    story.submit(job("old", "guest", 8, sites=["site1"], time_ms=8 * HOUR))
    story.wait(TIMING.protected_ms)
    story.submit(job("young", "guest", 8, sites=["site0"], time_ms=8 * HOUR))
    plan = story.submit(job("d0", "owner", 8, sites=["site0"]), job("d1", "owner", 8, sites=["site1"]))
    assert (claimed(plan), warned(plan)) == (["d1"], ["old"])


def test_one_jobs_vain_reclaim_does_not_stop_another_that_needs_fewer_cpus() -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=1))
    story.submit(job("cpus", "guest", 0, cpus=32), job("g", "guest", 8))
    story.wait(TIMING.protected_ms)
    plan = story.submit(job("wants-all-cpus", "owner", 8, cpus=64), job("wants-none", "owner", 8))
    assert claimed(plan) == ["wants-none"]


def test_one_jobs_vain_reclaim_does_not_stop_another_that_needs_less_memory() -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=1))
    story.submit(job("memory", "guest", 0, memory_mib=1 << 19), job("g", "guest", 8))
    story.wait(TIMING.protected_ms)
    plan = story.submit(job("all", "owner", 8, memory_mib=1 << 20), job("none", "owner", 8))
    assert claimed(plan) == ["none"]


def test_a_vain_reclaim_in_a_second_choice_is_tried_again_when_that_class_changes() -> None:
    tree = [share("owner", guarantee=2, gpu_class="B"), share("guest")]
    story = Story(nation(tree, nodes=1, gpus=2, classes=("A", "B")))
    story.submit(job("cpus-a", "guest", 0, cpus=64, classes=()), job("cpus-b", "guest", 0, cpus=64, classes=()))
    story.submit(job("b", "guest", 2, classes=("B",), time_ms=8 * HOUR))
    story.wait(TIMING.protected_ms)
    assert claimed(story.submit(job("d", "owner", 2, classes=("A", "B"), cpus=1))) == []
    assert claimed(story.finish("cpus-b")) == ["d"]


def test_reclaim_makes_room_for_cpus_too() -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=1))
    story.submit(job("g0", "guest", 1, cpus=60, time_ms=8 * HOUR), job("g1", "guest", 1, time_ms=8 * HOUR))
    story.wait(TIMING.protected_ms)
    assert warned(story.submit(job("d", "owner", 6, cpus=32))) == ["g0"]


def test_reclaim_stays_at_the_sites_where_the_job_may_run() -> None:
    story = Story(nation([share("owner", guarantee=16), share("guest")], nodes=1, sites=2))
    story.submit(job("g0", "guest", 8, sites=["site0"]), job("g1", "guest", 8, sites=["site1"]))
    story.wait(TIMING.protected_ms)
    assert warned(story.submit(job("d", "owner", 8, sites=["site1"]))) == ["g1"]


def test_a_claims_guarantee_counts_as_used_from_the_start() -> None:
    story = lent_out(guests=8)
    story.submit(job("d", "owner", 8))
    cards = {card.name: card.used_milli for card in story.world.shares()}
    assert cards == {"owner": 8000, "guest": 0}
