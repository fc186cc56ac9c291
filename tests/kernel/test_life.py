"""The life of a job: limits, cancelling, nodes, retries, dependencies, and nations that change under it."""

from __future__ import annotations

import pytest

from dure.kernel import decide
from dure.model.blockers import BlockerCode
from dure.model.events import AttemptEnded, AttemptStarted, CancelRequested, JobReleased, Planned
from dure.model.jobs import JobState, Outcome
from dure.model.organisations import Share
from dure.model.plan import Spare, Stop, StopReason
from dure.world.world import World
from tests.kernel.nations import HOUR, MINUTE, TIMING, job, nation, share, world_of
from tests.kernel.story import Story, claimed, decision, started, warned

NODE = "s0-h100-0000"
GUEST = [share("guest")]
OWNED = [share("owner", guarantee=8), share("guest")]


def with_claim() -> Story:
    """`d` claims the only node from `g`, which was warned; `later` waits behind."""
    story = Story(nation(OWNED, nodes=1))
    story.submit(job("g", "guest", 8, time_ms=8 * HOUR))
    story.wait(TIMING.protected_ms)
    story.submit(job("d", "owner", 8), job("later", "guest", 1))
    assert story.card("d").state is JobState.CLAIMED
    return story


def stop_reason(story: Story, name: str) -> StopReason:
    stop = decision(story.decide(), name)
    assert isinstance(stop, Stop)
    return stop.reason


def test_a_job_is_stopped_at_its_time_limit_and_not_before() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", 1, time_ms=HOUR))
    assert story.world.next_wake_ms() == HOUR
    story.now_ms = HOUR - 1
    assert story.decide().decisions == ()
    story.now_ms = HOUR
    assert stop_reason(story, "j") is StopReason.TIME_LIMIT
    story.finish("j", outcome=Outcome.TIME_LIMIT)
    assert story.card("j").state is JobState.FAILED


def test_a_stopping_job_keeps_its_gpus_until_it_has_ended() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", 8), job("next", "guest", 8))
    story.cancel("j")
    assert story.card("j").state is JobState.STOPPING
    assert not story.holds("next")
    assert started(story.finish("j", outcome=Outcome.CANCELLED)) == ["next"]


@pytest.mark.parametrize("began", [False, True])
def test_cancelling_a_running_job_stops_it(began: bool) -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", 1))
    if began:
        story.happen(AttemptStarted(at_ms=0, job="j", attempt=1))
        assert story.card("j").state is JobState.RUNNING
    story.happen(CancelRequested(at_ms=0, job="j", by="test"))
    assert stop_reason(story, "j") is StopReason.CANCELLED
    story.finish("j", outcome=Outcome.CANCELLED)
    assert story.card("j").state is JobState.CANCELLED


def test_cancelling_a_queued_job_lets_those_behind_it_go() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("running", "guest", 4), job("head", "guest", 8), job("behind", "guest", 4, time_ms=9 * HOUR))
    assert started(story.cancel("head")) == ["behind"]
    assert story.card("head").state is JobState.CANCELLED


def test_cancelling_a_held_job_ends_it() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("first", "guest", 1), job("second", "guest", 1, depends=("first",)))
    story.cancel("second")
    assert story.card("second").state is JobState.CANCELLED
    assert started(story.finish("first")) == []


def test_cancelling_a_warned_job_stops_it_at_once_and_its_claimant_still_gets_the_gpus() -> None:
    story = with_claim()
    story.happen(CancelRequested(at_ms=story.now_ms, job="g", by="test"))
    assert stop_reason(story, "g") is StopReason.CANCELLED
    assert started(story.finish("g", outcome=Outcome.CANCELLED)) == ["d"]


def test_cancelling_a_stopping_or_final_job_changes_nothing_more() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", 1))
    story.cancel("j")
    assert story.cancel("j").decisions == ()
    story.finish("j", outcome=Outcome.CANCELLED)
    assert story.cancel("j").decisions == ()
    assert story.card("j").state is JobState.CANCELLED


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.PREEMPTED, Outcome.NODE_LOST, Outcome.NEVER_STARTED])
def test_a_cancelled_job_is_not_tried_again_however_it_ends(outcome: Outcome) -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", 1, retry_limit=5))
    story.cancel("j")
    story.finish("j", outcome=outcome)
    assert story.card("j").state is JobState.CANCELLED


@pytest.mark.parametrize("state", ["cordoned", "suspect"])
def test_a_node_that_is_set_aside_finishes_what_it_runs_and_takes_nothing_new(state: str) -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", 4))
    story.set_node(NODE, state)
    story.submit(job("next", "guest", 1))
    assert story.holding() == {"j"}
    story.blocker("next", BlockerCode.NODES_OUT_OF_SERVICE)
    story.finish("j")
    assert started(story.set_node(NODE, "up")) == ["next"]


def test_a_drained_node_is_left_by_what_may_be_preempted_and_by_the_rest_when_it_ends() -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=2))
    story.submit(job("stays", "owner", 4, preemptible=False), job("gang", "guest", 4, nodes=2))
    (node,) = story.nodes_of("stays")
    plan = story.set_node(node, "drained")
    assert [each.job for each in plan.decisions] == ["gang"]
    assert story.card("gang").stop_reason is StopReason.DRAINED
    story.finish("gang", outcome=Outcome.DRAINED)
    assert (story.card("gang").state, story.card("gang").preemptions) == (JobState.QUEUED, 0)
    assert story.holding() == {"stays"}
    story.finish("stays")
    assert started(story.set_node(node, "up")) == ["gang"]


@pytest.mark.parametrize(("state", "outcome"), [("drained", Outcome.DRAINED), ("down", Outcome.NODE_LOST)])
def test_who_had_to_leave_a_node_is_not_a_victim_and_may_reclaim(state: str, outcome: Outcome) -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=2))
    story.submit(job("o", "owner", 8, time_ms=8 * HOUR), job("g", "guest", 8, time_ms=8 * HOUR))
    story.wait(TIMING.protected_ms)
    (node,) = story.nodes_of("o")
    story.set_node(node, state)
    plan = story.finish("o", outcome=outcome)
    assert (claimed(plan), warned(plan)) == (["o"], ["g"])


def test_what_had_to_leave_queues_again_in_its_old_place() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("first", "guest", 8), job("second", "guest", 8))
    story.set_node(NODE, "down")
    story.submit(job("third", "guest", 8))
    story.finish("first", outcome=Outcome.NODE_LOST)
    assert [card.job for card in story.world.queue()] == ["first", "second", "third"]
    assert started(story.set_node(NODE, "up")) == ["first"]


def test_jobs_on_a_node_that_goes_down_are_stopped_and_queue_again() -> None:
    story = Story(nation(GUEST, nodes=2))
    story.submit(job("gang", "guest", 8, nodes=2))
    story.happen_to(NODE, "down")
    assert stop_reason(story, "gang") is StopReason.NODE_LOST
    story.finish("gang", outcome=Outcome.NODE_LOST)
    assert story.card("gang").state is JobState.QUEUED
    story.set_node(NODE, "up")
    assert (story.card("gang").attempt, story.card("gang").preemptions) == (2, 0)


def test_what_ran_on_a_node_that_was_down_for_a_moment_is_lost_all_the_same() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", 1))
    story.happen_to(NODE, "down")
    story.happen_to(NODE, "up")
    assert stop_reason(story, "j") is StopReason.NODE_LOST


def test_a_failed_job_is_tried_again_after_a_backoff_that_doubles() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", 1, retry_limit=2))
    for backoff_ms in (1_000, 2_000):
        story.finish("j", outcome=Outcome.FAILED)
        assert story.card("j").state is JobState.HELD
        assert story.blocker("j", BlockerCode.HELD_BY_BACKOFF).until_ms == story.now_ms + backoff_ms
        assert story.world.next_wake_ms() == story.now_ms + backoff_ms
        assert story.wait(backoff_ms - 1).decisions == ()
        assert started(story.wait(1)) == ["j"]
    story.finish("j", outcome=Outcome.FAILED)
    assert story.card("j").state is JobState.FAILED
    assert (story.card("j").attempt, story.card("j").exit_code) == (3, 1)


def test_an_end_reported_for_an_old_attempt_changes_nothing() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", 1))
    story.finish("j", outcome=Outcome.NEVER_STARTED)
    late = AttemptEnded(at_ms=0, job="j", attempt=1, outcome=Outcome.SUCCEEDED, exit_code=0)
    story.happen(late)
    assert story.holds("j")
    assert story.card("j").attempt == 2


def test_a_job_waits_for_all_it_depends_on_to_succeed() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("a", "guest", 1), job("b", "guest", 1), job("both", "guest", 1, depends=("a", "b")))
    assert story.blocker("both", BlockerCode.HELD_BY_DEPENDENCY).holders == ("a", "b")
    story.finish("a")
    assert story.blocker("both", BlockerCode.HELD_BY_DEPENDENCY).holders == ("b",)
    assert started(story.finish("b")) == ["both"]
    story.submit(job("after", "guest", 1, depends=("a",)))
    assert story.holds("after")


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CANCELLED, Outcome.TIME_LIMIT])
def test_a_job_is_doomed_when_what_it_depends_on_does_not_succeed(outcome: Outcome) -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("a", "guest", 1), job("b", "guest", 1, depends=("a",)), job("c", "guest", 1, depends=("b",)))
    assert story.world.doomed() == []
    story.finish("a", outcome=outcome)
    assert story.world.doomed() == ["b"]
    story.cancel("b")
    assert story.world.doomed() == ["c"]


def test_releasing_a_job_that_is_not_held_changes_nothing() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", 1))
    story.happen(JobReleased(at_ms=0, job="j"))
    assert story.holds("j")


def every_state() -> Story:
    """Two nodes: jobs that run, are warned, stop, claim, are held and queue."""
    story = Story(nation(OWNED, nodes=2))
    story.submit(job("g0", "guest", 8, time_ms=8 * HOUR), job("g1", "guest", 4, time_ms=8 * HOUR))
    story.submit(job("stopping", "guest", 2), job("parent", "guest", 1, time_ms=8 * HOUR))
    story.wait(TIMING.protected_ms)
    story.submit(job("held", "guest", 1, depends=("parent",)), job("d", "owner", 8), job("queued", "guest", 8))
    story.cancel("stopping")
    states = {name: card.state.value for name, card in story.world.jobs.items()}
    assert set(states.values()) >= {"starting", "warned", "stopping", "claimed", "held", "queued"}
    return story


def holdings(story: Story) -> dict[str, tuple[str, ...]]:
    return {each.name: each.jobs for each in story.world.nodes()}


def test_declaring_the_same_nation_again_moves_nobody() -> None:
    story = every_state()
    before = {name: card.placements for name, card in story.world.jobs.items() if card.state is not JobState.CLAIMED}
    victims = [name for name, card in story.world.jobs.items() if card.state is JobState.WARNED]
    plan = story.declare(nation(OWNED, nodes=2))
    after = {name: story.card(name).placements for name in before}
    assert after == before
    # The claim is made again from the beginning, and its victims are warned anew.
    assert {each.job for each in plan.decisions if isinstance(each, Spare)} == set(victims)
    assert claimed(plan) == ["d"]


def shares_of(story: Story) -> dict[str, int]:
    return {card.name: card.used_milli for card in story.world.shares()}


def test_what_runs_is_charged_under_the_new_tree() -> None:
    story = Story(nation(OWNED, nodes=2))
    story.submit(job("g", "guest", 8), job("o", "owner", 4))
    story.declare(nation([share("group"), share("guest", "group"), share("owner", guarantee=8)], nodes=2))
    assert shares_of(story) == {"group": 8000, "guest": 8000, "owner": 4000}


@pytest.mark.parametrize(
    ("tree", "state"),
    [
        ([share("owner"), share("guest")], JobState.QUEUED),
        ([share("owner", guarantee=4), share("guest")], JobState.QUEUED),
        ([share("owner", guarantee=8), share("guest")], JobState.CLAIMED),
        ([share("owner", guarantee=8), share("guest", guarantee=8)], JobState.QUEUED),
    ],
)
def test_a_claim_lives_on_only_where_the_new_tree_still_gives_it(tree: list[Share], state: JobState) -> None:
    story = with_claim()
    guarantees = sum(each.amounts[0].guarantee_milli for each in tree) // 8000 or 1
    story.declare(nation(tree, nodes=max(1, guarantees)))
    if guarantees < 2:
        assert story.card("d").state is state
        assert story.holds("g") == (state is JobState.QUEUED)
    else:
        assert {"g", "d"} <= story.holding()


def test_a_grown_guarantee_is_taken_back_at_once() -> None:
    story = Story(nation([share("owner", guarantee=2), share("guest")], nodes=1))
    story.submit(job("g", "guest", 8, time_ms=8 * HOUR))
    story.wait(TIMING.protected_ms)
    assert story.submit(job("d", "owner", 8)).decisions == ()
    plan = story.declare(nation([share("owner", guarantee=8), share("guest")], nodes=1))
    assert (claimed(plan), warned(plan)) == (["d"], ["g"])


def test_a_shrunk_guarantee_makes_its_job_a_borrower() -> None:
    story = Story(nation([share("a", guarantee=8), share("b")], nodes=1))
    story.submit(job("a8", "a", 8, time_ms=8 * HOUR))
    story.wait(TIMING.protected_ms)
    story.submit(job("b4", "b", 4))
    assert warned(story.declare(nation([share("a", guarantee=4), share("b", guarantee=4)], nodes=1))) == ["a8"]


def test_jobs_that_wait_start_at_a_new_site() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("a", "guest", 8), job("b", "guest", 8))
    assert started(story.declare(nation(GUEST, nodes=1, sites=2))) == ["b"]
    assert story.card("b").site == "site1"


def test_a_new_nation_keeps_states_of_nodes_and_memory_of_usage() -> None:
    story = Story(nation([share("a"), share("b")], nodes=2))
    story.submit(job("j", "b", 8))
    story.wait(HOUR - MINUTE)
    story.set_node("s0-h100-0001", "drained")
    story.finish("j")
    story.set_node(NODE, "drained")
    story.declare(nation([share("b"), share("a")], nodes=2))
    assert [each.state for each in story.world.nodes()] == ["drained", "drained"]
    story.submit(job("b1", "b", 8), job("a1", "a", 8))
    assert started(story.set_node(NODE, "up")) == ["a1"]


def test_a_job_that_was_to_be_stopped_still_is_after_a_new_declaration() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", 1))
    story.happen(CancelRequested(at_ms=0, job="j", by="test"))
    stop = decision(story.declare(nation(GUEST, nodes=2)), "j")
    assert isinstance(stop, Stop)
    assert stop.reason is StopReason.CANCELLED


def test_time_limits_outlive_a_new_declaration() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", 1, time_ms=HOUR))
    story.wait(MINUTE)
    story.declare(nation(GUEST, nodes=2))
    assert story.world.next_wake_ms() == HOUR


def snapshot(world: World) -> tuple[bytes, ...]:
    return tuple(column.tobytes() for column in world.columns)


def test_a_fork_does_not_touch_the_original() -> None:
    story = every_state()
    before = snapshot(story.world)
    cards = {name: (card.state, len(card.timeline)) for name, card in story.world.jobs.items()}
    fork = story.world.fork()
    fork.apply(job("new", "owner", 1, at_ms=story.now_ms))
    for name in ("g0", "g1", "d", "held", "queued"):
        fork.apply(CancelRequested(at_ms=story.now_ms, job=name, by="test"))
    decide(fork, story.now_ms + HOUR)
    assert snapshot(story.world) == before
    assert {name: (card.state, len(card.timeline)) for name, card in story.world.jobs.items()} == cards
    assert "new" not in story.world.jobs


def test_a_fork_decides_as_the_original_would() -> None:
    story = every_state()
    later_ms = story.now_ms + TIMING.warning_ms
    assert decide(story.world.fork(), later_ms) == decide(story.world, later_ms)


def test_a_replayed_job_without_gpus_frees_the_node_it_is_really_on() -> None:
    story = Story(nation(GUEST, nodes=1, classes=("A", "B")))
    story.submit(job("a", "guest", 0, cpus=64, classes=()), job("b", "guest", 0, cpus=64, classes=()))
    assert story.nodes_of("b") == ["s0-b-0000"]
    replayed = World()
    for event in story.events:
        replayed.apply(event)
    replayed.apply(job("waits", "guest", 1, cpus=1, classes=("B",)))
    assert decide(replayed, 0).decisions == ()
    replayed.apply(AttemptEnded(at_ms=1, job="b", attempt=1, outcome=Outcome.SUCCEEDED, exit_code=0))
    assert started(decide(replayed, 1)) == ["waits"]


def test_many_jobs_at_once_outgrow_the_first_columns() -> None:
    world = world_of(nation(GUEST, nodes=4))
    for number in range(1_500):
        world.apply(job(f"j{number}", "guest", 1))
    assert len(started(decide(world, 0))) == 32
    assert len(world.queue()) == 1_468


def test_a_row_that_was_given_back_is_used_again_for_a_new_job() -> None:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("a", "guest", 1, priority=3))
    row = story.card("a").row
    story.finish("a")
    assert story.card("a").row == -1
    story.submit(job("b", "guest", 2))
    assert story.card("b").row == row
    assert story.card("b").attempt == 1


def test_a_plan_in_the_ledger_has_the_same_effect_as_when_it_was_made() -> None:
    story = every_state()
    replayed = World()
    for event in story.events:
        replayed.apply(event)
    assert any(isinstance(event, Planned) for event in story.events)
    later_ms = story.now_ms + TIMING.warning_ms
    assert decide(replayed, later_ms) == decide(story.world, later_ms)


def test_jobs_of_a_project_without_a_share_use_only_what_nobody_keeps() -> None:
    declared = nation([share("owner", guarantee=6, lend=0), share("guest")], nodes=1)
    story = Story(declared)
    stranger = job("s", "stranger", 3)
    story.submit(stranger, job("fits", "stranger", 2))
    assert story.world.share_of(stranger.project) == ""
    assert "s" not in story.holding()


def test_a_gang_that_claimed_before_a_replay_starts_with_the_same_ranks_after_it() -> None:
    story = Story(nation([share("owner", guarantee=16), share("guest")], nodes=2))
    story.submit(job("g", "guest", 8, nodes=2, time_ms=8 * HOUR))
    story.wait(TIMING.protected_ms)
    story.submit(job("d", "owner", 8, nodes=2))
    story.wait(TIMING.warning_ms)
    story.end("g", Outcome.PREEMPTED)
    replayed = World()
    for event in story.events:
        replayed.apply(event)
    plan = decide(replayed, story.now_ms)
    assert started(plan) == ["d"]
    assert plan == story.decide()


def test_a_job_that_never_began_is_tried_again_at_once_also_when_another_class_changed_with_it() -> None:
    story = Story(nation(GUEST, nodes=1, classes=("A100", "H100")))
    first = story.submit(job("old", "guest", 1, classes=("A100",)), job("j", "guest", 1, classes=("H100", "A100")))
    assert started(first) == ["old", "j"]
    story.end("old", Outcome.SUCCEEDED)
    again = story.finish("j", outcome=Outcome.NEVER_STARTED)
    assert started(again) == ["j"]
