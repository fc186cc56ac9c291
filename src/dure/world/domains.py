"""NVLink domains of more than one node: how many of their nodes are wholly idle, and how many of those are spares.

A domain is `domain_nodes` nodes of a pool that follow each other, such as the 18 trays of an NVL72 rack. It may keep
spares: so many wholly idle nodes are left alone, less one for each of its nodes that is out of service. When a tray
fails, the gang that ran on it finds its replacement in the same domain.
"""

from __future__ import annotations

from dure.world.columns import NONE, Columns
from dure.world.compiled import compiled, entry_point

WHOLE_NODES, NOT_UP = range(2)


@compiled
def domain_of(columns: Columns, node: int) -> int:
    """Row of the domain a node is in; NONE where every node is a domain of its own."""
    place = columns.nodes[node]
    pool = columns.pools[place.pool]
    return NONE if pool.domain_nodes == 1 else pool.first_domain + place.position // pool.domain_nodes


@entry_point
def free_nodes(columns: Columns, pool: int, domain: int) -> int:
    """Wholly idle nodes of a domain that are not kept as spares."""
    kept = max(0, columns.pools[pool].spare - columns.domains[domain, NOT_UP])
    return max(0, columns.domains[domain, WHOLE_NODES] - kept)


@compiled
def is_spare(columns: Columns, node: int) -> bool:
    """True when a node is wholly idle, and no wholly idle node of its domain may be used."""
    place = columns.nodes[node]
    if columns.pools[place.pool].spare == 0 or place.idle < place.gpus:
        return False
    return free_nodes(columns, place.pool, domain_of(columns, node)) == 0


@compiled
def note_whole(columns: Columns, node: int, change: int) -> int:
    """A node that is up became wholly idle (1), or no longer is (-1). Returns by how many its domain has more free."""
    return _change(columns, node, change, 0)


@compiled
def note_service(columns: Columns, node: int, up: int) -> int:
    """A node came back into service (1) or left it (0). Returns by how many its domain has more free."""
    place = columns.nodes[node]
    whole = 1 if place.idle == place.gpus else 0
    return _change(columns, node, whole if up == 1 else -whole, 1 - 2 * up)


@compiled
def _change(columns: Columns, node: int, whole: int, not_up: int) -> int:
    domain = domain_of(columns, node)
    if domain == NONE:
        return 0
    pool = columns.nodes[node].pool
    before = free_nodes(columns, pool, domain)
    columns.domains[domain, WHOLE_NODES] += whole
    columns.domains[domain, NOT_UP] += not_up
    more = free_nodes(columns, pool, domain) - before
    columns.pools[pool].free_nodes += more
    return more


@compiled
def only_spares_left(columns: Columns, pool: int) -> bool:
    """True when the wholly idle nodes of a pool are all spares, so that nobody need look at them one by one."""
    area = columns.pools[pool]
    return area.spare > 0 and area.free_nodes == 0
