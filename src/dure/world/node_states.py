"""A node changes its state: what that does to the jobs that hold or claim its GPUs.

Whatever the new state, only a node that is up takes new work, and claims on any other are given up. What runs there
goes on unless the node is down.
"""

from __future__ import annotations

from dure.world.capacity import set_node_state
from dure.world.columns import CLAIMED, NODE_DOWN, NODE_UP, NONE, STOP_NODE_LOST, STOPPING, Columns
from dure.world.compiled import compiled, entry_point
from dure.world.transitions import ask_to_stop, dissolve, mark_dirty, put_in_queue


@entry_point
def change_node(columns: Columns, node: int, state: int, now_ms: int) -> None:
    """Bring a node into another state, with all that follows for the jobs there."""
    set_node_state(columns, node, state)
    if state != NODE_UP:
        _give_up_claims(columns, node, now_ms)
    if state == NODE_DOWN:
        _stop_all(columns, node, STOP_NODE_LOST, now_ms)
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
def _stop_all(columns: Columns, node: int, reason: int, now_ms: int) -> None:
    at = columns.nodes[node].first_allocation
    while at != NONE:
        job = columns.allocations[at].job
        if columns.jobs[job].state != STOPPING:
            ask_to_stop(columns, job, reason, now_ms)
        at = columns.allocations[at].next_of_node
