"""Fleets from short forms, node lists and nations."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.intake.nationfile import write_nation
from dure.intake.refusals import BadInput
from dure.model.fleet import GpuClass, NodeGroup, Site
from dure.model.nation import Nation
from dure.model.organisations import Organisation, OrganisationKind
from dure.sources.errors import BadFleet, BadTrace
from dure.sources.fleet import NO_GPU_CLASS, fleet_of_nation, parse_fleet, read_fleet, read_node_list

NODES = "sn,cpu_milli,memory_mib,gpu,model\n"
NATION = Nation(
    organisations=tuple(
        Organisation(
            name=name, kind=OrganisationKind.ENTERPRISE, country="KR", parent_country="KR", projects=(f"{name}-lab",)
        )
        for name in ("government", "enterprise-1")
    ),
    gpu_classes=(GpuClass(name="H100"), GpuClass(name="B200")),
    sites=(
        Site(
            name="seoul",
            country="KR",
            owner="government",
            nodes=(
                NodeGroup(name="big", count=2, gpu_class="B200", gpus=8, cpus=128, memory_mib=1024),
                NodeGroup(name="plain", count=1, gpu_class="", gpus=0, cpus=64, memory_mib=512),
            ),
        ),
        Site(
            name="busan",
            country="KR",
            owner="enterprise-1",
            nodes=(NodeGroup(name="old", count=3, gpu_class="H100", gpus=4, cpus=32, memory_mib=256),),
        ),
    ),
)


def test_the_short_form_names_nodes_gpus_and_classes() -> None:
    fleet = parse_fleet("72x8:H100+18x4:B200")
    assert fleet.gpu_classes == ("H100", "B200")
    assert [(group.class_index, group.count, group.gpus) for group in fleet.groups] == [(0, 72, 8), (1, 18, 4)]
    assert (fleet.gpus, fleet.nodes, fleet.most_gpus_per_node) == (72 * 8 + 18 * 4, 90, 8)


def test_a_class_named_twice_is_one_class_of_two_kinds_of_nodes() -> None:
    fleet = parse_fleet("2x8:H100 + 3x4:H100")
    assert fleet.gpu_classes == ("H100",)
    assert fleet.gpus_of_class(0) == 28


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 16)), min_size=1, max_size=6))
def test_a_fleet_has_exactly_the_gpus_its_text_says(groups: list[tuple[int, int]]) -> None:
    fleet = parse_fleet("+".join(f"{count}x{gpus}" for count, gpus in groups))
    assert fleet.gpus == sum(count * gpus for count, gpus in groups)
    assert fleet.gpu_classes == ("GPU",)


@pytest.mark.parametrize("text", ["", "8", "x8", "72x", "0x8", "72x0", "72x8:", "72x8+", "72x8:H 100", "-1x8", "72*8"])
def test_what_is_no_fleet_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadFleet, match="72x8:H100"):
        parse_fleet(text)


@pytest.mark.parametrize(
    ("text", "rule"), [("1x17", "at most 16 GPUs per node"), ("1000001x1", "at most 1,000,000 nodes")]
)
def test_a_fleet_beyond_what_the_twin_can_hold_is_refused(text: str, rule: str) -> None:
    with pytest.raises(BadFleet, match=rule):
        parse_fleet(text)


def test_a_node_list_keeps_the_order_and_names_of_its_nodes(tmp_path: Path) -> None:
    path = tmp_path / "nodes.csv"
    path.write_text(NODES + "a,8000,1024,2,T4\nb,8000,1024,2,T4\nc,8000,1024,0,\nd,8000,1024,2,T4\n")
    fleet = read_fleet(str(path))
    assert [(group.class_index, group.names) for group in fleet.groups] == [
        (0, ("a", "b")),
        (NO_GPU_CLASS, ("c",)),
        (0, ("d",)),
    ]


@pytest.mark.parametrize("row", ["a,8000,1024,2,", "a,8000,1024,0,T4", "a,8000,1024,two,T4", "a,8000,1024,99,T4"])
def test_a_node_that_makes_no_sense_is_refused(tmp_path: Path, row: str) -> None:
    path = tmp_path / "nodes.csv"
    path.write_text(f"{NODES}{row}\n")
    with pytest.raises(BadTrace, match="line 2"):
        read_node_list(path)


def test_a_fleet_without_gpus_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nodes.csv"
    path.write_text(NODES + "a,8000,1024,0,\n")
    with pytest.raises(BadFleet, match="at least one node with a GPU"):
        read_node_list(path)


def test_an_operators_nation_is_a_fleet() -> None:
    fleet = fleet_of_nation(NATION)
    assert (fleet.gpu_classes, fleet.sites, fleet.gpus) == (("H100", "B200"), ("seoul", "busan"), 28)
    assert [(group.class_index, group.site, group.cpus_milli) for group in fleet.groups] == [
        (1, 0, 128_000),
        (NO_GPU_CLASS, 0, 64_000),
        (0, 1, 32_000),
    ]
    assert fleet.groups[0].names == ("big-0000", "big-0001")


def test_a_nation_file_is_read_as_a_fleet(tmp_path: Path) -> None:
    path = tmp_path / "nation.yaml"
    path.write_text(write_nation(NATION), encoding="utf-8")
    fleet = read_fleet(str(path))
    assert (fleet.name, fleet.groups) == ("nation", fleet_of_nation(NATION).groups)


def test_a_nation_file_with_mistakes_is_refused_with_the_field(tmp_path: Path) -> None:
    path = tmp_path / "nation.yaml"
    path.write_text("gpu_clases: {H100: {}}\n", encoding="utf-8")
    with pytest.raises(BadInput, match="gpu_clases"):
        read_fleet(str(path))


def test_a_nation_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFleet, match="cannot be read"):
        read_fleet(str(tmp_path / "absent.yaml"))
    path = tmp_path / "nation.yml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadFleet, match="not text in UTF-8"):
        read_fleet(str(path))
