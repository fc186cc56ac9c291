"""Whether a gang is as near together as its job demands, and whether the spares of a domain are left alone."""

from __future__ import annotations

from collections.abc import Iterator

from dure.audit.page import Entry, Page
from dure.model.fleet import NodeGroup
from dure.model.plan import Placement

UP = "up"


def judge_nearness(page: Page, entry: Entry, placements: tuple[Placement, ...]) -> Iterator[tuple[str, str]]:
    """All nodes of a gang are in one unit of the level that its job demands."""
    within = entry.submitted.within
    if within not in ("domain", "rack", "block") or entry.submitted.nodes == 1:
        return
    units = set()
    for placement in placements:
        _, group = page.nodes[placement.node]
        together: int = getattr(group.topology, within)
        units.add((group.name, _number(placement.node) // together))
    if len(units) > 1:
        yield "gang-not-near", f"it must be within one {within}, and is in {len(units)}"


def judge_spares(page: Page, placements: tuple[Placement, ...]) -> Iterator[tuple[str, str]]:
    """A job that takes wholly idle nodes of a domain leaves its spares, less one for each node out of service."""
    for group, domain in sorted({_domain(page, each.node) for each in placements}):
        members = [name for name, (_, other) in page.nodes.items() if other.name == group]
        near = page.nodes[members[0]][1].topology
        if near.spare == 0:
            continue
        members = [name for name in members if _number(name) // near.domain == domain]
        up = [name for name in members if page.node_states.get(name, UP) == UP]
        kept = max(0, near.spare - (len(members) - len(up)))
        idle = {name for name in up if _is_idle(page, name)}
        taken = {each.node for each in placements} & idle
        if taken and len(idle) - len(taken) < kept:
            yield "takes-spares", f"domain {domain} of {group} keeps {len(idle) - len(taken)} of {kept} spare(s)"


def _number(node: str) -> int:
    """Nodes are numbered within their group, by the end of their names."""
    return int(node.rpartition("-")[2])


def _domain(page: Page, node: str) -> tuple[str, int]:
    group: NodeGroup = page.nodes[node][1]
    return group.name, _number(node) // group.topology.domain


def _is_idle(page: Page, node: str) -> bool:
    return all(page.gpus.get((node, gpu), 0) == 0 for gpu in range(page.nodes[node][1].gpus))
