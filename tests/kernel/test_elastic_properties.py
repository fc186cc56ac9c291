"""Elastic jobs in random histories: never outside their range, and never resized twice within the protected time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dure.model.jobs import Outcome
from dure.model.nation import Nation
from dure.model.plan import Start, Stop, StopReason, Warn
from tests.kernel.nations import TIMING, nation, share
from tests.kernel.story import Story
from tests.kernel.test_properties import RUNS, play


@st.composite
def nations(draw: st.DrawFn) -> Nation:
    """Six nodes of eight GPUs, an owner and a guest."""
    return nation([share("owner", guarantee=8 * draw(st.integers(0, 6))), share("guest")], nodes=6)


ELASTIC = st.tuples(
    st.just("elastic"),
    st.integers(0, 20),
    st.sampled_from([4, 8]),
    st.integers(1, 2),
    st.integers(4, 8),
    st.just(600),
    st.just(True),
)
SHORT = st.tuples(
    st.just("submit"),
    st.integers(0, 20),
    st.just(8),
    st.integers(1, 4),
    st.just(5),
    st.just(True),
    st.just(0),
)
END = st.tuples(st.just("end"), st.integers(0, 20), st.just(Outcome.SUCCEEDED))
WAIT = st.tuples(st.just("wait"), st.sampled_from([1, 12, 40]))
NODE = st.tuples(st.just("node"), st.integers(0, 5), st.sampled_from(["up", "up", "down", "drained"]))


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """Rounds in which an elastic job begins beside a short one, which is soon over: then it may grow."""
    rounds = draw(st.lists(st.tuples(SHORT, ELASTIC, WAIT), min_size=1, max_size=3))
    between = draw(st.lists(st.lists(st.one_of(SHORT, END, WAIT, NODE), max_size=4), min_size=3, max_size=3))
    return [each for begun, more in zip(rounds, between, strict=False) for each in (*begun, *more)]


def resizes_of(story: Story, name: str) -> list[int]:
    """When a job was told that it would be resized."""
    told = [(plan.at_ms, each) for plan in story.plans for each in plan.decisions if isinstance(each, Warn)]
    return [at_ms for at_ms, each in told if each.job == name and each.resizes]


@RUNS
@given(nations(), histories())
def test_no_job_is_resized_twice_within_the_protected_time(declared: Nation, actions: list[tuple[Any, ...]]) -> None:
    story = play(declared, actions)
    for name in story.world.jobs:
        asked = resizes_of(story, name)
        assert all(later - earlier >= TIMING.protected_ms for earlier, later in pairwise(asked))


@RUNS
@given(nations(), histories())
def test_every_attempt_has_a_number_of_nodes_within_the_range(declared: Nation, actions: list[tuple[Any, ...]]) -> None:
    story = play(declared, actions)
    for plan in story.plans:
        for each in plan.decisions:
            if isinstance(each, Start):
                asked = story.world.jobs[each.job].submitted
                assert (asked.min_nodes or asked.nodes) <= len(each.placements) <= asked.nodes


@RUNS
@given(nations(), histories())
def test_who_was_stopped_to_grow_has_more_nodes_unless_others_came(
    declared: Nation, actions: list[tuple[Any, ...]]
) -> None:
    """It starts in the decision that follows its end, a quarter larger; stopped attempts end at once here."""
    story = play(declared, actions)
    sizes: dict[str, int] = {}
    growing: set[str] = set()
    for plan in story.plans:
        for each in plan.decisions:
            if isinstance(each, Start):
                size = len(each.placements)
                assert each.job not in growing or size * 4 >= sizes[each.job] * 5
                growing.discard(each.job)
                sizes[each.job] = size
            if isinstance(each, Stop) and each.reason is StopReason.RESIZED:
                growing.add(each.job)
