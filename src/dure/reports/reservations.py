"""Reservations that have not ended, as people see them: by node, and by site."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from dure.model.nation import Nation


class ReservationLine(Struct, frozen=True, kw_only=True):
    """A reservation where it is shown. `share` is empty for maintenance; `nodes` counts those of that place."""

    name: str
    share: str
    from_ms: int
    until_ms: int
    nodes: int


class Kept(Struct, frozen=True):
    """What is reserved now or later, in the order in which it begins."""

    by_node: dict[str, tuple[ReservationLine, ...]]
    by_site: dict[str, tuple[ReservationLine, ...]]


def kept_ahead(nation: Nation, now_ms: int) -> Kept:
    """Reservations that have not ended by `now_ms`, by the name of node and of site."""
    by_node: dict[str, list[ReservationLine]] = defaultdict(list)
    by_site: dict[str, list[ReservationLine]] = defaultdict(list)
    ahead = [each for each in nation.reservations if each.until_ms > now_ms]
    site_of = {n: site.name for site, group in nation.node_groups() for n in group.node_names()} if ahead else {}
    for each in sorted(ahead, key=lambda each: (each.from_ms, each.name)):
        at_sites: dict[str, int] = defaultdict(int)
        for node in each.chosen:
            at_sites[site_of[node]] += 1
            by_node[node].append(_line(each.name, each.share, each.from_ms, each.until_ms, 1))
        for site, count in at_sites.items():
            by_site[site].append(_line(each.name, each.share, each.from_ms, each.until_ms, count))
    return Kept({node: tuple(lines) for node, lines in by_node.items()}, {s: tuple(o) for s, o in by_site.items()})


def _line(name: str, share: str, from_ms: int, until_ms: int, nodes: int) -> ReservationLine:
    return ReservationLine(name=name, share=share, from_ms=from_ms, until_ms=until_ms, nodes=nodes)
