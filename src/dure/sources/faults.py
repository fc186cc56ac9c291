"""When nodes fail and are back: drawn from a seed, or read from a file.

A drawn fleet fails as a Poisson process: every moment and every node is equally likely, whatever happened before, so
the times between two failures of a node are exponentially distributed. The number of failures is the expected one,
rounded; given that number, moments and nodes are evenly distributed, which takes no logarithm and so is the same on
every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dure.model.units import WHOLE_GPU_MILLI, format_duration
from dure.sources.errors import BadWorkload
from dure.sources.fleet import TwinFleet
from dure.sources.limits import LONGEST_TRACE_S
from dure.sources.streams import uniforms
from dure.sources.table import Table, read_table
from dure.sources.trace import Column, Trace

MOST_FAULTS = 10_000_000
NEVER_BACK_MS = 1 << 61
FAULT_COLUMNS = ("node", "down", "up")


@dataclass(frozen=True, eq=False, kw_only=True)
class Faults:
    """Times at which nodes are down, one row per failure, in order of failing. No two of one node overlap."""

    origin: str
    node: Column
    """Position in the fleet, from 0."""
    down_ms: Column
    up_ms: Column
    """`NEVER_BACK_MS` for a node that stays down."""

    def __len__(self) -> int:
        """Number of failures."""
        return len(self.node)


def no_faults() -> Faults:
    """A fleet in which nothing ever fails."""
    nothing = np.zeros(0, dtype=np.int64)
    return Faults(origin="no node fails", node=nothing, down_ms=nothing, up_ms=nothing)


def drawn_faults(seed: int, fleet: TwinFleet, mtbf_ms: int, repair_ms: int, until_ms: int) -> Faults:
    """Failures of a fleet's nodes until `until_ms`: each node fails `mtbf_ms` after it was last up, on average.

    A failed node is back after `repair_ms`; what would hit it while it is down does not count. Raises `BadWorkload` for
    times that are not positive, or so many failures that something else must have been meant.
    """
    if mtbf_ms <= 0 or repair_ms <= 0:
        raise BadWorkload("the time between failures and the time of a repair must be longer than nothing")
    count = round(fleet.nodes * until_ms / mtbf_ms)
    if count > MOST_FAULTS:
        raise BadWorkload(
            f"a failure of each of {fleet.nodes:,} nodes every {format_duration(mtbf_ms)} makes {count:,} failures, "
            f"more than {MOST_FAULTS:,}; ask for a longer time between failures"
        )
    at_ms = (uniforms(seed, "time of node failures", count) * until_ms).astype(np.int64)
    node = (uniforms(seed, "node that fails", count) * fleet.nodes).astype(np.int64)
    by_node = np.lexsort((at_ms, node))
    kept = by_node[_while_up(node[by_node].tolist(), at_ms[by_node].tolist(), repair_ms)]
    order = kept[np.lexsort((node[kept], at_ms[kept]))]
    return Faults(
        origin=f"synthetic: each node fails once in {format_duration(mtbf_ms)} and is repaired in "
        f"{format_duration(repair_ms)}",
        node=node[order],
        down_ms=at_ms[order],
        up_ms=at_ms[order] + repair_ms,
    )


def horizon_ms(trace: Trace, fleet: TwinFleet) -> int:
    """How far ahead failures are drawn: past the last submission by all the work and by the longest job."""
    if not len(trace):
        return 0
    work_ms = int(trace.gpu_milli_ms.sum()) // (fleet.gpus * WHOLE_GPU_MILLI)
    return int(trace.submit_ms[-1]) + work_ms + int(trace.duration_ms.max())


def _while_up(nodes: list[int], at_ms: list[int], repair_ms: int) -> list[int]:
    """Rows, in order of node and time, at which the node was not down already."""
    rows = []
    last_node, up_ms = -1, 0
    for row, (node, failed_ms) in enumerate(zip(nodes, at_ms, strict=True)):
        if node != last_node or failed_ms > up_ms:
            rows.append(row)
            last_node, up_ms = node, failed_ms + repair_ms
    return rows


def read_faults(path: Path, fleet: TwinFleet) -> Faults:
    """Failures from a file with the columns `node, down, up`: a name of the fleet's, and seconds since the start.

    An empty `up` means that the node stays down. Raises `BadTrace` with the place of what is wrong.
    """
    table = read_table(path, FAULT_COLUMNS)
    positions = {name: position for position, name in enumerate(fleet.node_names())}
    names = table.columns["node"]
    known = np.array([name in positions for name in names], dtype=bool)
    table.require(known, "node", f"a node of fleet {fleet.name}, like {next(iter(positions))}")
    node = np.array([positions[name] for name in names], dtype=np.int64)
    down_ms = table.milliseconds("down", 0, LONGEST_TRACE_S)
    up_ms = _times_up(table)
    table.require(up_ms > down_ms, "up", "a time after the node went down, or nothing for a node that stays down")
    table.require(~_still_down(node, down_ms, up_ms), "down", "a time at which the node is not down already")
    order = np.lexsort((node, down_ms))
    return Faults(origin=f"failures as in {path.name}", node=node[order], down_ms=down_ms[order], up_ms=up_ms[order])


def _times_up(table: Table) -> Column:
    returns = np.array([text != "" for text in table.columns["up"]], dtype=bool)
    up_ms = np.full(len(table), NEVER_BACK_MS, dtype=np.int64)
    if returns.any():
        up_ms[returns] = table.only(returns).milliseconds("up", 0, LONGEST_TRACE_S)
    return up_ms


def _still_down(node: Column, down_ms: Column, up_ms: Column) -> NDArray[np.bool_]:
    """For each row, whether an earlier failure of the same node is not over by then."""
    order = np.lexsort((down_ms, node))
    earlier, later = order[:-1], order[1:]
    overlaps = np.zeros(len(node), dtype=bool)
    overlaps[later] = (node[earlier] == node[later]) & (down_ms[later] < up_ms[earlier])
    return overlaps
