"""Which unit has how many free nodes: what is kept against what a look at every node finds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dure.world.building import PoolShape, Shape, build
from dure.world.capacity import hold, let_go, set_node_state
from dure.world.columns import (
    NODE_DOWN,
    NODE_UP,
    NONE,
    WHOLE,
    WITHIN_BLOCK,
    WITHIN_DOMAIN,
    WITHIN_RACK,
    WITHIN_SITE,
    Columns,
)
from dure.world.compiled import entry_point
from dure.world.units import free_in_unit, most_together, next_unit, units_with

NODES, GPUS = 24, 4
LEVELS = (WITHIN_SITE, WITHIN_BLOCK, WITHIN_RACK, WITHIN_DOMAIN)
TOPOLOGIES = st.sampled_from(
    [(1, 1, 1, 0), (1, 4, 12, 0), (1, 24, 24, 0), (6, 6, 12, 1), (3, 6, 6, 2), (4, 4, 4, 0), (24, 24, 24, 3)]
)
CHANGES = st.lists(
    st.tuples(st.integers(0, NODES - 1), st.sampled_from(["take", "give", "flip"]), st.integers(1, GPUS))
)


@settings(max_examples=60, deadline=None)
@given(TOPOLOGIES, CHANGES)
def test_units_are_kept_by_how_many_free_nodes_they_have(
    topology: tuple[int, int, int, int], changes: list[tuple[int, str, int]]
) -> None:
    domain, rack, block, spare = topology
    pool = PoolShape(
        gpu_class=0,
        site=0,
        gpus=GPUS,
        cpus_milli=0,
        memory_mib=0,
        nodes=NODES,
        domain_nodes=domain,
        rack_nodes=rack,
        block_nodes=block,
        spare=spare,
    )
    columns = build(Shape(classes=1, pools=[pool]), 1)
    for node, change, gpus in changes:
        _change(columns, node, change, gpus)
        _check(columns, spare)


@entry_point
def kept_free(columns: Columns, level: int, unit: int, gpus: int) -> int:
    return free_in_unit(columns, 0, level, unit, gpus)


@entry_point
def kept_next(columns: Columns, level: int, gpus: int, free: int) -> int:
    return next_unit(columns, 0, level, gpus, free, 0)


@entry_point
def kept_count(columns: Columns, level: int, gpus: int, free: int) -> int:
    return units_with(columns, 0, level, gpus, free)


@entry_point
def take_back(columns: Columns, allocation: int) -> None:
    let_go(columns, allocation)


def _change(columns: Columns, node: int, change: str, gpus: int) -> None:
    place = columns.nodes[node]
    if change == "flip":
        set_node_state(columns, node, NODE_DOWN if place.state == NODE_UP else NODE_UP)
    elif change == "give" and place.first_allocation != NONE:
        columns.jobs[0].first_allocation = NONE
        take_back(columns, int(place.first_allocation))
    elif change == "take" and place.idle >= gpus and place.state == NODE_UP:
        free = [gpu for gpu in range(GPUS) if int(place.idle_mask) >> gpu & 1]
        hold(columns, 0, node, sum(1 << gpu for gpu in free[:gpus]), WHOLE, gpus)


def _check(columns: Columns, spare: int) -> None:
    pool = columns.pools[0]
    sizes = (NODES, int(pool.block_nodes), int(pool.rack_nodes), int(pool.domain_nodes))
    for level in LEVELS:
        together = sizes[level]
        if together == 1:
            continue
        for gpus in range(1, GPUS + 1):
            counted = [_free(columns, first, together, gpus, spare) for first in range(0, NODES, together)]
            kept = [kept_free(columns, level, unit, gpus) for unit in range(len(counted))]
            assert kept == counted
            assert most_together(columns, 0, gpus, level) == max(counted)
            for free in range(together + 1):
                assert kept_count(columns, level, gpus, free) == sum(each >= free for each in counted)
                first = counted.index(free) if free in counted else NONE
                assert kept_next(columns, level, gpus, free) == first


def _free(columns: Columns, first: int, together: int, gpus: int, spare: int) -> int:
    """Look at every node: of the wholly idle ones of a domain, spares do not count, less those that replace others."""
    domain = int(columns.pools[0].domain_nodes)
    free = 0
    for begin in range(first, first + together, domain):
        nodes = [columns.nodes[node] for node in range(begin, begin + domain)]
        up = [place for place in nodes if place.state == NODE_UP]
        whole = sum(place.idle == GPUS for place in up)
        kept = max(0, spare - (domain - len(up))) if domain > 1 else 0
        free += max(0, whole - kept) + sum(gpus <= place.idle < GPUS for place in up)
    return free
