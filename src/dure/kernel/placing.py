"""Where a job goes: best fit by idle GPUs, whole gangs only, never at the cost of the job that holds the reservation.

A single node: the one with the fewest idle GPUs that still fits, lowest pool and node first. A gang: as near together
as it can be (see `dure.kernel.gangs`). A part of a GPU: beside other parts, else on a fresh one (see
`dure.kernel.parts`). The choice is left in `columns.chosen`, in rank order.
"""

from __future__ import annotations

from dure.kernel.backfill import keeps_reservations, spend_spare
from dure.kernel.choosing import choose_node, choose_shared_gpu, opens_gpu
from dure.kernel.gangs import place_gang
from dure.kernel.parts import place_beside_parts
from dure.kernel.room import has_room, is_allowed
from dure.world.bookings import is_open
from dure.world.capacity import gpus_per_node, hold, hold_part, lowest, next_node
from dure.world.columns import MOST_GPUS, MOST_LEVELS, NONE, PLACE_BEST_FIT, WHOLE, WITHIN_SITE, Columns
from dure.world.compiled import compiled, entry_point
from dure.world.domains import is_spare, only_spares_left
from dure.world.node_sets import lowest_bit
from dure.world.slices import best_slices


@compiled
def place(columns: Columns, job: int, gpu_class: int, ends_ms: int) -> bool:
    """Choose nodes of a class for a job that would end at `ends_ms`; False when it does not fit as a whole."""
    record = columns.jobs[job]
    if 0 < record.gpus_milli < WHOLE:
        # A part of a GPU is for one rank: gangs want whole GPUs.
        return record.nodes == 1 and _place_part(columns, job, gpu_class, ends_ms)
    gpus = record.gpus_milli // WHOLE
    if columns.classes[gpu_class].idle < gpus * record.nodes or _is_hopeless(columns, job, gpu_class, ends_ms):
        return False
    if record.nodes == 1:
        placed = _place_on_one_node(columns, job, gpu_class, gpus, ends_ms)
    else:
        placed = place_gang(columns, job, gpu_class, gpus, ends_ms)
    if not placed and columns.counters[0].only_booked == 0 and record.within == WITHIN_SITE:
        _remember_hopeless(columns, job, gpu_class, ends_ms)
    return placed


@compiled
def _is_hopeless(columns: Columns, job: int, gpu_class: int, ends_ms: int) -> bool:
    """True when a job that asks for no more in any respect did not fit, and nothing was given back since."""
    record = columns.jobs[job]
    known = columns.classes[gpu_class]
    # Where a reservation is for its share, a job may fit although one like it does not.
    return (
        known.hopeless == 1
        and columns.shares[record.share].booked == 0
        and record.nodes >= known.hopeless_nodes
        and record.gpus_milli >= known.hopeless_gpus_milli
        and record.cpus_milli >= known.hopeless_cpus_milli
        and record.memory_mib >= known.hopeless_memory_mib
        and record.sites & ~known.hopeless_sites == 0
        and ends_ms >= known.hopeless_ends_ms
    )


@compiled
def _remember_hopeless(columns: Columns, job: int, gpu_class: int, ends_ms: int) -> None:
    record = columns.jobs[job]
    known = columns.classes[gpu_class]
    known.hopeless = 1
    known.hopeless_nodes = record.nodes
    known.hopeless_gpus_milli = record.gpus_milli
    known.hopeless_cpus_milli = record.cpus_milli
    known.hopeless_memory_mib = record.memory_mib
    known.hopeless_sites = record.sites
    known.hopeless_ends_ms = ends_ms


@compiled
def _place_on_one_node(columns: Columns, job: int, gpu_class: int, gpus: int, ends_ms: int) -> bool:
    if columns.counters[0].placement == PLACE_BEST_FIT:
        return _best_fit(columns, job, gpu_class, gpus, ends_ms)
    node = choose_node(columns, job, gpu_class, ends_ms)
    if node == NONE:
        return False
    spend_spare(columns, node, gpus, ends_ms, 1)
    columns.chosen[0] = node
    return True


@compiled
def _best_fit(columns: Columns, job: int, gpu_class: int, gpus: int, ends_ms: int) -> bool:
    first = columns.classes[gpu_class].first_pool
    last = first + columns.classes[gpu_class].pool_count
    for level in range(gpus, MOST_LEVELS):
        for pool in range(first, last):
            if columns.idle_counts[pool, level] == 0 or not is_allowed(columns, job, pool):
                continue
            if level == columns.pools[pool].gpus and only_spares_left(columns, pool):
                continue
            node = next_node(columns, pool, level, 0)
            while node != NONE:
                if (
                    has_room(columns, job, node)
                    and is_open(columns, job, node, ends_ms)
                    and not is_spare(columns, node)
                    and keeps_reservations(columns, node, gpus, ends_ms)
                ):
                    spend_spare(columns, node, gpus, ends_ms, 1)
                    columns.chosen[0] = node
                    return True
                node = next_node(columns, pool, level, columns.nodes[node].position + 1)
    return False


@compiled
def _place_part(columns: Columns, job: int, gpu_class: int, ends_ms: int) -> bool:
    """Beside other parts; else on the lowest idle GPU of the node where one whole GPU would go."""
    record = columns.jobs[job]
    if record.slices == 0 and columns.counters[0].placement != PLACE_BEST_FIT:
        return _weigh_part(columns, job, gpu_class, ends_ms)
    if place_beside_parts(columns, job, gpu_class, ends_ms):
        return True
    if columns.classes[gpu_class].idle == 0 or not _place_on_one_node(columns, job, gpu_class, 1, ends_ms):
        return False
    columns.chosen[1] = lowest_bit(columns.nodes[columns.chosen[0]].idle_mask)
    columns.chosen[2] = best_slices(0, record.slices, record.slice_starts)
    return True


@compiled
def _weigh_part(columns: Columns, job: int, gpu_class: int, ends_ms: int) -> bool:
    """Beside other parts or on an idle GPU, whichever costs less."""
    shared = choose_shared_gpu(columns, job, gpu_class, ends_ms)
    fresh = choose_node(columns, job, gpu_class, ends_ms) if columns.classes[gpu_class].idle > 0 else NONE
    if shared == NONE and fresh == NONE:
        return False
    columns.chosen[0] = shared
    columns.chosen[2] = 0
    if opens_gpu(columns, job, shared, fresh):
        spend_spare(columns, fresh, 1, ends_ms, 1)
        columns.chosen[0] = fresh
        columns.chosen[1] = lowest_bit(columns.nodes[fresh].idle_mask)
    return True


@compiled
def occupy_chosen(columns: Columns, job: int) -> None:
    """Give the job its GPUs on the chosen nodes: the lowest-numbered idle ones, or the shared one that was chosen.

    Allocations are threaded last rank first, so walking them from the job gives rank order.
    """
    record = columns.jobs[job]
    if 0 < record.gpus_milli < WHOLE:
        hold_part(columns, job, columns.chosen[0], columns.chosen[1], columns.chosen[2])
        return
    gpus = record.gpus_milli // WHOLE
    for rank in range(record.nodes - 1, -1, -1):
        node = columns.chosen[rank]
        hold(columns, job, node, lowest(columns.nodes[node].idle_mask, gpus), WHOLE, gpus)


@entry_point
def fits_empty_node(columns: Columns, job: int, node: int) -> bool:
    """True when one rank of the job would fit on the node with nothing else there."""
    record = columns.jobs[job]
    place_record = columns.nodes[node]
    gpus = gpus_per_node(columns, job)
    return (
        place_record.gpus >= gpus
        and gpus <= MOST_GPUS
        and place_record.cpus_milli >= record.cpus_milli
        and place_record.memory_mib >= record.memory_mib
    )
