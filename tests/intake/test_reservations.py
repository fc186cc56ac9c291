"""Reservations in a nation file: what is read, what is refused, and which nodes they get."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dure.intake.nation_changes import difference
from dure.intake.nationfile import nation_from_yaml, write_nation
from dure.intake.refusals import BadInput, Refusal, RefusalCode
from dure.intake.reservations import reservation_notes, settle_for_now, settled
from dure.model.dates import parse_moment
from dure.model.nation import Nation
from dure.model.reservations import Reservation

from .conftest import NATION, lines

WHEN = "from: 2027-03-02T09:00:00+09:00, until: 2027-03-02T18:00:00+09:00"
LATER = "from: 2027-03-02T18:00:00+09:00, until: 2027-03-03T18:00:00+09:00"
NOW_MS = parse_moment("2027-03-01T00:00:00Z")
OVER_MS = parse_moment("2027-03-02T18:00:00+09:00")


def with_reservations(*entries: str) -> Nation:
    return nation_from_yaml(NATION + "reservations:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries))


def problems(*entries: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        with_reservations(*entries)
    return lines(caught)


def chosen(nation: Nation, before: Nation | None = None) -> dict[str, list[str]]:
    found, wrong = settled(nation, before)
    assert wrong == []
    return {each.name: list(each.chosen) for each in found.reservations}


def test_a_reservation_is_read_and_written_back() -> None:
    nation = with_reservations(f"name: lesson, for: haneul, gpu_class: H100, count: 2, {WHEN}")
    assert nation.reservations == (
        Reservation(
            name="lesson",
            share="haneul",
            gpu_class="H100",
            count=2,
            from_ms=parse_moment("2027-03-02T00:00:00Z"),
            until_ms=parse_moment("2027-03-02T09:00:00Z"),
        ),
    )
    assert nation_from_yaml(write_nation(nation)) == nation
    settled_nation, _ = settled(nation, None)
    assert nation_from_yaml(write_nation(settled_nation)) == nation


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            f"name: x, site: sejon, {WHEN}",
            "reservations[0].site: there is no such site (got sejon); did you",
        ),
        (f"name: x, node_group: sk, {WHEN}", "reservations[0].node_group: there is no such node group (got sk)"),
        (f"name: x, gpu_class: H200, {WHEN}", "reservations[0].gpu_class: there is no such GPU class (got H200)"),
        (
            f"name: x, for: haneull, site: sejong, {WHEN}",
            "reservations[0].for: there is no such share (got haneull)",
        ),
        (
            f"name: x, for: haneul-llm, site: sejong, {WHEN}",
            "reservations[0].for: there is no such share (got haneul-llm); its jobs run under haneul",
        ),
        (f"name: x, nodes: [sj-0008], {WHEN}", "reservations[0].nodes: there is no such node (got sj-0008)"),
        (f"name: x, nodes: [sj-0001, sj-0001], {WHEN}", "reservations[0].nodes[1]: appears twice (got sj-0001)"),
        (f"name: x, nodes: [], {WHEN}", "reservations[0].nodes: names no nodes (got a list); add some"),
        (f"name: x, {WHEN}", "reservations[0]: names no nodes; add nodes, or one or more of site, node_group"),
        (
            f"name: x, nodes: [sj-0001], count: 1, {WHEN}",
            "reservations[0].count: nodes are named, so count",
        ),
        (f"name: x, count: 0, {WHEN}", "reservations[0].count: must lie between 1 and 100,000 (got 0)"),
        (
            f"name: x, gpu_class: H100, count: 9, {WHEN}",
            "reservations[0]: asks for 9 nodes, and 8 match (got x)",
        ),
        (f"name: x, site: sejong, gpu_class: B200, {WHEN}", "reservations[0]: asks for all nodes, and 0 match (got x)"),
        (
            "name: x, site: sejong, from: 2027-03-02T09:00:00Z, until: 2027-03-02T09:00:00Z",
            "reservations[0].until: is not after from (got 2027-03-02T09:00:00Z); swap the two",
        ),
        ("name: x, site: sejong, until: 2027-03-02T09:00:00Z", "reservations[0].from: is missing; add when it begins"),
        (
            "name: x, site: sejong, from: 9:00, until: 2027-03-02T09:00:00Z",
            "reservations[0].from: is not a date and time (got 9:00); write it like 2027-03-02T09:00:00+09:00",
        ),
        (
            f"name: x, sites: sejong, site: sejong, {WHEN}",
            "reservations[0].sites: is not a known field; did you",
        ),
    ],
)
def test_a_reservation_that_cannot_be_is_refused_where_it_stands(entry: str, message: str) -> None:
    found = problems(entry)
    assert message in found[0], found
    assert len(found) == 1


def test_nothing_is_reserved_twice_at_once() -> None:
    assert problems(f"name: a, nodes: [sj-0003], {WHEN}", f"name: b, node_group: sj, {WHEN}") == [
        "reservations[1]: sj-0003 is reserved for a from 2027-03-02T00:00:00Z until 2027-03-02T09:00:00Z (got b); "
        "ask for fewer nodes, other nodes or another time"
    ]
    found = problems(f"name: a, site: sejong, count: 5, {WHEN}", f"name: b, gpu_class: H100, count: 4, {WHEN}")
    assert "reservations[1]: asks for 4 nodes, and 3 that match are free of reservations then (got b)" in found[0]
    assert problems(f"name: a, site: sejong, {WHEN}", f"name: a, site: sejong, {LATER}") == [
        "reservations[1].name: the reservation is already at reservations[0].name (got a); "
        "give one of them another name"
    ]


def test_one_may_begin_when_another_ends() -> None:
    nation = with_reservations(f"name: a, site: sejong, {WHEN}", f"name: b, site: sejong, {LATER}")
    assert {name: len(nodes) for name, nodes in chosen(nation).items()} == {"a": 8, "b": 8}


def test_nodes_are_the_last_of_the_first_group_that_has_enough() -> None:
    nation = with_reservations(f"name: a, count: 3, {WHEN}", f"name: b, site: pyeongtaek, count: 2, {WHEN}")
    assert chosen(nation) == {"a": ["sj-0005", "sj-0006", "sj-0007"], "b": ["pt-0002", "pt-0003"]}


def test_where_no_group_has_enough_one_after_another_gives_its_last() -> None:
    nation = with_reservations(f"name: a, site: pyeongtaek, count: 5, {WHEN}")
    assert chosen(nation) == {"a": ["pt-0000", "pt-0001", "pt-0002", "pt-0003", "ptc-0001"]}


def test_those_who_leave_no_choice_are_served_first() -> None:
    nation = with_reservations(f"name: a, gpu_class: H100, count: 2, {WHEN}", f"name: b, nodes: [sj-0007], {WHEN}")
    assert chosen(nation) == {"a": ["sj-0005", "sj-0006"], "b": ["sj-0007"]}


def test_nodes_stay_when_the_file_is_applied_again_with_others() -> None:
    first, _ = settled(with_reservations(f"name: b, gpu_class: H100, count: 2, {WHEN}"), None)
    again = with_reservations(
        f"name: a, gpu_class: H100, count: 2, {WHEN}", f"name: b, gpu_class: H100, count: 3, {WHEN}"
    )
    assert chosen(again, None) == {"a": ["sj-0006", "sj-0007"], "b": ["sj-0003", "sj-0004", "sj-0005"]}
    assert chosen(again, first) == {"a": ["sj-0003", "sj-0004"], "b": ["sj-0005", "sj-0006", "sj-0007"]}


def test_nodes_that_vanish_are_replaced_and_the_others_stay() -> None:
    before, _ = settled(with_reservations(f"name: a, gpu_class: H100, count: 2, {WHEN}"), None)
    nation = with_reservations(f"name: a, gpu_class: H100, count: 2, {WHEN}")
    sejong = replace(nation.sites[0], nodes=(replace(nation.sites[0].nodes[0], count=7),))
    smaller = replace(nation, sites=(sejong, *nation.sites[1:]))
    assert chosen(smaller, before) == {"a": ["sj-0005", "sj-0006"]}


def test_applying_twice_changes_nothing_even_when_it_is_over() -> None:
    nation = with_reservations(f"name: a, gpu_class: H100, count: 2, {WHEN}")
    first = settle_for_now(nation, Nation(), NOW_MS)
    assert isinstance(first, Nation)
    again = settle_for_now(nation, first, OVER_MS)
    assert isinstance(again, Nation)
    assert difference(first, again) == ()


def test_a_reservation_in_the_past_is_refused_unless_it_was_there() -> None:
    nation = with_reservations(f"name: a, gpu_class: H100, count: 2, {WHEN}")
    answer = settle_for_now(nation, Nation(), OVER_MS)
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.field) == (RefusalCode.RESERVATION_IN_THE_PAST, "reservations[0].until")
    assert "reservation a ended 2027-03-02T09:00:00Z; remove it, or give it a time to come" in answer.message
    assert isinstance(settle_for_now(nation, Nation(), OVER_MS - 1), Nation)


def test_a_difference_names_times_and_nodes() -> None:
    before, _ = settled(with_reservations(f"name: a, gpu_class: H100, count: 1, {WHEN}"), None)
    after, _ = settled(with_reservations(f"name: a, gpu_class: H100, count: 2, for: haneul, {LATER}"), before)
    assert [str(each) for each in difference(before, after)] == [
        "~ reservation a for: (none) -> haneul",
        "~ reservation a from: 2027-03-02T00:00:00Z -> 2027-03-02T09:00:00Z",
        "~ reservation a until: 2027-03-02T09:00:00Z -> 2027-03-03T09:00:00Z",
        "~ reservation a nodes: sj-0007 -> sj-0006, sj-0007",
    ]
    assert reservation_notes(before, after, [], NOW_MS) == ("a: sj-0006, sj-0007",)
    assert reservation_notes(after, after, [], NOW_MS) == ()
