"""The `openb` format: pods and nodes of Alibaba's GPU cluster (cluster-trace-gpu-v2023).

Pods are single-node: a part of one GPU, one GPU, 2, 4 or 8 GPUs, or CPUs only. `gpu_spec` lists the GPU classes a pod
accepts, separated by `|`; empty means any. How long a pod ran is `deletion_time` minus `scheduled_time`. A pod that was
never scheduled is given the time from its creation to its deletion, the only sign of what it wanted. Times are whole
seconds, so a pod that came and went within one second is given one second.

Some of the published variants (`multigpu*`) have neither `gpu_spec` nor times: they are lists for placement studies.
Their pods accept any class, arrive one second apart in the order of the file, and stay.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dure.model.fleet import MOST_GPUS_PER_NODE
from dure.model.units import SECOND_MS, WHOLE_GPU_MILLI
from dure.sources.errors import BadTrace
from dure.sources.limits import LONGEST_RUN_S, LONGEST_TRACE_S, MOST_CPUS_MILLI, MOST_MEMORY_MIB
from dure.sources.table import Table, read_table
from dure.sources.trace import ANY_GPU_CLASS, EVERYONE, MOST_CHOICES, Column, Trace, arranged, pack_choices

POD_COLUMNS = (
    "name",
    "cpu_milli",
    "memory_mib",
    "num_gpu",
    "gpu_milli",
    "gpu_spec",
    "qos",
    "pod_phase",
    "creation_time",
    "deletion_time",
    "scheduled_time",
)
TIME_COLUMNS = POD_COLUMNS[-3:]
OPTIONAL_COLUMNS = ("gpu_spec", "qos", "pod_phase", *TIME_COLUMNS)


def read_openb(path: Path) -> Trace:
    """The pods of an `openb` file. Raises `BadTrace`."""
    table = read_table(path, POD_COLUMNS, OPTIONAL_COLUMNS)
    gpus = table.whole_numbers("num_gpu", 0, MOST_GPUS_PER_NODE)
    gpu_classes, choices = _choices(table, gpus)
    created, lived = _times(table)
    return arranged(
        name=path.name.removesuffix(".gz").removesuffix(".csv"),
        origin=f"{path.name} (Alibaba cluster-trace-gpu-v2023)",
        gpu_classes=gpu_classes,
        shares=(EVERYONE,),
        submit_ms=created,
        duration_ms=lived,
        nodes=np.ones(len(table), dtype=np.int64),
        gpus_milli=_gpus_milli(table, gpus),
        cpus_milli=table.whole_numbers("cpu_milli", 0, MOST_CPUS_MILLI),
        memory_mib=table.whole_numbers("memory_mib", 0, MOST_MEMORY_MIB),
        choices=choices,
    )


def _gpus_milli(table: Table, gpus: Column) -> Column:
    milli = table.whole_numbers("gpu_milli", 0, WHOLE_GPU_MILLI)
    table.require((gpus == 0) | (milli > 0), "gpu_milli", "a part of a GPU above 0 for a pod with GPUs")
    table.require((gpus <= 1) | (milli == WHOLE_GPU_MILLI), "gpu_milli", "1000 for a pod with several GPUs")
    return gpus * milli


def _times(table: Table) -> tuple[Column, Column]:
    """When each pod was created and how long it ran, in milliseconds."""
    if not any(column in table for column in TIME_COLUMNS):
        stays = np.full(len(table), LONGEST_RUN_S * SECOND_MS, dtype=np.int64)
        return np.arange(len(table), dtype=np.int64) * SECOND_MS, stays
    if missing := [column for column in TIME_COLUMNS if column not in table]:
        raise BadTrace(table.path, f"all of {', '.join(TIME_COLUMNS)} or none; {missing[0]!r} is missing", line=1)
    created = table.milliseconds("creation_time", 0, LONGEST_TRACE_S)
    deleted = table.milliseconds("deletion_time", 0, LONGEST_TRACE_S)
    table.require(deleted >= created, "deletion_time", "a time not before creation_time")
    started = created.copy()
    was_scheduled = np.array([text != "" for text in table.columns["scheduled_time"]], dtype=bool)
    started[was_scheduled] = table.only(was_scheduled).milliseconds("scheduled_time", 0, LONGEST_TRACE_S)
    in_between = (started >= created) & (started <= deleted)
    table.require(in_between, "scheduled_time", "a time from creation_time to deletion_time")
    return created, np.maximum(deleted - started, SECOND_MS)


def _choices(table: Table, gpus: Column) -> tuple[tuple[str, ...], Column]:
    """GPU classes in alphabetical order after `any`, and the packed choices of each pod."""
    written = table.columns["gpu_spec"] if "gpu_spec" in table else [""] * len(table)
    specs, spec_of_pod = np.unique(np.array(written), return_inverse=True)
    named = sorted({name for spec in specs for name in str(spec).split("|") if name})
    index = {name: position for position, name in enumerate((ANY_GPU_CLASS, *named))}
    packed = []
    for position, spec in enumerate(specs):
        wanted = dict.fromkeys(str(spec).split("|")) if spec else {ANY_GPU_CLASS: None}
        if "" in wanted or len(wanted) > MOST_CHOICES:
            row = int(np.argmax(spec_of_pod == position))
            raise table.complaint(row, "gpu_spec", f"up to {MOST_CHOICES} GPU classes like V100M16|V100M32")
        packed.append(pack_choices([index[name] for name in wanted]))
    choices = np.array(packed, dtype=np.int64)[spec_of_pod]
    return tuple(index), np.where(gpus > 0, choices, 0)
