"""When a node is suspect: it went down, or failed the jobs it was given, again and again.

Two things are counted per node, each forgotten when `suspect_window` passes without the next:

- how often it went down;
- how many attempts in a row ended badly there (exit code not 0, or never started). Those of one share, one after
  another, count once, because a broken job fails everywhere; an attempt that succeeds starts the count anew. A gang
  counts on each of its nodes: those that are well will soon see something succeed.

`suspect_after` of either make a node suspect.
"""

from __future__ import annotations

from dure.world.columns import NONE, Columns
from dure.world.compiled import compiled, entry_point


@compiled
def note_down(columns: Columns, node: int, now_ms: int) -> None:
    """A node went down."""
    record = columns.nodes[node]
    if now_ms - record.down_ms > columns.counters[0].suspect_window_ms:
        record.downs = 0
    record.downs += 1
    record.down_ms = now_ms


@entry_point
def note_bad_end(columns: Columns, job: int, now_ms: int) -> int:
    """A job's attempt ended badly; puts those of its nodes that are suspect now into `chosen`, returns how many."""
    found = 0
    at = columns.jobs[job].first_allocation
    while at != NONE:
        node = columns.allocations[at].node
        _note_failure(columns, node, columns.jobs[job].share, now_ms)
        if is_suspect(columns, node):
            columns.chosen[found] = node
            found += 1
        at = columns.allocations[at].next_of_job
    return found


@compiled
def _note_failure(columns: Columns, node: int, share: int, now_ms: int) -> None:
    record = columns.nodes[node]
    if now_ms - record.failure_ms > columns.counters[0].suspect_window_ms:
        record.failures = 0
    if record.failures > 0 and record.failure_share == share:
        return
    record.failures += 1
    record.failure_ms = now_ms
    record.failure_share = share


@entry_point
def note_good_end(columns: Columns, job: int) -> None:
    """A job's attempt succeeded: its nodes are able to run jobs."""
    at = columns.jobs[job].first_allocation
    while at != NONE:
        columns.nodes[columns.allocations[at].node].failures = 0
        at = columns.allocations[at].next_of_job


@entry_point
def is_suspect(columns: Columns, node: int) -> bool:
    """True when a node failed too often to be given more."""
    record = columns.nodes[node]
    most = columns.counters[0].suspect_after
    return most > 0 and (record.downs >= most or record.failures >= most)


@entry_point
def forget_failures(columns: Columns, node: int) -> None:
    """Somebody vouches for a node: what happened before does not count."""
    columns.nodes[node].downs = 0
    columns.nodes[node].failures = 0


@entry_point
def put_on_trial(columns: Columns, node: int, now_ms: int) -> None:
    """A node's probation is over: it works again, but a single failure within the window makes it suspect again."""
    record = columns.nodes[node]
    most = columns.counters[0].suspect_after
    record.downs = most - 1
    record.down_ms = now_ms
    record.failures = most - 1
    record.failure_ms = now_ms
    record.failure_share = NONE
