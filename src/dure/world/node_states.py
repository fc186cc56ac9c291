"""A node changes its state: what that does to the jobs that hold or claim its GPUs.

Only a node that is up takes new work, and claims on any other are given up. What runs on it goes on while it is
cordoned, suspect or out of reach; when it is drained, what may be preempted is asked to leave; when it is down,
everything is lost.
"""

from __future__ import annotations

from dure.world.capacity import set_node_state
from dure.world.columns import (
    CLAIMED,
    NODE_DOWN,
    NODE_DRAINED,
    NODE_UP,
    NONE,
    STOP_DRAINED,
    STOP_NODE_LOST,
    STOPPING,
    Columns,
)
from dure.world.compiled import compiled, entry_point
from dure.world.suspicion import note_down
from dure.world.transitions import ask_to_stop, dissolve, mark_dirty, put_in_queue

SUSPECT_PART = 10
"""No more than one node in so many (but one) is ever set aside as suspect: when all fail, it is not the nodes."""


@entry_point
def change_node(columns: Columns, node: int, state: int, now_ms: int) -> None:
    """Bring a node into another state, with all that follows for the jobs there."""
    set_node_state(columns, node, state)
    if state != NODE_UP:
        _give_up_claims(columns, node, now_ms)
    if state == NODE_DOWN:
        note_down(columns, node, now_ms)
        _ask_to_leave(columns, node, STOP_NODE_LOST, now_ms)
    elif state == NODE_DRAINED:
        _ask_to_leave(columns, node, STOP_DRAINED, now_ms)
    mark_dirty(columns, columns.pools[columns.nodes[node].pool].gpu_class)


@compiled
def _give_up_claims(columns: Columns, node: int, now_ms: int) -> None:
    """Whoever claims GPUs of the node queues again, in its old place."""
    job = _claimant_on(columns, node)
    while job != NONE:
        dissolve(columns, job, now_ms)
        put_in_queue(columns, job)
        job = _claimant_on(columns, node)


@compiled
def _claimant_on(columns: Columns, node: int) -> int:
    at = columns.nodes[node].first_allocation
    while at != NONE and columns.jobs[columns.allocations[at].job].state != CLAIMED:
        at = columns.allocations[at].next_of_node
    return NONE if at == NONE else columns.allocations[at].job


@compiled
def _ask_to_leave(columns: Columns, node: int, reason: int, now_ms: int) -> None:
    """Stop what runs on a node; for a drain only what may be preempted, the rest runs to its end or its limit."""
    at = columns.nodes[node].first_allocation
    while at != NONE:
        job = columns.allocations[at].job
        leaves = reason == STOP_NODE_LOST or columns.jobs[job].preemptible == 1
        if leaves and columns.jobs[job].state != STOPPING:
            ask_to_stop(columns, job, reason, now_ms)
        at = columns.allocations[at].next_of_node
