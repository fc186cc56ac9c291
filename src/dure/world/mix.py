"""The mix: what sizes of jobs arrive, learnt while they do.

Placement weighs what a choice would cost the jobs to come. What will come is not known; what came is. Every arrival is
counted under its *shape*: CPUs, GPUs, how much of each GPU, and the GPU classes it accepts. Counts fade: all are halved
when there are 65,536. The *mix* is what the rules of `dure.kernel.packing` look at: the most frequent shapes that make
up 95% of the arrivals (Weng et al. 2023 call them typical), with weights. It is made anew whenever a third more has
arrived, at exact counts, so that it depends on the order of arrivals and on nothing else.
"""

from __future__ import annotations

from dure.world.capacity import gpus_per_node
from dure.world.columns import (
    CHOICE_BITS,
    CHOICE_MASK,
    COUNTED,
    MOST_SHAPES,
    MOST_TYPICAL,
    MOST_WIDE,
    WHOLE,
    Columns,
    Records,
)
from dure.world.compiled import compiled, entry_point

ONE = 1 << 20
"""Weights of a mix add up to this; so does a scarcity of one GPU wanted for each there is."""
MOST_SCARCE = ONE + ONE // 2
TYPICAL_PERCENT = 95
FADES_AT = 1 << 16
_FRACTION_BITS = 24
_MILLION = 1_000_000


@entry_point
def accepted_classes(choices: int) -> int:
    """The GPU classes of a job as a set of bits, without their order."""
    accepts = 0
    while choices != 0:
        accepts |= 1 << ((choices & CHOICE_MASK) - 1)
        choices >>= CHOICE_BITS
    return accepts


@entry_point
def count_arrival(columns: Columns, job: int) -> None:
    """Count a job that arrives for the first time, once per rank, and keep the mix up to date."""
    record = columns.jobs[job]
    gpus = gpus_per_node(columns, job)
    milli = min(record.gpus_milli, WHOLE)
    count_shape(
        columns, record.cpus_milli, record.memory_mib, gpus, milli, accepted_classes(record.choices), record.nodes
    )
    if columns.counters[0].arrivals >= columns.counters[0].mix_due:
        renew_mix(columns)


@entry_point
def count_shape(
    columns: Columns, cpus_milli: int, memory_mib: int, gpus: int, milli: int, accepts: int, times: int
) -> None:
    """Add to the count of a shape; counted rows stay in order of count, the earlier one first among equals."""
    counters = columns.counters[0]
    row = _find(columns.mix, counters.shapes, cpus_milli, gpus, milli, accepts)
    if row == counters.shapes:
        if row == MOST_SHAPES:
            row -= 1
        else:
            counters.shapes += 1
            columns.mix[COUNTED + row].count = 0
        _write(columns.mix[COUNTED + row], cpus_milli, gpus, milli, accepts)
    shape = columns.mix[COUNTED + row]
    shape.count += times
    shape.memory_mib = max(shape.memory_mib, memory_mib)
    counters.arrivals += times
    while row > 0 and columns.mix[COUNTED + row - 1].count < columns.mix[COUNTED + row].count:
        _swap(columns.mix, COUNTED + row - 1, COUNTED + row)
        row -= 1
    if counters.arrivals >= FADES_AT:
        _fade(columns)


@compiled
def _find(shapes: Records, count: int, cpus_milli: int, gpus: int, milli: int, accepts: int) -> int:
    for row in range(count):
        shape = shapes[COUNTED + row]
        if shape.cpus_milli == cpus_milli and shape.gpus == gpus and shape.milli == milli and shape.accepts == accepts:
            return row
    return count


@compiled
def _write(shape: Records, cpus_milli: int, gpus: int, milli: int, accepts: int) -> None:
    """A new shape; one that takes the place of the rarest keeps its count, or newcomers would push each other out."""
    shape.cpus_milli = cpus_milli
    shape.memory_mib = 0
    shape.gpus = gpus
    shape.milli = milli
    shape.accepts = accepts


@compiled
def _swap(shapes: Records, one: int, other: int) -> None:
    a = shapes[one]
    b = shapes[other]
    a.cpus_milli, b.cpus_milli = b.cpus_milli, a.cpus_milli
    a.memory_mib, b.memory_mib = b.memory_mib, a.memory_mib
    a.gpus, b.gpus = b.gpus, a.gpus
    a.milli, b.milli = b.milli, a.milli
    a.accepts, b.accepts = b.accepts, a.accepts
    a.count, b.count = b.count, a.count


@compiled
def _fade(columns: Columns) -> None:
    counters = columns.counters[0]
    counters.arrivals = 0
    for row in range(counters.shapes):
        shape = columns.mix[COUNTED + row]
        shape.count = (shape.count + 1) // 2
        counters.arrivals += shape.count
    counters.mix_due = 0


@entry_point
def renew_mix(columns: Columns) -> None:
    """Make the mix from what has been counted so far, and say when it will be made again."""
    counters = columns.counters[0]
    counters.mix_due = counters.arrivals + max(1, counters.arrivals // 3)
    counters.mix_version += 1
    wanted = counters.arrivals * TYPICAL_PERCENT
    counted = 0
    row = 0
    while row < min(counters.shapes, MOST_TYPICAL) and counted * 100 < wanted:
        _copy(columns.mix[COUNTED + row], columns.mix[row])
        counted += columns.mix[COUNTED + row].count
        row += 1
    counters.mix = row
    _weigh(columns)
    _measure_demand(columns)
    _find_scarcity(columns)
    _find_wide(columns)


@compiled
def _copy(shape: Records, into: Records) -> None:
    into.cpus_milli = shape.cpus_milli
    into.memory_mib = shape.memory_mib
    into.gpus = shape.gpus
    into.milli = shape.milli
    into.accepts = shape.accepts
    into.count = shape.count
    into.weight = 0


@compiled
def _weigh(columns: Columns) -> None:
    """Shapes with GPUs weigh by how often they come and inversely by size; all weights add up to `ONE`."""
    total = 0
    for row in range(columns.counters[0].mix):
        shape = columns.mix[row]
        if shape.gpus > 0:
            shape.weight = (shape.count << _FRACTION_BITS) // (shape.gpus * shape.milli)
            total += shape.weight
    if total > 0:
        for row in range(columns.counters[0].mix):
            columns.mix[row].weight = columns.mix[row].weight * ONE // total


@compiled
def _gpu_demand(columns: Columns) -> int:
    demand = 0
    for row in range(columns.counters[0].shapes):
        shape = columns.mix[COUNTED + row]
        demand += shape.count * shape.gpus * shape.milli
    return max(1, demand)


@compiled
def _measure_demand(columns: Columns) -> None:
    """How many CPUs come with a GPU, and how much of the GPU demand is for parts."""
    counters = columns.counters[0]
    cpus_milli = 0
    parts_milli = 0
    for row in range(counters.shapes):
        shape = columns.mix[COUNTED + row]
        if shape.gpus > 0:
            cpus_milli += shape.count * shape.cpus_milli
        if shape.milli < WHOLE:
            parts_milli += shape.count * shape.milli
    demand = _gpu_demand(columns)
    counters.cpus_per_gpu = cpus_milli * WHOLE // demand
    counters.parts_demand = parts_milli * ONE // demand


@compiled
def _find_scarcity(columns: Columns) -> None:
    """A class is as scarce as the demand of picky jobs that accept it is large for what all they accept can hold.

    Demand is that of as many arrivals as would fill the fleet; picky jobs are typical and do not accept every class.
    """
    classes = columns.classes
    count = columns.counters[0].classes
    everything = (1 << count) - 1
    fleet = _capacity(columns, everything)
    demand = _gpu_demand(columns)
    for gpu_class in range(count):
        classes[gpu_class].scarcity = 0
    for row in range(columns.counters[0].mix):
        shape = columns.mix[row]
        capacity = _capacity(columns, shape.accepts)
        if shape.gpus == 0 or shape.accepts == everything or capacity == 0:
            continue
        part_ppm = shape.count * shape.gpus * shape.milli * _MILLION // demand
        scarcity = part_ppm * fleet // capacity * ONE // _MILLION
        for gpu_class in range(count):
            if shape.accepts >> gpu_class & 1:
                classes[gpu_class].scarcity = min(MOST_SCARCE, classes[gpu_class].scarcity + scarcity)


@compiled
def _capacity(columns: Columns, accepts: int) -> int:
    capacity = 0
    for gpu_class in range(columns.counters[0].classes):
        if accepts >> gpu_class & 1:
            capacity += columns.classes[gpu_class].capacity
    return capacity


@compiled
def _find_wide(columns: Columns) -> None:
    """List the shapes that want most of a node, however rare, and what part of the GPU demand can go only there."""
    counters = columns.counters[0]
    counters.wide = 0
    for row in range(counters.shapes):
        shape = columns.mix[COUNTED + row]
        wide = shape.milli == WHOLE and 2 * shape.gpus > _largest_node(columns, shape.accepts)
        if wide and counters.wide < MOST_WIDE:
            _copy(shape, columns.mix[counters.mix + counters.wide])
            counters.wide += 1
    largest = _largest_node(columns, (1 << counters.classes) - 1)
    for pool in range(counters.pools):
        is_new = 2 * columns.pools[pool].gpus > largest and not _is_like_an_earlier(columns, pool)
        if is_new and counters.wide < MOST_WIDE:
            _expect_whole_node(columns, columns.pools[pool], columns.mix[counters.mix + counters.wide])
            counters.wide += 1
    demand = _gpu_demand(columns)
    for index in range(counters.mix, counters.mix + counters.wide):
        _find_needed(columns, columns.mix[index], demand)


@compiled
def _is_like_an_earlier(columns: Columns, pool: int) -> bool:
    """True when the nodes of a pool before this one are as large."""
    area = columns.pools[pool]
    for earlier in range(pool):
        other = columns.pools[earlier]
        if other.gpus == area.gpus and other.cpus_milli == area.cpus_milli and other.memory_mib == area.memory_mib:
            return True
    return False


@compiled
def _expect_whole_node(columns: Columns, area: Records, into: Records) -> None:
    """A shape nobody may have asked for yet: all of a node of this pool, as if it had come once.

    Without it, the last large nodes would be broken up before the first job that needs one is seen.
    """
    into.cpus_milli = area.cpus_milli
    into.memory_mib = area.memory_mib
    into.gpus = area.gpus
    into.milli = WHOLE
    into.accepts = (1 << columns.counters[0].classes) - 1
    into.count = 1
    into.weight = 0


@compiled
def _find_needed(columns: Columns, shape: Records, demand: int) -> None:
    """What part of the demand is for shapes that fit, empty nodes only, on none that could not hold this one."""
    counters = columns.counters[0]
    bound = 0
    for index in range(counters.mix, counters.mix + counters.wide):
        rival = columns.mix[index]
        if _is_bound_to(columns, rival, shape):
            bound += rival.count * rival.gpus * WHOLE
    shape.needed_ppm = bound * _MILLION // demand


@compiled
def _largest_node(columns: Columns, accepts: int) -> int:
    largest = 0
    for pool in range(columns.counters[0].pools):
        if accepts >> columns.pools[pool].gpu_class & 1:
            largest = max(largest, columns.pools[pool].gpus)
    return largest


@compiled
def can_hold(area: Records, accepts: int, gpus: int, cpus_milli: int, memory_mib: int) -> bool:
    """True when an empty node of a pool could hold so much."""
    return (
        (accepts >> area.gpu_class & 1 == 1 or gpus == 0)
        and gpus <= area.gpus
        and cpus_milli <= area.cpus_milli
        and memory_mib <= area.memory_mib
    )


@compiled
def _is_bound_to(columns: Columns, rival: Records, shape: Records) -> bool:
    """True when every node that could hold the rival, empty, could hold the shape."""
    for pool in range(columns.counters[0].pools):
        area = columns.pools[pool]
        if can_hold(area, rival.accepts, rival.gpus, rival.cpus_milli, rival.memory_mib) and not can_hold(
            area, shape.accepts, shape.gpus, shape.cpus_milli, shape.memory_mib
        ):
            return False
    return True
