"""Elastic jobs: as many nodes as fit at the start, fewer when some are taken back or lost, more when nobody waits."""

from __future__ import annotations

import pytest

from dure.model.blockers import BlockerCode
from dure.model.events import JobSubmitted
from dure.model.jobs import JobState, Outcome
from dure.model.plan import Stop, StopReason, Warn
from dure.world.cards import MomentCode
from dure.world.world import World
from tests.kernel.nations import HOUR, MINUTE, TIMING, job, nation, share
from tests.kernel.story import Story, claimed, started, warned
from tests.kernel.test_arrays import replayed

FREE = [share("a"), share("b")]
OWNED = [share("owner", guarantee=16), share("guest")]
GONE_MS = TIMING.warning_ms + TIMING.grace_ms


def elastic(name: str, owner: str, least: int, most: int, *, gpus: float = 8, **more: object) -> JobSubmitted:
    """An elastic job on whole nodes that saves its work when warned."""
    return job(name, owner, gpus, nodes=most, min_nodes=least, saves_when_warned=True, **more)  # type: ignore[arg-type]


def size(told: Story, name: str) -> int:
    return len(told.nodes_of(name))


def resized(told: Story) -> list[str]:
    """Jobs that were stopped to go on with more nodes, so far."""
    stops = [each for plan in told.plans for each in plan.decisions if isinstance(each, Stop)]
    return [each.job for each in stops if each.reason is StopReason.RESIZED]


def with_room_to_grow() -> Story:
    """An elastic job has two nodes of the four it may have, and the other two have just become idle."""
    told = Story(nation(FREE, nodes=4))
    told.submit(job("x", "b", 8, nodes=2))
    told.submit(elastic("e", "a", 1, 4))
    told.finish("x")
    return told


# How many nodes it gets when it starts.


@pytest.mark.parametrize(("taken", "nodes"), [(0, 4), (1, 3), (2, 2)])
def test_it_starts_with_as_many_nodes_as_are_free(taken: int, nodes: int) -> None:
    told = Story(nation(FREE, nodes=4))
    told.submit(*(job(f"x{number}", "a", 8) for number in range(taken)))
    told.submit(elastic("e", "b", 2, 6))
    assert size(told, "e") == nodes
    assert told.card("e").gpus_milli == nodes * 8_000
    replayed(told)


def test_it_waits_when_fewer_than_its_least_are_free() -> None:
    told = Story(nation(FREE, nodes=4))
    told.submit(*(job(f"x{number}", "a", 8) for number in range(3)))
    told.submit(elastic("e", "b", 2, 6))
    assert not told.holds("e")
    blocker = told.blocker("e", BlockerCode.NOT_ENOUGH_GPUS)
    assert (blocker.nodes, blocker.short_milli) == (2, 8_000)
    told.finish("x1")
    assert size(told, "e") == 2


def test_quota_bounds_its_size() -> None:
    told = Story(nation([share("a", limit=20), share("b")], nodes=4))
    told.submit(elastic("e", "a", 1, 4))
    assert size(told, "e") == 2


def test_without_leave_to_borrow_it_gets_what_its_own_guarantee_covers() -> None:
    told = Story(nation(OWNED, nodes=4))
    told.submit(elastic("e", "owner", 1, 4, preemptible=False))
    assert size(told, "e") == 2
    told.pass_time(HOUR - MINUTE)
    assert resized(told) == []


def test_what_lacks_cpus_is_no_node_for_it() -> None:
    told = Story(nation(FREE, nodes=4, cpus=64))
    told.submit(job("x", "a", 0, cpus=60))
    told.submit(elastic("e", "b", 1, 4, cpus=32))
    assert size(told, "e") == 3


def test_it_takes_no_node_that_the_first_blocked_job_needs() -> None:
    told = Story(nation([share("a")], nodes=4))
    told.submit(job("x", "a", 8, time_ms=20 * MINUTE))
    told.submit(job("head", "a", 8, nodes=4))
    told.submit(elastic("long", "a", 1, 3))
    assert not told.holds("long")
    told.submit(elastic("short", "a", 1, 3, time_ms=15 * MINUTE))
    assert size(told, "short") == 3


def test_it_waits_for_its_least_with_a_reservation_for_that() -> None:
    told = Story(nation([share("a")], nodes=5))
    told.submit(*(job(f"x{number}", "a", 8, time_ms=(number + 1) * 10 * MINUTE) for number in range(4)))
    told.submit(elastic("e", "a", 3, 4), job("behind", "a", 1, time_ms=2 * HOUR))
    reservation = told.world.columns.reservations[0]
    assert (reservation.nodes, reservation.shadow_ms) == (3, 20 * MINUTE)


@pytest.mark.parametrize(("owner", "nodes"), [("second", 1), ("third", 1), ("guest", 4)])
def test_it_takes_no_more_than_its_guarantee_while_another_share_is_covered(owner: str, nodes: int) -> None:
    shares = [share("first", guarantee=8), share("second", guarantee=8), share("third", guarantee=8), share("guest")]
    told = Story(nation(shares, nodes=4))
    told.submit(job("x", "guest", 8, nodes=4))
    told.submit(elastic("e", "first", 1, 4), job("other", owner, 8))
    told.finish("x")
    assert size(told, "e") == nodes
    assert told.holds("other") == (nodes == 1)


# Fewer.


def test_a_borrower_goes_on_at_once_with_the_nodes_that_are_not_taken_back() -> None:
    """Before a share that has used nothing yet, whose turn it would be."""
    told = Story(nation([*OWNED, share("other")], nodes=4))
    told.submit(elastic("e", "guest", 1, 4))
    assert size(told, "e") == 4
    told.pass_time(TIMING.protected_ms)
    told.submit(job("x", "other", 8), job("demand", "owner", 8))
    assert claimed(told.plans[-1]) == ["demand"]
    assert warned(told.plans[-1]) == ["e"]
    told.pass_time(GONE_MS)
    assert told.holds("demand")
    assert size(told, "e") == 3
    assert told.card("e").attempt == 2
    assert not told.holds("x")
    assert told.card("e").preemptions == 1
    replayed(told)


def test_whom_a_guarantee_covers_goes_before_a_borrower_that_lost_nodes() -> None:
    told = Story(nation([share("first", guarantee=8), share("second", guarantee=24), share("guest")], nodes=4))
    told.submit(elastic("e", "guest", 1, 4))
    told.pass_time(TIMING.protected_ms)
    told.submit(job("one", "first", 8))
    told.pass_time(TIMING.warning_ms - 1)
    told.submit(job("three", "second", 8, nodes=3))
    told.pass_time(1)
    assert told.holding() == {"one", "three"}
    assert told.card("e").state is JobState.QUEUED


def test_it_waits_when_less_than_its_least_is_left() -> None:
    told = Story(nation(OWNED, nodes=3))
    told.submit(elastic("e", "guest", 2, 3))
    told.pass_time(TIMING.protected_ms)
    told.submit(job("demand", "owner", 8, nodes=2))
    told.pass_time(GONE_MS)
    assert told.card("e").state is JobState.QUEUED
    told.finish("demand")
    assert size(told, "e") == 3


def test_it_goes_on_with_the_nodes_that_did_not_fail() -> None:
    told = Story(nation(FREE, nodes=4))
    told.submit(elastic("e", "a", 1, 4))
    told.submit(job("x", "b", 8))
    lost = told.nodes_of("e")[1]
    told.set_node(lost, "down")
    told.finish_stopping()
    assert size(told, "e") == 3
    assert lost not in told.nodes_of("e")
    assert not told.holds("x")


def test_it_takes_back_no_more_than_its_least() -> None:
    told = Story(nation(OWNED, nodes=2))
    told.submit(*(job(f"x{number}", "guest", 8) for number in range(2)))
    told.pass_time(TIMING.protected_ms)
    told.submit(elastic("e", "owner", 1, 2))
    assert len(warned(told.plans[-1])) == 1
    told.pass_time(GONE_MS)
    assert size(told, "e") == 1
    replayed(told)


def test_who_could_not_go_on_at_once_soon_waits_for_its_turn_like_everybody() -> None:
    told = Story(nation([*OWNED, share("other")], nodes=3))
    told.submit(elastic("e", "guest", 2, 3))
    told.pass_time(TIMING.protected_ms)
    told.submit(job("demand", "owner", 8, nodes=2), job("x", "other", 8, nodes=2))
    told.pass_time(GONE_MS)
    assert told.holding() == {"demand"}
    told.wait(GONE_MS + 1)
    told.finish("demand")
    assert told.holding() == {"x"}


def test_who_takes_over_the_scheduler_knows_who_came_back() -> None:
    told = Story(nation(OWNED, nodes=3))
    told.submit(elastic("e", "guest", 2, 3))
    told.pass_time(TIMING.protected_ms)
    told.submit(job("demand", "owner", 8, nodes=2))
    told.pass_time(GONE_MS)
    assert told.card("e").state is JobState.QUEUED
    again = World()
    for event in told.events:
        again.apply(event)
    for world in (told.world, again):
        assert world.columns.counters[0].returned == 1
        assert world.job_at(int(world.columns.returned[0])) == "e"


# More.


def grows_after(told: Story, name: str) -> None:
    """Wait for the protected time, the warning and the grace."""
    told.pass_time(TIMING.protected_ms + GONE_MS)
    assert resized(told)[-1:] == [name]


def test_it_grows_when_nodes_are_idle_and_nobody_waits() -> None:
    told = Story(nation(FREE, nodes=4))
    told.submit(job("x", "b", 8, nodes=2))
    told.submit(elastic("e", "a", 1, 4))
    assert size(told, "e") == 2
    told.finish("x")
    told.pass_time(TIMING.protected_ms)
    [warning] = [each for plan in told.plans for each in plan.decisions if isinstance(each, Warn)]
    assert (warning.resizes, warning.claimant, warning.reservation) == (True, "", "")
    assert told.card("e").timeline[-1].what is MomentCode.MAY_GROW
    told.pass_time(GONE_MS)
    assert resized(told) == ["e"]
    assert size(told, "e") == 4
    assert told.card("e").attempt == 2
    assert told.card("e").preemptions == 0
    replayed(told)


def test_it_grows_by_itself_once_its_protected_time_is_over() -> None:
    told = with_room_to_grow()
    assert told.world.next_wake_ms() == TIMING.protected_ms
    grows_after(told, "e")


def test_it_does_not_grow_before_its_protected_time_is_over() -> None:
    told = with_room_to_grow()
    told.pass_time(TIMING.protected_ms - 1)
    assert told.card("e").state is JobState.STARTING


def test_it_grows_by_a_quarter_at_least() -> None:
    told = Story(nation(FREE, nodes=6))
    told.submit(job("x", "b", 8))
    told.submit(elastic("e", "a", 1, 6))
    assert size(told, "e") == 5
    told.finish("x")
    told.pass_time(HOUR - MINUTE)
    assert resized(told) == []


def test_what_does_not_save_its_work_when_warned_never_grows() -> None:
    told = Story(nation(FREE, nodes=4))
    told.submit(job("x", "b", 8, nodes=2))
    told.submit(job("e", "a", 8, nodes=4, min_nodes=1, checkpoint_every_ms=MINUTE))
    told.finish("x")
    told.pass_time(HOUR - MINUTE)
    assert resized(told) == []
    assert size(told, "e") == 2


def test_it_does_not_grow_while_others_wait_for_nodes() -> None:
    told = Story(nation(FREE, nodes=4))
    told.submit(job("x", "b", 8), job("y", "b", 8))
    told.submit(elastic("e", "a", 1, 4))
    told.submit(job("wide", "b", 8, nodes=3))
    told.finish("x", "y")
    assert size(told, "e") == 2
    told.pass_time(HOUR - MINUTE)
    assert resized(told) == []
    told.cancel("wide")
    told.pass_time(0)
    assert told.card("e").state is JobState.STARTING


def test_who_waits_for_the_limit_of_its_own_share_holds_nobody_back() -> None:
    told = Story(nation([share("a"), share("b", limit=8)], nodes=4))
    told.submit(job("x", "a", 8), job("y", "b", 8))
    told.submit(elastic("e", "a", 1, 4), job("z", "b", 8))
    assert size(told, "e") == 2
    told.finish("x")
    assert told.why("z").blockers[0].code is BlockerCode.SHARE_LIMIT
    grows_after(told, "e")
    assert size(told, "e") == 3


def test_it_is_spared_when_somebody_else_takes_the_nodes_meanwhile() -> None:
    told = with_room_to_grow()
    told.pass_time(TIMING.protected_ms)
    assert told.card("e").state is JobState.WARNED
    told.submit(job("y", "b", 8, nodes=2))
    assert started(told.plans[-1]) == ["y"]
    told.pass_time(GONE_MS)
    assert told.card("e").state is JobState.RUNNING
    assert told.card("e").timeline[-1].what is MomentCode.SPARED
    assert resized(told) == []
    replayed(told)


def test_one_job_of_a_class_is_resized_at_a_time() -> None:
    told = Story(nation(FREE, nodes=6))
    told.submit(job("x", "b", 8, nodes=4))
    told.submit(elastic("e", "a", 1, 3, gpus=4), elastic("f", "a", 1, 3, gpus=4))
    told.finish("x")
    assert (size(told, "e"), size(told, "f")) == (2, 2)
    told.pass_time(TIMING.protected_ms)
    assert (told.card("e").state, told.card("f").state) == (JobState.WARNED, JobState.STARTING)
    told.pass_time(GONE_MS)
    assert resized(told) == ["e"]
    told.pass_time(GONE_MS)
    assert resized(told) == ["e", "f"]
    assert (size(told, "e"), size(told, "f")) == (3, 3)


def test_an_owners_demand_in_the_middle_of_a_resize_gets_its_nodes_in_time() -> None:
    told = Story(nation(OWNED, nodes=4))
    told.submit(job("x", "guest", 8, nodes=2))
    told.submit(elastic("e", "guest", 1, 4))
    told.finish("x")
    told.pass_time(TIMING.protected_ms + TIMING.warning_ms)
    assert told.card("e").state is JobState.STOPPING or told.card("e").attempt == 2
    demanded_ms = told.now_ms
    told.submit(job("demand", "owner", 8, nodes=2))
    told.pass_time(TIMING.protected_ms + GONE_MS)
    assert (told.card("demand").first_started_at_ms or 0) - demanded_ms <= TIMING.protected_ms + GONE_MS
    assert size(told, "e") >= 1


def test_a_job_near_its_time_limit_is_not_resized() -> None:
    told = Story(nation(FREE, nodes=4))
    told.submit(job("x", "b", 8, nodes=2))
    told.submit(elastic("e", "a", 1, 4, time_ms=TIMING.protected_ms + GONE_MS))
    told.finish("x")
    told.pass_time(TIMING.protected_ms)
    assert resized(told) == []
    assert told.card("e").state is JobState.STARTING


def test_a_job_that_is_over_its_time_before_it_could_grow_is_stopped_for_that() -> None:
    told = with_room_to_grow()
    told.pass_time(TIMING.protected_ms)
    assert told.card("e").resizes
    # Nobody decides for a while: the platform was away, or the machine's clock jumped.
    told.now_ms += HOUR
    told.decide()
    assert told.card("e").stop_reason is StopReason.TIME_LIMIT
    assert resized(told) == []
    replayed(told)


def test_a_job_that_saves_and_leaves_at_the_warning_is_resized() -> None:
    told = with_room_to_grow()
    told.pass_time(TIMING.protected_ms)
    told.finish("e", outcome=Outcome.RESIZED)
    assert size(told, "e") == 4


def test_a_new_declaration_spares_who_was_warned_to_grow() -> None:
    declared = nation(FREE, nodes=4)
    told = Story(declared)
    told.submit(job("x", "b", 8, nodes=2))
    told.submit(elastic("e", "a", 1, 4))
    told.finish("x")
    told.pass_time(TIMING.protected_ms)
    told.declare(declared)
    assert size(told, "e") == 2
    assert told.card("e").state is not JobState.STOPPING
    replayed(told)


def test_who_was_spared_is_not_asked_again_for_another_protected_time() -> None:
    told = with_room_to_grow()
    told.pass_time(TIMING.protected_ms)
    told.submit(job("y", "b", 8, nodes=2, time_ms=2 * MINUTE))
    told.pass_time(TIMING.warning_ms)
    assert told.card("e").timeline[-1].what is MomentCode.SPARED
    told.finish("y")
    told.pass_time(TIMING.protected_ms - 1)
    assert told.card("e").state is JobState.RUNNING
    told.pass_time(1 + GONE_MS)
    assert resized(told) == ["e"]


def test_it_does_not_give_up_nodes_of_one_class_to_grow_where_another_is_liked_better() -> None:
    told = Story(nation(FREE, nodes=4, classes=("H100", "H200")))
    told.submit(job("x", "b", 8, nodes=4), job("y", "b", 8, nodes=2, classes=("H200",)))
    told.submit(elastic("e", "a", 1, 4, classes=("H100", "H200")))
    assert told.card("e").gpu_class == "H200"
    told.finish("y")
    told.pass_time(HOUR - MINUTE)
    assert resized(told) == []


def test_what_is_idle_on_its_own_nodes_is_no_node_for_it() -> None:
    told = Story(nation(FREE, nodes=2))
    told.submit(job("x", "b", 8))
    told.submit(elastic("e", "a", 1, 2, gpus=4))
    told.pass_time(HOUR - MINUTE)
    assert resized(told) == []
    assert size(told, "e") == 1
