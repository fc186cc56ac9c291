"""The compiled loop of `dure twin pack`: jobs arrive one at a time, stay, and are dropped when they fit nowhere.

Every node is looked at for every job. What a node costs a kind of job is kept until the node, or the mix, changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dure.kernel.packing.fragmentation import fragmentation
from dure.kernel.packing.room import NO_ROOM, fits, milli_wanted, wants_part, whole_gpus
from dure.kernel.packing.rules import RANDOM, SLOTS, cost, gpu_for_part
from dure.kernel.packing.slots import kept_for_wide, scarce_wide_shapes, wide_shapes_lost
from dure.world.array_struct import ArrayStruct
from dure.world.capacity import gpus_per_node, hold
from dure.world.columns import NONE, Columns, Integers, Records, records
from dure.world.compiled import compiled, entry_point
from dure.world.mix import count_arrival

MOST_PERCENT = 132
DICE_BITS = 31

STATE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "rule",
            "learns",  # 1: the mix is what has arrived so far; 0: it was given
            "typical",  # rows of the given mix
            "typical_arrivals",
            "fleet_milli",
            "changes",  # of any node
            "arrived_milli",
            "allocated_milli",
            "fragmented",  # milli-GPUs, times the arrivals of the given mix
            "placed",
            "dropped",
        )
    ]
)


@dataclass(frozen=True, eq=False)
class Packing(ArrayStruct):
    """What the loop keeps beside the columns."""

    state: Records
    typical: Records
    """The mix of the whole trace: what fragmentation is measured by, and what FGD is told."""
    kind: Integers
    """[job] -> jobs of one kind ask for the same."""
    accepts: Integers
    """[job] -> GPU classes as bits; none for a job without GPUs, which may run anywhere."""
    ranked: Integers
    """[rank] -> node: in case of a tie, the lowest rank."""
    node_dice: Integers
    gpu_dice: Integers
    costs: Integers
    """[kind, rank] -> what the node costs, as of `costed_at`."""
    wide_lost: Integers
    costed_at: Integers
    changed_at: Integers
    """[rank] -> `changes` when the node last changed."""
    rank_of: Integers
    node_fragmented: Integers
    allocated_sum: Integers
    """[per cent arrived] -> sum over the moments at which so much had arrived."""
    fragmented_sum: Integers
    moments: Integers


def new_packing(
    *, typical: Records, kind: Integers, accepts: Integers, ranked: Integers, node_dice: Integers, gpu_dice: Integers
) -> Packing:
    """Nothing has arrived yet."""
    nodes, kinds = len(ranked), int(kind.max()) + 1
    rank_of = np.zeros(nodes, dtype=np.int64)
    rank_of[ranked] = np.arange(nodes)
    per_cent = [np.zeros(MOST_PERCENT, dtype=np.int64) for _ in range(3)]
    return Packing(
        state=records(STATE, 1),
        typical=typical,
        kind=kind,
        accepts=accepts,
        ranked=ranked,
        node_dice=node_dice,
        gpu_dice=gpu_dice,
        costs=np.zeros((kinds, nodes), dtype=np.int64),
        wide_lost=np.zeros((kinds, nodes), dtype=np.int64),
        costed_at=np.full((kinds, nodes), NONE, dtype=np.int64),
        changed_at=np.zeros(nodes, dtype=np.int64),
        rank_of=rank_of,
        node_fragmented=np.zeros(nodes, dtype=np.int64),
        allocated_sum=per_cent[0],
        fragmented_sum=per_cent[1],
        moments=per_cent[2],
    )


@entry_point
def pack(columns: Columns, packing: Packing, jobs: int) -> None:
    """Let the jobs in rows 0, 1, ... arrive in this order."""
    state = packing.state[0]
    for rank in range(len(packing.ranked)):
        _measure_fragmentation(columns, packing, packing.ranked[rank])
    for job in range(jobs):
        if state.learns == 1:
            _learn(columns, packing, job)
        state.arrived_milli += columns.jobs[job].gpus_milli
        node = _choose(columns, packing, job)
        if node == NONE:
            state.dropped += 1
        else:
            _place(columns, packing, job, node)
        _note_moment(packing)


@compiled
def _learn(columns: Columns, packing: Packing, job: int) -> None:
    """Count the job; a new mix makes every cost out of date."""
    before = columns.counters[0].mix_version
    count_arrival(columns, job)
    if columns.counters[0].mix_version != before:
        packing.state[0].changes += 1
        for rank in range(len(packing.changed_at)):
            packing.changed_at[rank] = packing.state[0].changes


@compiled
def _choose(columns: Columns, packing: Packing, job: int) -> int:
    if packing.state[0].rule == RANDOM:
        return _choose_at_random(columns, packing, job)
    scarce = 0
    if packing.state[0].rule == SLOTS:
        scarce = scarce_wide_shapes(columns, job, packing.state[0].fleet_milli - packing.state[0].allocated_milli)
    kind = packing.kind[job]
    best = NONE
    best_cost = NO_ROOM
    for rank in range(len(packing.ranked)):
        if packing.costed_at[kind, rank] < packing.changed_at[rank]:
            _find_cost(columns, packing, job, rank)
        found = packing.costs[kind, rank]
        if found < best_cost:
            found += kept_for_wide(columns, packing.wide_lost[kind, rank] & scarce)
            if found < best_cost:
                best = packing.ranked[rank]
                best_cost = found
    return best


@compiled
def _find_cost(columns: Columns, packing: Packing, job: int, rank: int) -> None:
    state = packing.state[0]
    kind = packing.kind[job]
    node = packing.ranked[rank]
    packing.costed_at[kind, rank] = packing.changed_at[rank]
    if not _has_room(columns, packing, job, node):
        packing.costs[kind, rank] = NO_ROOM
        return
    packing.costs[kind, rank] = cost(state.rule, packing.typical, state.typical, columns, job, node)
    if state.rule == SLOTS:
        packing.wide_lost[kind, rank] = wide_shapes_lost(columns, job, node)


@compiled
def _has_room(columns: Columns, packing: Packing, job: int, node: int) -> bool:
    accepts = packing.accepts[job]
    gpu_class = columns.pools[columns.nodes[node].pool].gpu_class
    return (accepts == 0 or accepts >> gpu_class & 1 == 1) and fits(columns, job, node)


@compiled
def _choose_at_random(columns: Columns, packing: Packing, job: int) -> int:
    """One of the nodes with room, each as likely."""
    found = 0
    for rank in range(len(packing.ranked)):
        found += 1 if _has_room(columns, packing, job, packing.ranked[rank]) else 0
    skipped = packing.node_dice[job] * found >> DICE_BITS
    for rank in range(len(packing.ranked)):
        node = packing.ranked[rank]
        if _has_room(columns, packing, job, node):
            if skipped == 0:
                return node
            skipped -= 1
    return NONE


@compiled
def _place(columns: Columns, packing: Packing, job: int, node: int) -> None:
    state = packing.state[0]
    part = wants_part(columns, job)
    mask = 1 << _choose_gpu(columns, packing, job, node) if part else whole_gpus(columns, job, node)
    hold(columns, job, node, mask, milli_wanted(columns, job), gpus_per_node(columns, job))
    state.changes += 1
    packing.changed_at[packing.rank_of[node]] = state.changes
    state.placed += 1
    state.allocated_milli += columns.jobs[job].gpus_milli
    _measure_fragmentation(columns, packing, node)


@compiled
def _choose_gpu(columns: Columns, packing: Packing, job: int, node: int) -> int:
    state = packing.state[0]
    if state.rule != RANDOM:
        return gpu_for_part(state.rule, packing.typical, state.typical, columns, job, node)
    milli = columns.jobs[job].gpus_milli
    found = 0
    for gpu in range(columns.nodes[node].gpus):
        found += 1 if columns.gpu_free_milli[node, gpu] >= milli else 0
    skipped = packing.gpu_dice[job] * found >> DICE_BITS
    for gpu in range(columns.nodes[node].gpus):
        if columns.gpu_free_milli[node, gpu] >= milli:
            if skipped == 0:
                return gpu
            skipped -= 1
    return NONE


@compiled
def _measure_fragmentation(columns: Columns, packing: Packing, node: int) -> None:
    state = packing.state[0]
    after = fragmentation(packing.typical, state.typical, columns, node, 0, 0, 0)
    state.fragmented += after - packing.node_fragmented[node]
    packing.node_fragmented[node] = after


@compiled
def _note_moment(packing: Packing) -> None:
    """Add this moment to the mean of its per cent of the fleet arrived, rounded to the nearest."""
    state = packing.state[0]
    per_cent = min(MOST_PERCENT - 1, (200 * state.arrived_milli + state.fleet_milli) // (2 * state.fleet_milli))
    packing.allocated_sum[per_cent] += state.allocated_milli
    packing.fragmented_sum[per_cent] += state.fragmented // state.typical_arrivals
    packing.moments[per_cent] += 1
