"""Where a gang goes: whole, in one pool, and as near together as it can be.

1. From the nearest level to the widest (NVLink domain, rack, block, pool; not wider than the job allows), take the unit
   with the fewest free nodes that are still enough; ties: lowest pool, then lowest unit.
2. A gang that must span domains is split evenly over the fewest domains that can hold it so: their parts differ by one
   node at most. Each part takes the domain with the fewest free nodes that suffice; ties: lowest.
3. Where no even split exists, and where every node is a domain of its own: nodes by fewest idle GPUs, lowest first.

Ranks of one domain follow each other. A unit that turns out not to do (CPUs, memory, reservations) is passed over, and
the next best one is tried, up to eight times per level.
"""

from __future__ import annotations

from dure.kernel.backfill import spare_nodes, spend_spare, spoils_reservation
from dure.kernel.room import has_room, is_allowed
from dure.kernel.units import unit_nodes
from dure.world.bookings import is_open
from dure.world.capacity import next_node
from dure.world.columns import (
    MOST_LEVELS,
    NODE_UP,
    NONE,
    UNLIMITED,
    WITHIN_DOMAIN,
    Columns,
)
from dure.world.compiled import compiled, entry_point
from dure.world.domains import domain_of, free_nodes

TRIES_PER_LEVEL = 8


@compiled
def place_gang(columns: Columns, job: int, gpu_class: int, gpus: int, ends_ms: int) -> bool:
    """Choose the nodes of a gang, in rank order; False when it does not fit as a whole."""
    for level in range(WITHIN_DOMAIN, columns.jobs[job].within - 1, -1):
        if _place_within(columns, job, gpu_class, gpus, level, ends_ms):
            return True
    return False


@entry_point
def nodes_with(columns: Columns, pool: int, gpus: int) -> int:
    """How many nodes of a pool have at least so many idle GPUs."""
    count = 0
    for level in range(gpus, MOST_LEVELS):
        count += columns.idle_counts[pool, level]
    return count


@entry_point
def most_together(columns: Columns, pool: int, gpus: int, level: int) -> int:
    """The most nodes with so many idle GPUs that one unit of a pool has at a level."""
    together = unit_nodes(columns, pool, level)
    most = 0
    for first in range(0, columns.pools[pool].node_count, together):
        most = max(most, _free_in_unit(columns, pool, first, together, gpus))
    return most


@compiled
def _place_within(columns: Columns, job: int, gpu_class: int, gpus: int, level: int, ends_ms: int) -> bool:
    """Try units of one level, best fit first."""
    wanted = columns.jobs[job].nodes
    tried_free = 0
    tried_node = NONE
    for _ in range(TRIES_PER_LEVEL):
        best_free = UNLIMITED
        best_node = NONE
        first = columns.classes[gpu_class].first_pool
        for pool in range(first, first + columns.classes[gpu_class].pool_count):
            area = columns.pools[pool]
            together = unit_nodes(columns, pool, level)
            if together < wanted or not is_allowed(columns, job, pool) or nodes_with(columns, pool, gpus) < wanted:
                continue
            if level > columns.jobs[job].within and together == unit_nodes(columns, pool, level - 1):
                # The next level has the same units.
                continue
            for position in range(0, area.node_count, together):
                free = _free_in_unit(columns, pool, position, together, gpus)
                node = area.first_node + position
                already_tried = free < tried_free or (free == tried_free and node <= tried_node)
                if wanted <= free < best_free and not already_tried:
                    best_free = free
                    best_node = node
        if best_node == NONE:
            return False
        if _fill_unit(columns, job, best_node, level, gpus, ends_ms):
            return True
        tried_free = best_free
        tried_node = best_node
    return False


@compiled
def _free_in_unit(columns: Columns, pool: int, position: int, together: int, gpus: int) -> int:
    """Nodes of a unit with so many idle GPUs, spares left out."""
    area = columns.pools[pool]
    if together == area.node_count and area.domain_nodes == 1:
        return nodes_with(columns, pool, gpus)
    free = 0
    if area.domain_nodes > 1 and gpus == area.gpus:
        first = area.first_domain + position // area.domain_nodes
        for domain in range(first, first + together // area.domain_nodes):
            free += free_nodes(columns, pool, domain)
        return free
    left = 0
    for node in range(area.first_node + position, area.first_node + position + together):
        left = _left_in_domain(columns, node, left)
        place = columns.nodes[node]
        whole = place.idle == place.gpus
        if place.state == NODE_UP and place.idle >= gpus and (left > 0 or not whole):
            free += 1
            left -= whole
    return free


@compiled
def _left_in_domain(columns: Columns, node: int, left: int) -> int:
    """How many wholly idle nodes may still be taken, walking over the nodes: anew where a domain begins."""
    place = columns.nodes[node]
    area = columns.pools[place.pool]
    if area.domain_nodes == 1:
        return 1
    if place.position % area.domain_nodes != 0:
        return left
    return free_nodes(columns, place.pool, domain_of(columns, node))


@compiled
def _fill_unit(columns: Columns, job: int, first_node: int, level: int, gpus: int, ends_ms: int) -> bool:
    pool = columns.nodes[first_node].pool
    area = columns.pools[pool]
    together = unit_nodes(columns, pool, level)
    if area.domain_nodes > 1 and _split_evenly(columns, job, first_node, together, gpus, ends_ms):
        return True
    if together > area.domain_nodes > 1 and level > columns.jobs[job].within:
        # An even split further apart is better than an uneven one here.
        return False
    if together == area.node_count:
        return _fill_from_pool(columns, job, pool, gpus, ends_ms)
    return _fill_part(columns, job, first_node, together, columns.jobs[job].nodes, gpus, ends_ms, 0)


@compiled
def _split_evenly(columns: Columns, job: int, first_node: int, together: int, gpus: int, ends_ms: int) -> bool:
    """Split a gang over the fewest domains of a unit that can hold parts which differ by one node at most."""
    wanted = columns.jobs[job].nodes
    in_domain = columns.pools[columns.nodes[first_node].pool].domain_nodes
    for parts in range((wanted + in_domain - 1) // in_domain, together // in_domain + 1):
        smaller = wanted // parts
        larger_parts = wanted % parts
        if _domains_with(columns, first_node, together, gpus, smaller) < parts:
            continue
        if _domains_with(columns, first_node, together, gpus, smaller + 1) >= larger_parts:
            return _take_parts(columns, job, first_node, together, gpus, ends_ms, parts)
    return False


@compiled
def _domains_with(columns: Columns, first_node: int, together: int, gpus: int, nodes: int) -> int:
    """How many domains of a unit have so many free nodes."""
    pool = columns.nodes[first_node].pool
    in_domain = columns.pools[pool].domain_nodes
    position = columns.nodes[first_node].position
    count = 0
    for at in range(position, position + together, in_domain):
        if _free_in_unit(columns, pool, at, in_domain, gpus) >= nodes:
            count += 1
    return count


@compiled
def _take_parts(
    columns: Columns, job: int, first_node: int, together: int, gpus: int, ends_ms: int, parts: int
) -> bool:
    """Fill the larger parts first, then the others, each domain once."""
    pool = columns.nodes[first_node].pool
    in_domain = columns.pools[pool].domain_nodes
    wanted = columns.jobs[job].nodes
    found = 0
    taken = 0
    for larger in range(1, -1, -1):
        size = wanted // parts + larger
        goal = wanted % parts if larger == 1 else parts
        for free in range(size, in_domain + 1):
            for at in range(first_node, first_node + together, in_domain):
                if taken == goal:
                    break
                position = columns.nodes[at].position
                if _free_in_unit(columns, pool, position, in_domain, gpus) != free or _is_taken(columns, at, found):
                    continue
                if not _fill_part(columns, job, at, in_domain, size, gpus, ends_ms, found):
                    continue
                found += size
                taken += 1
    return found == wanted


@compiled
def _is_taken(columns: Columns, first_node: int, found: int) -> bool:
    """True when a chosen node is in the domain that begins here."""
    domain = domain_of(columns, first_node)
    rank = 0
    while rank < found and domain_of(columns, columns.chosen[rank]) != domain:
        rank += 1
    return rank < found


@compiled
def _fill_part(
    columns: Columns, job: int, first_node: int, together: int, wanted: int, gpus: int, ends_ms: int, found: int
) -> bool:
    """Choose `wanted` nodes of a unit for the ranks from `found` on, lowest first."""
    pool = columns.nodes[first_node].pool
    spare = spare_nodes(columns, pool)
    spoiled = 0
    count = 0
    left = 0
    for node in range(first_node, first_node + together):
        left = _left_in_domain(columns, node, left)
        place = columns.nodes[node]
        if place.idle == place.gpus and left <= 0:
            continue
        if count == wanted or place.state != NODE_UP or place.idle < gpus or not has_room(columns, job, node):
            continue
        if not is_open(columns, job, node, ends_ms):
            continue
        spoils = spoils_reservation(columns, node, gpus, ends_ms)
        if spoiled + spoils <= spare:
            spoiled += spoils
            left -= place.idle == place.gpus
            columns.chosen[found + count] = node
            count += 1
    if count == wanted:
        spend_spare(columns, pool, spoiled)
    return count == wanted


@compiled
def _fill_from_pool(columns: Columns, job: int, pool: int, gpus: int, ends_ms: int) -> bool:
    """Choose nodes by fewest idle GPUs, wherever in the pool they are."""
    wanted = columns.jobs[job].nodes
    spare = spare_nodes(columns, pool)
    spoiled = 0
    found = 0
    domain = NONE
    left = 0
    for level in range(gpus, MOST_LEVELS):
        if columns.idle_counts[pool, level] == 0:
            continue
        node = next_node(columns, pool, level, 0)
        while node != NONE and found < wanted:
            if domain_of(columns, node) != domain:
                domain = domain_of(columns, node)
                left = free_nodes(columns, pool, domain)
            keeps_spares = domain == NONE or level < columns.nodes[node].gpus or left > 0
            if keeps_spares and has_room(columns, job, node) and is_open(columns, job, node, ends_ms):
                spoils = spoils_reservation(columns, node, gpus, ends_ms)
                if spoiled + spoils <= spare:
                    spoiled += spoils
                    left -= level == columns.nodes[node].gpus
                    columns.chosen[found] = node
                    found += 1
            node = next_node(columns, pool, level, columns.nodes[node].position + 1)
        if found == wanted:
            spend_spare(columns, pool, spoiled)
            return True
    return False
