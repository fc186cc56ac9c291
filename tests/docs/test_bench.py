"""`make bench` tells a loss from a gain, and its file of expectations reads as written. No timing is asserted."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks.__main__ import ROOMS
from benchmarks.expected import EXPECTED_FILE, as_toml, proposed, read_expected, verdict
from benchmarks.measurement import Measurement, Skipped
from benchmarks.printing import as_table, describe_machine
from tests.docs.pages import ROOT, text_of

FAST = Measurement("jobs", 1_000.0, "jobs/s", must=500, aim=None, better="more", compared_to="a peer: 10")
SLOW = Measurement("answer", 80.0, "ms", must=50, aim=20, better="less", compared_to="")
PLAIN = Measurement('share of `x`, "quoted"', 0.25, "x", must=None, aim=None, better="more", compared_to="")


def test_a_promise_that_is_not_kept_is_missed() -> None:
    assert verdict(SLOW, {}) == "MISSED"
    assert verdict(FAST, {}) == "kept"
    assert verdict(PLAIN, {}) == ""


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ((900.0, 1_100.0), "kept"),
        ((1_200.0, 1_500.0), "kept, WORSE than expected"),
        ((600.0, 900.0), "kept, better than expected"),
    ],
)
def test_a_figure_outside_its_range_is_marked(expected: tuple[float, float], said: str) -> None:
    assert verdict(FAST, {"jobs": expected}) == said


def test_less_can_be_better() -> None:
    latency = Measurement("answer", 30.0, "ms", must=50, aim=20, better="less", compared_to="")
    assert verdict(latency, {"answer": (10.0, 20.0)}) == "kept, WORSE than expected"


def test_what_is_not_at_hand_is_skipped_by_name() -> None:
    skipped = Skipped("twin on W1", "no trace here")
    assert verdict(skipped, {}) == "skipped"
    assert "twin on W1" in as_table([skipped], {})
    assert proposed([skipped]) == {}


def test_ranges_are_read_as_they_were_written(tmp_path: Path) -> None:
    ranges = proposed([FAST, SLOW, PLAIN])
    file = tmp_path / "expected.toml"
    file.write_text(as_toml(ranges, describe_machine()), encoding="utf-8")
    assert read_expected(file) == ranges
    assert all(verdict(each, ranges) in {"kept", "", "MISSED"} for each in (FAST, SLOW, PLAIN))


def test_the_committed_expectations_are_ranges() -> None:
    for name, (low, high) in tomllib.loads(text_of(EXPECTED_FILE)).items():
        assert 0 <= low <= high, name


def test_every_benchmark_is_named_among_the_promises() -> None:
    promises = text_of(ROOT / "docs" / "promises.md")
    assert [room for room in ROOMS if f"`benchmarks/{room}.py`" not in promises] == []


def test_a_benchmark_that_does_not_exist_is_refused_with_those_that_do() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "kernal"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert "there is no benchmark 'kernal'; choose from evidence, executors, explaining, http, kernel" in done.stderr
