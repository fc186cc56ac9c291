"""Sharing pays: Philly's 15 virtual clusters with one fleet between them, against each of them alone.

Every virtual cluster is an owner, guaranteed whole nodes in proportion to the GPU time of its jobs, and no fewer than
its largest job needs. `silo` gives each owner its own nodes and nothing else; `dure` lends what is idle and takes it
back. Both use the same kernel, backfill and all. Every job may be preempted and saves its work every 30 minutes; its
time limit is what it really ran, which is all that the trace tells.

`python -m benchmarks.sharing docs/sharing-pays` measures many fleets, which takes some minutes, and writes the data and
the plot that the README shows.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.measurement import Figure, Measurement, Skipped
from dure.bootstrap import prepare_compilation
from dure.model.fleet import Timing
from dure.model.organisations import Share, ShareAmount
from dure.model.units import SECOND_MS, WHOLE_GPU_MILLI
from dure.sources.fleet import parse_fleet
from dure.sources.locate import VARIABLE, trace_file
from dure.sources.readers import read_trace
from dure.sources.trace import Column, Trace
from dure.twin.making import CHECKPOINT_EVERY_MS
from dure.twin.run import run_scene
from dure.twin.scene import Scene

GPUS_PER_NODE = 8
NODES = 128
"""The fleet of the headline: 1,024 GPUs, which this trace keeps 37% busy."""
PLOTTED_NODES = (56, 60, 64, 68, 72, 80, 88, 96, 112, 128, 144, 160, 192, 224, 256, 320)
PROMISED_S = (Timing().warning_ms + Timing().grace_ms) / SECOND_MS
"""From an owner's demand to its GPUs."""


class Outcome(NamedTuple):
    """One run, as the plot's data has it."""

    policy: str
    gpus: int
    avg_wait_s: float
    p99_wait_s: float
    p99_guarantee_delay_s: float
    reclaimed: int


class Runs:
    """Runs of one trace on fleets of different sizes; each is made once."""

    def __init__(self, path: Path) -> None:
        self._trace = read_trace(path, "philly", parse_fleet(f"{NODES}x{GPUS_PER_NODE}"))
        self._made: dict[tuple[str, int], Outcome] = {}

    @property
    def made(self) -> Sequence[Outcome]:
        """All so far, by policy and size."""
        return [self._made[key] for key in sorted(self._made)]

    @property
    def fewest_nodes(self) -> int:
        """The smallest fleet in which every owner can be guaranteed its largest job."""
        return int(_largest_jobs(self._trace).sum())

    def of(self, policy: str, nodes: int) -> Outcome:
        """What came of a policy on so many nodes."""
        if (policy, nodes) not in self._made:
            report = run_scene(self._scene(policy, nodes))
            assert report.finished == len(self._trace)
            assert report.p99_guarantee_delay_s is not None
            self._made[policy, nodes] = Outcome(
                policy,
                nodes * GPUS_PER_NODE,
                report.avg_wait_s,
                report.p99_wait_s,
                report.p99_guarantee_delay_s,
                report.reclaimed,
            )
        return self._made[policy, nodes]

    def _scene(self, policy: str, nodes: int) -> Scene:
        owners = zip(self._trace.shares, guaranteed_nodes(self._trace, nodes).tolist(), strict=True)
        return Scene(
            trace=self._trace,
            fleet=parse_fleet(f"{nodes}x{GPUS_PER_NODE}"),
            shares=tuple(_owner(name, own * GPUS_PER_NODE) for name, own in owners),
            policy=policy,
            checkpoint_every_ms=CHECKPOINT_EVERY_MS,
        )


def guaranteed_nodes(trace: Trace, nodes: int) -> Column:
    """Nodes of each owner: its largest job's, then one by one whoever has least for the GPU time of its jobs."""
    gpu_time = np.bincount(trace.share, weights=trace.gpu_milli_ms.astype(np.float64), minlength=len(trace.shares))
    own = _largest_jobs(trace)
    for _ in range(nodes - int(own.sum())):
        own[np.argmax(gpu_time / (own + 1))] += 1
    return own


def _largest_jobs(trace: Trace) -> Column:
    largest = np.zeros(len(trace.shares), dtype=np.int64)
    np.maximum.at(largest, trace.share, trace.nodes)
    return largest


def _owner(name: str, gpus: int) -> Share:
    amount = ShareAmount(gpu_class="GPU", guarantee_milli=gpus * WHOLE_GPU_MILLI)
    return Share(name=name, parent=None, amounts=(amount,))


def fewest_nodes_that_do(
    outcome_of: Callable[[str, int], Outcome], fewest: int, wait_s: Callable[[Outcome], float]
) -> int:
    """The fewest shared nodes, `fewest` or more, on which jobs wait no longer than on `NODES` in silos.

    It is searched by halving, as if jobs never waited less on fewer nodes, which is so but for a per cent or two.
    """
    enough_s = wait_s(outcome_of("silo", NODES))
    too_few, enough = fewest - 1, NODES
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if wait_s(outcome_of("dure", middle)) <= enough_s:
            enough = middle
        else:
            too_few = middle
    return enough


def measure() -> Sequence[Figure]:
    """Waits of both on the same GPUs, the GPUs at which `dure` waits as `silo` does, and how guarantees were kept."""
    path = trace_file("philly")
    if path is None:
        return [Skipped("sharing pays", f"Philly's trace is not here; name its folder in {VARIABLE}")]
    runs = Runs(path)
    shared, alone = runs.of("dure", NODES), runs.of("silo", NODES)
    on_average, for_most = _nodes_that_do(runs)
    gpus = NODES * GPUS_PER_NODE
    on = f"Philly's 15 owners, {gpus:,} GPUs"
    as_many = f"{gpus:,} in silos"
    figures = [
        _wait(f"{on}: mean wait with dure", shared.avg_wait_s, alone.avg_wait_s),
        _wait(f"{on}: p99 wait with dure", shared.p99_wait_s, alone.p99_wait_s),
        _fleet("mean", on_average, as_many),
        _fleet("p99", for_most, as_many),
    ]
    slowest_s = max(run.p99_guarantee_delay_s for run in runs.made if run.policy == "dure")
    kept = f"warning and grace; the worst of {len(runs.made) - 1} fleets"
    name = "Philly's 15 owners with dure: demand within guarantee to GPUs, p99"
    return [*figures, Measurement(name, slowest_s, "s", PROMISED_S, None, "less", kept)]


def _nodes_that_do(runs: Runs) -> tuple[int, int]:
    """For the mean wait, and for the 99th percentile."""
    return (
        fewest_nodes_that_do(runs.of, runs.fewest_nodes, lambda run: run.avg_wait_s),
        fewest_nodes_that_do(runs.of, runs.fewest_nodes, lambda run: run.p99_wait_s),
    )


def _wait(name: str, value_s: float, alone_s: float) -> Measurement:
    compared_to = f"{alone_s:,.0f} s in silos, {alone_s / max(value_s, 1):,.0f} times as long"
    return Measurement(name, value_s, "s", None, None, "less", compared_to)


def _fleet(which: str, nodes: int, as_many: str) -> Measurement:
    name = f"Philly's 15 owners: GPUs at which the {which} wait with dure is that of {as_many}"
    compared_to = f"{as_many}: {1 - nodes / NODES:.0%} fewer"
    return Measurement(name, nodes * GPUS_PER_NODE, "GPUs", NODES * GPUS_PER_NODE, None, "less", compared_to)


def read_outcomes(path: Path) -> list[Outcome]:
    """The plot's data as written."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            Outcome(policy, int(gpus), float(avg), float(p99), float(delay), int(reclaimed))
            for policy, gpus, avg, p99, delay, reclaimed in list(csv.reader(stream))[1:]
        ]


def _write_outcomes(path: Path, outcomes: Iterable[Outcome]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([Outcome._fields, *outcomes])


def main(arguments: Sequence[str]) -> int:
    """Measure every fleet of the plot; write its data and the plot beside it."""
    from benchmarks.sharing_plot import drawn

    prepare_compilation()
    philly = trace_file("philly")
    if len(arguments) != 1 or philly is None:
        print(f"usage: python -m benchmarks.sharing PATH, with Philly's trace in {VARIABLE}", file=sys.stderr)
        return 2
    runs = Runs(philly)
    for nodes in PLOTTED_NODES:
        for policy in ("silo", "dure"):
            print(runs.of(policy, nodes), flush=True)
    print("nodes for the mean, and for the 99th percentile:", *_nodes_that_do(runs), flush=True)
    _write_outcomes(Path(f"{arguments[0]}.csv"), runs.made)
    Path(f"{arguments[0]}.svg").write_text(drawn(runs.made), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
