"""Nodes that are near each other: NVLink domains, racks and blocks of a pool, by number, and how many are free in each.

A node is free for so many GPUs when it is up and has as many idle; a wholly idle one only if it is no spare (see
`dure.world.domains`). Per level of a pool and number of GPUs, units are kept in sets by how many free nodes they have,
so that the unit with the fewest that are enough is found at once. A level whose units are those of the next narrower
one shares its sets; one whose only unit is the pool needs none.
"""

from __future__ import annotations

from dure.world import node_sets
from dure.world.columns import MOST_LEVELS, NONE, WITHIN_BLOCK, WITHIN_DOMAIN, WITHIN_RACK, Columns
from dure.world.compiled import compiled, entry_point

TIERS = WITHIN_DOMAIN + 1
"""Of a pool, by level; that of the site has no units of its own."""


@compiled
def unit_nodes(columns: Columns, pool: int, level: int) -> int:
    """Nodes of a pool that are together at a level."""
    area = columns.pools[pool]
    if level == WITHIN_DOMAIN:
        return area.domain_nodes
    if level == WITHIN_RACK:
        return area.rack_nodes
    return area.block_nodes if level == WITHIN_BLOCK else area.node_count


@entry_point
def nodes_with(columns: Columns, pool: int, gpus: int) -> int:
    """How many nodes of a pool are up and have at least so many idle GPUs, spares or not."""
    count = 0
    for level in range(gpus, MOST_LEVELS):
        count += columns.idle_counts[pool, level]
    return count


@compiled
def free_in_pool(columns: Columns, pool: int, gpus: int) -> int:
    """Free nodes of a whole pool."""
    area = columns.pools[pool]
    if area.domain_nodes == 1 or gpus > area.gpus:
        return nodes_with(columns, pool, gpus)
    return nodes_with(columns, pool, gpus) - columns.idle_counts[pool, area.gpus] + area.free_nodes


@compiled
def free_in_unit(columns: Columns, pool: int, level: int, unit: int, gpus: int) -> int:
    """Free nodes of a unit, by its number in the pool."""
    tier = _tier(pool, level)
    area = columns.tiers[tier]
    if area.units == 0:
        return free_in_pool(columns, pool, gpus)
    return columns.unit_free[area.first_unit + unit, gpus]


@compiled
def next_unit(columns: Columns, pool: int, level: int, gpus: int, free: int, unit: int) -> int:
    """The first unit from `unit` on with exactly so many free nodes; NONE."""
    tier = _tier(pool, level)
    area = columns.tiers[tier]
    if area.units == 0:
        return 0 if unit == 0 and free_in_pool(columns, pool, gpus) == free else NONE
    sizes = (area.words_0, area.words_1, area.words_2, area.words_3)
    return node_sets.first_from(columns.unit_sets, _first_word(columns, tier, gpus, free), sizes, unit)


@compiled
def units_with(columns: Columns, pool: int, level: int, gpus: int, free: int) -> int:
    """How many units of a pool have at least so many free nodes."""
    tier = _tier(pool, level)
    area = columns.tiers[tier]
    if area.units == 0:
        return 1 if free_in_pool(columns, pool, gpus) >= free else 0
    count = 0
    for exactly in range(free, area.together + 1):
        count += columns.unit_sets[_first_word(columns, tier, gpus, exactly) + area.words - 1]
    return count


@entry_point
def most_together(columns: Columns, pool: int, gpus: int, level: int) -> int:
    """The most free nodes that one unit of a pool has at a level."""
    free = min(unit_nodes(columns, pool, level), free_in_pool(columns, pool, gpus))
    while free > 0 and next_unit(columns, pool, level, gpus, free, 0) == NONE:
        free -= 1
    return free


@compiled
def note_free(columns: Columns, node: int, before: int, after: int, change: int) -> None:
    """A node has another number of GPUs idle than before; NONE stands for one that is not up.

    `change` says by how many the wholly idle nodes of its domain that are no spares became more.
    """
    place = columns.nodes[node]
    for level in range(WITHIN_BLOCK, WITHIN_DOMAIN + 1):
        tier = _tier(place.pool, level)
        if columns.tiers[tier].separate == 0:
            continue
        unit = place.position // columns.tiers[tier].together
        for gpus in range(place.gpus + 1):
            more = change + _counts(columns, node, after, gpus) - _counts(columns, node, before, gpus)
            if more != 0:
                _move(columns, tier, unit, gpus, more)


@compiled
def _counts(columns: Columns, node: int, idle: int, gpus: int) -> int:
    """1 for a node that is free by itself; a wholly idle one of a domain counts with its domain."""
    place = columns.nodes[node]
    return 1 if idle >= gpus and (idle < place.gpus or columns.pools[place.pool].domain_nodes == 1) else 0


@compiled
def _move(columns: Columns, tier: int, unit: int, gpus: int, more: int) -> None:
    """Put a unit among those with `more` free nodes than it had."""
    area = columns.tiers[tier]
    sizes = (area.words_0, area.words_1, area.words_2, area.words_3)
    row = area.first_unit + unit
    before = _first_word(columns, tier, gpus, columns.unit_free[row, gpus])
    node_sets.remove(columns.unit_sets, before, sizes, unit)
    columns.unit_sets[before + area.words - 1] -= 1
    columns.unit_free[row, gpus] += more
    after = _first_word(columns, tier, gpus, columns.unit_free[row, gpus])
    node_sets.add(columns.unit_sets, after, sizes, unit)
    columns.unit_sets[after + area.words - 1] += 1


@compiled
def _tier(pool: int, level: int) -> int:
    return pool * TIERS + level


@compiled
def _first_word(columns: Columns, tier: int, gpus: int, free: int) -> int:
    """Where the set of units with so many free nodes begins; its last word counts them."""
    area = columns.tiers[tier]
    return area.first_word + (gpus * (area.together + 1) + free) * area.words
