"""What each policy does and never does, in stories of a few jobs; and that the audit agrees with all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from dure.kernel.policies import POLICIES
from dure.model.units import HOUR_MS, MINUTE_MS
from dure.sources.errors import BadSource
from dure.sources.faults import drawn_faults
from dure.twin.compare import compare
from dure.twin.events import DONE, advance
from dure.twin.run import RunReport, run_scene
from dure.twin.scene import Scene
from dure.world.columns import NEVER, NONE
from tests.twin.scenes import TIMING, Told, small_scene, told_scene

NO_RECLAIM = ("fifo", "sjf", "priority-backfill", "conservative")
RECLAIM = ("fair-share", "bestfit", "fgd", "dure")
YIELDS_MIN = (TIMING.warning_ms + TIMING.grace_ms) / MINUTE_MS
"""From an owner's demand to its GPUs, when the borrowers' protected time is over: warning and grace."""


def starts_min(scene: Scene) -> list[float | None]:
    """When each job first starts, in minutes; None for one that never does."""
    _, columns, run = scene.begin(keep_log=False)
    while advance(columns, run, NEVER, 1_000_000) != DONE:
        pass
    starts = columns.jobs["first_started_ms"][: len(scene.declared.trace)].tolist()
    return [None if start == NONE else start / MINUTE_MS for start in starts]


def told(policy: str, fleet: str, guarantees: dict[str, int], *jobs: Told) -> list[float | None]:
    return starts_min(told_scene(policy, fleet, guarantees, jobs))


# What each does with GPUs that their owner does not use.


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_but_silo_lets_others_use_what_is_idle(policy: str) -> None:
    starts = told(policy, "2x8", {"owner": 8, "other": 8}, Told("other", 0, 60), Told("other", 0, 60))
    assert starts == ([0, 60] if policy == "silo" else [0, 0])


def test_silo_gives_every_owner_nodes_of_its_own() -> None:
    scene = told_scene("silo", "2x8+1x4", {"a": 3, "b": 5, "c": 10}, [Told("a", 0, 60, 1)])
    fleet = scene.declared.fleet
    groups = [(fleet.gpu_classes[each.class_index], each.count, each.gpus) for each in fleet.groups]
    assert groups == [("GPU@a", 1, 3), ("GPU@b", 1, 5), ("GPU@c", 1, 8), ("GPU@c", 1, 2)]


def test_silo_divides_cores_and_memory_with_the_gpus_of_a_node() -> None:
    scene = told_scene("silo", "1x8", {"a": 2, "b": 6}, [Told("a", 0, 60, 1)])
    assert [each.cpus_milli for each in scene.declared.fleet.groups] == [32_000, 96_000]


def test_under_silo_members_of_one_owner_still_share() -> None:
    scene = told_scene("silo", "2x8", {"owner": 16, "lab": 8, "guest": 8}, [Told("lab", 0, 60), Told("lab", 0, 60)])
    owner, *members = scene.shares
    below = [structs.replace(each, parent="owner") for each in members]
    assert starts_min(replace(scene, shares=(owner, *below))) == [0, 0]


def test_silo_refuses_what_is_larger_than_all_its_owner_has() -> None:
    report = run_scene(
        told_scene("silo", "2x8", {"a": 8, "b": 8}, [Told("a", 0, 60, nodes=2), Told("b", 0, 60), Told("b", 0, 60, 1)])
    )
    assert (report.jobs, report.refused, report.finished) == (3, 1, 2)


def test_silo_refuses_the_jobs_of_whoever_is_guaranteed_nothing() -> None:
    scene = told_scene("silo", "1x8", {"a": 8, "guest": 0}, [Told("guest", 0, 60), Told("a", 5, 60)])
    assert (run_scene(scene).refused, starts_min(scene)) == (1, [0])
    with pytest.raises(BadSource):
        run_scene(told_scene("silo", "1x8", {"a": 8, "guest": 0}, [Told("guest", 0, 60)]))


def test_silo_says_that_it_cannot_play_failures_of_nodes() -> None:
    scene = told_scene("silo", "2x8", {"a": 8, "b": 8}, [Told("a", 0, 60)])
    failing = replace(scene, faults=drawn_faults(0, scene.fleet, HOUR_MS, HOUR_MS, 24 * HOUR_MS))
    with pytest.raises(BadSource, match="silo divides nodes among owners"):
        run_scene(failing)


# Who gets them back.

LENT = (Told("other", 0, 600), Told("owner", 20, 60))
"""The other has taken all there is, when the owner comes."""


@pytest.mark.parametrize("policy", RECLAIM)
def test_an_owner_has_its_gpus_after_warning_and_grace(policy: str) -> None:
    scene = told_scene(policy, "1x8", {"owner": 8, "other": 0}, LENT)
    assert starts_min(scene) == [0, 20 + YIELDS_MIN]
    assert run_scene(scene).reclaimed == 1


@pytest.mark.parametrize("policy", NO_RECLAIM)
def test_without_reclaim_an_owner_waits_like_everybody(policy: str) -> None:
    scene = told_scene(policy, "1x8", {"owner": 8, "other": 0}, LENT)
    assert starts_min(scene) == [0, 600]
    assert run_scene(scene).reclaimed == 0


@pytest.mark.parametrize("policy", NO_RECLAIM)
def test_what_never_reclaims_never_does_on_a_busy_fleet(policy: str) -> None:
    assert run_scene(small_scene(policy=policy)).reclaimed == 0


# Who is next.

HISTORY = (
    Told("first", 0, 600),
    Told("first", 10, 60),
    Told("second", 20, 60),
)
"""The first used all for ten hours; now both want it."""


@pytest.mark.parametrize("policy", ["dure", "bestfit", "fgd", "priority-backfill", "conservative"])
def test_whoever_used_much_lately_yields_where_usage_is_remembered(policy: str) -> None:
    assert told(policy, "1x8", {"first": 0, "second": 0}, *HISTORY) == [0, 660, 600]


@pytest.mark.parametrize("policy", ["fair-share", "fifo", "sjf"])
def test_what_was_used_is_forgotten_elsewhere(policy: str) -> None:
    assert told(policy, "1x8", {"first": 0, "second": 0}, *HISTORY) == [0, 600, 660]


def test_fair_share_gives_the_surplus_to_whoever_borrows_least_now() -> None:
    """The first uses more, but borrows less."""
    starts = told(
        "fair-share",
        "4x8",
        {"first": 16, "second": 0},
        Told("first", 0, 600),
        Told("first", 0, 600),
        Told("second", 0, 600),
        Told("second", 0, 60),
        Told("second", 30, 60),
        Told("first", 40, 60),
    )
    assert starts == [0, 0, 0, 0, 120, 60]


def test_fair_share_divides_what_is_borrowed_by_weight() -> None:
    """The first borrows twice as much as the second, with four times the weight."""
    jobs = [Told("first", 0, 600, nodes=2), Told("second", 0, 600), Told("third", 0, 60)]
    jobs += [Told("second", 30, 60), Told("first", 40, 60)]
    scene = told_scene("fair-share", "4x8", {"first": 0, "second": 0, "third": 0}, jobs)
    first, *others = scene.shares
    assert starts_min(replace(scene, shares=(structs.replace(first, weight=4), *others)))[3:] == [120, 60]


def test_by_priority_the_share_that_used_less_of_its_part_goes_first() -> None:
    """Both used eight GPUs for as long; a larger part of the fleet is the second's."""
    jobs = [
        Told("first", 0, 60),
        Told("second", 0, 60),
        Told("first", 10, 60, nodes=2),
        Told("second", 20, 60, nodes=2),
    ]
    assert told("priority-backfill", "2x8", {"first": 4, "second": 12}, *jobs) == [0, 0, 120, 60]
    assert told("priority-backfill", "2x8", {"first": 12, "second": 4}, *jobs) == [0, 0, 60, 120]


def test_by_priority_equals_go_by_age() -> None:
    jobs = [Told("first", 0, 60), Told("third", 5, 60), Told("second", 10, 60)]
    assert told("priority-backfill", "1x8", {"first": 0, "second": 0, "third": 0}, *jobs) == [0, 60, 120]


def test_by_priority_equals_of_one_age_go_in_order_of_submission() -> None:
    jobs = [Told("first", 0, 60), Told("second", 10, 60), Told("third", 10, 60)]
    assert told("priority-backfill", "1x8", {"first": 0, "second": 0, "third": 0}, *jobs) == [0, 60, 120]


def test_by_priority_the_fair_share_factor_has_steps_between_a_half_and_one() -> None:
    """Both used less than their part: a third of it, and a ninth."""
    jobs = [Told("first", 0, 60), Told("second", 1, 20), Told("large", 2, 100)]
    jobs += [Told("first", 100, 60), Told("second", 110, 60)]
    starts = told("priority-backfill", "1x8", {"first": 8, "second": 8, "large": 8}, *jobs)
    assert starts == [0, 60, 80, 240, 180]


WEEK_MIN = 7 * 24 * 60


def test_by_priority_a_long_wait_makes_up_for_a_little_use() -> None:
    starts = told(
        "priority-backfill",
        "1x8",
        {"first": 0, "second": 0, "large": 0},
        Told("first", 0, 360, 1),
        Told("large", 360, WEEK_MIN),
        Told("first", 370, 60),
        Told("second", 300 + WEEK_MIN, 60),
    )
    assert starts[2:] == [360 + WEEK_MIN, 420 + WEEK_MIN]


def test_by_priority_nobody_grows_older_than_a_week() -> None:
    """Six weeks are worth no more than one, so whoever used all that time yields to whoever just came."""
    jobs = [Told("first", 0, 6 * WEEK_MIN), Told("first", 1, 60), Told("second", 6 * WEEK_MIN - 60, 60)]
    starts = told("priority-backfill", "1x8", {"first": 8, "second": 0}, *jobs)
    assert starts[1:] == [6 * WEEK_MIN + 60, 6 * WEEK_MIN]


def test_by_priority_a_guarantee_does_not_go_first() -> None:
    jobs = [Told("owner", 0, 600), Told("owner", 10, 60), Told("other", 20, 60)]
    assert told("priority-backfill", "1x8", {"owner": 8, "other": 0}, *jobs) == [0, 660, 600]
    assert told("dure", "1x8", {"owner": 8, "other": 0}, *jobs) == [0, 600, 660]


# Who may pass.


@pytest.mark.parametrize("policy", POLICIES)
def test_a_job_passes_the_first_only_where_it_does_not_delay_it(policy: str) -> None:
    """The second wants both nodes, and one is taken for an hour. The third would be gone by then, the fourth not."""
    jobs = [Told("a", 0, 60), Told("a", 1, 30, nodes=2), Told("a", 2, 40), Told("a", 3, 90)]
    backfills = POLICIES[policy].backfills
    assert told(policy, "2x8", {"a": 16}, *jobs) == ([0, 60, 2, 90] if backfills else [0, 60, 90, 90])


# How long an owner waits for what it is guaranteed.


def delays(policy: str, guarantees: dict[str, int], *jobs: Told) -> RunReport:
    return run_scene(told_scene(policy, "2x8", guarantees, jobs))


def test_a_guarantee_delay_is_the_time_to_the_first_start_of_a_covered_job() -> None:
    report = delays(
        "dure", {"owner": 8, "other": 8}, Told("other", 0, 600), Told("other", 1, 600), Told("owner", 20, 60)
    )
    assert report.guarantee_demands == 2
    assert report.max_guarantee_delay_s == YIELDS_MIN * 60
    assert report.avg_guarantee_delay_s == YIELDS_MIN * 30


def test_what_is_beyond_the_guarantee_is_not_covered() -> None:
    report = delays(
        "fifo", {"owner": 8, "other": 8}, Told("owner", 0, 60, 8), Told("owner", 0, 60, 1), Told("owner", 0, 60, 1)
    )
    assert report.guarantee_demands == 1


def test_the_last_gpu_of_a_guarantee_is_covered() -> None:
    report = delays("dure", {"owner": 8, "other": 8}, Told("owner", 0, 60, 7), Told("owner", 0, 60, 1))
    assert report.guarantee_demands == 2


def test_a_job_that_is_over_makes_room_for_the_next_to_be_covered() -> None:
    report = delays(
        "dure", {"owner": 8, "other": 8}, Told("owner", 0, 60), Told("owner", 60, 60), Told("owner", 90, 60)
    )
    assert report.guarantee_demands == 2


def test_without_any_covered_job_there_is_no_delay_to_tell() -> None:
    report = delays("dure", {"owner": 8, "other": 8}, Told("owner", 0, 60, 8, 2))
    assert (report.guarantee_demands, report.p99_guarantee_delay_s) == (0, None)


def test_guarantee_delays_are_measured_where_guarantees_count_for_nothing() -> None:
    report = delays("fifo", {"owner": 8, "other": 8}, Told("other", 0, 60, 8, 2), Told("owner", 10, 60))
    assert (report.guarantee_demands, report.max_guarantee_delay_s) == (1, 50 * 60)


def test_a_delay_that_scattered_gpus_cause_is_not_left_out() -> None:
    """The owner's eight GPUs are idle, four on each node, and nobody borrows: its job waits for a neighbour to end."""
    jobs = [Told("other", 0, 300, 4), Told("owner", 0, 30, 4), Told("other", 0, 600, 4), Told("owner", 60, 60)]
    report = delays("dure", {"owner": 8, "other": 8}, *jobs)
    assert (report.guarantee_demands, report.max_guarantee_delay_s) == (4, 240 * 60)


# All of them together.


def test_policies_are_compared_on_the_same_jobs() -> None:
    reports = list(compare(small_scene(100), ["sjf", "dure"], seed=3))
    assert [(each.policy, each.jobs, each.seed) for each in reports] == [("sjf", 100, 3), ("dure", 100, 3)]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 3.0))
@pytest.mark.parametrize("policy", POLICIES)
def test_the_audit_finds_no_fault_with_any_policy(policy: str, seed: int, load: float) -> None:
    report = run_scene(small_scene(120, seed=seed, policy=policy, load=load), audit=True)
    assert report.audit_violations == 0
    assert report.finished == report.jobs - report.refused
