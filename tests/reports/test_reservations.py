"""Reservations as nodes and sites show them."""

from __future__ import annotations

from dure.reports.fleet import nodes_report, sites_report
from tests.kernel.nations import HOUR, nation, reservation, share, world_of

LESSON = reservation("lesson", HOUR, 2 * HOUR, 0, 1, share="guest")
COOLING = reservation("cooling", 0, HOUR, 1)


def test_nodes_and_sites_show_what_they_are_kept_for_in_the_order_in_which_it_begins() -> None:
    world = world_of(nation([share("guest")], nodes=3, reservations=[LESSON, COOLING]))
    names = [[each.name for each in node.reservations] for node in nodes_report(world, 0).nodes]
    assert names == [["lesson"], ["cooling", "lesson"], []]
    (site,) = sites_report(world, 0).sites
    assert [(each.name, each.share, each.nodes) for each in site.reservations] == [
        ("cooling", "", 1),
        ("lesson", "guest", 2),
    ]
    assert site.nodes[0].node.reservations[0].from_ms == HOUR


def test_what_is_over_is_shown_no_more() -> None:
    world = world_of(nation([share("guest")], nodes=3, reservations=[LESSON, COOLING]))
    assert [each.name for each in sites_report(world, HOUR).sites[0].reservations] == ["lesson"]
    assert sites_report(world, 2 * HOUR).sites[0].reservations == ()
