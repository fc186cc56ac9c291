"""Nodes that are near each other: NVLink domains, racks and blocks of a pool, by number."""

from __future__ import annotations

from dure.world.columns import WITHIN_BLOCK, WITHIN_DOMAIN, WITHIN_RACK, Columns
from dure.world.compiled import compiled


@compiled
def unit_nodes(columns: Columns, pool: int, level: int) -> int:
    """Nodes of a pool that are together at a level."""
    area = columns.pools[pool]
    if level == WITHIN_DOMAIN:
        return area.domain_nodes
    if level == WITHIN_RACK:
        return area.rack_nodes
    return area.block_nodes if level == WITHIN_BLOCK else area.node_count
