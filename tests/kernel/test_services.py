"""Services: replicas follow a load profile, start again when they end, and lend at night what they need by day."""

from __future__ import annotations

from dure.model.jobs import JobState, Outcome
from dure.model.plan import Stop, StopReason
from dure.model.units import DAY_MS
from tests.kernel.nations import HOUR, MINUTE, TIMING, job, nation, share
from tests.kernel.story import Story, claimed, started, warned
from tests.kernel.test_arrays import counts, replayed, rows_in_use

TWO = [share("owner", guarantee=8), share("guest")]
DAY = [(0, 1), (8 * HOUR, 4), (20 * HOUR, 1)]


def story(nodes: int = 1) -> Story:
    return Story(nation(TWO, nodes=nodes))


def scaled_down(told: Story) -> list[str]:
    """Replicas that the latest plan stops because they are not wanted any more."""
    stops = [each for each in told.plans[-1].decisions if isinstance(each, Stop)]
    return [each.job for each in stops if each.reason is StopReason.SCALED_DOWN]


def test_a_service_has_as_many_replicas_as_it_says() -> None:
    told = story()
    assert started(told.submit(job("s", "owner", 2, replicas=3))) == ["s_0", "s_1", "s_2"]
    assert told.card("s").state is JobState.RUNNING
    assert told.world.next_wake_ms() is None
    told.pass_time(300 * DAY_MS)
    assert told.holding() >= {"s_0", "s_1", "s_2"}
    replayed(told)


def test_replicas_follow_the_profile() -> None:
    told = story()
    assert started(told.submit(job("s", "owner", 2, replicas=DAY))) == ["s_0"]
    assert told.world.next_wake_ms() == 8 * HOUR
    told.pass_time(8 * HOUR)
    assert told.holding() >= {"s_0", "s_1", "s_2", "s_3"}
    told.pass_time(12 * HOUR - 1)
    assert told.holding() >= {"s_0", "s_1", "s_2", "s_3"}
    told.wait(1)
    assert scaled_down(told) == ["s_3", "s_2", "s_1"]
    told.finish_stopping()
    assert told.card("s_3").state is JobState.SUCCEEDED
    assert counts(told, "s").active == 1
    assert rows_in_use(told.world) == 2
    told.pass_time(12 * HOUR)
    assert counts(told, "s").running == 4
    assert told.holds("s_6")
    replayed(told)


def test_what_a_service_does_not_need_at_night_is_lent_and_back_in_the_morning() -> None:
    told = story()
    told.submit(job("s", "owner", 2, replicas=DAY))
    told.submit(*(job(f"g{number}", "guest", 2, time_ms=24 * HOUR) for number in range(4)))
    assert counts(told, "s").running == 1
    assert {"g0", "g1", "g2"} <= told.holding()
    told.pass_time(8 * HOUR + TIMING.warning_ms + TIMING.grace_ms)
    assert counts(told, "s").running == 4
    late = [told.card(f"s_{number}").first_started_at_ms for number in (1, 2, 3)]
    assert max(each or 0 for each in late) <= 8 * HOUR + TIMING.warning_ms + TIMING.grace_ms
    told.pass_time(13 * HOUR)
    assert {"g0", "g1", "g2"} <= told.holding()
    replayed(told)


def test_a_replica_that_ends_starts_again_after_a_wait_that_doubles() -> None:
    told = story()
    told.submit(job("s", "owner", 8, replicas=1))
    told.finish("s_0", outcome=Outcome.FAILED)
    assert told.card("s_0").release_at_ms == 1_000
    told.pass_time(1_000)
    assert told.card("s_0").attempt == 2
    told.finish("s_0")
    assert told.card("s_0").release_at_ms == 3_000
    told.pass_time(HOUR)
    told.finish("s_0", outcome=Outcome.FAILED)
    assert told.card("s_0").release_at_ms == told.now_ms + 1_000
    for _ in range(12):
        told.pass_time(5 * MINUTE)
        told.finish("s_0", outcome=Outcome.FAILED)
    assert told.card("s_0").release_at_ms == told.now_ms + 5 * MINUTE
    replayed(told)


def test_a_reclaimed_replica_goes_back_and_no_other_takes_its_place() -> None:
    told = story()
    told.submit(job("s", "guest", 4, replicas=2))
    told.wait(20 * MINUTE)
    assert warned(told.submit(job("o", "owner", 4))) == ["s_0"]
    told.pass_time(2 * MINUTE)
    assert told.card("s_0").state is JobState.QUEUED
    assert counts(told, "s").begun == 2
    assert started(told.finish("o")) == ["s_0"]
    replayed(told)


def test_a_replica_that_waits_is_given_up_before_one_that_runs() -> None:
    told = story()
    told.submit(job("s", "guest", 4, replicas=[(0, 2), (HOUR, 1)]))
    told.wait(20 * MINUTE)
    told.submit(job("o", "owner", 4, time_ms=24 * HOUR))
    told.pass_time(2 * MINUTE)
    assert told.card("s_0").state is JobState.QUEUED
    told.wait(38 * MINUTE)
    assert scaled_down(told) == ["s_0"]
    assert told.card("s_0").state is JobState.SUCCEEDED
    assert told.holds("s_1")
    replayed(told)


def test_a_claim_that_is_no_longer_wanted_is_given_up_and_spares_its_victims() -> None:
    told = story()
    told.submit(job("g", "guest", 8, time_ms=24 * HOUR))
    told.wait(50 * MINUTE)
    assert claimed(told.submit(job("s", "owner", 8, replicas=[(0, 1), (51 * MINUTE - 1, 0)]))) == ["s_0"]
    told.wait(MINUTE - 1)
    assert scaled_down(told) == ["s_0"]
    told.decide()
    assert told.card("g").state is JobState.RUNNING
    assert told.card("g").claimant == ""
    assert counts(told, "s").active == 0
    replayed(told)


def test_a_reclaimed_replica_that_comes_back_too_late_is_not_wanted_any_more() -> None:
    told = story()
    told.submit(job("s", "guest", 8, replicas=[(0, 1), (21 * MINUTE + 1, 0)]))
    told.wait(20 * MINUTE)
    told.submit(job("o", "owner", 8))
    told.wait(MINUTE)
    assert told.card("s_0").state is JobState.STOPPING
    told.wait(1)
    assert scaled_down(told) == []
    told.finish("s_0", outcome=Outcome.PREEMPTED)
    assert scaled_down(told) == ["s_0"]
    assert told.card("s_0").state is JobState.SUCCEEDED
    replayed(told)


def test_a_cancelled_replica_is_replaced_and_a_cancelled_service_is_not() -> None:
    told = story()
    told.submit(job("s", "owner", 4, replicas=2))
    told.cancel("s_0")
    told.finish_stopping()
    assert told.card("s_0").state is JobState.CANCELLED
    assert told.holding() >= {"s_1", "s_2"}
    told.finish("s_1")
    told.cancel("s_1")
    assert told.holds("s_3")
    told.cancel("s")
    told.finish_stopping()
    assert told.card("s").state is JobState.CANCELLED
    assert told.world.next_wake_ms() is None
    assert rows_in_use(told.world) == 0
    replayed(told)


def test_a_service_that_waits_for_a_job_begins_with_the_profile_of_then() -> None:
    told = story()
    told.submit(job("first", "owner", 1, time_ms=24 * HOUR))
    told.submit(job("s", "owner", 1, replicas=DAY, depends=("first",)))
    told.pass_time(9 * HOUR)
    assert counts(told, "s").begun == 0
    assert len(started(told.finish("first"))) == 4
    replayed(told)


def test_a_service_survives_a_new_declaration_in_the_middle_of_the_night() -> None:
    told = story()
    told.submit(job("s", "owner", 2, replicas=DAY))
    told.pass_time(HOUR)
    told.declare(nation(TWO, nodes=2))
    assert told.world.next_wake_ms() == 8 * HOUR
    told.pass_time(8 * HOUR)
    assert counts(told, "s").running == 4
    replayed(told)


def test_replicas_that_lost_their_node_start_elsewhere() -> None:
    told = story(nodes=2)
    told.submit(job("s", "owner", 4, replicas=2))
    told.set_node(told.nodes_of("s_0")[0], "down")
    told.finish_stopping()
    assert {"s_0", "s_1"} <= told.holding()
    assert counts(told, "s").begun == 2
    replayed(told)
