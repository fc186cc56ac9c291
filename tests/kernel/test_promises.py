"""What is promised to whoever shares, each promise by itself, seen after every decision in random nations.

The audit judges the same plans by the same rules (`test_properties.py`); here each rule is looked at in the world.
"""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dure.kernel import decide
from dure.model.events import CancelRequested
from dure.model.jobs import Outcome
from dure.model.nation import Nation
from dure.model.plan import Claim, Plan, Start, Warn
from dure.world.columns import CANDIDATE_VICTIMS
from tests.audit.definitions import overdraft
from tests.kernel.heads import Heads
from tests.kernel.nations import MINUTE, job, nation, share
from tests.kernel.scenarios import retold
from tests.kernel.story import Story
from tests.kernel.test_properties import ACTIONS, play, trees

RUNS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@RUNS
@given(trees(), ACTIONS)
def test_capacity_no_gpu_is_given_twice(declared: Nation, actions: list[tuple[Any, ...]]) -> None:
    def watch(story: Story, _: Plan) -> None:
        held: Counter[tuple[str, int]] = Counter()
        for card in story.world.running():
            for placement in card.placements:
                held.update(dict.fromkeys(((placement.node, gpu) for gpu in placement.gpus), placement.milli))
        assert max(held.values(), default=0) <= 1000

    play(declared, actions, watch)


@RUNS
@given(trees(), ACTIONS)
def test_quota_nobody_exceeds_a_limit_or_uses_what_others_keep(
    declared: Nation, actions: list[tuple[Any, ...]]
) -> None:
    def watch(story: Story, _: Plan) -> None:
        cards = story.world.shares()
        assert all(card.used_milli <= card.limit_milli for card in cards)
        used = {("H100", card.name): card.used_milli for card in cards}
        used["H100", ""] = sum(card.used_milli for card in cards if not card.parent)
        assert overdraft(declared, "H100", used) <= 0

    play(declared, actions, watch)


@RUNS
@given(trees(), ACTIONS)
def test_a_gang_is_whole_on_nodes_of_its_own_of_one_group(declared: Nation, actions: list[tuple[Any, ...]]) -> None:
    groups = {name: (site.name, group.name) for site, group in declared.node_groups() for name in group.node_names()}

    def watch(story: Story, plan: Plan) -> None:
        for decision in plan.decisions:
            if isinstance(decision, Start | Claim):
                nodes = [placement.node for placement in decision.placements]
                wanted = story.card(decision.job).submitted
                assert len(set(nodes)) == len(nodes)
                assert (wanted.min_nodes or wanted.nodes) <= len(nodes) <= wanted.nodes
                assert len({groups[node] for node in nodes}) == 1

    play(declared, actions, watch)


@RUNS
@given(trees(), ACTIONS)
def test_no_cycle_nobody_who_had_to_yield_makes_others_yield_in_turn(
    declared: Nation, actions: list[tuple[Any, ...]]
) -> None:
    yields_to: dict[str, set[str]] = {}

    def watch(_: Story, plan: Plan) -> None:
        for decision in plan.decisions:
            if isinstance(decision, Warn) and decision.claimant:
                yields_to.setdefault(decision.job, set()).add(decision.claimant)
        assert not any(_reaches(yields_to, victim, victim) for victim in yields_to)

    play(declared, actions, watch)


def _reaches(yields_to: dict[str, set[str]], start: str, goal: str) -> bool:
    found, waiting = set[str](), [start]
    while waiting:
        for following in yields_to.get(waiting.pop(), set()) - found:
            found.add(following)
            waiting.append(following)
    return goal in found


@RUNS
@given(trees(), ACTIONS)
def test_stability_a_world_at_rest_stays_at_rest(declared: Nation, actions: list[tuple[Any, ...]]) -> None:
    def watch(story: Story, _: Plan) -> None:
        assert decide(story.world.fork(), story.now_ms).decisions == ()

    story = play(declared, actions, watch)
    with retold(story):
        wake_ms = story.world.next_wake_ms()
        before_ms = story.now_ms + 10 * MINUTE if wake_ms is None else wake_ms - 1
        assert before_ms < story.now_ms or decide(story.world.fork(), before_ms).decisions == ()


@RUNS
@given(trees(), ACTIONS, st.integers(1, 4))
def test_budgets_a_pass_tries_no_more_in_vain_than_it_may(
    declared: Nation, actions: list[tuple[Any, ...]], depth: int
) -> None:
    def watch(story: Story, plan: Plan) -> None:
        assert (story.world.columns.classes["budget"] >= 0).all()
        warned = Counter(each.claimant for each in plan.decisions if isinstance(each, Warn))
        assert max(warned.values(), default=0) <= CANDIDATE_VICTIMS

    play(replace(declared, timing=replace(declared.timing, backfill_depth=depth)), actions, watch)


ARRIVALS = st.lists(
    st.tuples(
        st.integers(0, 30),  # minute of arrival
        st.integers(0, 2),  # whose
        st.integers(1, 4),  # GPUs per node
        st.integers(1, 3),  # nodes
        st.integers(1, 40),  # time limit in minutes
        st.integers(1, 4),  # quarters of it that it runs
        st.booleans(),  # may it run at either site
    ),
    min_size=3,
    max_size=25,
)


@settings(max_examples=100, deadline=None)
@given(ARRIVALS, st.integers(1, 2), st.integers(1, 3))
def test_head_never_delayed_what_is_reserved_is_true_whoever_starts_behind_it(
    arrivals: list[tuple[int, int, int, int, int, int, bool]], sites: int, owners: int
) -> None:
    """Among shares that are guaranteed nothing, when limits hold; jobs may end early. In one queue it gets no later."""
    guests = [share(f"guest{number}", weight=number + 1) for number in range(owners)]
    heads = Heads(one_queue=owners == 1)
    with retold(Story(nation(guests, nodes=3, gpus=4, sites=sites), heads.watch)) as story:
        _run_exactly(story, arrivals)
        assert not story.world.queue()


def _run_exactly(story: Story, arrivals: list[tuple[int, int, int, int, int, int, bool]]) -> None:
    """Every attempt ends when it is to end; decisions are made at each arrival and end."""
    moments: list[tuple[int, int, str]] = []
    for number, (minute, *_) in enumerate(arrivals):
        heappush(moments, (minute * MINUTE, 1, f"j{number}"))
    while moments:
        story.now_ms = moments[0][0]
        while moments and moments[0][0] == story.now_ms:
            _, arrives, name = heappop(moments)
            if arrives:
                story.happen(_arriving(story, name, arrivals[int(name[1:])]))
            else:
                story.end(name, Outcome.SUCCEEDED)
        for decision in story.decide().decisions:
            if isinstance(decision, Start):
                *_, minutes, quarters, _ = arrivals[int(decision.job[1:])]
                heappush(moments, (story.now_ms + minutes * quarters * MINUTE // 4, 0, decision.job))


def _arriving(story: Story, name: str, wanted: tuple[int, int, int, int, int, int, bool]) -> Any:
    _, whose, gpus, nodes, minutes, _, anywhere = wanted
    sites = ("site0", "site1") if anywhere else ("site0",)
    limit_ms = minutes * MINUTE
    owner = f"guest{whose % len(story.world.nation.shares)}"
    return job(name, owner, gpus, nodes=nodes, at_ms=story.now_ms, time_ms=limit_ms, sites=sites)


@RUNS
@given(trees(), ACTIONS, st.integers(0, 5))
def test_monotonic_a_job_that_goes_away_delays_nobody_who_could_start(
    declared: Nation, actions: list[tuple[Any, ...]], which: int
) -> None:
    """What runs goes on running when a waiting job is cancelled: giving up a place costs nobody else theirs."""
    story = play(declared, actions)
    waiting = [card.job for card in story.world.queue()]
    if not waiting:
        return
    with retold(story):
        before = {card.job for card in story.world.running()}
        story.happen(CancelRequested(at_ms=story.now_ms, job=waiting[which % len(waiting)], by="test"))
        story.decide()
        assert before <= {card.job for card in story.world.running()}
