"""The FGD table: how much of Alibaba's fleet each placement rule can hand out, on the default trace and 16 variants.

The procedure is that of the paper (`dure.twin.packing`). `measure` packs with two seeds of the published ten, which
takes a minute or two on two cores; `python -m benchmarks.pack` packs with all ten, prints every variant, and takes
some minutes. Ties: nodes by an order drawn from the seed, as in the published runs; GPUs of a node by number.
"""

from __future__ import annotations

import csv
import gzip
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from benchmarks.measurement import Figure, Measurement, Skipped
from benchmarks.printing import describe_machine
from dure.bootstrap import compile_packing, prepare_compilation
from dure.sources.locate import VARIABLE, trace_file, trace_folder

VARIANTS = (
    "default",
    *(f"gpushare{percent}" for percent in (40, 60, 80, 100)),
    *(f"multigpu{percent}" for percent in (20, 30, 40, 50)),
    *(f"gpuspec{percent}" for percent in (10, 20, 25, 33)),
    *(f"cpu{percent:03}" for percent in (50, 100, 200, 250)),
)
PUBLISHED = {
    "random": "01-Random",
    "dotprod": "02-DotProd",
    "clustering": "03-GpuClustering",
    "packing": "04-GpuPacking",
    "bestfit": "05-BestFit",
    "fgd": "06-FGD",
}
TOLD = "dure, told the mix"
"""Dure's rule when it is given the shapes of the whole trace, as FGD is, instead of learning them."""
RULES = (*PUBLISHED, "dure", TOLD)
SEEDS = range(42, 52)
FEW_SEEDS = range(42, 44)
PUBLISHED_FILE = Path("fgd_expected_results/analysis_allo_discrete.csv.gz")
NODES_FILE = "openb_node_list_gpu_node.csv"
TIES = "mean over 17 variants at k=100, seeds {} to {}; ties: node order drawn from the seed"

Allocations = dict[tuple[str, str], float]
"""Variant and rule -> mean allocation in % at k=100."""


class Work(NamedTuple):
    """One variant packed by one rule with several seeds."""

    folder: Path
    variant: str
    rule: str
    seeds: Sequence[int]


def measure() -> Sequence[Figure]:
    """Distances to the published table, and what Dure's rule gains, with two seeds."""
    return figures(FEW_SEEDS)


def figures(seeds: Sequence[int]) -> Sequence[Figure]:
    """The rows of the table; a skip where the traces are not here."""
    folder = trace_folder()
    default = trace_file("openb")
    if folder is None or default is None or not (folder / PUBLISHED_FILE).is_file():
        return [Skipped("packing openb", f"Alibaba's traces are not here; name their folder in {VARIABLE}")]
    published = read_published(folder / PUBLISHED_FILE)
    began = time.perf_counter()
    found = pack_all(default.parent, seeds)
    return [*_rows(found, published, seeds), _time(time.perf_counter() - began, len(seeds))]


def read_published(path: Path) -> Allocations:
    """The means over ten seeds, as the authors of FGD published them."""
    values: dict[tuple[str, str], list[float]] = {}
    rule_of = {label: rule for rule, label in PUBLISHED.items()}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            key = row["workload"].removeprefix("openb_pod_list_"), rule_of[row["sc_policy"]]
            values.setdefault(key, []).append(float(row["100"]))
    return {key: fmean(each) for key, each in values.items()}


def pack_all(folder: Path, seeds: Sequence[int]) -> Allocations:
    """Every variant by every rule, on all cores."""
    compile_packing()
    works = [Work(folder, variant, rule, seeds) for variant in VARIANTS for rule in RULES]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        means = pool.map(pack_one, works, chunksize=1)
    return {(work.variant, work.rule): mean for work, mean in zip(works, means, strict=True)}


def pack_one(work: Work) -> float:
    """The mean allocation in % at k=100."""
    prepare_compilation()
    from dure.sources.fleet import read_fleet
    from dure.sources.openb import read_openb
    from dure.twin.packing import pods_for, run_pack

    fleet = read_fleet(str(work.folder / NODES_FILE))
    pods = pods_for(read_openb(work.folder / f"openb_pod_list_{work.variant}.csv.gz"), fleet)
    told = work.rule == TOLD
    rule = "dure" if told else work.rule
    return fmean(run_pack(pods, fleet, rule, seed, given_mix=told).allocation_pct["100"] for seed in work.seeds)


def _rows(found: Allocations, published: Allocations, seeds: Sequence[int]) -> Sequence[Figure]:
    ties = TIES.format(seeds[0], seeds[-1])
    rows: list[Figure] = []
    for rule in PUBLISHED:
        off = [found[variant, rule] - published[variant, rule] for variant in VARIANTS]
        mean = fmean(found[variant, rule] for variant in VARIANTS)
        worst = max(off, key=abs)
        where = VARIANTS[off.index(worst)]
        said = f"published {mean - fmean(off):.2f}; farthest on {where}, {worst:+.2f}; {ties}"
        rows.append(Measurement(f"packing openb, {rule}, allocated", mean, "%", None, None, "more", said))
        must = 0.5 if len(seeds) == len(SEEDS) else None
        name = f"packing openb, {rule}, farthest from the published mean of a variant"
        rows.append(Measurement(name, abs(worst), "points", must, None, "less", ties))
    for rule in ("dure", TOLD):
        gains = [found[variant, rule] - published[variant, "fgd"] for variant in VARIANTS]
        where = VARIANTS[gains.index(min(gains))]
        name = f"packing openb, {rule}, above FGD as published"
        promised = rule == "dure"
        rows.append(
            Measurement(
                f"{name}, smallest gain",
                min(gains),
                "points",
                0 if promised else None,
                None,
                "more",
                f"on {where}; {ties}",
            )
        )
        must, aim = (1.0, 1.5) if promised else (None, None)
        rows.append(Measurement(f"{name}, mean gain", fmean(gains), "points", must, aim, "more", ties))
    return rows


def _time(wall_s: float, seeds: int) -> Figure:
    must = 600 if seeds == len(SEEDS) else None
    name = f"packing openb, 17 variants x {seeds} seeds x {len(RULES)} rules"
    return Measurement(name, wall_s, "s", must, None, "less", "the FGD simulator: about 10 min for one of these runs")


def main() -> None:
    """Print every variant with all ten seeds, as a table in Markdown."""
    prepare_compilation()
    default, folder = trace_file("openb"), trace_folder()
    if default is None or folder is None:
        sys.exit(f"Alibaba's traces are not here; name their folder in {VARIABLE}")
    published = read_published(folder / PUBLISHED_FILE)
    began = time.perf_counter()
    found = pack_all(default.parent, SEEDS)
    print("| Variant | " + " | ".join(RULES) + " | gain |\n|---|" + "---|" * (len(RULES) + 1))
    for variant in VARIANTS:
        cells = [
            f"{found[variant, rule]:.2f} ({published[variant, rule]:.2f})"
            if rule in PUBLISHED
            else f"{found[variant, rule]:.2f}"
            for rule in RULES
        ]
        gain = found[variant, "dure"] - published[variant, "fgd"]
        print(f"| {variant} | " + " | ".join(cells) + f" | {gain:+.2f} |")
    for row in _rows(found, published, SEEDS):
        assert isinstance(row, Measurement)
        print(f"{row.name}: {row.value:.3f} {row.unit} ({row.compared_to})")
    print(f"{time.perf_counter() - began:.0f} s; {describe_machine()}")


if __name__ == "__main__":
    main()
