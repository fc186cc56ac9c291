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

from dure.kernel.backfill import give_spare_back, keeps_reservations, lacks_spare, spend_spare
from dure.kernel.room import has_room, is_allowed
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
from dure.world.compiled import compiled
from dure.world.domains import domain_of, free_nodes
from dure.world.units import free_in_pool, free_in_unit, next_unit, nodes_with, unit_nodes, units_with

TRIES_PER_LEVEL = 8


@compiled
def place_gang(columns: Columns, job: int, gpu_class: int, gpus: int, ends_ms: int) -> bool:
    """Choose the nodes of a gang, in rank order; False when it does not fit as a whole."""
    for level in range(WITHIN_DOMAIN, columns.jobs[job].within - 1, -1):
        if _place_within(columns, job, gpu_class, gpus, level, ends_ms):
            return True
    return False


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
            together = unit_nodes(columns, pool, level)
            if together < wanted or not is_allowed(columns, job, pool) or nodes_with(columns, pool, gpus) < wanted:
                continue
            if level > columns.jobs[job].within and together == unit_nodes(columns, pool, level - 1):
                # The next level has the same units.
                continue
            if lacks_spare(columns, pool, wanted, gpus, ends_ms):
                continue
            node = _next_best(columns, pool, level, gpus, wanted, tried_free, tried_node)
            if node != NONE and _free_from(columns, node, level, gpus) < best_free:
                best_free = _free_from(columns, node, level, gpus)
                best_node = node
        if best_node == NONE:
            return False
        if _fill_unit(columns, job, best_node, level, gpus, ends_ms):
            return True
        tried_free = best_free
        tried_node = best_node
    return False


@compiled
def _next_best(
    columns: Columns, pool: int, level: int, gpus: int, wanted: int, tried_free: int, tried_node: int
) -> int:
    """First node of the pool's unit with the fewest free nodes that are enough, after the one tried last; NONE."""
    area = columns.pools[pool]
    together = unit_nodes(columns, pool, level)
    most = together
    if together == area.node_count:
        most = free_in_pool(columns, pool, gpus)
        wanted = max(wanted, most)
    for free in range(max(wanted, tried_free), most + 1):
        first = 0
        if free == tried_free and tried_node >= area.first_node:
            first = (tried_node - area.first_node) // together + 1
        unit = next_unit(columns, pool, level, gpus, free, first)
        if unit != NONE:
            return area.first_node + unit * together
    return NONE


@compiled
def _free_from(columns: Columns, first_node: int, level: int, gpus: int) -> int:
    """Free nodes of the unit that begins at a node."""
    place = columns.nodes[first_node]
    unit = place.position // unit_nodes(columns, place.pool, level)
    return free_in_unit(columns, place.pool, level, unit, gpus)


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
    with_more = 0
    for smaller in range(columns.pools[columns.nodes[first_node].pool].domain_nodes, 0, -1):
        with_enough = _domains_with(columns, first_node, together, gpus, smaller)
        # So many parts at least, or the smaller ones were larger, or there were too few domains for the larger ones.
        parts = max(wanted // (smaller + 1) + 1, (wanted - with_more + smaller - 1) // smaller)
        if parts <= min(with_enough, wanted // smaller):
            return _take_parts(columns, job, first_node, together, gpus, ends_ms, parts)
        with_more = with_enough
    return False


@compiled
def _domains_with(columns: Columns, first_node: int, together: int, gpus: int, nodes: int) -> int:
    """How many domains of a unit have so many free nodes."""
    pool = columns.nodes[first_node].pool
    area = columns.pools[pool]
    if together == area.node_count:
        return units_with(columns, pool, WITHIN_DOMAIN, gpus, nodes)
    first = columns.nodes[first_node].position // area.domain_nodes
    count = 0
    for domain in range(first, first + together // area.domain_nodes):
        if free_in_unit(columns, pool, WITHIN_DOMAIN, domain, gpus) >= nodes:
            count += 1
    return count


@compiled
def _take_parts(
    columns: Columns, job: int, first_node: int, together: int, gpus: int, ends_ms: int, parts: int
) -> bool:
    """Fill the larger parts first, then the others, each domain once."""
    pool = columns.nodes[first_node].pool
    in_domain = columns.pools[pool].domain_nodes
    first = columns.nodes[first_node].position // in_domain
    wanted = columns.jobs[job].nodes
    found = 0
    for larger in range(1, -1, -1):
        size = wanted // parts + larger
        goal = wanted % parts * size if larger == 1 else wanted
        for free in range(size, in_domain + 1):
            domain = next_unit(columns, pool, WITHIN_DOMAIN, gpus, free, first)
            while found < goal and domain != NONE and domain < first + together // in_domain:
                at = columns.pools[pool].first_node + domain * in_domain
                if not _is_taken(columns, at, found) and _fill_part(
                    columns, job, at, in_domain, size, gpus, ends_ms, found
                ):
                    found += size
                domain = next_unit(columns, pool, WITHIN_DOMAIN, gpus, free, domain + 1)
    if found < wanted:
        give_spare_back(columns, 0, found, gpus, ends_ms)
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
    count = 0
    left = 0
    for node in range(first_node, first_node + together):
        if count == wanted:
            break
        left = _left_in_domain(columns, node, left)
        place = columns.nodes[node]
        if place.idle == place.gpus and left <= 0:
            continue
        if place.state != NODE_UP or place.idle < gpus or not has_room(columns, job, node):
            continue
        if not is_open(columns, job, node, ends_ms):
            continue
        if keeps_reservations(columns, node, gpus, ends_ms):
            spend_spare(columns, node, gpus, ends_ms, 1)
            left -= place.idle == place.gpus
            columns.chosen[found + count] = node
            count += 1
    if count < wanted:
        give_spare_back(columns, found, found + count, gpus, ends_ms)
    return count == wanted


@compiled
def _fill_from_pool(columns: Columns, job: int, pool: int, gpus: int, ends_ms: int) -> bool:
    """Choose nodes by fewest idle GPUs, wherever in the pool they are."""
    wanted = columns.jobs[job].nodes
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
            is_open_to_it = keeps_spares and has_room(columns, job, node) and is_open(columns, job, node, ends_ms)
            if is_open_to_it and keeps_reservations(columns, node, gpus, ends_ms):
                spend_spare(columns, node, gpus, ends_ms, 1)
                left -= level == columns.nodes[node].gpus
                columns.chosen[found] = node
                found += 1
            node = next_node(columns, pool, level, columns.nodes[node].position + 1)
        if found == wanted:
            return True
    give_spare_back(columns, 0, found, gpus, ends_ms)
    return False
