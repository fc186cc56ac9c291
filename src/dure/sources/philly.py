"""The `philly` format: Microsoft's Philly clusters of 2017, as packed by the Pollux and Sia artifacts.

Columns `timestamp, duration, num_gpus, gpu_time, cluster`; a cluster is one of Philly's virtual clusters and becomes a
share. Rows come in no particular order. What a job asked for is not recorded, so its limit is what it ran.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dure.model.units import SECOND_MS
from dure.sources.limits import LONGEST_RUN_S, MOST_GPUS_PER_JOB
from dure.sources.table import read_table
from dure.sources.trace import ANY_GPU_CLASS, Trace, arranged, pack_choices, split_evenly

COLUMNS = ("timestamp", "duration", "num_gpus", "gpu_time", "cluster")


def read_philly(path: Path, most_gpus_per_node: int) -> Trace:
    """The jobs of a `philly` file; gangs split evenly over nodes of `most_gpus_per_node`. Raises `BadTrace`."""
    table = read_table(path, COLUMNS)
    nodes, gpus_milli = split_evenly(table.whole_numbers("num_gpus", 1, MOST_GPUS_PER_JOB), most_gpus_per_node)
    clusters, share = np.unique(np.array(table.columns["cluster"]), return_inverse=True)
    return arranged(
        name=path.name.removesuffix(".gz").removesuffix(".csv"),
        origin=f"{path.name} (Microsoft Philly 2017, durations known in advance)",
        gpu_classes=(ANY_GPU_CLASS,),
        shares=tuple(map(str, clusters)),
        submit_ms=table.date_seconds("timestamp") * SECOND_MS,
        duration_ms=table.milliseconds("duration", 1, LONGEST_RUN_S),
        nodes=nodes,
        gpus_milli=gpus_milli,
        choices=np.full(len(table), pack_choices((0,)), dtype=np.int64),
        share=share.astype(np.int64),
    )
