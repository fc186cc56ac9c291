"""Arrays: many tasks from one row of the queue, each started, retried, reclaimed and cancelled like a job."""

from __future__ import annotations

from dure.model.blockers import BlockerCode
from dure.model.events import CancelRequested, decode_fleet_event, encode
from dure.model.jobs import JobState, Outcome
from dure.world.cards import Copies
from dure.world.columns import NONE, SPENT
from dure.world.world import World
from tests.kernel.nations import MINUTE, job, nation, share
from tests.kernel.story import Story, claimed, started, warned

TWO = [share("owner", guarantee=8), share("guest")]


def story(nodes: int = 1) -> Story:
    return Story(nation(TWO, nodes=nodes))


def counts(told: Story, name: str = "a") -> Copies:
    copies = told.card(name).copies
    assert copies is not None
    return copies


def rows_in_use(world: World) -> int:
    free = 0
    at = int(world.columns.counters[0].first_free_job)
    while at != NONE:
        free, at = free + 1, int(world.columns.jobs[at].next)
    return len(world.columns.jobs) - free


def replayed(told: Story) -> World:
    again = World()
    for event in told.events:
        again.apply(decode_fleet_event(encode(event)))
    assert again.jobs == told.world.jobs
    assert (again.columns.jobs["number"] == told.world.columns.jobs["number"]).all()
    assert (again.columns.jobs["next"] == told.world.columns.jobs["next"]).all()
    return again


def test_an_array_takes_one_row_and_one_for_each_task_that_runs() -> None:
    told = story()
    plan = told.submit(job("a", "owner", 2, tasks=100_000))
    assert started(plan) == ["a_0", "a_1", "a_2", "a_3"]
    assert rows_in_use(told.world) == 5
    assert told.world.columns.shares["queued"].sum() == 1
    assert counts(told) == Copies(total=100_000, begun=4, running=4)
    assert counts(told).waiting == 99_996
    assert len(told.world.jobs) == 5


def test_when_a_task_ends_the_next_one_starts() -> None:
    told = story()
    told.submit(job("a", "owner", 4, tasks=5, first_task=3))
    assert started(told.finish("a_3")) == ["a_5"]
    assert started(told.finish("a_4", "a_5")) == ["a_6", "a_7"]
    assert told.card("a").state is JobState.RUNNING
    assert told.world.columns.jobs[told.card("a").row].state == SPENT
    assert told.world.columns.shares["queued"].sum() == 0
    told.finish("a_6", "a_7")
    assert told.card("a").state is JobState.SUCCEEDED
    assert rows_in_use(told.world) == 0
    replayed(told)


def test_the_kernel_asks_for_more_rows_when_it_has_none_left() -> None:
    told = Story(nation([share("owner", guarantee=16 * 100)], nodes=100, gpus=16))
    told.submit(job("a", "owner", 1, tasks=2_000))
    assert counts(told).running == 1_600
    assert len(told.world.columns.jobs) == 2_048
    replayed(told)


def test_tasks_without_gpus_over_several_nodes_find_room_for_their_records() -> None:
    told = Story(nation([share("owner", guarantee=8)], nodes=8, gpus=1))
    told.submit(job("a", "owner", 0, nodes=8, tasks=500))
    assert counts(told).running == 500
    replayed(told)


def test_jobs_of_a_share_and_its_arrays_start_in_the_order_of_submission() -> None:
    told = story()
    told.submit(job("block", "owner", 8))
    told.submit(job("a", "owner", 4, tasks=3), job("later", "owner", 4), job("b", "owner", 4, tasks=2))
    assert started(told.finish("block")) == ["a_0", "a_1"]
    assert started(told.finish("a_0", "a_1")) == ["a_2", "later"]
    assert started(told.finish("a_2", "later")) == ["b_0", "b_1"]


def test_a_failed_task_with_a_retry_left_goes_before_tasks_that_have_not_begun() -> None:
    told = story()
    told.submit(job("a", "owner", 8, tasks=3, retry_limit=1))
    told.finish("a_0", outcome=Outcome.FAILED)
    assert told.card("a_0").state is JobState.HELD
    told.pass_time(MINUTE)
    assert started(told.finish("a_1")) == ["a_0"]
    told.finish("a_0", outcome=Outcome.FAILED)
    assert told.card("a_0").state is JobState.FAILED
    told.finish("a_2")
    assert told.card("a").state is JobState.FAILED
    assert counts(told) == Copies(total=3, begun=3, succeeded=2, failed=1)
    replayed(told)


def test_a_reclaimed_task_goes_back_and_the_array_goes_on() -> None:
    told = story()
    told.submit(job("a", "guest", 4, tasks=4, checkpoint_every_ms=MINUTE))
    told.wait(20 * MINUTE)
    assert warned(told.submit(job("o", "owner", 4))) == ["a_0"]
    told.pass_time(2 * MINUTE)
    assert told.card("a_0").state is JobState.QUEUED
    assert told.card("a_0").preemptions == 1
    assert counts(told).waiting == 3
    assert started(told.finish("a_1")) == ["a_0"]
    assert told.card("a_0").attempt == 2
    replayed(told)


def test_a_task_reclaims_what_its_share_is_guaranteed() -> None:
    told = story()
    told.submit(job("g", "guest", 8))
    told.wait(20 * MINUTE)
    plan = told.submit(job("a", "owner", 8, tasks=2))
    assert claimed(plan) == ["a_0"]
    assert told.card("g").claimant == "a_0"
    told.pass_time(2 * MINUTE)
    assert told.holds("a_0")
    assert started(told.finish("a_0")) == ["a_1"]
    replayed(told)


def test_cancelling_an_array_stops_its_tasks_and_starts_no_more() -> None:
    told = story()
    told.submit(job("a", "owner", 4, tasks=1_000))
    told.cancel("a")
    told.finish_stopping()
    assert told.card("a_0").state is JobState.CANCELLED
    assert told.card("a").state is JobState.CANCELLED
    assert counts(told) == Copies(total=1_000, begun=1_000, cancelled=1_000)
    assert rows_in_use(told.world) == 0
    replayed(told)


def test_one_task_is_cancelled_before_or_after_it_began() -> None:
    told = story()
    told.submit(job("a", "owner", 4, tasks=7))
    told.cancel("a_5", "a_3", "a_2", "a_3", "a_0")
    assert told.card("a_3").state is JobState.CANCELLED
    told.finish("a_0", outcome=Outcome.CANCELLED)
    assert told.holding() == {"a_1", "a_4"}
    assert started(told.finish("a_1", "a_4")) == ["a_6"]
    told.finish("a_6")
    assert told.card("a").state is JobState.CANCELLED
    assert counts(told) == Copies(total=7, begun=7, succeeded=3, cancelled=4)
    assert rows_in_use(told.world) == 0
    replayed(told)


def test_an_array_whose_last_tasks_are_cancelled_is_over() -> None:
    told = story()
    told.submit(job("a", "owner", 8, tasks=2))
    told.finish("a_0")
    told.cancel("a_1")
    told.finish("a_1", outcome=Outcome.CANCELLED)
    assert told.card("a").state is JobState.CANCELLED
    told.cancel("a_1", "a_9", "a")
    assert rows_in_use(told.world) == 0


def test_a_job_that_depends_on_an_array_starts_when_all_tasks_succeeded() -> None:
    told = story()
    told.submit(job("a", "owner", 8, tasks=2), job("after", "owner", 1, depends=("a",)))
    told.finish("a_0")
    assert told.card("after").state is JobState.HELD
    told.finish("a_1")
    assert told.holds("after")


def test_a_job_may_depend_on_a_task_that_has_not_begun() -> None:
    told = story()
    told.submit(job("a", "owner", 8, tasks=3), job("after", "owner", 1, depends=("a_1",)))
    assert [each.holders for each in told.why("after").blockers] == [("a_1",)]
    told.finish("a_0")
    told.finish("a_1")
    assert told.card("after").state is JobState.QUEUED


def test_a_failed_task_dooms_whoever_waits_for_the_array() -> None:
    told = story()
    told.submit(job("a", "owner", 4, tasks=9), job("after", "owner", 1, depends=("a",)))
    told.finish("a_0", outcome=Outcome.FAILED)
    assert told.world.doomed() == ["after"]


def test_an_array_that_waits_for_a_job_begins_when_that_succeeded() -> None:
    told = story()
    told.submit(job("first", "owner", 1), job("a", "owner", 4, tasks=3, depends=("first",)))
    assert told.card("a").state is JobState.HELD
    assert started(told.finish("first")) == ["a_0", "a_1"]


def test_why_tells_how_many_tasks_wait_and_what_for() -> None:
    told = story()
    told.submit(job("block", "owner", 8), job("a", "owner", 4, tasks=50))
    assert told.why("a").tasks_waiting == 50
    assert told.why("a").position == 1
    assert told.blocker("a", BlockerCode.NOT_ENOUGH_GPUS).short_milli == 4000
    assert told.why("a_17").blockers == told.why("a").blockers


def test_a_claim_of_a_task_that_loses_its_node_is_given_up_and_made_again() -> None:
    told = story(nodes=2)
    told.submit(job("g1", "guest", 8), job("g2", "guest", 8))
    told.wait(20 * MINUTE)
    assert claimed(told.submit(job("a", "owner", 8, tasks=1))) == ["a_0"]
    told.happen_to(told.nodes_of("a_0")[0], "drained")
    assert told.card("a_0").state is JobState.QUEUED
    assert claimed(told.decide()) == ["a_0"]
    replayed(told)


def test_an_array_survives_a_new_declaration() -> None:
    told = story()
    told.submit(job("a", "owner", 4, tasks=6))
    told.cancel("a_3")
    told.declare(nation(TWO, nodes=2))
    assert told.holding() == {"a_0", "a_1", "a_2", "a_4"}
    told.finish("a_0", "a_1", "a_2", "a_4")
    told.finish("a_5")
    assert counts(told) == Copies(total=6, begun=6, succeeded=5, cancelled=1)
    assert rows_in_use(told.world) == 0
    replayed(told)


def test_a_fork_starts_tasks_of_its_own() -> None:
    told = story()
    told.submit(job("a", "owner", 4, tasks=6))
    other = told.world.fork()
    other.apply(CancelRequested(at_ms=0, job="a", by="test"))
    assert counts(told) == Copies(total=6, begun=2, running=2)
    assert told.card("a_0").cancel_requested is False
    assert started(told.finish("a_0")) == ["a_2"]


def test_when_it_is_too_late_for_an_array_tasks_that_have_begun_go_on() -> None:
    told = story()
    told.submit(job("a", "owner", 8, tasks=3, time_ms=40 * MINUTE, not_after_ms=30 * MINUTE))
    assert told.world.next_wake_ms() == 30 * MINUTE + 1
    told.wait(30 * MINUTE + 1)
    assert told.holds("a_0")
    told.finish("a_0")
    assert told.card("a").state is JobState.CANCELLED
    assert counts(told) == Copies(total=3, begun=3, succeeded=1, cancelled=2)
    assert rows_in_use(told.world) == 0
    replayed(told)
