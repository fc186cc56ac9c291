"""The world as flat columns: one record array per kind of thing, every field a 64-bit integer.

One integer type keeps the compiler from making several versions of each function. Links between records are row
numbers; `NONE` (-1) is no row. Times are in milliseconds, GPUs in thousandths (`milli`) unless a name says `gpus`.

| array | one record per |
|---|---|
| `jobs` | job that is not final (in the twin: every job of the run) |
| `nodes`, `gpu_free_milli`, `gpu_slices` | node; and per node, what is free of each GPU, and its MIG slices in use |
| `allocations` | job and node: the GPUs a job holds there, or still waits for when it claims them |
| `pools` | (site, GPU class, node shape): nodes that only differ by number, contiguous |
| `tiers` | pool and level of nearness: its domains, racks or blocks |
| `shares` | (GPU class, share); row = class x shares per class + share |
| `classes` | GPU class |
| `bookings` | node of a reservation |
| `mix` | size of job that placement expects to see again; from `COUNTED` on, size of job that arrived lately |
| `steps` | step of a service's load profile |
| `counters` | the world: exactly one |
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dure.world.array_struct import ArrayStruct

NONE = -1
MOST_GPUS = 16
"""GPUs on one node."""
MOST_LEVELS = MOST_GPUS + 1
"""A node has 0 to 16 idle GPUs."""
WORD_BITS = 32
SET_DEPTH = 4
DEEPEST = 10
"""Shares on the way from a leaf to the root, root included."""
PLAN_ROWS = 65_536
CHOICE_BITS = 8
"""A job's GPU classes in order of preference are packed, eight bits each, class + 1, first choice lowest."""
CHOICE_MASK = 255
WHOLE = 1000
CALENDAR_SHIFT = 6
CALENDAR_MINUTES = 1 << 16
CALENDAR_LARGE_BUCKETS = CALENDAR_MINUTES >> 2 * CALENDAR_SHIFT
CALENDAR_ROW = 1 + CALENDAR_LARGE_BUCKETS + (CALENDAR_MINUTES >> CALENDAR_SHIFT) + CALENDAR_MINUTES
READY_NOW = -1
NOT_READY = -2
"""Where a node is in the calendar of its pool when it is not at one of the minutes to come."""
UNLIMITED = 1 << 60
NEVER = 1 << 61
ALL_SITES = (1 << 60) - 1

# States of a job, as far as the kernel can tell them apart.
HELD, QUEUED, CLAIMED, RUNNING, WARNED, STOPPING, GONE = range(7)
SPENT = 7
"""An array or service of which everything that is wanted was started: out of the queue, but not over."""

# Kinds of plan rows.
DO_START, DO_CLAIM, DO_WARN, DO_SPARE, DO_STOP, DO_WARN_OF_RESIZE = range(6)

# Why an attempt is stopped.
STOP_NONE, STOP_RECLAIMED, STOP_TIME_LIMIT, STOP_CANCELLED, STOP_NODE_LOST, STOP_RESERVED = range(6)
STOP_SCALED_DOWN, STOP_DRAINED, STOP_RESIZED = range(6, 9)

# How the waiting are ordered. From ORDER_PRIORITY on every share has a queue of its own; before it all have one.
ORDER_FIFO, ORDER_SJF, ORDER_PRIORITY, ORDER_FAIR_SHARE = range(4)

# What a class's next decision has to do: nothing, try the new arrivals, or try everyone again.
CLEAN, ARRIVALS, ANEW = range(3)

# How a node is chosen among those with room, for a job on one node.
PLACE_BEST_FIT = 4
PLACE_FRAGMENTATION = 5
PLACE_SLOTS = 6

# How near to each other the nodes of a gang must be.
WITHIN_SITE, WITHIN_BLOCK, WITHIN_RACK, WITHIN_DOMAIN = range(4)

# States of a node. Only one that is up takes new work.
NODE_UP, NODE_DRAINED, NODE_DOWN, NODE_CORDONED, NODE_SUSPECT, NODE_UNREACHABLE = range(6)

Records = Any
"""A record array, or one record of it. Its fields are columns that no type checker knows."""
Integers = NDArray[np.int64]


def _records(*names: str) -> np.dtype[Any]:
    return np.dtype([(name, np.int64) for name in names])


JOB = _records(
    "share",  # index of its share within a class
    "choices",  # packed GPU classes
    "sites",  # bit per site where it may run
    "nodes",  # of an elastic job: those it has or claims; while it waits, the least
    "within",  # WITHIN_*
    "gpus_milli",  # per node
    "cpus_milli",  # per node
    "memory_mib",  # per node
    "slices",  # memory slices of a GPU it wants by MIG; 0 without MIG
    "slice_starts",  # bit per memory slice at which they may begin
    "limit_ms",
    "preemptible",
    "checkpoint_every_ms",  # 0: only when asked, or never
    "saves_when_warned",  # 1: loses nothing when reclaimed
    "priority",
    "sequence",  # order of submission; never reused
    "state",
    "gpu_class",  # where it runs or claims; NONE while it waits
    "pool",
    "first_allocation",
    "queue",  # share row whose queue holds it; NONE
    "order_key",
    "left",  # queue: tree
    "right",
    "previous",  # queue, list of claims, or its share's running jobs: neighbours
    "next",
    "submitted_ms",
    "started_ms",  # of the latest attempt
    "expected_end_ms",  # of the latest attempt: limit, or when a warned job will be gone
    "attempt",
    "times_reclaimed",
    "borrowed",
    "charged",  # 1 while its GPUs count against its share: from start or claim to the end, or to the warning
    "claimant",  # the job for whose sake it was warned
    "next_victim",  # of the same claimant
    "first_victim",  # of this claimant
    "victims_left",
    "stop_reason",
    "blocker",  # what stood in the way when it was last tried
    "listed",  # scratch of reclaim: 1 while among the candidate victims
    # Arrays and services: one row is the template of many, see `dure.world.templates`.
    "template",  # of a task or replica: the row it is a copy of; NONE
    "copies",  # of a template: how many more are to start
    "number",  # of a task or replica: its number; of a template: the number of the next
    "live_copies",  # of a template: copies that are not over or on their way out
    "first_copy",  # of a template; then by next_copy
    "next_copy",
    "previous_copy",
    "first_skipped",  # of a template: rows that name the numbers which must not start, lowest first, then by next
    "step",  # of a service: where in its load profile it is; NONE
    # Elastic jobs, see `dure.world.elastic`.
    "least_nodes",  # 0: it is not elastic
    "most_nodes",
    "next_growing",  # of those of its class that may grow
    "previous_growing",
    "resize_at_ms",  # when the warning ends, or ended, that it would be stopped to go on with more nodes
    # What the twin knows and the kernel must not look at: how long the job really runs, and what became of it.
    "work_left_ms",
    "first_started_ms",
    "ended_ms",
    "lost_ms",
)

NODE = _records(
    "pool",
    "position",  # within its pool
    "gpus",
    "idle",  # GPUs nobody uses
    "idle_mask",
    "cpus_milli",
    "free_cpus_milli",
    "memory_mib",
    "free_memory_mib",
    "first_allocation",
    "owed",  # GPUs that claims still wait for here
    "shared",  # GPUs in use by parts
    "state",
    "changed",  # 1 while listed: the calendar has to count it anew
    "next_changed",
    # What makes a node suspect.
    "downs",  # times it went down, with no longer between two than the window
    "down_ms",  # the last time
    "failures",  # attempts in a row that ended badly here, those of one share one after another counted once
    "failure_ms",  # the last that counted
    "failure_share",
    "candidate",  # scratch of reclaim: place among the candidate nodes; NONE
    "first_booking",
)

ALLOCATION = _records(
    "job",
    "node",
    "gpu_mask",  # GPUs held now
    "milli",  # of each: 1000, or less for a part of one
    "slices",  # bit per memory slice held of the one GPU; 0 without MIG
    "wanted",  # GPUs it will hold when complete
    "next_of_job",
    "previous_of_node",
    "next_of_node",
)

POOL = _records(
    "gpu_class",
    "site",
    "gpus",  # per node
    "cpus_milli",
    "memory_mib",
    "first_node",
    "node_count",
    "first_word",  # of its sets of nodes
    "words_0",
    "words_1",
    "words_2",
    "words_3",
    "words",  # per set
    "idle",  # GPUs
    # Nodes that belong together, by number: those of a domain follow each other, and so do the domains of a rack.
    "domain_nodes",
    "rack_nodes",
    "block_nodes",
    "spare",  # nodes per domain that are left alone while idle
    "first_domain",
    "free_nodes",  # wholly idle nodes that are no spares, where a domain has several nodes
    "first_calendar_row",  # one row per number of GPUs, from 1
    "first_booking",  # its bookings follow each other
    "bookings",
    "first_reservation",  # list of what waiting jobs were promised here
    "reservations",
)

TIER = _records(
    "together",  # nodes of a unit
    "units",  # 0: this level has none, or only the pool itself
    "separate",  # 0: its sets are those of a narrower level
    "first_unit",  # row of `unit_free`
    "first_word",  # of its sets of units
    "words_0",
    "words_1",
    "words_2",
    "words_3",
    "words",  # per set, with one that counts its members
)

SHARE = _records(
    "parent",
    "first_child",
    "next_sibling",
    "weight",
    "guarantee",
    "limit",
    "lend",
    "kept",  # of its pool, never lent to siblings
    "pool",  # what it divides among its children, or uses itself
    "used",  # by all jobs below
    "drawn",  # what its children (or, for a leaf, its jobs) drew from its pool
    "usage",  # with memory: milli-GPU-seconds, halved every half-life
    "usage_at_ms",
    "reclaim_per_hour",  # milli-GPUs its jobs may take back from borrowers in an hour
    "reclaim_allowed_at_ms",  # when what was taken back is paid off
    "queue_root",
    "queue_first",
    "queue_last",
    "queued",  # jobs in its own queue
    "waiting",  # jobs queued below it
    "first_running",  # list of its own running jobs that may be preempted, latest first
    "next_active",  # list of leaves of a class with queued jobs
    "previous_active",
    "cursor",  # job to be tried next in this pass
    "cursor_pass",  # pass for which the cursor and `failures` hold
    "closed",  # 1: this pass tries nothing more of its own queue
    "failures",  # jobs of its own queue tried in vain in this pass
    "passed",  # 1 while listed: this pass is no longer at the beginning of its queue
    "next_passed",
    # Whose turn it is: see `kernel.winners`.
    "children",
    "place",  # among its siblings
    "first_winner",  # where its children's winner trees begin
    "smallest",  # what the smallest next job below it asks for, in thousandths of a GPU; NEVER if there is none
    "standing",
    "usage_for_weight",
    "judged_until_ms",  # the end of the period for which that holds
    "touched",  # while listed, what may have changed: to be judged again
    "next_touched",
    # The smallest shape for which reclaim found no way in this pass; nothing larger finds one either.
    "in_vain_pass",
    "in_vain_nodes",
    "in_vain_gpus_milli",
    "in_vain_cpus_milli",
    "in_vain_memory_mib",
    "in_vain_sites",
    "in_vain_limit_ms",
    "booked",  # 1 when some reservation is for it, or for a share above it
)

CLASS = _records(
    "root",  # share row
    "first_pool",
    "pool_count",
    "first_node",
    "node_count",
    "first_part_word",  # of its index of GPUs in parts: see `dure.world.parts`
    "capacity",
    "half_life_ms",  # of usage in its tree
    "period_end_ms",  # until when its shares have been judged
    "first_passed",  # list of shares
    "idle",  # whole GPUs
    "first_active",
    "active",  # leaves with queued jobs
    "reach",  # bit per class that some queued job here would accept
    "parts_waiting",  # queued jobs here that want less than one whole GPU (or none)
    "dirty",  # CLEAN, or what the next decision has to do
    "borrowing",  # shares that use more than their guarantee
    "pass_number",
    "budget",  # jobs this pass may still try in vain
    "backfill_due_ms",  # when those behind the first blocked job may be tried again
    "brief",  # 1 while this pass ends at the first job that does not fit
    "blocked",  # the first job of this pass that did not fit
    "unreserved",  # a job that did not fit: it gets a reservation before anyone behind it is tried
    "reserved",  # rows of `reservations` in use
    "renewed",  # those that this pass has made
    # The smallest shape that lately did not fit; as long as nothing was given back, nothing larger fits either.
    "hopeless",
    "hopeless_nodes",
    "hopeless_gpus_milli",
    "hopeless_cpus_milli",
    "hopeless_memory_mib",
    "hopeless_sites",
    "hopeless_ends_ms",
    "first_growing",  # list of elastic jobs that may grow, in the order in which they started
    "last_growing",
    "resizing",  # the job that was last asked to make way for itself with more nodes; NONE
    "scarcity",  # demand of jobs that must have it, for its capacity; in units of `dure.world.mix.ONE`
)

SHAPE = _records(
    "cpus_milli",
    "memory_mib",  # the most that one of these jobs asked for
    "gpus",
    "milli",  # of each GPU
    "accepts",  # bit per class
    "count",  # arrivals, fading
    "weight",  # in the mix: how much it counts that a job of this size finds room
    "needed_ppm",  # for a wide shape: the part of the idle GPUs that it, and who can go nowhere else, will want
)

COUNTERS = _records(
    "now_ms",
    "order",  # how the waiting are ordered: ORDER_*
    "remembers",  # 1: shares go by usage with memory; 0: by what they borrow now
    "reclaims",  # 1: an owner takes back what it lent
    "classes",
    "shares",  # per class
    "pools",
    "nodes",
    "timers",
    "first_free_allocation",
    "first_free_job",  # rows of `jobs` in use by nobody, by `next`
    "first_free_step",
    "first_claim",
    "last_claim",
    "unit_node",  # scratch of backfill: first node of the unit that is ready first
    "ready_candidates",  # scratch of reclaim: candidate nodes that would do for one rank
    "first_touched",  # list of shares to be judged again
    "first_changed",  # list of nodes that the calendar has to count anew
    "calendar_origin",  # minute in which the calendar begins
    "plan_rows",
    "plan_full",
    "needs_room",  # 1: a template's next copy found no free row
    "passes",
    "wake_ms",  # when something protected becomes reclaimable, or backfill is due
    "resize_wake_ms",  # when an elastic job may next be warned or stopped to be resized
    "returned",  # jobs in `returned`
    "protected_ms",
    "warning_ms",
    "grace_ms",
    "backfill_depth",
    "backfill_interval_ms",
    "backfill_reservations",  # per class
    "bookings",
    "booking_wake_ms",  # when a booking next begins, ends, or needs its node cleared
    "open_bookings",  # bookings for somebody that have begun and not ended
    "first_share_booking",  # list of bookings for somebody
    "only_booked",  # 1 while jobs are placed on nodes that are booked for their share and nowhere else
    "suspect_after",
    "suspect_window_ms",
    "probation_ms",
    "decisions",
    "placement",  # the rule that chooses among nodes: PLACE_*
    "shapes",  # counted rows of `mix` in use
    "mix",  # rows of typical shapes
    "wide",  # rows of wide shapes behind them
    "arrivals",  # counted
    "mix_due",  # the mix is made anew when so many are counted
    "mix_version",
    "nobody_leaves",  # 1: jobs stay for ever, as in studies of placement
    "cpus_per_gpu",  # thousandths of a core beside each GPU that is asked for
    "parts_demand",  # the part of the GPU demand that is for parts of GPUs; of `dure.world.mix.ONE`
)

STEP = _records(
    "at_ms",  # in the day, UTC
    "replicas",
    "next",  # the step that follows, after the last the first; or the next free one
)

PLAN = _records("kind", "job", "attempt", "other", "at_ms", "reason")

BOOKING = _records(
    "node",
    "from_ms",
    "until_ms",
    "share",  # index of the share it is for; NONE for maintenance
    "reservation",  # its number in the nation's document
    "next_of_node",
    "next_for_share",
)

RESERVATION = _records(
    "job",
    "sequence",  # of the job, because rows of jobs are used again
    "pool",
    "first_node",  # of the unit that is reserved: the pool, or where the gang must be together
    "last_node",
    "gpus",
    "nodes",
    "shadow_ms",
    "ends_ms",  # the shadow time and the job's whole limit
    "spare",
    "renewed",  # 1: made by the pass that is under way; 0: by an earlier one
    "next_of_pool",
)

MOST_SHAPES = 512
"""Sizes of jobs that are counted; a new one takes the place of the rarest."""
MOST_TYPICAL = 128
MOST_WIDE = 60
"""So that a set of wide shapes fits a word."""
COUNTED = MOST_TYPICAL + MOST_WIDE
"""Row of `mix` where the counted shapes begin, most frequent first."""

MOST_RETURNED = 64
"""Elastic jobs that came back and may go first; when there are more, the earliest wait for their turn."""

CANDIDATE_NODES = 4_096
SPARE_CANDIDATES = 64
"""Nodes reclaim looks at beyond those it needs."""
CANDIDATE_VICTIMS = 8_192


@dataclass(frozen=True, eq=False)
class Columns(ArrayStruct):
    """Everything a decision reads and writes."""

    jobs: Records
    nodes: Records
    gpu_free_milli: Integers
    gpu_slices: Integers
    """[node, GPU] -> bit per memory slice in use by MIG; 0 while the GPU is not cut."""
    allocations: Records
    pools: Records
    idle_counts: Integers
    """[pool, idle GPUs] -> nodes that are up."""
    shares: Records
    classes: Records
    counters: Records
    winners: Integers
    """[tree, place] -> share, see `kernel.winners`."""
    domains: Integers
    """[domain, 0..1] -> wholly idle nodes; nodes out of service. See `world.domains`."""
    tiers: Records
    """[4 x pool + level] the units of a pool at a level. See `world.units`."""
    unit_free: Integers
    """[unit, GPUs] -> nodes of the unit that are free for so many."""
    unit_sets: Integers
    """Per tier, number of GPUs and number of free nodes, the set of units."""
    idle_sets: Integers
    """Per pool and number of idle GPUs, the set of nodes."""
    part_sets: Integers
    """Per class and level of what is left, the set of nodes with such a GPU in parts: see `dure.world.parts`."""
    timer_due_ms: Integers
    timer_job: Integers
    timer_slot: Integers
    """[job] -> place in the timers; NONE when it has none."""
    plan: Records
    reservations: Records
    """What jobs that fit nowhere were promised; row = class x `backfill_reservations` + number."""
    bookings: Records
    """By node, and by the time at which they begin."""
    chosen: Integers
    """Nodes of the placement being built, in rank order."""
    ready_slots: Integers
    """[node, GPUs] -> minute of the calendar by which the node has so many idle; READY_NOW or NOT_READY."""
    calendar: Integers
    """Rows of counts, see `kernel.calendar`: nodes by the minute by which they are ready."""
    victims: Integers
    """[candidate, 0..2] scratch of reclaim: job, lost work, chosen."""
    candidates: Integers
    """[candidate, 0..2] scratch of reclaim: node; GPUs that would be idle; 1 if it would do for one rank."""
    mix: Records
    """Shapes that placement expects to see again, typical ones, then wide ones; from `COUNTED` on, all that came."""
    steps: Records
    returned: Integers
    """Elastic jobs that came back and wait, in the order in which they came."""


def records(dtype: np.dtype[Any], count: int) -> Records:
    """A zeroed record array whose records have attributes, compiled or not."""
    return np.zeros(count, dtype=dtype).view(np.recarray)


def grow(column: Records, count: int) -> Records:
    """A copy with room for `count` records."""
    larger = np.zeros((count, *column.shape[1:]), dtype=column.dtype)
    as_bytes(larger)[: len(column)] = as_bytes(column)
    return larger.view(np.recarray) if column.dtype.names else larger


def as_bytes(column: Records) -> NDArray[np.uint8]:
    """The same memory, a row of bytes for each record: NumPy copies records field by field, which takes ten times as
    long.
    """
    rows, width = len(column), column.dtype.itemsize * prod(column.shape[1:])
    return column.view(np.ndarray).reshape(-1).view(np.uint8).reshape(rows, width)
