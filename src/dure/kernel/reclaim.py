"""An owner's demand takes its guarantee back: who yields, no more than needed, least work lost first.

1. Candidate nodes: those with enough idle GPUs, and those that would have enough if the jobs of borrowers yielded. The
   borrowers' own lists of running jobs say where to look, the largest borrower and the latest start first.
2. Victims: running, preemptible, past their protected time, and borrowing seen from where the two shares meet.
3. Take victims in order (those that borrowed when they started, then least lost work: GPU time since the last
   checkpoint; ties: latest start, then lowest row) until the whole job fits and its quota has room; then put back, last
   taken first, whoever turns out not to be needed.
4. Claim the nodes: idle GPUs at once, the rest as the victims yield.

A job that was itself reclaimed never reclaims. A share that declares how many GPUs it takes back in an hour has no
victims before what it took is paid off.
"""

from __future__ import annotations

from dure.kernel.borrowers import first_borrower, next_borrower, next_side
from dure.kernel.plan_rows import add_row
from dure.world.bookings import is_open
from dure.world.capacity import bits, gpus_per_node, hold, lowest, next_node
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
    WITHIN_SITE,
    Columns,
)
from dure.world.compiled import compiled
from dure.world.domains import domain_of, free_nodes
from dure.world.quota import ROOM, may_reclaim, reclaim_allowed_at_ms, shortage
from dure.world.templates import to_start
from dure.world.transitions import claim, demand_milli, set_charged, share_row, warn
from dure.world.units import unit_nodes

CANDIDATE_UNITS = 16
"""Domains, racks or blocks that reclaim looks at for a gang that must stay within one."""


@compiled
def reclaim(columns: Columns, job: int, gpu_class: int, now_ms: int) -> bool:
    """Take back what a share is guaranteed, for a job that does not fit; False when the rules do not allow it (yet)."""
    record = columns.jobs[job]
    share = share_row(columns, job, gpu_class)
    if record.times_reclaimed > 0 or record.gpus_milli == 0 or _is_in_vain(columns, job, share, gpu_class):
        return False
    if next_side(columns.shares, share, demand_milli(columns, job)) == NONE:
        return False
    first = columns.classes[gpu_class].first_pool
    for pool in range(first, first + columns.classes[gpu_class].pool_count):
        if record.sites >> columns.pools[pool].site & 1 == 1 and _reclaim_in_pool(columns, job, share, pool, now_ms):
            return True
    if record.within != WITHIN_SITE:
        return False
    known = columns.shares[share]
    known.in_vain_pass = _pass_of(columns, job)
    known.in_vain_nodes = record.nodes
    known.in_vain_gpus_milli = record.gpus_milli
    known.in_vain_cpus_milli = record.cpus_milli
    known.in_vain_memory_mib = record.memory_mib
    known.in_vain_sites = record.sites
    known.in_vain_limit_ms = record.limit_ms if columns.counters[0].bookings > 0 else 0
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
        and record.limit_ms >= known.in_vain_limit_ms
    )


@compiled
def _reclaim_in_pool(columns: Columns, job: int, share: int, pool: int, now_ms: int) -> bool:
    nodes = _list_idle_nodes(columns, job, pool)
    nodes = _list_borrowed_nodes(columns, job, share, pool, nodes, now_ms)
    if columns.jobs[job].within == WITHIN_SITE:
        return _reclaim_listed(columns, job, share, pool, nodes, now_ms)
    units = _note_units(columns, job, pool, nodes)
    _clear_lists(columns, job, nodes, 0, False, now_ms)
    for unit in range(units):
        nodes = _list_unit(columns, job, share, pool, columns.chosen[unit], now_ms)
        if _reclaim_listed(columns, job, share, pool, nodes, now_ms):
            return True
    return False


@compiled
def _reclaim_listed(columns: Columns, job: int, share: int, pool: int, nodes: int, now_ms: int) -> bool:
    """Choose victims on the candidate nodes, and claim; the lists are left clean."""
    victims = _list_victims(columns, job, share, nodes, now_ms)
    enough = nodes >= columns.jobs[job].nodes and _choose_victims(columns, job, share, victims, now_ms)
    if enough:
        job = to_start(columns, job)
        _claim_nodes(columns, job, columns.pools[pool].gpu_class, nodes, now_ms)
    _clear_lists(columns, job, nodes, victims, enough, now_ms)
    return enough


@compiled
def _note_units(columns: Columns, job: int, pool: int, nodes: int) -> int:
    """The units (domains, racks, blocks) of the candidate nodes, in order, into `chosen`; returns how many."""
    together = unit_nodes(columns, pool, columns.jobs[job].within)
    count = 0
    for index in range(nodes):
        node = columns.candidates[index, 0]
        first = node - columns.nodes[node].position % together
        known = 0
        while known < count and columns.chosen[known] != first:
            known += 1
        if known == count and count < min(CANDIDATE_UNITS, len(columns.chosen)):
            columns.chosen[count] = first
            count += 1
    return count


@compiled
def _list_unit(columns: Columns, job: int, share: int, pool: int, first: int, now_ms: int) -> int:
    """Lists the nodes of one unit that have enough idle GPUs, or would have if the borrowers on them yielded."""
    gpus = gpus_per_node(columns, job)
    found = 0
    for node in range(first, first + unit_nodes(columns, pool, columns.jobs[job].within)):
        place = columns.nodes[node]
        if found == CANDIDATE_NODES or place.state != NODE_UP or not _stays_open(columns, job, node):
            continue
        if _keeps_spares(columns, node, found) and _might_yield(columns, job, share, node, gpus, now_ms):
            _list_node(columns, job, node, found)
            found += 1
    return found


@compiled
def _keeps_spares(columns: Columns, node: int, listed: int) -> bool:
    """True unless a node is wholly idle and the listed ones have used up what its domain has beyond its spares."""
    place = columns.nodes[node]
    domain = domain_of(columns, node)
    if domain == NONE or place.idle < place.gpus:
        return True
    idle = 0
    for index in range(listed - 1, -1, -1):
        other = columns.candidates[index, 0]
        if domain_of(columns, other) == domain and columns.nodes[other].idle == place.gpus:
            idle += 1
        elif columns.nodes[other].idle == place.gpus:
            # Nodes of a domain are listed one after the other.
            break
    return idle < free_nodes(columns, place.pool, domain)


@compiled
def _list_idle_nodes(columns: Columns, job: int, pool: int) -> int:
    """Lists nodes that need no victim, fewest idle GPUs first: a gang may lack only other nodes, or only quota."""
    found = 0
    most = min(CANDIDATE_NODES, columns.jobs[job].nodes + SPARE_CANDIDATES)
    for level in range(gpus_per_node(columns, job), MOST_LEVELS):
        if columns.idle_counts[pool, level] == 0:
            continue
        node = next_node(columns, pool, level, 0)
        while node != NONE and found < most:
            if _stays_open(columns, job, node) and _keeps_spares(columns, node, found):
                _list_node(columns, job, node, found)
                found += 1
            node = next_node(columns, pool, level, columns.nodes[node].position + 1)
    return found


@compiled
def _stays_open(columns: Columns, job: int, node: int) -> bool:
    """True when no reservation keeps a job off a node that claims it now and starts when the last victim has gone."""
    counters = columns.counters[0]
    start_ms = counters.now_ms + counters.warning_ms + counters.grace_ms
    return is_open(columns, job, node, start_ms + columns.jobs[job].limit_ms)


@compiled
def _list_borrowed_nodes(columns: Columns, job: int, share: int, pool: int, found: int, now_ms: int) -> int:
    """Lists nodes of the pool that would have enough idle GPUs if the borrowers on them yielded; returns how many."""
    shares = columns.shares
    amount = demand_milli(columns, job)
    most = min(CANDIDATE_NODES, found + columns.jobs[job].nodes + SPARE_CANDIDATES)
    side = next_side(shares, share, amount)
    while side != NONE and found < most:
        borrower = first_borrower(shares, side)
        while borrower != NONE and found < most:
            holder = shares[borrower].first_running
            while holder != NONE and found < most:
                if columns.jobs[holder].pool == pool and _is_past_protection(columns, holder, now_ms):
                    found = _list_nodes_of(columns, job, share, holder, found, most, now_ms)
                holder = columns.jobs[holder].next
            borrower = next_borrower(shares, side, borrower)
        side = next_side(shares, shares[side].parent, amount)
    return found


@compiled
def _list_nodes_of(columns: Columns, job: int, share: int, holder: int, found: int, most: int, now_ms: int) -> int:
    gpus = gpus_per_node(columns, job)
    at = columns.jobs[holder].first_allocation
    while at != NONE and found < most:
        node = columns.allocations[at].node
        place = columns.nodes[node]
        at = columns.allocations[at].next_of_job
        if place.candidate != NONE or place.state != NODE_UP or not _stays_open(columns, job, node):
            continue
        if _might_yield(columns, job, share, node, gpus, now_ms):
            _list_node(columns, job, node, found)
            found += 1
    return found


@compiled
def _list_node(columns: Columns, job: int, node: int, index: int) -> None:
    columns.nodes[node].candidate = index
    columns.candidates[index, 0] = node
    columns.candidates[index, 2] = 0
    _judge_node(columns, job, index)


@compiled
def _is_past_protection(columns: Columns, holder: int, now_ms: int) -> bool:
    """True when a job has had its protected time; else the kernel wakes when it will have."""
    counters = columns.counters[0]
    until_ms = columns.jobs[holder].started_ms + counters.protected_ms
    if now_ms < until_ms:
        counters.wake_ms = min(counters.wake_ms, until_ms)
    return now_ms >= until_ms


@compiled
def _might_yield(columns: Columns, job: int, share: int, node: int, gpus: int, now_ms: int) -> bool:
    """True when a node would have enough idle GPUs if all jobs yielded from which the share may reclaim now."""
    idle = columns.nodes[node].idle
    shared = 0
    still_shared = 0
    at = columns.nodes[node].first_allocation
    while at != NONE and idle < gpus:
        allocation = columns.allocations[at]
        yields = _yields_to(columns, allocation.job, job, share, now_ms)
        if allocation.milli < WHOLE:
            shared |= allocation.gpu_mask
            still_shared |= 0 if yields else allocation.gpu_mask
        elif yields:
            idle += bits(allocation.gpu_mask)
        at = allocation.next_of_node
    return idle + bits(shared & ~still_shared) >= gpus


@compiled
def _yields_to(columns: Columns, holder: int, job: int, share: int, now_ms: int) -> bool:
    """True when a running job may be reclaimed for a job of `share` now."""
    record = columns.jobs[holder]
    if record.state != RUNNING or record.preemptible == 0:
        return False
    if not may_reclaim(columns.shares, share, demand_milli(columns, job), share_row(columns, holder, record.gpu_class)):
        return False
    return _is_past_protection(columns, holder, now_ms)


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
    columns.counters[0].ready_candidates += (1 if enough else 0) - columns.candidates[index, 2]
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
    allowed_at_ms = reclaim_allowed_at_ms(columns.shares, share)
    if allowed_at_ms > now_ms:
        columns.counters[0].wake_ms = min(columns.counters[0].wake_ms, allowed_at_ms)
        return 0
    found = 0
    for index in range(nodes):
        at = columns.nodes[columns.candidates[index, 0]].first_allocation
        while at != NONE and found < CANDIDATE_VICTIMS:
            holder = columns.allocations[at].job
            at = columns.allocations[at].next_of_node
            if columns.jobs[holder].listed == 0 and _yields_to(columns, holder, job, share, now_ms):
                columns.jobs[holder].listed = 1
                columns.victims[found, 0] = holder
                columns.victims[found, 1] = lost_work(columns, holder, now_ms)
                columns.victims[found, 2] = 0
                found += 1
    _sort_victims(columns, found)
    return found


@compiled
def _sort_victims(columns: Columns, count: int) -> None:
    """Heapsort: in place, and never slow."""
    for root in range(count // 2 - 1, -1, -1):
        _sink_victim(columns, root, count)
    for last in range(count - 1, 0, -1):
        _swap_victims(columns, 0, last)
        _sink_victim(columns, 0, last)


@compiled
def _sink_victim(columns: Columns, root: int, count: int) -> None:
    while True:
        child = 2 * root + 1
        if child >= count:
            return
        if child + 1 < count and _yields_before(columns, child, child + 1):
            child += 1
        if not _yields_before(columns, root, child):
            return
        _swap_victims(columns, root, child)
        root = child


@compiled
def _swap_victims(columns: Columns, first: int, second: int) -> None:
    victims = columns.victims
    job = victims[first, 0]
    lost = victims[first, 1]
    victims[first, 0] = victims[second, 0]
    victims[first, 1] = victims[second, 1]
    victims[second, 0] = job
    victims[second, 1] = lost


@compiled
def _yields_before(columns: Columns, first: int, second: int) -> bool:
    """True when the first of two listed victims is taken before the second."""
    job = columns.victims[first, 0]
    other = columns.victims[second, 0]
    borrowed = columns.jobs[job].borrowed
    if borrowed != columns.jobs[other].borrowed:
        return borrowed == 1
    if columns.victims[first, 1] != columns.victims[second, 1]:
        return columns.victims[first, 1] < columns.victims[second, 1]
    started = columns.jobs[job].started_ms
    other_started = columns.jobs[other].started_ms
    return started > other_started or (started == other_started and job < other)


@compiled
def _choose_victims(columns: Columns, job: int, share: int, victims: int, now_ms: int) -> bool:
    """Tries victims until the job has room, then takes back those that are not needed; False when it never has room."""
    amount = demand_milli(columns, job)
    index = 0
    while not _has_room(columns, job, share):
        if index == victims:
            return False
        holder = columns.victims[index, 0]
        if may_reclaim(columns.shares, share, amount, share_row(columns, holder, columns.jobs[holder].gpu_class)):
            _try_without(columns, job, index, 1, now_ms)
        index += 1
    for back in range(index - 1, -1, -1):
        if columns.victims[back, 2] == 1:
            _try_without(columns, job, back, 0, now_ms)
            if not _has_room(columns, job, share):
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
def _has_room(columns: Columns, job: int, share: int) -> bool:
    if shortage(columns.shares, share, demand_milli(columns, job)) != ROOM:
        return False
    return columns.counters[0].ready_candidates >= columns.jobs[job].nodes


@compiled
def _claim_nodes(columns: Columns, job: int, gpu_class: int, nodes: int, now_ms: int) -> None:
    """Take hold of the nodes that would be left with the fewest idle GPUs."""
    record = columns.jobs[job]
    counters = columns.counters[0]
    gpus = gpus_per_node(columns, job)
    rank = 0
    for level in range(gpus, MOST_LEVELS):
        for index in range(nodes):
            ready = columns.candidates[index, 2] == 1 and columns.candidates[index, 1] == level
            if ready and rank < record.nodes:
                columns.chosen[rank] = columns.candidates[index, 0]
                rank += 1
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
    columns.counters[0].ready_candidates = 0
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
