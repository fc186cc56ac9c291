"""Which GPUs are whose, node by node. `set_idle` is the only writer of free counts; everything indexed follows it."""

from __future__ import annotations

from dure.world import node_sets
from dure.world.columns import (
    NODE_UP,
    NONE,
    WHOLE,
    Columns,
)
from dure.world.compiled import compiled, entry_point
from dure.world.domains import note_service, note_whole
from dure.world.parts import ALL_SLICES, SLICES, index_node, set_left
from dure.world.slices import best_slices
from dure.world.units import note_free


@compiled
def set_idle(columns: Columns, node: int, idle: int) -> None:
    """Change how many GPUs of a node are idle, and every index and total that depends on it."""
    record = columns.nodes[node]
    if record.state == NODE_UP and idle != record.idle:
        pool = columns.pools[record.pool]
        sizes = (pool.words_0, pool.words_1, pool.words_2, pool.words_3)
        node_sets.remove(columns.idle_sets, pool.first_word + record.idle * pool.words, sizes, record.position)
        node_sets.add(columns.idle_sets, pool.first_word + idle * pool.words, sizes, record.position)
        columns.idle_counts[record.pool, record.idle] -= 1
        columns.idle_counts[record.pool, idle] += 1
        pool.idle += idle - record.idle
        columns.classes[pool.gpu_class].idle += idle - record.idle
        change = 0
        if record.idle == record.gpus:
            change = note_whole(columns, node, -1)
        elif idle == record.gpus:
            change = note_whole(columns, node, 1)
        note_free(columns, node, record.idle, idle, change)
    record.idle = idle


@entry_point
def set_node_state(columns: Columns, node: int, state: int) -> None:
    """Bring a node into or out of use. What runs there is not touched."""
    record = columns.nodes[node]
    if (record.state == NODE_UP) != (state == NODE_UP):
        pool = columns.pools[record.pool]
        sizes = (pool.words_0, pool.words_1, pool.words_2, pool.words_3)
        base = pool.first_word + record.idle * pool.words
        change = 1 if state == NODE_UP else -1
        if state == NODE_UP:
            node_sets.add(columns.idle_sets, base, sizes, record.position)
            index_node(columns, node, True)
        else:
            node_sets.remove(columns.idle_sets, base, sizes, record.position)
            index_node(columns, node, False)
        columns.idle_counts[record.pool, record.idle] += change
        pool.idle += change * record.idle
        columns.classes[pool.gpu_class].idle += change * record.idle
        columns.classes[pool.gpu_class].hopeless = 0
        if state == NODE_UP:
            note_free(columns, node, NONE, record.idle, note_service(columns, node, 1))
        else:
            note_free(columns, node, record.idle, NONE, note_service(columns, node, 0))
    record.state = state
    note_change(columns, node)


@compiled
def gpus_per_node(columns: Columns, job: int) -> int:
    """GPUs that one rank of a job touches on its node: a part of one counts as one."""
    return (columns.jobs[job].gpus_milli + WHOLE - 1) // WHOLE


@compiled
def next_node(columns: Columns, pool: int, level: int, position: int) -> int:
    """The pool's first node from `position` on with exactly `level` idle GPUs, or NONE."""
    record = columns.pools[pool]
    sizes = (record.words_0, record.words_1, record.words_2, record.words_3)
    found = node_sets.first_from(columns.idle_sets, record.first_word + level * record.words, sizes, position)
    return NONE if found == NONE else record.first_node + found


@compiled
def bits(mask: int) -> int:
    """How many GPUs a mask names."""
    count = 0
    while mask != 0:
        mask &= mask - 1
        count += 1
    return count


@compiled
def lowest(mask: int, count: int) -> int:
    """The `count` lowest GPUs of a mask."""
    taken = 0
    for _ in range(count):
        bit = mask & -mask
        taken |= bit
        mask &= ~bit
    return taken


@entry_point
def hold(columns: Columns, job: int, node: int, mask: int, milli: int, wanted: int) -> None:
    """Give a job GPUs of a node: `wanted` of them in the end, those in `mask` now; CPUs and memory at once.

    GPUs in the mask must be idle. `milli` below 1000 takes a part of the one GPU in it, and MIG slices where they leave
    most places.
    """
    _hold(columns, job, node, mask, milli, wanted, 0)


@entry_point
def hold_part(columns: Columns, job: int, node: int, gpu: int, slices: int) -> None:
    """Give a job its part of one GPU, which must have as much left; `slices` are those it gets if it wants MIG."""
    _hold(columns, job, node, 1 << gpu, columns.jobs[job].gpus_milli, 1, slices)


@compiled
def _hold(columns: Columns, job: int, node: int, mask: int, milli: int, wanted: int, slices: int) -> None:
    counters = columns.counters[0]
    allocation = counters.first_free_allocation
    record = columns.allocations[allocation]
    counters.first_free_allocation = record.next_of_job
    owner = columns.jobs[job]
    place = columns.nodes[node]
    record.job = job
    record.node = node
    record.gpu_mask = 0
    record.milli = milli
    record.slices = ALL_SLICES if owner.slices == SLICES else slices
    record.wanted = wanted
    record.next_of_job = owner.first_allocation
    owner.first_allocation = allocation
    record.previous_of_node = NONE
    record.next_of_node = place.first_allocation
    if place.first_allocation != NONE:
        columns.allocations[place.first_allocation].previous_of_node = allocation
    place.first_allocation = allocation
    place.free_cpus_milli -= owner.cpus_milli
    place.free_memory_mib -= owner.memory_mib
    place.owed += wanted
    note_change(columns, node)
    _give(columns, node, allocation, mask)


@compiled
def _give(columns: Columns, node: int, allocation: int, mask: int) -> None:
    """Hand GPUs of a node to an allocation that waits for them."""
    record = columns.allocations[allocation]
    place = columns.nodes[node]
    count = bits(mask)
    record.gpu_mask |= mask
    place.owed -= count
    if record.milli < WHOLE and count == 1:
        _give_part(columns, node, allocation, node_sets.lowest_bit(mask))
        return
    gpu_free = columns.gpu_free_milli
    rest = mask
    while rest != 0:
        gpu_free[node, node_sets.lowest_bit(rest)] = 0
        rest &= rest - 1
    place.idle_mask &= ~mask
    set_idle(columns, node, place.idle - count)


@compiled
def _give_part(columns: Columns, node: int, allocation: int, gpu: int) -> None:
    record = columns.allocations[allocation]
    place = columns.nodes[node]
    owner = columns.jobs[record.job]
    used = columns.gpu_slices[node, gpu]
    if owner.slices > 0 and record.slices == 0:
        record.slices = best_slices(used, owner.slices, owner.slice_starts)
    if place.idle_mask >> gpu & 1 == 1:
        place.idle_mask &= ~(1 << gpu)
        place.shared += 1
        set_idle(columns, node, place.idle - 1)
    set_left(columns, node, gpu, columns.gpu_free_milli[node, gpu] - record.milli, used | record.slices)


@compiled
def let_go(columns: Columns, allocation: int) -> None:
    """Take an allocation apart: its GPUs go to claims that wait on the node, oldest first, and else become idle."""
    counters = columns.counters[0]
    record = columns.allocations[allocation]
    node = record.node
    place = columns.nodes[node]
    owner = columns.jobs[record.job]
    place.free_cpus_milli += owner.cpus_milli
    place.free_memory_mib += owner.memory_mib
    place.owed -= record.wanted - bits(record.gpu_mask)
    if record.previous_of_node == NONE:
        place.first_allocation = record.next_of_node
    else:
        columns.allocations[record.previous_of_node].next_of_node = record.next_of_node
    if record.next_of_node != NONE:
        columns.allocations[record.next_of_node].previous_of_node = record.previous_of_node
    note_change(columns, node)
    columns.classes[columns.pools[place.pool].gpu_class].hopeless = 0
    mask = record.gpu_mask
    milli = record.milli
    slices = record.slices
    record.next_of_job = counters.first_free_allocation
    counters.first_free_allocation = allocation
    if mask != 0:
        if milli < WHOLE:
            _take_part_back(columns, node, node_sets.lowest_bit(mask), milli, slices)
        else:
            _make_idle(columns, node, mask)
        if place.owed > 0:
            _serve_claims(columns, node)


@compiled
def _take_part_back(columns: Columns, node: int, gpu: int, milli: int, slices: int) -> None:
    place = columns.nodes[node]
    left = columns.gpu_free_milli[node, gpu] + milli
    set_left(columns, node, gpu, left, columns.gpu_slices[node, gpu] & ~slices)
    if left == WHOLE:
        place.idle_mask |= 1 << gpu
        place.shared -= 1
        set_idle(columns, node, place.idle + 1)


@compiled
def _make_idle(columns: Columns, node: int, mask: int) -> None:
    place = columns.nodes[node]
    gpu_free = columns.gpu_free_milli
    rest = mask
    while rest != 0:
        gpu_free[node, node_sets.lowest_bit(rest)] = WHOLE
        rest &= rest - 1
    place.idle_mask |= mask
    set_idle(columns, node, place.idle + bits(mask))


@compiled
def _serve_claims(columns: Columns, node: int) -> None:
    place = columns.nodes[node]
    while place.owed > 0 and place.idle_mask != 0:
        oldest = NONE
        at = place.first_allocation
        while at != NONE:
            record = columns.allocations[at]
            if bits(record.gpu_mask) < record.wanted:
                oldest = at
            at = record.next_of_node
        record = columns.allocations[oldest]
        missing = record.wanted - bits(record.gpu_mask)
        _give(columns, node, oldest, lowest(place.idle_mask, min(missing, place.idle)))


@compiled
def note_change(columns: Columns, node: int) -> None:
    """When a node will be ready may have changed: the calendar counts it anew before it is asked next."""
    place = columns.nodes[node]
    if place.changed == 0:
        place.changed = 1
        place.next_changed = columns.counters[0].first_changed
        columns.counters[0].first_changed = node


@compiled
def note_other_end(columns: Columns, job: int) -> None:
    """A job will end at another time than was thought."""
    at = columns.jobs[job].first_allocation
    while at != NONE:
        note_change(columns, columns.allocations[at].node)
        at = columns.allocations[at].next_of_job
