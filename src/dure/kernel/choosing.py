"""Which of the nodes with room a job on one node gets, when a placement rule weighs them (`dure.kernel.packing`).

A fleet has too many nodes to weigh each. Those of one pool with as many idle GPUs cost nearly the same, so the first
few of them that the job may have stand for the others: one, or four where jobs ask for CPUs, by which they differ.
The same functions weigh nodes in `dure twin pack`, which looks at every node. Ties: fewest idle GPUs, then the lowest
node; for a part of a GPU, beside other parts first, then the GPU with the least free.
"""

from __future__ import annotations

from dure.kernel.backfill import keeps_reservations, lacks_spare
from dure.kernel.packing.room import NO_ROOM
from dure.kernel.packing.rules import SLOTS, cost_of_gpus
from dure.kernel.packing.slots import kept_for_wide, scarce_wide_shapes, wide_shapes_lost
from dure.kernel.parts import first_node_at
from dure.kernel.room import has_room, is_allowed
from dure.world.bookings import is_open
from dure.world.capacity import gpus_per_node, lowest, next_node
from dure.world.columns import MOST_LEVELS, NONE, WHOLE, Columns
from dure.world.compiled import compiled
from dure.world.domains import is_spare, only_spares_left
from dure.world.parts import gpu_at, next_level

_ALIKE = 4
_LEVELS_OF_PARTS = 16
"""Different amounts left on shared GPUs that are weighed for a part, least first."""


@compiled
def choose_node(columns: Columns, job: int, gpu_class: int, ends_ms: int) -> int:
    """The node that costs least for whole GPUs, no GPUs, or a part on an idle GPU; NONE when none has room."""
    first = columns.classes[gpu_class].first_pool
    gpus = gpus_per_node(columns, job)
    best = NONE
    best_cost = NO_ROOM
    for level in range(gpus, MOST_LEVELS):
        for pool in range(first, first + columns.classes[gpu_class].pool_count):
            if columns.idle_counts[pool, level] == 0 or not is_allowed(columns, job, pool):
                continue
            if level == columns.pools[pool].gpus and only_spares_left(columns, pool):
                continue
            if lacks_spare(columns, pool, 1, gpus, ends_ms):
                continue
            node, found = _cheapest_alike(columns, job, pool, level, ends_ms)
            if found < best_cost:
                best = node
                best_cost = found
    return best


@compiled
def _cheapest_alike(columns: Columns, job: int, pool: int, level: int, ends_ms: int) -> tuple[int, int]:
    """Of the first few open nodes of a pool with so many idle GPUs, the one that costs least, and its cost."""
    best = NONE
    best_cost = NO_ROOM
    weighed_cpus_milli = NONE
    node = _next_open(columns, job, pool, level, 0, ends_ms)
    for _ in range(1 if columns.counters[0].cpus_per_gpu == 0 else _ALIKE):
        if node == NONE:
            break
        place = columns.nodes[node]
        # Without parts, another node with as many free CPUs costs the same.
        if place.shared > 0 or place.free_cpus_milli != weighed_cpus_milli:
            found = _cost_of_idle(columns, job, node) + _cost_to_wide(columns, job, node)
            if found < best_cost:
                best = node
                best_cost = found
            if place.shared == 0:
                weighed_cpus_milli = place.free_cpus_milli
        node = _next_open(columns, job, pool, level, place.position + 1, ends_ms)
    return best, best_cost


@compiled
def _cost_to_wide(columns: Columns, job: int, node: int) -> int:
    """What Dure's rule adds for a node that wide jobs will need; nothing under another."""
    if columns.counters[0].placement != SLOTS:
        return 0
    lost = wide_shapes_lost(columns, job, node)
    if lost == 0:
        return 0
    return kept_for_wide(columns, lost & scarce_wide_shapes(columns, job, _idle_milli(columns)))


@compiled
def _next_open(columns: Columns, job: int, pool: int, level: int, position: int, ends_ms: int) -> int:
    """The pool's first node from `position` on, with so many idle GPUs, where the job may run and delays no head."""
    gpus = gpus_per_node(columns, job)
    node = next_node(columns, pool, level, position)
    while node != NONE:
        is_open_to_it = has_room(columns, job, node) and is_open(columns, job, node, ends_ms)
        if is_open_to_it and not is_spare(columns, node) and keeps_reservations(columns, node, gpus, ends_ms):
            return node
        node = next_node(columns, pool, level, columns.nodes[node].position + 1)
    return NONE


@compiled
def _cost_of_idle(columns: Columns, job: int, node: int) -> int:
    """What it costs to take the lowest idle GPUs of a node."""
    mask = lowest(columns.nodes[node].idle_mask, gpus_per_node(columns, job))
    return cost_of_gpus(columns.counters[0].placement, columns.mix, columns.counters[0].mix, columns, job, node, mask)


@compiled
def _idle_milli(columns: Columns) -> int:
    idle_milli = 0
    for gpu_class in range(columns.counters[0].classes):
        record = columns.classes[gpu_class]
        idle_milli += record.capacity - columns.shares[record.root].used
    return idle_milli


@compiled
def choose_shared_gpu(columns: Columns, job: int, gpu_class: int, ends_ms: int) -> int:
    """The node that costs least for a part beside other parts, its GPU in `chosen[1]`; NONE when none has room."""
    best = NONE
    best_cost = NO_ROOM
    level = next_level(columns, gpu_class, columns.jobs[job].gpus_milli)
    for _ in range(_LEVELS_OF_PARTS):
        if level == NONE or level >= WHOLE:
            break
        node = first_node_at(columns, job, gpu_class, level, ends_ms)
        if node != NONE:
            gpu = gpu_at(columns, node, level)
            counters = columns.counters[0]
            found = cost_of_gpus(counters.placement, columns.mix, counters.mix, columns, job, node, 1 << gpu)
            if found < best_cost:
                best = node
                best_cost = found
                columns.chosen[1] = gpu
        level = next_level(columns, gpu_class, level + 1)
    return best


@compiled
def opens_gpu(columns: Columns, job: int, shared: int, fresh: int) -> bool:
    """True when an idle GPU of node `fresh` costs less than the shared GPU in `chosen[1]` of node `shared`."""
    if fresh == NONE:
        return False
    if shared == NONE:
        return True
    counters = columns.counters[0]
    beside = cost_of_gpus(counters.placement, columns.mix, counters.mix, columns, job, shared, 1 << columns.chosen[1])
    return _cost_of_idle(columns, job, fresh) < beside
