"""A trace meets a fleet: its GPU classes become those of the fleet, and jobs that could never run are left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dure.model.units import format_gpus
from dure.sources.errors import BadWorkload
from dure.sources.fleet import TwinFleet, TwinNodes
from dure.sources.trace import ANY_GPU_CLASS, MOST_CHOICES, Column, Trace, pack_choices, unpack_choices


def fitted(trace: Trace, fleet: TwinFleet) -> Trace:
    """The trace with the fleet's GPU classes. A job keeps only those choices on which the empty fleet could run it.

    `any` becomes every class in the fleet's order, at most the first eight that fit. A job that fits nowhere is left
    out and counted in `refused`: intake would refuse it, and a strict queue would wait for it for ever. Raises
    `BadWorkload` when a class is not in the fleet, or when no job fits.
    """
    translation = _translation(trace, fleet)
    shapes, shape_of_job = _distinct((trace.choices, trace.nodes, trace.gpus_milli, trace.cpus_milli, trace.memory_mib))
    choices = np.zeros(len(shapes), dtype=np.int64)
    fits = np.zeros(len(shapes), dtype=bool)
    for row, (wanted, nodes, gpus_milli, cpus_milli, memory_mib) in enumerate(shapes):
        classes = [new for old in unpack_choices(wanted) for new in translation[old]]
        possible = [
            index for index in classes if holds(fleet.of_class(index), nodes, gpus_milli, cpus_milli, memory_mib)
        ]
        fits[row] = bool(possible) if wanted else holds(fleet.groups, nodes, gpus_milli, cpus_milli, memory_mib)
        choices[row] = pack_choices(list(dict.fromkeys(possible))[:MOST_CHOICES])
    translated = replace(trace, gpu_classes=fleet.gpu_classes, choices=choices[shape_of_job])
    return _without_misfits(translated, fleet, fits[shape_of_job])


def gpu_classes_of(trace: Trace, fleet: TwinFleet) -> Column:
    """The choices of each job among the fleet's GPU classes, whether it fits there or not; 0 for a job without GPUs.

    `any` becomes the first eight classes of the fleet. Raises `BadWorkload` when a class is not in the fleet.
    """
    translation = _translation(trace, fleet)
    wishes, wish_of_job = np.unique(trace.choices, return_inverse=True)
    classes = [[new for old in unpack_choices(int(wish)) for new in translation[old]] for wish in wishes]
    packed = [pack_choices(list(dict.fromkeys(each))[:MOST_CHOICES]) for each in classes]
    return np.array(packed, dtype=np.int64)[wish_of_job]


def _distinct(columns: tuple[Column, ...]) -> tuple[list[tuple[int, ...]], Column]:
    """The distinct rows of some columns, and for each row the number of its like.

    Column by column, because comparing whole rows takes many times longer.
    """
    number = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        values, value_of_row = np.unique(column, return_inverse=True)
        _, number = np.unique(number * len(values) + value_of_row, return_inverse=True)
    _, first_row = np.unique(number, return_index=True)
    return list(zip(*(column[first_row].tolist() for column in columns), strict=True)), number.astype(np.int64)


def _translation(trace: Trace, fleet: TwinFleet) -> list[tuple[int, ...]]:
    """For each GPU class of the trace, the classes of the fleet it may become."""
    everything = tuple(range(len(fleet.gpu_classes)))
    index = {name: (position,) for position, name in enumerate(fleet.gpu_classes)}
    if missing := [name for name in trace.gpu_classes if name not in index and name != ANY_GPU_CLASS]:
        raise BadWorkload(
            f"{trace.name} asks for GPU class {missing[0]}, which fleet {fleet.name} has not "
            f"(it has {', '.join(fleet.gpu_classes)}); name a fleet that has it, for example the trace's own node list"
        )
    return [index.get(name, everything) for name in trace.gpu_classes]


def holds(groups: tuple[TwinNodes, ...], nodes: int, gpus_milli: int, cpus_milli: int, memory_mib: int) -> bool:
    """True when one of the empty groups could hold the whole gang, each rank on a node of its own."""
    return any(group.count >= nodes and group.fits(gpus_milli, cpus_milli, memory_mib) for group in groups)


def _without_misfits(trace: Trace, fleet: TwinFleet, fits: NDArray[np.bool_]) -> Trace:
    """The trace without the jobs that fit nowhere; its origin names the first of them."""
    if fits.all():
        return trace
    row = int(np.argmin(fits))
    wish = f"{trace.nodes[row]} x {format_gpus(int(trace.gpus_milli[row]))} GPUs"
    if trace.cpus_milli[row] or trace.memory_mib[row]:
        wish += f" with {trace.cpus_milli[row] / 1000:g} cores and {trace.memory_mib[row] / 1024:g} GiB each"
    refused = int((~fits).sum())
    finding = (
        f"{refused:,} of {len(trace):,} jobs can never run on fleet {fleet.name}; the first is job {row + 1}: {wish}"
    )
    if refused == len(trace):
        raise BadWorkload(f"{trace.name}: {finding}; choose a larger fleet")
    return trace.only(fits, refused=trace.refused + refused, origin=f"{trace.origin}; left out: {finding}")
