"""Where a part of a GPU goes: beside other parts if it can, so that whole GPUs stay whole.

A part in thousandths: the shared GPU with the least left over. A MIG slice: the cut GPU, and the place on it, where the
fewest places for later slices are lost. Ties: lowest node, lowest GPU, lowest place. A GPU shared in thousandths is
never cut, and a cut one never shared otherwise, until the last part has left and it is whole again.

The choice is left in `columns.chosen`: node, GPU, and the mask of memory slices (0 without MIG).
"""

from __future__ import annotations

from dure.kernel.backfill import spoils_nothing
from dure.kernel.room import has_room, is_allowed
from dure.world.bookings import is_open
from dure.world.columns import NONE, WHOLE, Columns
from dure.world.compiled import compiled
from dure.world.parts import CUT, gpu_at, next_level, next_node_at
from dure.world.slices import best_slices, places_left


@compiled
def place_beside_parts(columns: Columns, job: int, gpu_class: int, ends_ms: int) -> bool:
    """Choose a GPU in parts for a job that wants less than one and would end at `ends_ms`; False when none has room."""
    if columns.jobs[job].slices > 0:
        return _place_slices(columns, job, gpu_class, ends_ms)
    return _place_share(columns, job, gpu_class, ends_ms)


@compiled
def _place_share(columns: Columns, job: int, gpu_class: int, ends_ms: int) -> bool:
    level = next_level(columns, gpu_class, columns.jobs[job].gpus_milli)
    while level != NONE and level < WHOLE:
        node = first_node_at(columns, job, gpu_class, level, ends_ms)
        if node != NONE:
            columns.chosen[0] = node
            columns.chosen[1] = gpu_at(columns, node, level)
            columns.chosen[2] = 0
            return True
        level = next_level(columns, gpu_class, level + 1)
    return False


@compiled
def _place_slices(columns: Columns, job: int, gpu_class: int, ends_ms: int) -> bool:
    record = columns.jobs[job]
    best_node = NONE
    best_lost = 0
    level = next_level(columns, gpu_class, CUT + 1)
    while level != NONE:
        used = level - CUT
        slices = best_slices(used, record.slices, record.slice_starts)
        lost = places_left(used) - places_left(used | slices)
        if slices != 0 and (best_node == NONE or lost <= best_lost):
            node = first_node_at(columns, job, gpu_class, level, ends_ms)
            if node != NONE:
                gpu = gpu_at(columns, node, level)
                first = node < best_node or (node == best_node and gpu < columns.chosen[1])
                if best_node == NONE or lost < best_lost or first:
                    best_node = node
                    best_lost = lost
                    columns.chosen[0] = node
                    columns.chosen[1] = gpu
                    columns.chosen[2] = slices
        level = next_level(columns, gpu_class, level + 1)
    return best_node != NONE


@compiled
def first_node_at(columns: Columns, job: int, gpu_class: int, level: int, ends_ms: int) -> int:
    """The first node with a GPU in parts at a level where the job may run, has CPUs and memory, and delays no head."""
    node = next_node_at(columns, gpu_class, level, 0)
    while node != NONE:
        pool = columns.nodes[node].pool
        following = node + 1
        is_open_to_it = has_room(columns, job, node) and is_open(columns, job, node, ends_ms)
        if not is_allowed(columns, job, pool):
            following = columns.pools[pool].first_node + columns.pools[pool].node_count
        elif is_open_to_it and spoils_nothing(columns, node, 1, ends_ms):
            return node
        node = next_node_at(columns, gpu_class, level, following)
    return NONE
