"""Whatever parts, slices and whole jobs come and go, a GPU has one use at a time and is whole again when empty."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dure.kernel import explain
from dure.model.events import NodeChanged, decode_fleet_event, encode
from dure.model.jobs import Outcome
from dure.world.columns import NONE
from dure.world.parts import CUT, LEVELS, next_level, next_node_at
from dure.world.slices import PLACES
from dure.world.world import World
from tests.kernel.nations import MINUTE, SLICES, WHOLE, job, nation, share
from tests.kernel.story import Story

SHARES = [share("owner", guarantee=4), share("lender", guarantee=2, lend=1), share("guest")]
OWNERS = ("owner", "lender", "guest")

WANTS = st.one_of(
    st.tuples(st.just("part"), st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.7])),
    st.tuples(st.just("slice"), st.sampled_from(sorted(SLICES))),
    st.tuples(st.just("whole"), st.sampled_from([1, 1, 2])),
)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), WANTS, st.integers(0, 2), st.sampled_from([0, 0, 4, 12]), st.booleans()),
        st.tuples(st.just("submit"), WANTS, st.integers(0, 2), st.sampled_from([0, 0, 4, 12]), st.booleans()),
        st.tuples(st.just("end"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.sampled_from([1, 12, 40])),
        st.tuples(st.just("node"), st.integers(0, 3), st.sampled_from(["up", "up", "down", "drained"])),
    ),
    min_size=5,
    max_size=50,
)
RUNS = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def play(actions: list[tuple[Any, ...]]) -> Story:
    story = Story(nation(SHARES, nodes=2, gpus=2, sites=2, cpus=32))
    for number, action in enumerate(actions):
        match action:
            case ("submit", (kind, amount), owner, cpus, anywhere):
                want: dict[str, Any] = {"profile": amount} if kind == "slice" else {"gpus": amount}
                sites = ["site0", "site1"] if anywhere else ["site1"]
                story.submit(job(f"j{number}", OWNERS[owner], time_ms=30 * MINUTE, cpus=cpus, sites=sites, **want))
            case ("end", which):
                running = [card.job for card in story.world.running()]
                if running:
                    story.finish(running[which % len(running)], outcome=Outcome.SUCCEEDED)
            case ("wait", minutes):
                story.pass_time(minutes * MINUTE)
            case ("node", which, state):
                name = story.world.nodes()[which].name
                story.happen(NodeChanged(at_ms=story.now_ms, node=name, state=state, by="test"))
        story.decide()
        story.finish_stopping()
        check_gpus(story.world)
        check_index(story.world)
    return story


def held_parts(world: World) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """What each GPU is used for, from the allocations alone: thousandths and slices of every job on it."""
    held: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for card in world._active_cards():
        at = int(world.columns.jobs[card.row].first_allocation)
        while at != NONE:
            record = world.columns.allocations[at]
            for gpu in range(16):
                if record.gpu_mask >> gpu & 1:
                    held.setdefault((int(record.node), gpu), []).append((int(record.milli), int(record.slices)))
            at = int(record.next_of_job)
    return held


def check_gpus(world: World) -> None:
    held = held_parts(world)
    places = {((1 << count) - 1) << start for count, starts in PLACES for start in starts}
    for node in range(world.atlas.node_count):
        for gpu in range(int(world.columns.nodes[node].gpus)):
            uses = held.get((node, gpu), [])
            masks = [slices for _, slices in uses]
            assert len({bool(mask) for mask in masks}) <= 1, "cut and shared at once"
            assert sum(masks) == np.bitwise_or.reduce(masks or [0]), "slices overlap"
            assert all(mask in places for mask in masks if mask)
            assert int(world.columns.gpu_free_milli[node, gpu]) == WHOLE - sum(milli for milli, _ in uses)
            assert bool(world.columns.nodes[node].idle_mask >> gpu & 1) == (not uses)
            in_parts = [mask for milli, mask in uses if milli < WHOLE]
            assert int(world.columns.gpu_slices[node, gpu]) == sum(in_parts)


def check_index(world: World) -> None:
    """The index of parts holds exactly the levels that a look at every GPU finds."""
    columns = world.columns
    found: set[tuple[int, int]] = set()
    wanted: set[tuple[int, int]] = set()
    level = int(next_level(columns, 0, 0))
    while level != NONE:
        node = int(next_node_at(columns, 0, level, 0))
        assert node != NONE, "a level without nodes"
        while node != NONE:
            found.add((level, node))
            node = int(next_node_at(columns, 0, level, node + 1))
        level = int(next_level(columns, 0, level + 1))
    for node in range(world.atlas.node_count):
        for gpu in range(int(columns.nodes[node].gpus)):
            free, slices = int(columns.gpu_free_milli[node, gpu]), int(columns.gpu_slices[node, gpu])
            if columns.nodes[node].state != 0 or (slices == 0 and free == WHOLE):
                continue
            if slices or free:
                wanted.add((CUT + slices if slices else free, node))
    assert found == wanted
    assert all(0 < level < LEVELS for level, _ in found)


@RUNS
@given(ACTIONS)
def test_a_gpu_has_one_use_at_a_time_and_the_audit_finds_no_fault(actions: list[tuple[Any, ...]]) -> None:
    play(actions)


@RUNS
@given(ACTIONS)
def test_when_all_jobs_are_over_every_gpu_is_whole(actions: list[tuple[Any, ...]]) -> None:
    story = play(actions)
    for name in [node.name for node in story.world.nodes()]:
        story.set_node(name, "up")
    while story.world.running() or story.world.queue():
        story.pass_time(10 * MINUTE)
        story.finish(*[card.job for card in story.world.running()])
    world = story.world
    assert all(node.free_gpus_milli == node.gpus * WHOLE for node in world.nodes())
    assert not world.columns.gpu_slices.any()
    assert not world.columns.part_sets.any()
    assert not world.columns.nodes["shared"].any()
    assert [each.used_milli for each in world.shares()] == [0, 0, 0]


@RUNS
@given(ACTIONS)
def test_a_replay_and_a_fork_hold_the_same_slices(actions: list[tuple[Any, ...]]) -> None:
    story = play(actions)
    again = World()
    for event in story.events:
        again.apply(decode_fleet_event(encode(event)))
    assert again.jobs == story.world.jobs
    for world in (again, story.world.fork()):
        np.testing.assert_array_equal(world.columns.gpu_slices, story.world.columns.gpu_slices)
        np.testing.assert_array_equal(world.columns.gpu_free_milli, story.world.columns.gpu_free_milli)
        np.testing.assert_array_equal(world.columns.part_sets, story.world.columns.part_sets)
    check_gpus(again)


@RUNS
@given(ACTIONS)
def test_every_part_that_waits_has_a_blocker(actions: list[tuple[Any, ...]]) -> None:
    story = play(actions)
    for card in story.world.queue():
        assert explain(story.world, card.job, story.now_ms).blockers, card
