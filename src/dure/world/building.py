"""From a declared fleet and share tree to empty columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dure.model.fleet import Timing
from dure.world import node_sets, parts
from dure.world.columns import (
    ALL_SITES,
    ALLOCATION,
    ANEW,
    BOOKING,
    CALENDAR_MINUTES,
    CALENDAR_ROW,
    CANDIDATE_NODES,
    CANDIDATE_VICTIMS,
    CLASS,
    COUNTED,
    COUNTERS,
    GONE,
    JOB,
    MOST_GPUS,
    MOST_LEVELS,
    MOST_RETURNED,
    MOST_SHAPES,
    NEVER,
    NODE,
    NONE,
    NOT_READY,
    ORDER_FAIR_SHARE,
    PLACE_SLOTS,
    PLAN,
    PLAN_ROWS,
    POOL,
    RESERVATION,
    SET_DEPTH,
    SHAPE,
    SHARE,
    STEP,
    TIER,
    UNLIMITED,
    WHOLE,
    WITHIN_DOMAIN,
    WITHIN_SITE,
    WORD_BITS,
    Columns,
    Integers,
    Records,
    as_bytes,
    grow,
    records,
)
from dure.world.units import TIERS

FIRST_STEPS = 64


@dataclass(frozen=True)
class PoolShape:
    """Nodes that differ only by number. Pools of a class must follow each other."""

    gpu_class: int
    site: int
    gpus: int
    cpus_milli: int
    memory_mib: int
    nodes: int
    domain_nodes: int = 1
    rack_nodes: int = 1
    block_nodes: int = 1
    spare: int = 0

    @property
    def domains(self) -> int:
        """Domains of several nodes."""
        return self.nodes // self.domain_nodes if self.domain_nodes > 1 else 0


@dataclass(frozen=True)
class ShareShape:
    """A share of the tree; `parent` is the position of its parent in the list, NONE below the root.

    Amounts are per class, in thousandths of a GPU.
    """

    parent: int = NONE
    weight: int = 1
    guarantee: tuple[int, ...] = ()
    limit: tuple[int, ...] = ()
    lend: tuple[int, ...] = ()
    reclaim_per_hour: tuple[int, ...] = ()


@dataclass(frozen=True)
class BookingShape:
    """A node of a reservation; `share` is the position of the share it is for in the list, NONE for maintenance."""

    node: int
    from_ms: int
    until_ms: int
    share: int
    reservation: int


@dataclass(frozen=True)
class Shape:
    """All that is declared: what `build` needs to know. Share 0 of every class is the root, above all listed shares."""

    classes: int
    pools: Sequence[PoolShape]
    shares: Sequence[ShareShape] = field(default_factory=tuple)
    timing: Timing = Timing()  # noqa: RUF009 (an immutable value)
    order: int = ORDER_FAIR_SHARE
    placement: int = PLACE_SLOTS
    remembers: bool = True
    reclaims: bool = True
    half_lives_ms: Sequence[int] = ()
    """Per class; 0, or none at all, is that of the timing."""
    bookings: Sequence[BookingShape] = ()


def build(shape: Shape, jobs: int) -> Columns:
    """Columns with every node idle and room for `jobs` jobs."""
    nodes = sum(pool.nodes for pool in shape.pools)
    gpus = sum(pool.nodes * max(1, pool.gpus) for pool in shape.pools)
    pools, words = _pools(shape.pools)
    tiers, unit_words = _tiers(shape.pools)
    calendar_rows = max(1, sum(pool.gpus for pool in shape.pools))
    classes, part_words = _classes(shape)
    shares = len(shape.shares) + 1
    columns = Columns(
        jobs=empty_jobs(jobs),
        nodes=records(NODE, max(1, nodes)),
        gpu_free_milli=np.zeros((max(1, nodes), MOST_GPUS), dtype=np.int64),
        gpu_slices=np.zeros((max(1, nodes), MOST_GPUS), dtype=np.int64),
        allocations=records(ALLOCATION, 2 * gpus + jobs + 1),
        pools=pools,
        idle_counts=np.zeros((max(1, len(shape.pools)), MOST_LEVELS), dtype=np.int64),
        shares=records(SHARE, shape.classes * shares),
        classes=classes,
        counters=records(COUNTERS, 1),
        winners=np.full((2, 2 * shape.classes * shares), NONE, dtype=np.int64),
        domains=_domains(shape.pools),
        tiers=tiers,
        unit_free=np.zeros((max(1, int(tiers["separate"] @ tiers["units"])), MOST_LEVELS), dtype=np.int64),
        unit_sets=np.zeros(unit_words, dtype=np.int64),
        idle_sets=np.zeros(words, dtype=np.int64),
        part_sets=np.zeros(part_words, dtype=np.int64),
        timer_due_ms=np.zeros(jobs, dtype=np.int64),
        timer_job=np.zeros(jobs, dtype=np.int64),
        timer_slot=np.full(jobs, NONE, dtype=np.int64),
        plan=records(PLAN, PLAN_ROWS),
        reservations=records(RESERVATION, shape.classes * shape.timing.backfill_reservations),
        bookings=records(BOOKING, max(1, len(shape.bookings))),
        chosen=np.zeros(max(3, nodes), dtype=np.int64),
        ready_slots=np.full((max(1, nodes), MOST_LEVELS), NOT_READY, dtype=np.int64),
        calendar=np.zeros(calendar_rows * CALENDAR_ROW, dtype=np.int64),
        victims=np.zeros((CANDIDATE_VICTIMS, 3), dtype=np.int64),
        candidates=np.zeros((CANDIDATE_NODES, 3), dtype=np.int64),
        mix=records(SHAPE, COUNTED + MOST_SHAPES),
        steps=records(STEP, FIRST_STEPS),
        returned=np.zeros(MOST_RETURNED, dtype=np.int64),
    )
    _link_free_allocations(columns)
    columns.jobs["next"], columns.jobs["state"] = _chain(0, jobs, NONE), GONE
    columns.steps["next"] = _chain(0, FIRST_STEPS, NONE)
    _set_counters(columns, shape, nodes, shares)
    _add_nodes(columns, shape.pools)
    _fill_units(columns, shape.pools)
    _add_classes(columns, shape)
    _plant_trees(columns, shape)
    _book_nodes(columns, sorted(shape.bookings, key=lambda booking: (booking.node, booking.from_ms)))
    return columns


def empty_jobs(count: int) -> Records:
    """Job records that stand for no job yet."""
    one = records(JOB, 1)
    for name in (
        "gpu_class",
        "pool",
        "first_allocation",
        "queue",
        "left",
        "right",
        "previous",
        "next",
        "claimant",
        "next_victim",
        "first_victim",
        "template",
        "first_copy",
        "next_copy",
        "previous_copy",
        "first_skipped",
        "step",
        "next_growing",
        "previous_growing",
        "first_started_ms",
        "ended_ms",
    ):
        one[name] = NONE
    one["sites"] = ALL_SITES
    jobs = records(JOB, count)
    as_bytes(jobs)[:] = as_bytes(one)
    return jobs


def with_room_for(columns: Columns, jobs: int) -> Columns:
    """The same columns with room for at least `jobs` jobs and their allocations."""
    before = len(columns.jobs)
    if jobs <= before:
        return columns
    grown = grow(columns.jobs, jobs)
    as_bytes(grown)[before:] = as_bytes(empty_jobs(1))
    grown["next"][before:] = _chain(before, jobs, int(columns.counters["first_free_job"][0]))
    grown["state"][before:] = GONE
    columns.counters["first_free_job"][0] = before
    allocations = _more_allocations(columns, jobs - before)
    slots = grow(columns.timer_slot, jobs)
    slots[before:] = NONE
    return columns.replace(
        jobs=grown,
        allocations=allocations,
        timer_due_ms=grow(columns.timer_due_ms, jobs),
        timer_job=grow(columns.timer_job, jobs),
        timer_slot=slots,
    )


def with_more_room(columns: Columns) -> Columns:
    """The same columns with room for more copies of templates: twice the rows, or else twice the allocations."""
    if columns.counters["first_free_job"][0] == NONE:
        return with_room_for(columns, 2 * len(columns.jobs))
    return columns.replace(allocations=_more_allocations(columns, len(columns.allocations)))


def with_steps_for(columns: Columns, steps: int) -> Columns:
    """The same columns with so many free steps for load profiles."""
    free = 0
    at = int(columns.counters["first_free_step"][0])
    while at != NONE and free < steps:
        free, at = free + 1, int(columns.steps["next"][at])
    if free == steps:
        return columns
    before = len(columns.steps)
    grown = grow(columns.steps, 2 * before + steps)
    grown["next"][before:] = _chain(before, len(grown), int(columns.counters["first_free_step"][0]))
    columns.counters["first_free_step"][0] = before
    return columns.replace(steps=grown)


def _chain(first: int, end: int, after: int) -> Integers:
    """Links that lead through the rows from `first` up to `end`, and then to `after`."""
    links = np.arange(first + 1, end + 1)
    links[-1:] = after
    return links


def with_allocations_for(columns: Columns, ranks: int) -> Columns:
    """The same columns with room for so many ranks of jobs to hold nodes at once.

    What holds GPUs is bounded by the GPUs; gangs without GPUs are bounded only by what was submitted.
    """
    if ranks <= len(columns.allocations):
        return columns
    return columns.replace(allocations=_more_allocations(columns, ranks))


def _more_allocations(columns: Columns, count: int) -> Records:
    before = len(columns.allocations)
    allocations = grow(columns.allocations, before + count)
    after = int(columns.counters["first_free_allocation"][0])
    allocations["next_of_job"][before:] = _chain(before, len(allocations), after)
    columns.counters["first_free_allocation"][0] = before
    return allocations


def copy(columns: Columns) -> Columns:
    """Independent columns with the same content; scratch included."""
    return Columns(*(grow(column, len(column)) for column in columns))


def copy_rows(columns: Columns, rows: int) -> Columns:
    """A copy with room for no more than the first `rows` jobs, which must be all there are."""
    of_jobs = ("jobs", "timer_due_ms", "timer_job", "timer_slot")
    return copy(columns.replace(**{name: getattr(columns, name)[:rows] for name in of_jobs}))


def _pools(shapes: Sequence[PoolShape]) -> tuple[Records, int]:
    pools = records(POOL, max(1, len(shapes)))
    words = 0
    node = 0
    calendar_row = 0
    domain = 0
    for pool, shape in zip(pools, shapes, strict=False):
        pool.gpu_class, pool.site, pool.gpus = shape.gpu_class, shape.site, shape.gpus
        pool.cpus_milli, pool.memory_mib = shape.cpus_milli, shape.memory_mib
        pool.first_node, pool.node_count, pool.first_word = node, shape.nodes, words
        pool.first_calendar_row, pool.first_reservation = calendar_row, NONE
        sizes = set_sizes(shape.nodes)
        pool.words_0, pool.words_1, pool.words_2, pool.words_3 = sizes
        pool.words = sum(sizes)
        words += sum(sizes) * MOST_LEVELS
        node += shape.nodes
        calendar_row += shape.gpus
        pool.domain_nodes, pool.rack_nodes, pool.block_nodes = shape.domain_nodes, shape.rack_nodes, shape.block_nodes
        pool.spare, pool.first_domain = shape.spare, domain
        pool.free_nodes = shape.domains * (shape.domain_nodes - shape.spare)
        domain += shape.domains
    return pools, max(1, words)


def _classes(shape: Shape) -> tuple[Records, int]:
    """Classes with their nodes, which follow each other, and the words of all indexes of GPUs in parts."""
    classes = records(CLASS, shape.classes)
    words = 0
    node = 0
    for gpu_class in range(shape.classes):
        record = classes[gpu_class]
        record.first_node = node
        record.node_count = sum(pool.nodes for pool in shape.pools if pool.gpu_class == gpu_class)
        record.first_part_word = words
        words += int(parts.words_for(int(record.node_count)))
        node += int(record.node_count)
    return classes, words


def _domains(shapes: Sequence[PoolShape]) -> Integers:
    """All nodes of all domains are idle and up."""
    idle = [shape.domain_nodes for shape in shapes for _ in range(shape.domains)]
    return np.array([[nodes, 0] for nodes in idle] or [[0, 0]], dtype=np.int64)


def _tiers(shapes: Sequence[PoolShape]) -> tuple[Records, int]:
    """The units of every pool, level by level, and the words of all their sets."""
    tiers = records(TIER, max(1, len(shapes)) * TIERS)
    unit = words = 0
    for pool, shape in enumerate(shapes):
        narrower = NONE
        together = (shape.nodes, shape.block_nodes, shape.rack_nodes, shape.domain_nodes)
        for level in range(WITHIN_DOMAIN, WITHIN_SITE, -1):
            tier = tiers[pool * TIERS + level]
            if not 1 < together[level] < shape.nodes:
                continue
            if narrower != NONE and together[narrower] == together[level]:
                tiers[pool * TIERS + level] = tiers[pool * TIERS + narrower]
                tier.separate = 0
                continue
            narrower = level
            tier.together, tier.units, tier.separate = together[level], shape.nodes // together[level], 1
            tier.first_unit, tier.first_word = unit, words
            sizes = set_sizes(int(tier.units))
            tier.words_0, tier.words_1, tier.words_2, tier.words_3 = sizes
            tier.words = sum(sizes) + 1
            unit += tier.units
            words += tier.words * (tier.together + 1) * (shape.gpus + 1)
    return tiers, max(1, int(words))


def _fill_units(columns: Columns, shapes: Sequence[PoolShape]) -> None:
    """All nodes are up and idle, so those of each domain beyond its spares are free."""
    for row, tier in enumerate(columns.tiers):
        if tier.separate == 0:
            continue
        shape = shapes[row // TIERS]
        free = tier.together // shape.domain_nodes * (shape.domain_nodes - shape.spare)
        columns.unit_free[tier.first_unit : tier.first_unit + tier.units, : shape.gpus + 1] = free
        for gpus in range(shape.gpus + 1):
            base = int(tier.first_word + (gpus * (tier.together + 1) + free) * tier.words)
            _fill_set(columns.unit_sets, base, int(tier.units))
            columns.unit_sets[base + int(tier.words) - 1] = tier.units


def set_sizes(nodes: int) -> tuple[int, int, int, int]:
    """Words per level of a set over so many nodes."""
    sizes = []
    for _ in range(SET_DEPTH):
        nodes = max(1, -(-nodes // WORD_BITS))
        sizes.append(nodes)
    return sizes[0], sizes[1], sizes[2], sizes[3]


def _link_free_allocations(columns: Columns) -> None:
    count = len(columns.allocations)
    columns.allocations["next_of_job"] = np.arange(1, count + 1)
    columns.allocations["next_of_job"][count - 1] = NONE


def _set_counters(columns: Columns, shape: Shape, nodes: int, shares: int) -> None:
    counters = columns.counters[0]
    counters.order, counters.classes, counters.shares = shape.order, shape.classes, shares
    counters.placement = shape.placement
    counters.remembers, counters.reclaims = int(shape.remembers), int(shape.reclaims)
    counters.pools, counters.nodes = len(shape.pools), nodes
    counters.first_claim = counters.last_claim = counters.first_changed = counters.first_touched = NONE
    # So long ago that the calendar begins anew when it is first asked.
    counters.calendar_origin = -CALENDAR_MINUTES
    counters.wake_ms = counters.resize_wake_ms = NEVER
    counters.protected_ms, counters.warning_ms = shape.timing.protected_ms, shape.timing.warning_ms
    counters.grace_ms = shape.timing.grace_ms
    counters.backfill_depth = shape.timing.backfill_depth
    counters.backfill_interval_ms = shape.timing.backfill_interval_ms
    counters.backfill_reservations = shape.timing.backfill_reservations
    counters.probation_ms = shape.timing.probation_ms
    counters.suspect_after, counters.suspect_window_ms = shape.timing.suspect_after, shape.timing.suspect_window_ms
    columns.reservations["job"] = columns.reservations["pool"] = NONE


def _add_nodes(columns: Columns, shapes: Sequence[PoolShape]) -> None:
    for index, shape in enumerate(shapes):
        pool = columns.pools[index]
        rows = slice(pool.first_node, pool.first_node + shape.nodes)
        nodes = columns.nodes[rows]
        nodes["pool"] = index
        nodes["position"] = np.arange(shape.nodes)
        nodes["gpus"] = nodes["idle"] = shape.gpus
        nodes["idle_mask"] = (1 << shape.gpus) - 1
        nodes["cpus_milli"] = nodes["free_cpus_milli"] = shape.cpus_milli
        nodes["memory_mib"] = nodes["free_memory_mib"] = shape.memory_mib
        nodes["first_allocation"] = nodes["candidate"] = nodes["first_booking"] = NONE
        columns.gpu_free_milli[rows, : shape.gpus] = WHOLE
        columns.idle_counts[index, shape.gpus] = shape.nodes
        pool.idle = shape.gpus * shape.nodes
        _fill_set(columns.idle_sets, pool.first_word + shape.gpus * pool.words, shape.nodes)


def _fill_set(words: Integers, base: int, nodes: int) -> None:
    sizes = set_sizes(nodes)
    for position in range(nodes):
        node_sets.add(words, base, sizes, position)


def _add_classes(columns: Columns, shape: Shape) -> None:
    shares = columns.counters[0].shares
    for gpu_class in range(shape.classes):
        record = columns.classes[gpu_class]
        mine = [index for index, pool in enumerate(shape.pools) if pool.gpu_class == gpu_class]
        record.root = gpu_class * shares
        record.first_active = record.first_passed = record.blocked = record.unreserved = NONE
        record.first_growing = record.last_growing = record.resizing = NONE
        record.dirty = ANEW
        record.first_pool, record.pool_count = (mine[0], len(mine)) if mine else (0, 0)
        record.idle = sum(shape.pools[index].gpus * shape.pools[index].nodes for index in mine)
        spares = sum(shape.pools[index].gpus * shape.pools[index].domains * shape.pools[index].spare for index in mine)
        record.capacity = WHOLE * (record.idle - spares)
        own_half_life_ms = shape.half_lives_ms[gpu_class] if shape.half_lives_ms else 0
        record.half_life_ms = own_half_life_ms or shape.timing.half_life_ms


def _plant_trees(columns: Columns, shape: Shape) -> None:
    columns.shares["parent"] = columns.shares["first_child"] = columns.shares["next_sibling"] = NONE
    columns.shares["queue_root"] = columns.shares["queue_first"] = columns.shares["queue_last"] = NONE
    columns.shares["cursor"] = columns.shares["first_running"] = NONE
    columns.shares["weight"] = 1
    columns.shares["limit"] = columns.shares["reclaim_per_hour"] = UNLIMITED
    for gpu_class in range(shape.classes):
        root = columns.classes[gpu_class].root
        columns.shares[root].guarantee = columns.classes[gpu_class].capacity
        for index, share in enumerate(shape.shares):
            _set_amounts(columns, root + 1 + index, root, share, gpu_class)
        # Children are threaded in the order of the document, because ties go to the one that comes first.
        for index in range(len(shape.shares) - 1, -1, -1):
            child = columns.shares[root + 1 + index]
            parent = columns.shares[child.parent]
            child.next_sibling = parent.first_child
            parent.first_child = root + 1 + index
            parent.children += 1
        _fill_pools(columns, root, len(shape.shares))
        _seat_children(columns, root, len(shape.shares))


def _set_amounts(columns: Columns, row: int, root: int, share: ShareShape, gpu_class: int) -> None:
    record = columns.shares[row]
    record.parent = root if share.parent == NONE else root + 1 + share.parent
    record.weight = share.weight
    record.guarantee = share.guarantee[gpu_class] if share.guarantee else 0
    record.limit = share.limit[gpu_class] if share.limit else UNLIMITED
    record.lend = share.lend[gpu_class] if share.lend else UNLIMITED
    record.reclaim_per_hour = share.reclaim_per_hour[gpu_class] if share.reclaim_per_hour else UNLIMITED


def _book_nodes(columns: Columns, shapes: Sequence[BookingShape]) -> None:
    """Thread the bookings, which come by node and time: those of a node, and those that are for somebody."""
    counters = columns.counters[0]
    counters.bookings, counters.first_share_booking = len(shapes), NONE
    # The first decision looks at all of them, whatever time it is.
    counters.booking_wake_ms = 0 if shapes else NEVER
    for index in range(len(shapes) - 1, -1, -1):
        shape, record = shapes[index], columns.bookings[index]
        node = columns.nodes[shape.node]
        record.node, record.from_ms, record.until_ms = shape.node, shape.from_ms, shape.until_ms
        record.reservation, record.share = shape.reservation, NONE if shape.share == NONE else 1 + shape.share
        record.next_of_node, record.next_for_share = node.first_booking, NONE
        node.first_booking = index
        pool = columns.pools[node.pool]
        pool.first_booking, pool.bookings = index, pool.bookings + 1
        if shape.share != NONE:
            record.next_for_share, counters.first_share_booking = counters.first_share_booking, index
            _mark_booked(columns, 1 + shape.share)


def _mark_booked(columns: Columns, share: int) -> None:
    """A reservation is for a share and all below it, in the tree of every class."""
    shares = int(columns.counters[0].shares)
    marked = {share}
    # Children come after their parents.
    for row in range(share, shares):
        if row == share or int(columns.shares[row].parent) in marked:
            marked.add(row)
    for row in marked:
        columns.shares["booked"][row::shares] = 1


def _seat_children(columns: Columns, root: int, shares: int) -> None:
    """Give every share's children their places in its winner trees."""
    columns.shares["smallest"] = NEVER
    columns.shares["standing"] = NONE
    first_winner = 2 * root
    for row in range(root, root + shares + 1):
        record = columns.shares[row]
        record.first_winner = first_winner
        child = record.first_child
        for place in range(record.children):
            columns.shares[child].place = place
            columns.winners[:, first_winner + record.children + place] = child
            child = columns.shares[child].next_sibling
        first_winner += 2 * record.children


def _fill_pools(columns: Columns, root: int, shares: int) -> None:
    """Children come after their parents, so going backwards settles every child before its parent."""
    for row in range(root + shares, root - 1, -1):
        record = columns.shares[row]
        record.pool += record.guarantee
        if record.parent != NONE:
            lent = min(record.lend, record.pool)
            record.kept = record.pool - lent
            columns.shares[record.parent].pool -= record.guarantee - lent
