"""Why a job waits: every blocker, with the amount short, who holds it, and what would unblock it.

Made on demand from the columns, outside `decide`, and shown alike by command line, API and portal. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator

from dure.kernel.backfill import shadow_ms
from dure.kernel.explaining_time import reclaim_pause, until_its_time
from dure.kernel.placing import fits_empty_node, has_room, nodes_with
from dure.model.blockers import Blocker, BlockerCode, Why
from dure.model.jobs import JobState
from dure.model.units import format_gpus
from dure.world.cards import JobCard
from dure.world.columns import CHOICE_BITS, CHOICE_MASK, NEVER, NODE_UP, NONE, RUNNING, WHOLE
from dure.world.quota import NOT_LENT, OVER_LIMIT, shortage, within_guarantee
from dure.world.world import World

MOST_HOLDERS = 5

_NOT_NODES = {
    BlockerCode.NO_SITE_ALLOWED,
    BlockerCode.NO_NODE_LARGE_ENOUGH,
    BlockerCode.SHARE_LIMIT,
    BlockerCode.NOT_LENT,
    BlockerCode.BORROWING_NEEDS_PREEMPTIBLE,
}
"""With one of these, free nodes alone do not start the job, so nodes say nothing about when it starts."""

_METHOD = (
    "the earliest time at which enough nodes are surely free if every running job uses its whole time limit; "
    "jobs that end early bring it forward, jobs ahead in the queue push it back"
)


def explain(world: World, job: str, now_ms: int) -> Why:
    """All the blockers of a waiting job; none for one that runs or is over."""
    card = world.jobs[job]
    match card.state:
        case JobState.HELD:
            blockers = _held(world, card, now_ms)
        case JobState.CLAIMED:
            blockers = [_waiting_for_victims(world, card)]
        case JobState.QUEUED:
            blockers = _Question(world, card, now_ms).blockers()
        case _:
            return Why(job=job, state=card.state.value, position=0, blockers=())
    order = list(BlockerCode)
    only_nodes_are_missing = card.state is JobState.QUEUED and not any(each.code in _NOT_NODES for each in blockers)
    start_ms = _earliest_start_ms(world, card, now_ms) if only_nodes_are_missing else None
    return Why(
        job=job,
        state=card.state.value,
        position=_position(world, card),
        blockers=tuple(sorted(blockers, key=lambda blocker: order.index(blocker.code))),
        earliest_start_ms=start_ms,
        method=_METHOD if start_ms is not None else "",
    )


def _position(world: World, card: JobCard) -> int:
    """Place in the queue of the job's own share; 1 is next, 0 when it is not in one."""
    jobs = world.columns.jobs
    if jobs[card.row].queue == NONE:
        return 0
    position = 0
    at = card.row
    while at != NONE:
        position += 1
        at = int(jobs[at].previous)
    return position


def _held(world: World, card: JobCard, now_ms: int) -> list[Blocker]:
    if card.release_at_ms is not None and card.attempt == 0:
        return [until_its_time(card.release_at_ms)]
    if card.release_at_ms is not None:
        return [
            Blocker(
                code=BlockerCode.HELD_BY_BACKOFF,
                until_ms=card.release_at_ms,
                unblock="It is tried again when its backoff ends.",
            )
        ]
    unfinished = [job for job in card.submitted.depends if world.jobs[job].state is not JobState.SUCCEEDED]
    return [
        Blocker(
            code=BlockerCode.HELD_BY_DEPENDENCY,
            holders=tuple(unfinished),
            unblock=f"It may start when {', '.join(unfinished)} succeeded.",
        )
    ] + ([until_its_time(not_before_ms)] if (not_before_ms := card.submitted.not_before_ms) > now_ms else [])


def _waiting_for_victims(world: World, card: JobCard) -> Blocker:
    victims = [other for other in world.running() if other.claimant == card.job]
    stops = [other.stop_at_ms for other in victims if other.stop_at_ms is not None]
    grace_ms = int(world.columns.counters[0].grace_ms)
    names = tuple(other.job for other in victims)
    return Blocker(
        code=BlockerCode.WAITING_FOR_VICTIMS,
        gpu_class=card.gpu_class,
        short_milli=sum(other.gpus_milli for other in victims),
        holders=names,
        until_ms=max(stops) + grace_ms if stops else None,
        unblock=f"Its guarantee takes GPUs back from {', '.join(names)}; it starts when they have yielded.",
    )


def _earliest_start_ms(world: World, card: JobCard, now_ms: int) -> int | None:
    shadows = [
        shadow_ms(world.columns, card.row, pool, now_ms)
        for gpu_class in _choices(world, card)
        for pool in _pools(world, card, gpu_class)
    ]
    earliest = min(shadows, default=NEVER)
    return None if earliest >= NEVER else int(earliest)


def _choices(world: World, card: JobCard) -> Iterator[int]:
    packed = int(world.columns.jobs[card.row].choices)
    while packed:
        yield (packed & CHOICE_MASK) - 1
        packed >>= CHOICE_BITS


def _pools(world: World, card: JobCard, gpu_class: int) -> list[int]:
    """The pools of a class at sites where the job may run."""
    record = world.columns.classes[gpu_class]
    pools = range(int(record.first_pool), int(record.first_pool + record.pool_count))
    sites = int(world.columns.jobs[card.row].sites)
    return [pool for pool in pools if sites >> int(world.columns.pools[pool].site) & 1]


class _Question:
    """One queued job, asked about one world."""

    def __init__(self, world: World, card: JobCard, now_ms: int) -> None:
        self.world = world
        self.columns = world.columns
        self.card = card
        self.now_ms = now_ms
        record = self.columns.jobs[card.row]
        self.nodes = int(record.nodes)
        self.per_node_milli = int(record.gpus_milli)
        self.amount = self.nodes * self.per_node_milli

    def blockers(self) -> list[Blocker]:
        """The blockers of every class the job accepts, then those that do not depend on the class."""
        if self.columns.jobs[self.card.row].sites == 0:
            return [self._no_site()]
        found = [blocker for gpu_class in _choices(self.world, self.card) for blocker in self._of_class(gpu_class)]
        if not found:
            found.extend(self._reserved())
        found.extend(self._behind())
        return found

    def _no_site(self) -> Blocker:
        return Blocker(
            code=BlockerCode.NO_SITE_ALLOWED,
            unblock="None of the sites where policy lets it run is part of the fleet: cancel it, or bring a site back.",
        )

    def _of_class(self, gpu_class: int) -> Iterator[Blocker]:
        row = gpu_class * int(self.columns.counters[0].shares) + int(self.columns.jobs[self.card.row].share)
        pools = _pools(self.world, self.card, gpu_class)
        if self._large_enough(pools) < self.nodes:
            yield self._too_large(gpu_class)
            return
        verdict = shortage(self.columns.shares, row, self.amount) if self.amount else 0
        if verdict == OVER_LIMIT:
            yield self._over_limit(gpu_class, row)
        if verdict == NOT_LENT and self._idle_milli(pools) >= self.amount:
            yield self._not_lent(gpu_class, row)
        if self.columns.jobs[self.card.row].preemptible == 0:
            yield from self._may_not_borrow(gpu_class, row)
        yield from self._no_room(gpu_class, row, pools)

    def _large_enough(self, pools: list[int]) -> int:
        """Nodes that are up and would hold one rank if they were empty."""
        count = 0
        for pool in pools:
            first = int(self.columns.pools[pool].first_node)
            for node in range(first, first + int(self.columns.pools[pool].node_count)):
                up = self.columns.nodes[node].state == NODE_UP
                count += int(up and fits_empty_node(self.columns, self.card.row, node))
        return count

    def _too_large(self, gpu_class: int) -> Blocker:
        return Blocker(
            code=BlockerCode.NO_NODE_LARGE_ENOUGH,
            gpu_class=self.world.atlas.class_name(gpu_class),
            unblock=f"It needs {self.nodes} node(s) in service that hold its GPUs, CPUs and memory, where it may run.",
        )

    def _over_limit(self, gpu_class: int, row: int) -> Blocker:
        shares = self.columns.shares
        at = row
        while shares[at].used + self.amount <= shares[at].limit:
            at = int(shares[at].parent)
        name = self.world.atlas.share_name(at, self.columns)
        short = int(shares[at].used + self.amount - shares[at].limit)
        return Blocker(
            code=BlockerCode.SHARE_LIMIT,
            gpu_class=self.world.atlas.class_name(gpu_class),
            share=name,
            short_milli=short,
            holders=self._running_under(at),
            unblock=f"Share {name} is at its limit: {format_gpus(short)} GPU(s) of its own jobs must end first.",
        )

    def _not_lent(self, gpu_class: int, row: int) -> Blocker:
        shares = self.columns.shares
        root = shares[int(self.columns.classes[gpu_class].root)]
        short = min(self.amount, max(0, int(root.drawn) + self.amount - int(root.pool)))
        guaranteed = within_guarantee(shares, row, self.amount)
        return Blocker(
            code=BlockerCode.NOT_LENT,
            gpu_class=self.world.atlas.class_name(gpu_class),
            share=self.world.atlas.share_name(row, self.columns),
            short_milli=short,
            holders=self._largest_shares(gpu_class),
            unblock=(
                "Its guarantee takes the GPUs back as soon as the rules allow it."
                if guaranteed
                else "All that others lend is in use: it starts when a borrower ends or an owner lends more."
            ),
        )

    def _may_not_borrow(self, gpu_class: int, row: int) -> Iterator[Blocker]:
        record = self.columns.shares[row]
        short = int(record.used + self.amount - record.guarantee)
        if short > 0:
            yield Blocker(
                code=BlockerCode.BORROWING_NEEDS_PREEMPTIBLE,
                gpu_class=self.world.atlas.class_name(gpu_class),
                share=self.world.atlas.share_name(row, self.columns),
                short_milli=short,
                unblock="Only preemptible jobs may borrow: set preemptible: true, or wait for the share's own GPUs.",
            )

    def _no_room(self, gpu_class: int, row: int, pools: list[int]) -> Iterator[Blocker]:
        idle = self._idle_milli(pools)
        gpus = -(-self.per_node_milli // WHOLE)
        name = self.world.atlas.class_name(gpu_class)
        fits = max((nodes_with(self.columns, pool, gpus) for pool in pools), default=0) >= self.nodes
        if fits and self._with_cpus_and_memory(pools, gpus) < self.nodes:
            yield Blocker(
                code=BlockerCode.NOT_ENOUGH_CPU_OR_MEMORY,
                gpu_class=name,
                unblock="GPUs are idle, but the CPUs or the memory beside them are in use.",
            )
        elif not fits and idle < self.amount:
            short = self.amount - idle
            yield Blocker(
                code=BlockerCode.NOT_ENOUGH_GPUS,
                gpu_class=name,
                short_milli=short,
                holders=self._largest_shares(gpu_class),
                unblock=f"{format_gpus(short)} more {name} GPU(s) must become idle.",
            )
        elif not fits:
            yield Blocker(
                code=BlockerCode.SCATTERED,
                gpu_class=name,
                unblock=f"Enough GPUs are idle, but not {gpus} on each of {self.nodes} node(s) of one pool at once.",
            )
        if not fits and within_guarantee(self.columns.shares, row, self.amount):
            yield from self._protected(gpu_class)
            yield from reclaim_pause(self.world, gpu_class, row, self.now_ms)

    def _idle_milli(self, pools: list[int]) -> int:
        return sum(int(self.columns.pools[pool].idle) for pool in pools) * WHOLE

    def _with_cpus_and_memory(self, pools: list[int], gpus: int) -> int:
        best = 0
        for pool in pools:
            first = int(self.columns.pools[pool].first_node)
            nodes = range(first, first + int(self.columns.pools[pool].node_count))
            best = max(best, sum(self._has_everything(node, gpus) for node in nodes))
        return best

    def _has_everything(self, node: int, gpus: int) -> bool:
        record = self.columns.nodes[node]
        return bool(record.state == NODE_UP and record.idle >= gpus and has_room(self.columns, self.card.row, node))

    def _protected(self, gpu_class: int) -> Iterator[Blocker]:
        protected_ms = int(self.columns.counters[0].protected_ms)
        young = [
            card
            for card in self.world.running()
            if card.gpu_class == self.world.atlas.class_name(gpu_class)
            and self.columns.jobs[card.row].state == RUNNING
            and (card.started_at_ms or 0) + protected_ms > self.now_ms
            and card.borrowed
        ]
        if young:
            yield Blocker(
                code=BlockerCode.VICTIMS_PROTECTED,
                gpu_class=self.world.atlas.class_name(gpu_class),
                holders=tuple(card.job for card in young[:MOST_HOLDERS]),
                until_ms=min((card.started_at_ms or 0) + protected_ms for card in young),
                unblock="Borrowers run a protected minimum time before an owner may take its GPUs back.",
            )

    def _reserved(self) -> Iterator[Blocker]:
        for reservation in self.columns.reservations:
            if reservation.pool != NONE and reservation.job != self.card.row:
                yield Blocker(
                    code=BlockerCode.RESERVED_FOR_HEAD,
                    gpu_class=self.world.atlas.class_name(int(self.columns.pools[reservation.pool].gpu_class)),
                    holders=(self.world.job_at(int(reservation.job)),),
                    until_ms=int(reservation.shadow_ms) if reservation.shadow_ms < NEVER else None,
                    unblock="It would delay a job whose turn is first; a shorter time limit might let it pass.",
                )

    def _behind(self) -> Iterator[Blocker]:
        jobs = self.columns.jobs
        ahead: list[str] = []
        at = int(jobs[self.card.row].previous)
        while at != NONE and len(ahead) < MOST_HOLDERS:
            ahead.append(self.world.job_at(at))
            at = int(jobs[at].previous)
        if ahead:
            yield Blocker(
                code=BlockerCode.BEHIND_IN_QUEUE,
                share=self.world.share_of(self.card.submitted.project),
                holders=tuple(ahead),
                unblock="Jobs of the same share that were submitted earlier, or have a higher priority, go first.",
            )

    def _running_under(self, share: int) -> tuple[str, ...]:
        shares = self.columns.shares
        found = []
        for card in self.world.running():
            at = int(self.columns.counters[0].shares) * int(self.columns.jobs[card.row].gpu_class)
            at += int(self.columns.jobs[card.row].share)
            while at not in (NONE, share):
                at = int(shares[at].parent)
            if at == share:
                found.append(card)
        found.sort(key=lambda card: -card.gpus_milli)
        return tuple(card.job for card in found[:MOST_HOLDERS])

    def _largest_shares(self, gpu_class: int) -> tuple[str, ...]:
        count = int(self.columns.counters[0].shares)
        rows = range(gpu_class * count + 1, (gpu_class + 1) * count)
        leaves = [row for row in rows if self.columns.shares[row].first_child == NONE]
        users = sorted((row for row in leaves if self.columns.shares[row].used > 0), key=self._used_most)
        return tuple(self.world.atlas.share_name(row, self.columns) for row in users[:MOST_HOLDERS])

    def _used_most(self, row: int) -> tuple[int, int]:
        return (-int(self.columns.shares[row].used), row)
