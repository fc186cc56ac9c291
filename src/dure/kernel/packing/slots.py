"""The rule of Dure: the node where the job costs the jobs to come the fewest slots.

A *slot* is room for one job of a shape of the mix. What a node loses when a job takes a part of it is counted in
milli-GPUs, each shape weighing by how often it comes and inversely by its size:

1. **Slots.** For each shape, what is idle less what it could use: a fifth counts what is idle on GPUs that have enough
   for one such job, four fifths what whole jobs of it could really take, given CPUs and whole numbers.
2. **CPUs.** GPUs without as many cores as jobs ask for beside them are worth less.
3. **Scarcity.** A GPU of a class that picky jobs need costs more to those who could go elsewhere.
4. **Nodes for wide jobs.** The last nodes that a wide shape needs are kept from jobs that do not need them.
5. **Leanings**, all small: a job with GPUs goes where more CPUs would be left, one without where fewer CPUs and GPUs
   would be. Where nobody ever leaves, a part opens a new GPU rather than fill one up, the more the more of the demand
   is for parts; elsewhere whole GPUs stay whole as long as it costs no slots.

The cost is finite: whoever fits somewhere is placed. No future arrival is looked at, and nothing is moved later.
"""

from __future__ import annotations

from dure.kernel.packing.room import (
    NO_ROOM,
    free_milli,
    is_first_alike,
    milli_wanted,
    wants_part,
    whole_gpus,
)
from dure.world.capacity import gpus_per_node
from dure.world.columns import NONE, WHOLE, Columns, Records
from dure.world.compiled import compiled
from dure.world.mix import ONE, accepted_classes, can_hold

# A cost of one milli-GPU. Fifths of a milli-GPU, times a weight of the mix, are whole numbers.
_MILLI = 5 * ONE
_CPU_SHORTAGE = 75 * _MILLI // 1000
_SCARCITY_QUARTERS = 3
_KEPT_PER_GPU = 125 * _MILLI
_OPENS_GPU = 200 * _MILLI // ONE
_GPU_JOB_CPUS = -_MILLI // 1000
_CPU_JOB_CPUS = _MILLI // 1000
_CPU_JOB_GPUS = 75 * _MILLI // 1000
_MILLION = 1_000_000


@compiled
def lost_slots(columns: Columns, node: int, cpus_milli: int, mask: int, milli: int) -> int:
    """What is idle on a node and of no use to the mix, after CPUs and `milli` of each GPU in a mask went."""
    place = columns.nodes[node]
    gpu_class = columns.pools[place.pool].gpu_class
    free_cpus = place.free_cpus_milli - cpus_milli
    whole = 0
    parts = 0
    for gpu in range(place.gpus):
        free = columns.gpu_free_milli[node, gpu] - (mask >> gpu & 1) * milli
        if free == WHOLE:
            whole += 1
        elif free > 0:
            parts += free
    total = whole * WHOLE + parts
    lost = 0
    for row in range(columns.counters[0].mix):
        shape = columns.mix[row]
        if shape.gpus == 0:
            continue
        used = 0
        if shape.cpus_milli <= free_cpus and shape.accepts >> gpu_class & 1 == 1:
            enough = whole * WHOLE
            times = whole * (WHOLE // shape.milli)
            if parts > 0 and shape.milli < WHOLE:
                for gpu in range(place.gpus):
                    free = columns.gpu_free_milli[node, gpu] - (mask >> gpu & 1) * milli
                    if shape.milli <= free < WHOLE:
                        enough += free
                        times += free // shape.milli
            times //= shape.gpus
            if times > 0:
                if shape.cpus_milli > 0:
                    times = min(times, free_cpus // shape.cpus_milli)
                used = enough + 4 * times * shape.gpus * shape.milli
        lost += shape.weight * (5 * total - used)
    shortage = max(0, total * columns.counters[0].cpus_per_gpu // WHOLE - free_cpus)
    return lost + _CPU_SHORTAGE * shortage


@compiled
def _leaning(columns: Columns, job: int, node: int, mask: int, milli: int) -> int:
    record = columns.jobs[job]
    place = columns.nodes[node]
    cpus_left = place.free_cpus_milli - record.cpus_milli
    if record.gpus_milli == 0:
        return _CPU_JOB_CPUS * cpus_left + _CPU_JOB_GPUS * free_milli(columns, node)
    leaning = _GPU_JOB_CPUS * cpus_left
    scarcity = columns.classes[columns.pools[place.pool].gpu_class].scarcity
    leaning += _SCARCITY_QUARTERS * 5 * scarcity * record.gpus_milli // 4
    if milli < WHOLE and place.idle_mask & mask != 0 and columns.counters[0].nobody_leaves == 1:
        leaning -= _OPENS_GPU * columns.counters[0].parts_demand
    return leaning


@compiled
def slots_cost(columns: Columns, job: int, node: int) -> int:
    """The cost of a node but for the nodes kept for wide jobs; for a part of a GPU, that of the best GPU."""
    gpu = slots_gpu(columns, job, node) if wants_part(columns, job) else NONE
    mask = whole_gpus(columns, job, node) if gpu == NONE else 1 << gpu
    return slots_cost_of_gpus(columns, job, node, mask)


@compiled
def slots_cost_of_gpus(columns: Columns, job: int, node: int, mask: int) -> int:
    """The cost of taking these GPUs, or what the job wants of them, but for the nodes kept for wide jobs."""
    return _state_after(columns, job, node, mask) - lost_slots(columns, node, 0, 0, 0)


@compiled
def _state_after(columns: Columns, job: int, node: int, mask: int) -> int:
    milli = milli_wanted(columns, job)
    after = lost_slots(columns, node, columns.jobs[job].cpus_milli, mask, milli)
    return after + _leaning(columns, job, node, mask, milli)


@compiled
def slots_gpu(columns: Columns, job: int, node: int) -> int:
    """The GPU for a part: lowest cost, then lowest number; NONE if none has enough free."""
    best = NONE
    best_cost = NO_ROOM
    for gpu in range(columns.nodes[node].gpus):
        if columns.gpu_free_milli[node, gpu] >= columns.jobs[job].gpus_milli and is_first_alike(columns, node, gpu):
            cost = _state_after(columns, job, node, 1 << gpu)
            if cost < best_cost:
                best = gpu
                best_cost = cost
    return best


@compiled
def scarce_wide_shapes(columns: Columns, job: int, idle_milli: int) -> int:
    """The wide shapes, as bits, for which no more nodes are left than they will need; none that the job belongs to.

    Needed is one and a half times what the shape, and those that can go nowhere else, will want of what is idle now.
    """
    scarce = 0
    for index in range(columns.counters[0].wide):
        shape = columns.mix[columns.counters[0].mix + index]
        needed = shape.needed_ppm * idle_milli // (shape.gpus * WHOLE)
        if _supply(columns, shape) * _MILLION < needed + needed // 2 + _MILLION and not _is_bound(columns, job, shape):
            scarce |= 1 << index
    return scarce


@compiled
def _supply(columns: Columns, shape: Records) -> int:
    """Nodes whose GPUs a wide shape could have."""
    supply = 0
    for pool in range(columns.counters[0].pools):
        area = columns.pools[pool]
        if can_hold(area, shape.accepts, shape.gpus, shape.cpus_milli, shape.memory_mib):
            for level in range(shape.gpus, area.gpus + 1):
                supply += columns.idle_counts[pool, level]
    return supply


@compiled
def _is_bound(columns: Columns, job: int, shape: Records) -> bool:
    """True for a job as wide as the shape that, empty nodes only, fits on none that could not hold the shape."""
    record = columns.jobs[job]
    accepts = accepted_classes(record.choices)
    gpus = gpus_per_node(columns, job)
    if gpus < shape.gpus:
        return False
    for pool in range(columns.counters[0].pools):
        area = columns.pools[pool]
        if can_hold(area, accepts, gpus, record.cpus_milli, record.memory_mib) and not can_hold(
            area, shape.accepts, shape.gpus, shape.cpus_milli, shape.memory_mib
        ):
            return False
    return True


@compiled
def wide_shapes_lost(columns: Columns, job: int, node: int) -> int:
    """The wide shapes, as bits, that fit on a node now and would not beside the job."""
    record = columns.jobs[job]
    place = columns.nodes[node]
    gpu_class = columns.pools[place.pool].gpu_class
    # A part shares a GPU if it can, and then takes no idle one.
    shares = wants_part(columns, job) and place.shared > 0
    idle_left = place.idle - (0 if shares else gpus_per_node(columns, job))
    cpus_left = place.free_cpus_milli - record.cpus_milli
    memory_left = place.free_memory_mib - record.memory_mib
    lost = 0
    for index in range(columns.counters[0].wide):
        shape = columns.mix[columns.counters[0].mix + index]
        cpus, memory = shape.cpus_milli, shape.memory_mib
        if shape.accepts >> gpu_class & 1 == 0:
            continue
        fits_now = shape.gpus <= place.idle and cpus <= place.free_cpus_milli and memory <= place.free_memory_mib
        if fits_now and (shape.gpus > idle_left or cpus > cpus_left or memory > memory_left):
            lost |= 1 << index
    return lost


@compiled
def kept_for_wide(columns: Columns, lost: int) -> int:
    """The cost of losing room for wide shapes of which too little is left: an eighth of a GPU per GPU of the widest."""
    widest = 0
    for index in range(columns.counters[0].wide):
        if lost >> index & 1 == 1:
            widest = max(widest, columns.mix[columns.counters[0].mix + index].gpus)
    return _KEPT_PER_GPU * widest
