"""Whatever happens to a small nation, the audit finds no fault with what the kernel decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dure.kernel import explain
from dure.model.events import (
    CancelRequested,
    NodeChanged,
    decode_fleet_event,
    encode,
)
from dure.model.jobs import JobState, Outcome
from dure.model.nation import Nation
from dure.model.plan import Claim, Plan, Stop, StopReason
from dure.world.quota import remember
from dure.world.world import World
from tests.kernel.nations import MINUTE, TIMING, job, nation, share
from tests.kernel.scenarios import retold
from tests.kernel.story import Story

Watch = Callable[[Story, Plan], None]


@st.composite
def trees(draw: st.DrawFn) -> Nation:
    nodes = draw(st.integers(1, 4))
    gpus = draw(st.sampled_from([2, 4, 8]))
    sites = draw(st.integers(1, 2))
    left = nodes * gpus * sites
    shares = []
    for owner in range(draw(st.integers(1, 3))):
        guarantee = draw(st.integers(0, left))
        left -= guarantee
        lend = draw(st.none() | st.integers(0, guarantee))
        limit = draw(st.none() | st.integers(guarantee, nodes * gpus * sites))
        children = draw(st.integers(0, 2))
        shares.append(share(f"o{owner}", guarantee=guarantee, lend=lend, limit=limit, weight=draw(st.integers(1, 3))))
        rest = guarantee
        for child in range(children):
            own = draw(st.integers(0, rest))
            rest -= own
            lend = draw(st.none() | st.integers(0, own))
            shares.append(share(f"o{owner}c{child}", f"o{owner}", guarantee=own, lend=lend))
    shares.append(share("guest"))
    return nation(shares, nodes=nodes, gpus=gpus, sites=sites)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("submit"),
            st.integers(0, 20),
            st.sampled_from([0.5, 1, 1, 2, 4, 8]),
            st.integers(1, 3),
            st.sampled_from([5, 20, 60]),
            st.booleans(),
            st.sampled_from([0, 0, 5]),
        ),
        st.tuples(
            st.just("elastic"),
            st.integers(0, 20),
            st.sampled_from([1, 2, 4, 8]),
            st.integers(1, 2),
            st.integers(2, 5),
            st.sampled_from([5, 20, 60]),
            st.booleans(),
        ),
        st.tuples(st.just("array"), st.integers(0, 20), st.sampled_from([0, 1, 2, 4]), st.integers(1, 9)),
        st.tuples(
            st.just("service"),
            st.integers(0, 20),
            st.sampled_from([0.5, 1, 2]),
            st.lists(
                st.tuples(st.integers(0, 90), st.integers(0, 4)), min_size=1, max_size=3, unique_by=lambda x: x[0]
            ),
        ),
        st.tuples(st.just("end"), st.integers(0, 20), st.sampled_from([Outcome.SUCCEEDED, Outcome.FAILED])),
        st.tuples(st.just("wait"), st.sampled_from([1, 5, 15, 40])),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(
            st.just("node"), st.integers(0, 7), st.sampled_from(["up", "up", "down", "drained", "cordoned", "suspect"])
        ),
    ),
    min_size=5,
    max_size=60,
)


def play(declared: Nation, actions: list[tuple[Any, ...]], watch: Watch | None = None) -> Story:
    """A nation's story; `watch` is called after each decision. What fails is told as a scenario."""
    with retold(Story(declared, watch)) as story:
        _play(story, declared, actions)
    return story


def _play(story: Story, declared: Nation, actions: list[tuple[Any, ...]]) -> None:
    owners = [each.name for each in declared.organisations]
    for number, action in enumerate(actions):
        active = [card.job for card in story.world.queue() + story.world.running()]
        match action:
            case ("submit", owner, gpus, nodes, minutes, preemptible, every):
                nodes = 1 if gpus < 1 else nodes
                story.happen(
                    job(
                        f"j{number}",
                        owners[owner % len(owners)],
                        gpus,
                        nodes=nodes,
                        at_ms=story.now_ms,
                        time_ms=minutes * MINUTE,
                        preemptible=preemptible or owner % 3 > 0,
                        checkpoint_every_ms=every * MINUTE,
                        sites=[site.name for site in declared.sites][: 1 + owner % 2],
                    )
                )
            case ("elastic", owner, gpus, least, most, minutes, saves):
                story.happen(
                    job(
                        f"j{number}",
                        owners[owner % len(owners)],
                        gpus,
                        nodes=most,
                        min_nodes=least if least < most else 0,
                        at_ms=story.now_ms,
                        time_ms=minutes * MINUTE,
                        checkpoint_every_ms=MINUTE,
                        saves_when_warned=saves,
                        preemptible=owner % 4 > 0,
                        sites=[site.name for site in declared.sites][: 1 + owner % 2],
                    )
                )
            case ("array", owner, gpus, tasks):
                story.happen(
                    job(f"j{number}", owners[owner % len(owners)], gpus, at_ms=story.now_ms, tasks=tasks, retry_limit=1)
                )
            case ("service", owner, gpus, steps):
                at_ms = [(minute * MINUTE, replicas) for minute, replicas in sorted(steps)]
                replicas = at_ms if any(each for _, each in at_ms) else 1
                name = f"j{number}"
                story.happen(job(name, owners[owner % len(owners)], gpus, at_ms=story.now_ms, replicas=replicas))
            case ("end", which, outcome):
                running = [card.job for card in story.world.running()]
                if running:
                    story.end(running[which % len(running)], outcome)
            case ("wait", minutes):
                story.pass_time(minutes * MINUTE)
            case ("cancel", which) if active:
                story.happen(CancelRequested(at_ms=story.now_ms, job=active[which % len(active)], by="test"))
            case ("node", which, state):
                nodes_ = story.world.nodes()
                name = nodes_[which % len(nodes_)].name
                story.happen(NodeChanged(at_ms=story.now_ms, node=name, state=state, by="test"))
        story.decide()
        story.finish_stopping()


RUNS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@RUNS
@given(trees(), ACTIONS)
def test_the_audit_never_finds_fault(declared: Nation, actions: list[tuple[Any, ...]]) -> None:
    play(declared, actions)


@RUNS
@given(trees(), ACTIONS)
def test_a_replayed_ledger_gives_the_same_world(declared: Nation, actions: list[tuple[Any, ...]]) -> None:
    story = play(declared, actions)
    again = World()
    for event in story.events:
        again.apply(decode_fleet_event(encode(event)))
    assert again.jobs == story.world.jobs
    again.follow_profiles(story.now_ms)
    for world in (again, story.world):
        # A share's usage is brought up to date when it is looked at, and a replay looks less often.
        for row in range(len(world.columns.shares)):
            remember(world.columns, row, story.now_ms)
    for field in ("used", "drawn", "usage", "usage_at_ms", "waiting", "queued"):
        np.testing.assert_array_equal(again.columns.shares[field], story.world.columns.shares[field], field)
    for field in ("idle", "idle_mask", "free_cpus_milli", "owed", "shared", "state"):
        np.testing.assert_array_equal(again.columns.nodes[field], story.world.columns.nodes[field], field)
    np.testing.assert_array_equal(again.columns.gpu_free_milli, story.world.columns.gpu_free_milli)
    np.testing.assert_array_equal(again.columns.idle_sets, story.world.columns.idle_sets)


@RUNS
@given(trees(), ACTIONS)
def test_an_owner_within_its_guarantee_waits_no_longer_than_protection_warning_and_grace(
    declared: Nation, actions: list[tuple[Any, ...]]
) -> None:
    """A whole-node job of an owner whose guarantee covers it starts in time, whoever has borrowed its GPUs.

    Its owner's other jobs are gone, everyone else's jobs may be reclaimed, and all nodes are in service.
    """
    story = play(declared, [action for action in actions if action[0] not in ("node", "cancel")])
    owner = declared.shares[0]
    gpus = declared.sites[0].nodes[0].gpus
    others_cannot_yield = any(not card.submitted.preemptible for card in story.world.running())
    has_children = any(each.parent == owner.name for each in declared.shares)
    if owner.amounts[0].guarantee_milli < gpus * 1000 or others_cannot_yield or has_children:
        return
    # A service whose replica was cancelled starts another, so it goes first, and its replicas with it.
    for card in list(story.world.jobs.values()):
        is_owners = card.submitted.project == f"{owner.name}-project"
        if not card.state.is_final and (is_owners or card.state is JobState.CLAIMED):
            story.happen(CancelRequested(at_ms=story.now_ms, job=card.job, by="test"))
    story.decide()
    story.finish_stopping()
    demanded_ms = story.now_ms
    sites = [site.name for site in declared.sites]
    story.happen(job("demand", owner.name, gpus, at_ms=story.now_ms, sites=sites))
    story.decide()
    story.pass_time(TIMING.protected_ms + TIMING.warning_ms + TIMING.grace_ms)
    started_ms = story.world.jobs["demand"].first_started_at_ms
    assert started_ms is not None
    assert started_ms - demanded_ms <= TIMING.protected_ms + TIMING.warning_ms + TIMING.grace_ms


@RUNS
@given(trees(), ACTIONS)
def test_a_victim_never_reclaims(declared: Nation, actions: list[tuple[Any, ...]]) -> None:
    story = play(declared, actions)
    victims: set[str] = set()
    for plan in story.plans:
        for decision in plan.decisions:
            if isinstance(decision, Claim):
                assert decision.job not in victims
            if isinstance(decision, Stop) and decision.reason is StopReason.RECLAIMED:
                victims.add(decision.job)


@RUNS
@given(trees(), ACTIONS)
def test_every_waiting_job_has_a_blocker(declared: Nation, actions: list[tuple[Any, ...]]) -> None:
    story = play(declared, actions)
    for card in story.world.queue():
        assert explain(story.world, card.job, story.now_ms).blockers, card


@RUNS
@given(trees(), ACTIONS)
def test_same_world_and_time_same_plan(declared: Nation, actions: list[tuple[Any, ...]]) -> None:
    assert play(declared, actions).plans == play(declared, actions).plans
