"""Placement rules on cases worked out by hand, and what the mix learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dure.kernel.packing.rules import RULES, cost, gpu_for_part
from dure.kernel.packing.slots import scarce_wide_shapes, wide_shapes_lost
from dure.world import building
from dure.world.building import PoolShape, Shape
from dure.world.capacity import hold
from dure.world.columns import COUNTED, MOST_SHAPES, Columns
from dure.world.compiled import entry_point
from dure.world.mix import FADES_AT, ONE, count_arrival, count_shape, renew_mix
from tests.kernel.nations import job, nation, share
from tests.kernel.story import Story

MILLI = 5 * ONE
"""The cost of one milli-GPU under Dure's rule."""
JOBS = 40


@entry_point
def cost_of(rule: int, columns: Columns, job: int, node: int) -> int:
    return cost(rule, columns.mix, columns.counters[0].mix, columns, job, node)


@entry_point
def gpu_of(rule: int, columns: Columns, job: int, node: int) -> int:
    return gpu_for_part(rule, columns.mix, columns.counters[0].mix, columns, job, node)


@entry_point
def scarce(columns: Columns, job: int, idle_milli: int) -> int:
    return scarce_wide_shapes(columns, job, idle_milli)


@entry_point
def lost(columns: Columns, job: int, node: int) -> int:
    return wide_shapes_lost(columns, job, node)


def fleet(*gpus: int, cpus: int = 0) -> Columns:
    """A node for each number of GPUs, one class, one pool each."""
    pools = [
        PoolShape(gpu_class=0, site=0, gpus=each, cpus_milli=cpus * 1000, memory_mib=1000, nodes=1) for each in gpus
    ]
    columns = building.build(Shape(classes=1, pools=pools), JOBS)
    columns.jobs["choices"] = columns.jobs["nodes"] = 1
    return columns


def wanting(columns: Columns, gpus: float, cpus: int = 0) -> int:
    """The next row of the jobs, as a job that wants so much."""
    row = int(np.count_nonzero(columns.jobs["sequence"]))
    record = columns.jobs[row]
    record.sequence, record.gpus_milli, record.cpus_milli = row + 1, round(1000 * gpus), 1000 * cpus
    return row


def runs(columns: Columns, node: int, gpus: float, mask: int) -> None:
    """A job that is already on a node."""
    row = wanting(columns, gpus)
    hold(columns, row, node, mask, min(1000, round(1000 * gpus)), max(1, round(gpus)))


def expects(columns: Columns, *sizes: float, cpus: int = 0) -> None:
    for size in sizes:
        whole = max(1, round(size))
        count_shape(columns, 1000 * cpus, 0, whole, round(1000 * size) // whole, 1, 1)
    renew_mix(columns)


def test_best_fit_is_what_would_be_left_of_the_largest_node() -> None:
    # 84 of 128 cores and 7 of 8 GPUs are left: 76.56% on average, a score of 23.
    columns = fleet(8, cpus=96)
    assert cost_of(RULES["bestfit"], columns, wanting(columns, 1, cpus=12), 0) == -23


def test_dot_product_is_what_is_free_times_what_is_wanted() -> None:
    # (96/128 x 12/128 + 8/8 x 1/8) / 2 is 9.77%, a score of 90.
    columns = fleet(8, cpus=96)
    assert cost_of(RULES["dotprod"], columns, wanting(columns, 1, cpus=12), 0) == -90


def test_clustering_puts_jobs_of_one_size_together() -> None:
    columns = fleet(8, 8, 8)
    runs(columns, 0, 1, 0b1)
    runs(columns, 1, 1, 0b1)
    runs(columns, 1, 2, 0b110)
    one, part = wanting(columns, 1), wanting(columns, 0.5)
    rule = RULES["clustering"]
    # One or three of eight GPUs in use are 3 or 9 of 25.
    assert [cost_of(rule, columns, one, node) for node in range(3)] == [-78, -59, -25]
    assert [cost_of(rule, columns, part, node) for node in range(3)] == [-3, -9, -25]


def test_packing_shares_gpus_first_and_opens_empty_nodes_last() -> None:
    columns = fleet(8, 8)
    runs(columns, 0, 0.5, 0b1)
    two, part, large = wanting(columns, 2), wanting(columns, 0.3), wanting(columns, 0.8)
    rule = RULES["packing"]
    assert [cost_of(rule, columns, two, node) for node in range(2)] == [-48, -25]
    assert [cost_of(rule, columns, part, node) for node in range(2)] == [-95, -25]
    assert cost_of(rule, columns, large, 0) == -49


@pytest.mark.parametrize("rule", ["clustering", "packing"])
def test_rules_for_gpus_have_no_opinion_on_jobs_without(rule: str) -> None:
    columns = fleet(8)
    assert cost_of(RULES[rule], columns, wanting(columns, 0, cpus=0), 0) == 0


def test_fgd_scores_the_fragmentation_that_a_job_makes_or_mends() -> None:
    columns = fleet(2, 2)
    runs(columns, 1, 0.5, 0b1)
    expects(columns, 1)
    half, whole = wanting(columns, 0.5), wanting(columns, 1)
    rule = RULES["fgd"]
    # sigmoid(-0.5) is 0.378, sigmoid(0) a half, sigmoid(0.5) is 0.622.
    assert cost_of(rule, columns, half, 0) == -37
    assert cost_of(rule, columns, whole, 0) == -50
    assert cost_of(rule, columns, half, 1) == -62
    assert gpu_of(rule, columns, half, 1) == 0


def test_to_fgd_everything_idle_is_a_fragment_for_jobs_without_gpus() -> None:
    columns = fleet(2)
    count_shape(columns, 1000, 0, 0, 0, 1, 1)
    renew_mix(columns)
    # A whole GPU less of it: sigmoid(1) is 0.731.
    assert cost_of(RULES["fgd"], columns, wanting(columns, 1), 0) == -73


def test_to_fgd_everything_idle_is_a_fragment_for_jobs_of_more_gpus() -> None:
    columns = fleet(2)
    runs(columns, 0, 1, 0b1)
    expects(columns, 2)
    assert cost_of(RULES["fgd"], columns, wanting(columns, 1), 0) == -73


def test_dure_counts_the_slots_that_a_job_costs_those_to_come() -> None:
    columns = fleet(2, 2)
    runs(columns, 1, 0.5, 0b1)
    expects(columns, 1)
    half, whole = wanting(columns, 0.5), wanting(columns, 1)
    rule = RULES["dure"]
    # Half a GPU is left that no whole job can use; mended where half was left before.
    assert cost_of(rule, columns, half, 0) == 500 * MILLI
    assert cost_of(rule, columns, half, 1) == -500 * MILLI
    assert cost_of(rule, columns, whole, 0) == 0


def test_dure_counts_gpus_without_their_cpus_for_less() -> None:
    columns = fleet(2, cpus=16)
    expects(columns, 1, cpus=8)
    free_of_cpus, hungry = wanting(columns, 1), wanting(columns, 1, cpus=16)
    rule = RULES["dure"]
    # 16 cores are left for one GPU; the leaning towards CPUs is a thousandth of a milli-GPU for each thousandth.
    assert cost_of(rule, columns, free_of_cpus, 0) == 16_000 * (-MILLI // 1000)
    # None are: the GPU left is lost whole, and eight cores short, each worth 75 milli-GPU.
    assert cost_of(rule, columns, hungry, 0) == 1000 * MILLI + 8000 * (75 * MILLI // 1000)


def test_a_shape_weighs_by_how_often_it_comes_and_inversely_by_its_size() -> None:
    columns = fleet(8)
    expects(columns, 1, 1, 4)
    weights = columns.mix["weight"][: columns.counters[0].mix].tolist()
    assert weights == pytest.approx([ONE * 8 / 9, ONE / 9], rel=0.0001)


def test_typical_shapes_make_up_95_percent_of_arrivals() -> None:
    columns = fleet(8)
    expects(columns, *[1] * 19, 2)
    assert columns.counters[0].mix == 1
    expects(columns, 2)
    assert columns.counters[0].mix == 2


def test_the_last_nodes_for_wide_jobs_are_kept_from_others() -> None:
    columns = fleet(8, 8)
    expects(columns, 8, 8, 1)
    small, wide = wanting(columns, 1), wanting(columns, 8)
    # Two nodes are there, and wide jobs will want more than one of them.
    everything = (1 << int(columns.counters[0].wide)) - 1
    assert lost(columns, small, 0) == everything
    assert scarce(columns, small, 16_000) & 1 == 1
    assert scarce(columns, small, 0) == 0
    # A wide job does not keep nodes from itself.
    assert scarce(columns, wide, 16_000) & 1 == 0


def test_nodes_for_wide_jobs_are_kept_from_one_and_a_half_times_the_need_and_one_more() -> None:
    columns = fleet(8, 8, 8, 8)
    expects(columns, 8, *[1] * 24)
    small = wanting(columns, 1)
    # Half the demand is for eight GPUs (a quarter of what came, and the whole node that is expected): of 32 idle GPUs
    # two nodes, so three are needed; of 34 more than three, so that the fourth is the last.
    assert scarce(columns, small, 32_000) & 1 == 0
    assert scarce(columns, small, 34_000) & 1 == 1


def test_a_whole_node_is_expected_although_nobody_asked_for_one_yet() -> None:
    columns = fleet(8, 2)
    expects(columns, 1)
    assert columns.counters[0].wide == 1
    assert columns.mix[columns.counters[0].mix].gpus == 8


def test_a_class_is_scarce_as_picky_jobs_want_it() -> None:
    pools = [
        PoolShape(gpu_class=each, site=0, gpus=8, cpus_milli=0, memory_mib=0, nodes=nodes)
        for each, nodes in enumerate((1, 3))
    ]
    columns = building.build(Shape(classes=2, pools=pools), JOBS)
    for accepts in (0b01, 0b11, 0b11, 0b11):
        count_shape(columns, 0, 0, 1, 1000, accepts, 1)
    renew_mix(columns)
    # A quarter of what fills the fleet must have class 0, which is a quarter of it.
    assert columns.classes["scarcity"].tolist() == [ONE, 0]


def rows(columns: Columns) -> list[tuple[Any, ...]]:
    counted = columns.mix[COUNTED : COUNTED + int(columns.counters[0].shapes)]
    return [(int(row.gpus), int(row.milli), int(row.count)) for row in counted]


def test_shapes_are_in_order_of_count() -> None:
    columns = fleet(8)
    expects(columns, 4, 1, 1, 0.5, 0.5, 0.5)
    assert rows(columns) == [(1, 500, 3), (1, 1000, 2), (4, 1000, 1)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 12), max_size=300))
def test_counting_is_counting(sizes: list[int]) -> None:
    columns = fleet(8)
    for size in sizes:
        count_shape(columns, 1000 * size, 0, 1, 1000, 1, 1)
    counted = columns.mix[COUNTED : COUNTED + int(columns.counters[0].shapes)]
    assert {int(row.cpus_milli) // 1000: int(row.count) for row in counted} == {
        size: sizes.count(size) for size in set(sizes)
    }
    assert columns.counters[0].arrivals == len(sizes)
    assert (np.diff(counted["count"]) <= 0).all()


def test_a_new_shape_takes_the_place_of_the_rarest_when_there_are_too_many() -> None:
    columns = fleet(8)
    for cpus in (*range(MOST_SHAPES), 0, MOST_SHAPES + 5):
        count_shape(columns, cpus, 0, 1, 1000, 1, 1)
    assert columns.counters[0].shapes == MOST_SHAPES
    cpus_milli = columns.mix["cpus_milli"][COUNTED:].tolist()
    assert MOST_SHAPES + 5 in cpus_milli
    assert cpus_milli[0] == 0


def test_counts_fade_by_half() -> None:
    columns = fleet(8)
    count_shape(columns, 0, 0, 1, 1000, 1, FADES_AT - 1)
    count_shape(columns, 0, 0, 2, 1000, 1, 1)
    assert rows(columns) == [(1, 1000, FADES_AT // 2), (2, 1000, 1)]
    assert columns.counters[0].arrivals == FADES_AT // 2 + 1


def test_a_gang_counts_once_per_rank_and_the_mix_follows() -> None:
    columns = fleet(8)
    columns.jobs[0].nodes, columns.jobs[0].gpus_milli = 3, 4000
    count_arrival(columns, 0)
    assert rows(columns) == [(4, 1000, 3)]
    assert columns.counters[0].mix == 1


# The same rule places the jobs of a live fleet.


def test_a_live_fleet_learns_from_every_job_that_arrives_and_from_each_once() -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=1))
    story.submit(job("long", "guest", 8, time_ms=10 * 3_600_000))
    story.wait(3_600_000)
    story.submit(job("own", "owner", 2))
    assert rows(story.world.columns) == [(8, 1000, 1), (2, 1000, 1)]
    story.wait(3_600_000)
    story.finish_stopping()
    assert story.card("long").preemptions == 1
    assert rows(story.world.columns) == [(8, 1000, 1), (2, 1000, 1)]


def test_a_live_fleet_leaves_gpus_that_have_the_cpus_for_jobs_that_need_both() -> None:
    # Both nodes have four idle GPUs; only the first has the CPUs for another job like `a`.
    story = Story(nation([share("guest")], nodes=2))
    story.submit(job("a", "guest", 4, cpus=32), job("b", "guest", 4, cpus=48))
    assert story.nodes_of("a") != story.nodes_of("b")
    story.submit(job("small", "guest", 1))
    assert story.nodes_of("small") == story.nodes_of("b")
