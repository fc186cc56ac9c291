"""The generator's measured numbers, computed again from the data they are said to come from."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dure.sources.calibration import Provenance, calibration
from dure.sources.draws import from_quantiles, mean_of_quantiles
from dure.sources.openb import read_openb
from dure.sources.philly import read_philly
from dure.sources.streams import uniforms
from dure.sources.trace import Column

Traces = Callable[[str], Path]


@pytest.fixture
def philly(traces: Traces) -> tuple[Column, Column]:
    """GPUs and seconds of every Philly job."""
    trace = read_philly(traces("philly"), 8)
    return trace.nodes * trace.gpus_milli // 1000, trace.duration_ms // 1000


def test_every_table_says_where_its_numbers_come_from() -> None:
    for table in msgspec.structs.astuple(calibration()):
        assert isinstance(table, Provenance)
        assert table.grade in {"measured", "published", "assumed"}
        assert table.source
        assert len(table.date) == len("2026-01-31")


def test_sizes_are_phillys(philly: tuple[Column, Column]) -> None:
    sizes, jobs = np.unique(philly[0], return_counts=True)
    assert calibration().everyday_sizes.gpus == tuple(sizes.tolist())
    assert calibration().everyday_sizes.jobs == tuple(jobs.tolist())


def test_durations_are_phillys_quantiles_and_keep_its_mean_within_five_per_cent(
    philly: tuple[Column, Column],
) -> None:
    gpus, seconds = philly
    durations = calibration().everyday_durations
    fewest = 0
    for group in durations.group:
        of_group = seconds[(gpus > fewest) & (gpus <= group.most_gpus)]
        quantiles = np.quantile(of_group, durations.probabilities, method="inverted_cdf")
        assert group.seconds == tuple(quantiles.astype(int).tolist())
        assert mean_of_quantiles(durations.probabilities, group.seconds) == pytest.approx(of_group.mean(), rel=0.05)
        fewest = group.most_gpus


def test_the_week_is_phillys(traces: Traces) -> None:
    with gzip.open(traces("philly"), "rt") as stream:
        days = np.array([row[0][:10] for row in csv.reader(stream) if row][1:], dtype="datetime64[D]")
    first, last = days.min(), days.max()
    counts = np.bincount((days - first).astype(int), minlength=int((last - first).astype(int)) + 1)
    weekday = (np.arange(len(counts)) + int(first.astype(int)) + 3) % 7
    medians = tuple(float(np.median(counts[weekday == day])) for day in range(7))
    assert calibration().weekly.per_day == medians


def test_the_day_is_helioss(traces: Traces) -> None:
    folder = traces("helios_earth_vc/vc3sl.csv.gz").parent
    arrivals = np.zeros(24)
    for path in sorted(folder.glob("vc*.csv.gz")):
        with gzip.open(path, "rt") as stream:
            rows = list(csv.DictReader(stream))
        hour = np.array([int(row["time"][11:13]) for row in rows])
        jobs = np.array([float(row["total_gpujob_num"]) for row in rows])
        np.add.at(arrivals, hour[1:], np.clip(np.diff(jobs), 0, 3))
    assert calibration().daily.per_hour == tuple(arrivals.astype(int).tolist())


def test_sizes_of_parts_are_openbs(traces: Traces) -> None:
    pods = read_openb(traces("openb"))
    sizes, jobs = np.unique(pods.gpus_milli[(pods.gpus_milli > 0) & (pods.gpus_milli < 1000)], return_counts=True)
    assert calibration().part_sizes.milli == tuple(sizes.tolist())
    assert calibration().part_sizes.jobs == tuple(jobs.tolist())


def test_training_of_large_models_stays_within_what_was_published() -> None:
    bounds, foundation = calibration().foundation_bounds, calibration().foundation
    assert max(foundation.gpus) == bounds.most_gpus
    assert max(foundation.seconds) == bounds.longest_seconds


def test_drawing_from_quantiles_gives_the_quantiles_back() -> None:
    durations = calibration().everyday_durations
    levels = durations.group[0].seconds
    drawn = from_quantiles(uniforms(1, "test", 200_000), durations.probabilities, levels)
    for probability in (0.1, 0.5, 0.9, 0.99):
        level = levels[durations.probabilities.index(probability)]
        assert np.mean(drawn <= level) == pytest.approx(probability, abs=0.005)
    assert drawn.min() >= levels[0]
    assert drawn.max() <= levels[-1]


def test_streams_differ_by_purpose_and_seed_and_never_change() -> None:
    assert uniforms(1, "a", 4).tolist() == uniforms(1, "a", 9)[:4].tolist()
    assert uniforms(1, "a", 4).tolist() != uniforms(1, "b", 4).tolist()
    assert uniforms(1, "a", 4).tolist() != uniforms(2, "a", 4).tolist()
    # Written down once: a change here would silently change every generated workload.
    assert uniforms(42, "time of submission", 2).tolist() == [0.19279874776173944, 0.9545480453781184]
