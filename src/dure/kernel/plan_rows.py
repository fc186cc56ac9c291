"""The plan as the kernel writes it: one row per decision, in order."""

from __future__ import annotations

from dure.world.columns import CANDIDATE_VICTIMS, PLAN_ROWS, Columns
from dure.world.compiled import compiled

ROWS_KEPT_FREE = CANDIDATE_VICTIMS + 256
"""A pass begins nothing new when fewer rows are left: one reclaim may write a row for each of its victims."""


@compiled
def add_row(columns: Columns, kind: int, job: int, other: int, at_ms: int, reason: int) -> None:
    """Write one decision."""
    counters = columns.counters[0]
    row = columns.plan[counters.plan_rows]
    row.kind = kind
    row.job = job
    row.attempt = columns.jobs[job].attempt
    row.other = other
    row.at_ms = at_ms
    row.reason = reason
    counters.plan_rows += 1


@compiled
def is_full(columns: Columns) -> bool:
    """True when the rest of the decision should be made in a next call."""
    return columns.counters[0].plan_full == 1 or columns.counters[0].plan_rows + ROWS_KEPT_FREE > PLAN_ROWS
