"""The `equal` format: the small common workload that schedulers are compared on, with known exact answers.

Columns `job_id, submit, duration, num_gpus`; times in seconds from the first job. Who submitted
is not recorded, and what a job asked for is what it ran.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dure.sources.limits import LONGEST_RUN_S, LONGEST_TRACE_S, MOST_GPUS_PER_JOB
from dure.sources.table import read_table
from dure.sources.trace import ANY_GPU_CLASS, EVERYONE, Trace, arranged, pack_choices, split_evenly

COLUMNS = ("job_id", "submit", "duration", "num_gpus")


def read_equal(path: Path, most_gpus_per_node: int) -> Trace:
    """The jobs of an `equal` file; gangs split evenly over nodes of `most_gpus_per_node`. Raises `BadTrace`."""
    table = read_table(path, COLUMNS)
    nodes, gpus_milli = split_evenly(table.whole_numbers("num_gpus", 1, MOST_GPUS_PER_JOB), most_gpus_per_node)
    return arranged(
        name=path.name.removesuffix(".gz").removesuffix(".csv"),
        origin=f"{path.name} (equal format, durations known in advance)",
        gpu_classes=(ANY_GPU_CLASS,),
        shares=(EVERYONE,),
        submit_ms=table.milliseconds("submit", 0, LONGEST_TRACE_S),
        duration_ms=table.milliseconds("duration", 1, LONGEST_RUN_S),
        nodes=nodes,
        gpus_milli=gpus_milli,
        choices=np.full(len(table), pack_choices((0,)), dtype=np.int64),
    )
