"""A trace: what was once (or might have been) submitted to a cluster, one row per job, as columns of integers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dure.model.units import HOUR_MS, SECOND_MS, WHOLE_GPU_MILLI

Column = NDArray[np.int64]

ANY_GPU_CLASS = "any"
"""A GPU class in a trace whose jobs do not say which GPU they want; `dure.sources.fit` replaces it."""

EVERYONE = "everyone"
"""The only share of a trace that does not say whose jobs these were."""

MOST_CHOICES = 8
HIGHEST_CLASS_INDEX = 126
"""So that the eighth choice, the highest byte, never becomes a sign."""

COLUMNS = (
    "submit_ms",
    "duration_ms",
    "limit_ms",
    "nodes",
    "gpus_milli",
    "cpus_milli",
    "memory_mib",
    "choices",
    "share",
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Trace:
    """Jobs in order of submission; each column is read-only and holds one int64 per job."""

    name: str
    origin: str
    """Where it comes from, for reports."""
    gpu_classes: tuple[str, ...]
    shares: tuple[str, ...]
    submit_ms: Column
    """Since the first submission."""
    duration_ms: Column
    """What the job really runs."""
    limit_ms: Column
    """What it asked for; equal to the duration where the trace does not say (an oracle)."""
    nodes: Column
    gpus_milli: Column
    """Thousandths of a GPU per node; 0 for a job without GPUs."""
    cpus_milli: Column
    """Thousandths of a core per node; 0 where the trace does not say."""
    memory_mib: Column
    """Per node; 0 where the trace does not say."""
    choices: Column
    """Allowed GPU classes in order of preference: `class index + 1` in 8 bits each, lowest byte first; 0 for no GPU."""
    share: Column
    """Index into `shares`."""
    refused: int = 0
    """Jobs left out because the fleet could never run them, as intake would refuse them."""

    def __post_init__(self) -> None:
        for name in COLUMNS:
            column = getattr(self, name)
            assert column.dtype == np.int64
            assert column.shape == self.submit_ms.shape
            column.flags.writeable = False
        assert not len(self) or (self.submit_ms[0] == 0 and np.all(np.diff(self.submit_ms) >= 0))
        assert len(self.gpu_classes) <= HIGHEST_CLASS_INDEX + 1

    def __len__(self) -> int:
        """Number of jobs."""
        return len(self.submit_ms)

    @property
    def gpu_milli_ms(self) -> Column:
        """GPU time of each job over all its nodes, in thousandths of a GPU times milliseconds."""
        return self.nodes * self.gpus_milli * self.duration_ms

    @property
    def gpu_hours(self) -> float:
        """GPU-hours of all jobs together."""
        return float(self.gpu_milli_ms.sum(dtype=np.float64)) / (WHOLE_GPU_MILLI * HOUR_MS)

    def fingerprint(self) -> str:
        """Hex SHA-256 over every column and name list: equal traces and only those have equal fingerprints."""
        digest = hashlib.sha256(repr((self.gpu_classes, self.shares)).encode())
        for name in COLUMNS:
            digest.update(np.ascontiguousarray(getattr(self, name), dtype="<i8").tobytes())
        return digest.hexdigest()

    def first(self, jobs: int) -> Trace:
        """The same trace cut after its first `jobs` jobs."""
        return replace(self, **{name: getattr(self, name)[:jobs] for name in COLUMNS})

    def only(self, rows: NDArray[np.bool_], *, refused: int, origin: str) -> Trace:
        """The jobs for which `rows` is true, with time starting at the first of them."""
        kept = {name: getattr(self, name)[rows] for name in COLUMNS}
        kept["submit_ms"] = kept["submit_ms"] - kept["submit_ms"][0]
        return replace(self, **kept, refused=refused, origin=origin)


def arranged(
    *,
    name: str,
    origin: str,
    gpu_classes: tuple[str, ...],
    shares: tuple[str, ...],
    submit_ms: Column,
    duration_ms: Column,
    nodes: Column,
    gpus_milli: Column,
    choices: Column,
    limit_ms: Column | None = None,
    cpus_milli: Column | None = None,
    memory_mib: Column | None = None,
    share: Column | None = None,
) -> Trace:
    """A trace from columns in any order: sorted by submission (ties keep their order), with time starting at 0."""
    order = np.argsort(submit_ms, kind="stable")
    nothing = np.zeros(len(order), dtype=np.int64)
    start = submit_ms[order[0]] if len(order) else 0
    return Trace(
        name=name,
        origin=origin,
        gpu_classes=gpu_classes,
        shares=shares,
        submit_ms=submit_ms[order] - start,
        duration_ms=duration_ms[order],
        limit_ms=(duration_ms if limit_ms is None else limit_ms)[order],
        nodes=nodes[order],
        gpus_milli=gpus_milli[order],
        cpus_milli=(nothing if cpus_milli is None else cpus_milli)[order],
        memory_mib=(nothing if memory_mib is None else memory_mib)[order],
        choices=choices[order],
        share=(nothing if share is None else share)[order],
    )


def repeated(trace: Trace, copies: int, shift_ms: int) -> Trace:
    """Several copies of a trace at once, each shifted by so much against the one before; ties go by copy, then job.

    The common workload W2 is 64 copies of W1, shifted by 61 s.
    """
    columns = {name: np.tile(getattr(trace, name), copies) for name in COLUMNS}
    columns["submit_ms"] += np.repeat(np.arange(copies, dtype=np.int64) * shift_ms, len(trace))
    order = np.argsort(columns["submit_ms"], kind="stable")
    merged: dict[str, Any] = {name: column[order] for name, column in columns.items()}
    return replace(
        trace,
        **merged,
        name=f"{copies} x {trace.name}",
        origin=f"{copies} copies of {trace.origin}, each {shift_ms / SECOND_MS:g} s after the one before",
        refused=trace.refused * copies,
    )


def pack_choices(class_indexes: Sequence[int]) -> int:
    """GPU classes in order of preference as one integer; a repeated class counts once. At most `MOST_CHOICES`."""
    distinct = tuple(dict.fromkeys(class_indexes))
    assert len(distinct) <= MOST_CHOICES
    assert all(0 <= index <= HIGHEST_CLASS_INDEX for index in distinct)
    return sum((index + 1) << (8 * place) for place, index in enumerate(distinct))


def unpack_choices(choices: int) -> tuple[int, ...]:
    """The class indexes in `choices`, first choice first."""
    return tuple(_bytes_before_zero(int(choices)))


def _bytes_before_zero(choices: int) -> Iterator[int]:
    while choices:
        yield (choices & 0xFF) - 1
        choices >>= 8


def nodes_for(gpus: int, most_gpus_per_node: int) -> int:
    """Over how many nodes a gang of whole GPUs splits evenly: the fewest that leave each a whole number that fits."""
    assert gpus > 0
    assert most_gpus_per_node > 0
    fewest = -(-gpus // most_gpus_per_node)
    return next(nodes for nodes in range(fewest, gpus + 1) if gpus % nodes == 0)


def split_evenly(gpus: Column, most_gpus_per_node: int) -> tuple[Column, Column]:
    """Nodes of each gang, and GPUs (thousandths) on each of its nodes, as `nodes_for` splits it."""
    sizes, position = np.unique(gpus, return_inverse=True)
    nodes = np.array([nodes_for(int(size), most_gpus_per_node) for size in sizes], dtype=np.int64)[position]
    return nodes, gpus // nodes * WHOLE_GPU_MILLI
