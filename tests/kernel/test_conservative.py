"""Conservative backfill: whoever is promised a start has it by then, whatever arrives and whoever ends early."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dure.kernel import decide
from dure.model.blockers import BlockerCode
from dure.model.events import JobSubmitted, decode_fleet_event, encode
from dure.model.fleet import Topology
from dure.model.nation import Nation
from dure.model.plan import Plan
from dure.world.columns import NEVER
from dure.world.world import World
from tests.kernel.nations import HOUR, MINUTE, NO_TOPOLOGY, TIMING, job, nation, reservation, share
from tests.kernel.promises import Promises, reservations, run_exactly
from tests.kernel.scenarios import retold
from tests.kernel.story import Story, started
from tests.kernel.test_properties import ACTIONS, play, trees

GUEST = [share("guest")]


def conservative(
    most: int = 8, *, nodes: int = 3, gpus: int = 4, topology: Topology = NO_TOPOLOGY, owners: int = 1
) -> Nation:
    """Shares that are guaranteed nothing, usually one, and so many reservations."""
    shares = GUEST if owners == 1 else [share(f"guest{number}") for number in range(owners)]
    timing = replace(TIMING, backfill_reservations=most)
    return nation(shares, nodes=nodes, gpus=gpus, timing=timing, topology=topology)


def promised(story: Story) -> dict[str, int]:
    """When each waiting job is to start at the latest, in minutes from the start of the story."""
    return {each.job: each.at_ms // MINUTE for each in reservations(story)}


def one_of_two_busy(most: int = 8) -> Story:
    """One of two nodes is in use for an hour. The first in line wants both, the second one node for half an hour."""
    story = Story(conservative(most, nodes=2, gpus=8))
    story.submit(job("running", "guest", 8, time_ms=HOUR))
    story.submit(job("first", "guest", 8, nodes=2, time_ms=HOUR), job("second", "guest", 8, nodes=2, time_ms=HOUR))
    return story


def test_with_one_reservation_the_second_in_line_may_be_delayed() -> None:
    assert promised(one_of_two_busy(1)) == {"first": 60}


def test_everyone_in_line_gets_a_reservation_behind_the_others() -> None:
    assert promised(one_of_two_busy()) == {"first": 60, "second": 120}


def test_no_more_jobs_get_a_reservation_than_the_nation_says() -> None:
    story = one_of_two_busy(2)
    story.submit(job("third", "guest", 8, time_ms=2 * HOUR))
    assert promised(story) == {"first": 60, "second": 120}


def test_a_small_job_is_reserved_a_start_beside_the_others() -> None:
    story = one_of_two_busy()
    story.submit(job("beside", "guest", 8, time_ms=HOUR + 1), job("long", "guest", 8, time_ms=9 * HOUR))
    # Until first starts there is room for an hour only, and neither fits before second ends.
    assert promised(story) == {"first": 60, "second": 120, "beside": 180, "long": 180}


def test_a_job_that_would_delay_the_second_in_line_waits() -> None:
    story = Story(conservative(nodes=2, gpus=8))
    story.submit(job("running", "guest", 8, time_ms=HOUR), job("other", "guest", 8, time_ms=2 * HOUR))
    story.submit(job("first", "guest", 8, time_ms=HOUR), job("second", "guest", 8, nodes=2, time_ms=HOUR))
    assert promised(story) == {"first": 60, "second": 120}
    story.finish("other")
    assert promised(story) == {"second": 60}
    assert story.holds("first")


def test_who_ends_early_lets_the_first_in_line_forward_but_not_at_the_cost_of_the_second() -> None:
    """The corner where planning everybody anew in order breaks what the second was promised."""
    story = Story(conservative(nodes=2, gpus=8))
    story.submit(job("short", "guest", 8, time_ms=40 * MINUTE), job("long", "guest", 8, time_ms=100 * MINUTE))
    story.submit(job("first", "guest", 8, nodes=2, time_ms=HOUR), job("second", "guest", 8, time_ms=50 * MINUTE))
    assert promised(story) == {"first": 100, "second": 40}
    story.wait(20 * MINUTE)
    story.finish("long")
    # Both nodes are free at 0:40, when second is due. First could have them then, and second only at 1:40.
    assert story.holds("second")
    assert promised(story) == {"first": 90}
    story.wait(50 * MINUTE)
    assert started(story.finish("short", "second")) == ["first"]


def test_a_reservation_names_who_is_in_the_way_and_until_when() -> None:
    story = one_of_two_busy()
    story.submit(job("long", "guest", 8, time_ms=90 * MINUTE))
    found = [each for each in story.why("long").blockers if each.code is BlockerCode.RESERVED_FOR_HEAD]
    assert [(each.holders, each.until_ms) for each in found] == [(("first",), HOUR)]
    story.submit(job("longer", "guest", 8, time_ms=3 * HOUR))
    found = [each for each in story.why("longer").blockers if each.code is BlockerCode.RESERVED_FOR_HEAD]
    assert {each.holders for each in found} == {("first",), ("second",)}


def test_a_job_whose_turn_comes_first_is_not_held_up_by_what_others_were_promised() -> None:
    story = one_of_two_busy()
    story.submit(job("urgent", "guest", 8, priority=9, time_ms=9 * HOUR))
    assert story.holds("urgent")


def test_what_a_cancelled_job_was_promised_is_for_those_behind_it() -> None:
    story = one_of_two_busy()
    story.cancel("first")
    assert promised(story) == {"second": 60}


def test_jobs_on_a_part_of_a_node_hold_a_whole_one_while_they_wait() -> None:
    story = Story(conservative(nodes=2, gpus=8))
    story.submit(*[job(f"r{number}", "guest", 8, time_ms=HOUR) for number in range(2)])
    story.submit(*[job(f"part{number}", "guest", 1, time_ms=HOUR) for number in range(3)])
    assert promised(story) == {"part0": 60, "part1": 60, "part2": 120}
    # When their time comes they share a node all the same.
    story.wait(HOUR)
    assert started(story.finish("r0", "r1")) == ["part0", "part1", "part2"]
    assert len({node for number in range(3) for node in story.nodes_of(f"part{number}")}) == 1


def test_a_reserved_job_has_less_to_spare_for_each_that_is_to_run_when_it_begins() -> None:
    story = Story(conservative(nodes=4, gpus=8))
    story.submit(*[job(f"r{number}", "guest", 8, time_ms=(30 + number // 2 * 30) * MINUTE) for number in range(4)])
    story.submit(job("head", "guest", 8, nodes=3))
    story.submit(*[job(name, "guest", 8, time_ms=40 * MINUTE) for name in ("second", "third")])
    # Head can spare one of the four nodes at 1:00, and second has it until 1:10.
    assert promised(story) == {"head": 60, "second": 30, "third": 70}


def test_what_is_reserved_is_in_the_ledger() -> None:
    story = one_of_two_busy()
    again = World()
    for event in story.events:
        again.apply(decode_fleet_event(encode(event)))
    assert [each.job for each in again.reserved] == ["first", "second"]
    assert again.newly_reserved() is None


def test_a_job_behind_the_first_that_only_waits_for_quota_keeps_no_nodes() -> None:
    timing = replace(TIMING, backfill_reservations=8)
    shares = [share("guest"), share("owner", guarantee=8, lend=0)]
    story = Story(nation(shares, nodes=2, timing=timing))
    story.submit(job("running", "guest", 4, time_ms=HOUR), job("large", "guest", 8, nodes=2), job("wide", "guest", 6))
    assert promised(story) == {"large": 60}


def test_a_share_at_its_limit_puts_nobody_off() -> None:
    timing = replace(TIMING, backfill_reservations=8)
    story = Story(nation([share("full", limit=0), share("guest")], nodes=2, timing=timing))
    story.submit(job("running", "guest", 8, time_ms=HOUR), job("other", "guest", 4, time_ms=2 * HOUR))
    story.submit(job("first", "guest", 8, nodes=2), job("second", "guest", 4, time_ms=90 * MINUTE))
    before = promised(story)
    story.submit(job("never", "full", 1))
    assert promised(story) == before


def test_gangs_in_different_racks_do_not_wait_for_each_other() -> None:
    story = Story(conservative(nodes=4, gpus=8, topology=Topology(domain=2, rack=2)))
    story.submit(*[job(f"r{number}", "guest", 8, time_ms=HOUR) for number in range(4)])
    story.submit(*[job(f"gang{number}", "guest", 8, nodes=2, within="domain") for number in range(3)])
    assert promised(story) == {"gang0": 60, "gang1": 60, "gang2": 120}


def test_maintenance_ahead_counts_behind_other_reservations() -> None:
    timing = replace(TIMING, backfill_reservations=8)
    ahead = reservation("maintenance", 2 * HOUR, 3 * HOUR, 0, 1)
    story = Story(nation(GUEST, nodes=2, timing=timing, reservations=[ahead]))
    story.submit(job("running", "guest", 8, nodes=2, time_ms=HOUR))
    story.submit(*[job(name, "guest", 8, nodes=2, time_ms=45 * MINUTE) for name in ("first", "second")])
    assert promised(story) == {"first": 60, "second": 180}


LINES = st.lists(
    st.tuples(
        st.integers(0, 1800),  # second of arrival
        st.sampled_from([1, 1, 2, 3, 4]),  # GPUs per node
        st.integers(1, 3),  # nodes
        st.integers(1, 40),  # time limit in minutes
        st.integers(1, 4),  # quarters of it that it runs
    ),
    min_size=3,
    max_size=25,
)
Line = list[tuple[int, int, int, int, int]]


def arrivals(line: Line, within: str = "site", owners: int = 1) -> list[tuple[int, JobSubmitted, int]]:
    """When each job comes, what it asks for, and how long it runs."""
    found = []
    for number, (second, gpus, nodes, minutes, quarters) in enumerate(line):
        owner = "guest" if owners == 1 else f"guest{number % owners}"
        near = within if nodes > 1 else "site"
        at_ms, limit_ms = second * 1000, minutes * MINUTE
        asked = job(f"j{number:02}", owner, gpus, nodes=nodes, at_ms=at_ms, time_ms=limit_ms, within=near)
        found.append((at_ms, asked, limit_ms * quarters // 4))
    return sorted(found, key=lambda each: (each[0], each[1].job))


@settings(max_examples=100, deadline=None)
@given(LINES, st.integers(2, 8))
def test_in_one_queue_nobody_starts_later_than_first_promised(line: Line, most: int) -> None:
    """Limits hold, jobs may end early, and others arrive all the time."""
    promises = Promises()
    with retold(Story(conservative(most), promises.watch)) as story:
        run_exactly(story, arrivals(line))
        assert not story.world.queue()
        assert not promises.broken


@settings(max_examples=50, deadline=None)
@given(LINES, st.integers(2, 8), st.sampled_from(["domain", "block"]))
def test_gangs_that_stay_together_start_no_later_than_first_promised(line: Line, most: int, within: str) -> None:
    promises = Promises()
    near = Topology(domain=3, rack=3, block=6)
    with retold(Story(conservative(most, nodes=6, topology=near), promises.watch)) as story:
        run_exactly(story, arrivals(line, within))
        assert not story.world.queue()
        assert not promises.broken


@settings(max_examples=50, deadline=None)
@given(LINES, st.integers(2, 8), st.integers(2, 3))
def test_among_shares_all_that_is_promised_can_be_kept_together(line: Line, most: int, owners: int) -> None:
    """Whose turn it is may change, and with it who is promised what; but no promise is made that cannot be kept."""
    with retold(Story(conservative(most, owners=owners), Promises().watch)) as story:
        run_exactly(story, arrivals(line, owners=owners))
        assert not story.world.queue()


@pytest.mark.parametrize(("most", "wakes_ms"), [(1, NEVER), (2, HOUR), (8, HOUR)])
def test_everyone_is_tried_when_one_of_several_reserved_starts_is_due(most: int, wakes_ms: int) -> None:
    """Though nothing else may happen then: a job may have waited only for the start of another."""
    story = Story(conservative(most, nodes=2, gpus=8))
    story.submit(job("running", "guest", 8, time_ms=2 * HOUR), job("other", "guest", 4, time_ms=HOUR))
    story.submit(job("first", "guest", 8, time_ms=HOUR))
    assert story.world.columns.counters[0].wake_ms == wakes_ms


RUNS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@RUNS
@given(trees(), ACTIONS, st.integers(2, 6))
def test_in_any_nation_the_audit_finds_no_fault_and_a_world_at_rest_stays_at_rest(
    declared: Nation, actions: list[tuple[Any, ...]], most: int
) -> None:
    def watch(story: Story, _: Plan) -> None:
        again = decide(story.world.fork(), story.now_ms)
        assert (again.decisions, again.reserved) == ((), None)

    play(with_reservations(declared, most), actions, watch)


@RUNS
@given(trees(), ACTIONS, st.integers(2, 6))
def test_what_is_reserved_outlives_the_scheduler(declared: Nation, actions: list[tuple[Any, ...]], most: int) -> None:
    story = play(with_reservations(declared, most), actions)
    again = World()
    for event in story.events:
        again.apply(decode_fleet_event(encode(event)))
    assert again.reserved == story.world.reserved
    assert again.newly_reserved() is None


def with_reservations(declared: Nation, most: int) -> Nation:
    return replace(declared, timing=replace(declared.timing, backfill_reservations=most))
