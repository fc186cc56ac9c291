"""An owner's demand takes its guarantee back: who yields, no more than needed, least work lost first.

1. Candidate nodes: those that would have enough idle GPUs if their preemptible jobs yielded (an index knows them).
2. Victims: running, preemptible, past their protected time, and borrowing seen from where the two shares meet.
3. Take victims in order (those that borrowed when they started, then least lost work: GPU time since the last
   checkpoint; ties: latest start, then lowest row) until the whole job fits and its quota has room; then put back, last
   taken first, whoever turns out not to be needed.
4. Claim the nodes: idle GPUs at once, the rest as the victims yield.

A job that was itself reclaimed never reclaims. A share that declares how many GPUs it takes back in an hour has no
victims before what it took is paid off.
"""

from __future__ import annotations

from dure.kernel.plan_rows import add_row
from dure.world.capacity import bits, hold, lowest, next_node
from dure.world.columns import (
    CANDIDATE_NODES,
    CANDIDATE_VICTIMS,
    DO_CLAIM,
    DO_WARN,
    MOST_LEVELS,
    NEVER,
    NODE_UP,
    NONE,
    RUNNING,
    SPARE_CANDIDATES,
    WHOLE,
    Columns,
)
from dure.world.compiled import compiled
from dure.world.quota import ROOM, may_reclaim, reclaim_allowed_at_ms, shortage
from dure.world.transitions import claim, demand_milli, set_charged, share_row, warn


@compiled
def reclaim(columns: Columns, job: int, gpu_class: int, now_ms: int) -> bool:
    """Take back what a share is guaranteed, for a job that does not fit; False when the rules do not allow it (yet)."""
    record = columns.jobs[job]
    share = share_row(columns, job, gpu_class)
    if record.times_reclaimed > 0 or record.gpus_milli == 0 or _is_in_vain(columns, job, share, gpu_class):
        return False
    if not _somebody_borrows_beside(columns, share, demand_milli(columns, job)):
        return False
    first = columns.classes[gpu_class].first_pool
    for pool in range(first, first + columns.classes[gpu_class].pool_count):
        if record.sites >> columns.pools[pool].site & 1 == 1 and _reclaim_in_pool(columns, job, share, pool, now_ms):
            return True
    known = columns.shares[share]
    known.in_vain_pass = _pass_of(columns, job)
    known.in_vain_nodes = record.nodes
    known.in_vain_gpus_milli = record.gpus_milli
    known.in_vain_cpus_milli = record.cpus_milli
    known.in_vain_memory_mib = record.memory_mib
    known.in_vain_sites = record.sites
    return False


@compiled
def _somebody_borrows_beside(columns: Columns, share: int, amount: int) -> bool:
    """True when a share on the way to the root has its guarantee left for `amount` more, and a sibling that borrows.

    Without that nobody may be reclaimed, and no node need be looked at.
    """
    shares = columns.shares
    at = share
    while shares[at].parent != NONE:
        if shares[at].used + amount <= shares[at].guarantee:
            sibling = shares[shares[at].parent].first_child
            while sibling != NONE:
                if sibling != at and shares[sibling].used > shares[sibling].guarantee:
                    return True
                sibling = shares[sibling].next_sibling
        at = shares[at].parent
    return False


@compiled
def _pass_of(columns: Columns, job: int) -> int:
    """The pass that tries a job: that of the class it queues for, which begins anew whenever a choice of it changes."""
    return columns.classes[columns.jobs[job].queue // columns.counters[0].shares].pass_number


@compiled
def _is_in_vain(columns: Columns, job: int, share: int, gpu_class: int) -> bool:
    """True when nobody borrows, or when this pass found no way for a job of the share that asks for no more."""
    record = columns.jobs[job]
    known = columns.shares[share]
    return columns.classes[gpu_class].borrowing == 0 or (
        known.in_vain_pass == _pass_of(columns, job)
        and record.nodes >= known.in_vain_nodes
        and record.gpus_milli >= known.in_vain_gpus_milli
        and record.cpus_milli >= known.in_vain_cpus_milli
        and record.memory_mib >= known.in_vain_memory_mib
        and record.sites & ~known.in_vain_sites == 0
    )


@compiled
def _reclaim_in_pool(columns: Columns, job: int, share: int, pool: int, now_ms: int) -> bool:
    nodes = _list_nodes(columns, job, share, pool)
    victims = _list_victims(columns, job, share, nodes, now_ms)
    enough = nodes >= columns.jobs[job].nodes and _choose_victims(columns, job, share, nodes, victims, now_ms)
    if enough:
        _claim_nodes(columns, job, columns.pools[pool].gpu_class, nodes, now_ms)
    _clear_lists(columns, job, nodes, victims, enough, now_ms)
    return enough


@compiled
def _list_nodes(columns: Columns, job: int, share: int, pool: int) -> int:
    """Lists the nodes of a pool that might do, fewest recoverable GPUs first; returns how many.

    The index of recoverable GPUs counts all that may be preempted, so the nodes whose jobs do not borrow are left out.
    It does not count GPUs in use by parts: nodes that have some are looked at last, in the order of the fleet.
    """
    record = columns.jobs[job]
    area = columns.pools[pool]
    gpus = (record.gpus_milli + WHOLE - 1) // WHOLE
    most = min(CANDIDATE_NODES, record.nodes + SPARE_CANDIDATES)
    found = 0
    for level in range(gpus, MOST_LEVELS):
        node = next_node(columns, columns.recoverable_sets, pool, level, 0)
        while node != NONE and found < most:
            if _might_yield(columns, job, share, node, gpus):
                _list_node(columns, job, node, found)
                found += 1
            node = next_node(columns, columns.recoverable_sets, pool, level, columns.nodes[node].position + 1)
    if area.shared_nodes == 0:
        return found
    for node in range(area.first_node, area.first_node + area.node_count):
        place = columns.nodes[node]
        looked_at = place.shared == 0 or place.state != NODE_UP or place.candidate != NONE
        if found < most and not looked_at and _might_yield(columns, job, share, node, gpus):
            _list_node(columns, job, node, found)
            found += 1
    return found


@compiled
def _list_node(columns: Columns, job: int, node: int, index: int) -> None:
    columns.nodes[node].candidate = index
    columns.candidates[index, 0] = node
    _judge_node(columns, job, index)


@compiled
def _might_yield(columns: Columns, job: int, share: int, node: int, gpus: int) -> bool:
    """True when a node would have enough idle GPUs if all jobs yielded from which the share may reclaim."""
    idle = columns.nodes[node].idle
    shared = 0
    still_shared = 0
    at = columns.nodes[node].first_allocation
    while at != NONE and idle < gpus:
        allocation = columns.allocations[at]
        yields = _yields_to(columns, allocation.job, job, share)
        if allocation.milli < WHOLE:
            shared |= allocation.gpu_mask
            still_shared |= 0 if yields else allocation.gpu_mask
        elif yields:
            idle += bits(allocation.gpu_mask)
        at = allocation.next_of_node
    return idle + bits(shared & ~still_shared) >= gpus


@compiled
def _yields_to(columns: Columns, holder: int, job: int, share: int) -> bool:
    """True when a running job may be reclaimed for a job of `share`, once its protected time is over."""
    record = columns.jobs[holder]
    if record.state != RUNNING or record.preemptible == 0:
        return False
    return may_reclaim(columns.shares, share, demand_milli(columns, job), share_row(columns, holder, record.gpu_class))


@compiled
def _judge_node(columns: Columns, job: int, index: int) -> None:
    """What a candidate node would have without the victims chosen so far, and whether that is enough for one rank.

    A chosen victim is known by its quota: it runs, but is not charged.
    """
    record = columns.jobs[job]
    node = columns.candidates[index, 0]
    idle = columns.nodes[node].idle
    cpus_milli = columns.nodes[node].free_cpus_milli
    memory_mib = columns.nodes[node].free_memory_mib
    shared = 0
    still_shared = 0
    at = columns.nodes[node].first_allocation
    while at != NONE:
        allocation = columns.allocations[at]
        holder = columns.jobs[allocation.job]
        at = allocation.next_of_node
        chosen = holder.state == RUNNING and holder.charged == 0
        if allocation.milli < WHOLE:
            shared |= allocation.gpu_mask
            still_shared |= 0 if chosen else allocation.gpu_mask
        elif chosen:
            idle += bits(allocation.gpu_mask)
        if chosen:
            cpus_milli += holder.cpus_milli
            memory_mib += holder.memory_mib
    idle += bits(shared & ~still_shared)
    enough = idle * WHOLE >= record.gpus_milli and cpus_milli >= record.cpus_milli and memory_mib >= record.memory_mib
    columns.candidates[index, 1] = idle
    columns.candidates[index, 2] = 1 if enough else 0


@compiled
def lost_work(columns: Columns, job: int, now_ms: int) -> int:
    """GPU time (milli-GPU x ms) a running job would lose if it stopped now: what it did since its last checkpoint."""
    record = columns.jobs[job]
    since_ms = now_ms - record.started_ms
    if record.saves_when_warned == 1:
        since_ms = 0
    elif record.checkpoint_every_ms > 0:
        since_ms %= record.checkpoint_every_ms
    return since_ms * demand_milli(columns, job)


@compiled
def _list_victims(columns: Columns, job: int, share: int, nodes: int, now_ms: int) -> int:
    """Lists the jobs on the candidate nodes that may be reclaimed, least lost work first; returns how many."""
    counters = columns.counters[0]
    allowed_at_ms = reclaim_allowed_at_ms(columns.shares, share)
    if allowed_at_ms > now_ms:
        counters.wake_ms = min(counters.wake_ms, allowed_at_ms)
        return 0
    found = 0
    for index in range(nodes):
        at = columns.nodes[columns.candidates[index, 0]].first_allocation
        while at != NONE:
            holder = columns.allocations[at].job
            record = columns.jobs[holder]
            at = columns.allocations[at].next_of_node
            if record.listed == 1 or found == CANDIDATE_VICTIMS or not _yields_to(columns, holder, job, share):
                continue
            if now_ms < record.started_ms + counters.protected_ms:
                counters.wake_ms = min(counters.wake_ms, record.started_ms + counters.protected_ms)
                continue
            _insert_victim(columns, found, holder, lost_work(columns, holder, now_ms))
            found += 1
    return found


@compiled
def _insert_victim(columns: Columns, count: int, job: int, lost: int) -> None:
    victims = columns.victims
    index = count
    while index > 0 and _yields_before(columns, job, lost, victims[index - 1, 0], victims[index - 1, 1]):
        victims[index, 0] = victims[index - 1, 0]
        victims[index, 1] = victims[index - 1, 1]
        index -= 1
    victims[index, 0] = job
    victims[index, 1] = lost
    victims[count, 2] = 0
    columns.jobs[job].listed = 1


@compiled
def _yields_before(columns: Columns, job: int, lost: int, other: int, other_lost: int) -> bool:
    borrowed = columns.jobs[job].borrowed
    if borrowed != columns.jobs[other].borrowed:
        return borrowed == 1
    if lost != other_lost:
        return lost < other_lost
    started = columns.jobs[job].started_ms
    other_started = columns.jobs[other].started_ms
    return started > other_started or (started == other_started and job < other)


@compiled
def _choose_victims(columns: Columns, job: int, share: int, nodes: int, victims: int, now_ms: int) -> bool:
    """Tries victims until the job has room, then takes back those that are not needed; False when it never has room."""
    amount = demand_milli(columns, job)
    index = 0
    while not _has_room(columns, job, share, nodes):
        if index == victims:
            return False
        holder = columns.victims[index, 0]
        if may_reclaim(columns.shares, share, amount, share_row(columns, holder, columns.jobs[holder].gpu_class)):
            _try_without(columns, job, index, 1, now_ms)
        index += 1
    for back in range(index - 1, -1, -1):
        if columns.victims[back, 2] == 1:
            _try_without(columns, job, back, 0, now_ms)
            if not _has_room(columns, job, share, nodes):
                _try_without(columns, job, back, 1, now_ms)
    return True


@compiled
def _try_without(columns: Columns, job: int, index: int, chosen: int, now_ms: int) -> None:
    """See the world as if a victim had yielded (1), or put it back (0): its quota, and the candidate nodes it is on."""
    holder = columns.victims[index, 0]
    columns.victims[index, 2] = chosen
    set_charged(columns, holder, 1 - chosen, now_ms)
    at = columns.jobs[holder].first_allocation
    while at != NONE:
        allocation = columns.allocations[at]
        if columns.nodes[allocation.node].candidate != NONE:
            _judge_node(columns, job, columns.nodes[allocation.node].candidate)
        at = allocation.next_of_job


@compiled
def _has_room(columns: Columns, job: int, share: int, nodes: int) -> bool:
    if shortage(columns.shares, share, demand_milli(columns, job)) != ROOM:
        return False
    ready = 0
    for index in range(nodes):
        ready += columns.candidates[index, 2]
    return ready >= columns.jobs[job].nodes


@compiled
def _claim_nodes(columns: Columns, job: int, gpu_class: int, nodes: int, now_ms: int) -> None:
    """Take hold of the nodes that would be left with the fewest idle GPUs."""
    record = columns.jobs[job]
    counters = columns.counters[0]
    gpus = (record.gpus_milli + WHOLE - 1) // WHOLE
    for rank in range(record.nodes):
        best = NONE
        for index in range(nodes):
            enough = columns.candidates[index, 2] == 1
            if enough and (best == NONE or columns.candidates[index, 1] < columns.candidates[best, 1]):
                best = index
        columns.chosen[rank] = columns.candidates[best, 0]
        columns.candidates[best, 2] = 0
    for rank in range(record.nodes - 1, -1, -1):
        place = columns.nodes[columns.chosen[rank]]
        held = lowest(place.idle_mask, min(gpus, place.idle))
        hold(columns, job, columns.chosen[rank], held, min(record.gpus_milli, WHOLE), gpus)
    claim(columns, job, gpu_class, now_ms + counters.warning_ms + counters.grace_ms, now_ms)
    add_row(columns, DO_CLAIM, job, NONE, NEVER, 0)


@compiled
def _clear_lists(columns: Columns, job: int, nodes: int, victims: int, claimed: bool, now_ms: int) -> None:
    """Leave the scratch clean, and warn the chosen victims if the claim was made, or else charge them again."""
    stop_at_ms = now_ms + columns.counters[0].warning_ms
    for index in range(nodes):
        columns.nodes[columns.candidates[index, 0]].candidate = NONE
    for index in range(victims):
        holder = columns.victims[index, 0]
        columns.jobs[holder].listed = 0
        if columns.victims[index, 2] == 0:
            continue
        if claimed:
            warn(columns, holder, job, stop_at_ms, now_ms)
            add_row(columns, DO_WARN, holder, job, stop_at_ms, 0)
        else:
            set_charged(columns, holder, 1, now_ms)
