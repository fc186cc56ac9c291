"""Reservations as the kernel sees them: per node, a list of bookings in the order in which they begin.

The bookings of one node never overlap. A node without any costs one look at `first_booking`.
"""

from __future__ import annotations

from dure.world.columns import NONE, Columns
from dure.world.compiled import compiled, entry_point


@compiled
def is_for(columns: Columns, booking: int, job: int) -> bool:
    """True when a booking is for the job's share, or for one above it."""
    wanted = columns.bookings[booking].share
    # The tree of the first class stands for all: share and row are the same number there.
    at = columns.jobs[job].share
    while at != NONE:
        if at == wanted:
            return True
        at = columns.shares[at].parent
    return False


@entry_point
def booked_until(columns: Columns, job: int, node: int, starts_ms: int, ends_ms: int) -> int:
    """When the last booking ends that keeps a job off a node which runs there from one time to another; else NONE.

    A job may still be there for its grace after `ends_ms`, when its time limit stops it.
    """
    last_ms = NONE
    gone_ms = ends_ms + columns.counters[0].grace_ms
    at = columns.nodes[node].first_booking
    while at != NONE:
        record = columns.bookings[at]
        if record.from_ms < gone_ms and record.until_ms > starts_ms and not is_for(columns, at, job):
            last_ms = max(last_ms, record.until_ms)
        at = record.next_of_node
    return last_ms


@compiled
def is_open(columns: Columns, job: int, node: int, ends_ms: int) -> bool:
    """True when no booking keeps a job off a node that starts there now and ends at `ends_ms`.

    While `only_booked` is set, the node must moreover be booked for the job's share at this moment.
    """
    counters = columns.counters[0]
    if columns.nodes[node].first_booking == NONE:
        return counters.only_booked == 0
    if counters.only_booked == 1 and not is_booked_for(columns, job, node, counters.now_ms):
        return False
    return booked_until(columns, job, node, counters.now_ms, ends_ms) == NONE


@compiled
def is_booked_for(columns: Columns, job: int, node: int, at_ms: int) -> bool:
    """True when, at a time, a node is kept for the job's share."""
    at = columns.nodes[node].first_booking
    while at != NONE:
        record = columns.bookings[at]
        if record.from_ms <= at_ms < record.until_ms and is_for(columns, at, job):
            return True
        at = record.next_of_node
    return False
