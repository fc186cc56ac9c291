"""Failures of nodes, drawn and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dure.model.units import DAY_MS, HOUR_MS
from dure.sources.errors import BadTrace, BadWorkload
from dure.sources.faults import NEVER_BACK_MS, Faults, drawn_faults, read_faults
from dure.sources.fleet import parse_fleet

FLEET = parse_fleet("40x8:H100+60x4:B200")
HEADER = "node,down,up\n"


def drawn(seed: int = 7, *, mtbf_h: int = 100, repair_h: int = 4, days: int = 100) -> Faults:
    return drawn_faults(seed, FLEET, mtbf_h * HOUR_MS, repair_h * HOUR_MS, days * DAY_MS)


def test_nodes_fail_as_often_as_asked_and_as_if_without_memory() -> None:
    """2,400 expected; of exponential gaps, 63% (1 - 1/e) are shorter than the mean."""
    faults = drawn(mtbf_h=100, repair_h=1)
    assert 2_300 < len(faults) <= 2_400
    gaps_ms = np.concatenate([np.diff(faults.down_ms[faults.node == node]) for node in range(FLEET.nodes)])
    assert 0.6 < np.mean(gaps_ms < 100 * HOUR_MS) < 0.68


def test_failures_come_in_order_and_no_node_fails_while_it_is_down() -> None:
    faults = drawn(mtbf_h=10, repair_h=8)
    assert np.all(np.diff(faults.down_ms) >= 0)
    assert np.all(faults.up_ms - faults.down_ms == 8 * HOUR_MS)
    for node in range(FLEET.nodes):
        mine = faults.node == node
        assert np.all(faults.down_ms[mine][1:] > faults.up_ms[mine][:-1])


def test_the_same_seed_draws_the_same_failures_and_another_seed_others() -> None:
    assert np.array_equal(drawn(1).down_ms, drawn(1).down_ms)
    assert not np.array_equal(drawn(1).down_ms[:50], drawn(2).down_ms[:50])


@pytest.mark.parametrize(("mtbf_h", "repair_h"), [(0, 4), (10, 0), (-1, 1)])
def test_times_that_are_not_positive_are_refused(mtbf_h: int, repair_h: int) -> None:
    with pytest.raises(BadWorkload, match="must be longer than nothing"):
        drawn(mtbf_h=mtbf_h, repair_h=repair_h)


def test_a_flood_of_failures_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(BadWorkload, match="ask for a longer time between failures"):
        drawn_faults(0, FLEET, 1, HOUR_MS, 100 * DAY_MS)


def written(folder: Path, rows: str) -> Path:
    path = folder / "faults.csv"
    path.write_text(HEADER + rows)
    return path


def test_a_file_names_nodes_and_times(tmp_path: Path) -> None:
    faults = read_faults(written(tmp_path, "g1-0002,90,\ng0-0001,10,70.5\n"), FLEET)
    assert faults.node.tolist() == [1, 42]
    assert faults.down_ms.tolist() == [10_000, 90_000]
    assert faults.up_ms.tolist() == [70_500, NEVER_BACK_MS]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("n9,10,20\n", "column node: found 'n9', expected a node of fleet 40x8:H100\\+60x4:B200, like g0-0000"),
        ("g0-0000,x,20\n", "column down: found 'x', expected seconds"),
        ("g0-0000,20,20\n", "column up: found '20', expected a time after the node went down"),
        ("g0-0000,10,30\ng0-0000,20,40\n", "line 3, column down: found '20', expected a time at which the node is not"),
        ("g0-0000,10,\ng0-0000,20,40\n", "line 3, column down: found '20'"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, rows: str, said: str) -> None:
    with pytest.raises(BadTrace, match=said):
        read_faults(written(tmp_path, rows), FLEET)
