"""Why a job waits, in the model's words: what `blockers` found in the columns, with names in place of rows.

Made on demand, outside `decide`. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from msgspec.structs import replace

from dure.kernel import blockers
from dure.kernel.backfill import shadow_ms
from dure.kernel.blockers import (
    FINDING,
    MOST_FINDINGS,
    SHAPE,
    SHAPES_REMEMBERED,
    find_blockers,
    first_blockers,
    kept_off,
    largest_under,
    place_in_queue,
    protected_borrowers,
)
from dure.kernel.explaining_time import reclaim_pause, until_its_time
from dure.model.blockers import Blocker, BlockerCode, NoEta, Why
from dure.model.jobs import JobState
from dure.world.cards import JobCard
from dure.world.columns import NEVER, NONE, Records, records
from dure.world.quota import within_guarantee
from dure.world.world import World

MOST_HOLDERS = 5
ORDER = tuple(BlockerCode)
CODES = {
    blockers.NO_SITE_ALLOWED: BlockerCode.NO_SITE_ALLOWED,
    blockers.NO_NODE_LARGE_ENOUGH: BlockerCode.NO_NODE_LARGE_ENOUGH,
    blockers.NODES_OUT_OF_SERVICE: BlockerCode.NODES_OUT_OF_SERVICE,
    blockers.SHARE_LIMIT: BlockerCode.SHARE_LIMIT,
    blockers.NOT_LENT: BlockerCode.NOT_LENT,
    blockers.BORROWING_NEEDS_PREEMPTIBLE: BlockerCode.BORROWING_NEEDS_PREEMPTIBLE,
    blockers.NOT_ENOUGH_GPUS: BlockerCode.NOT_ENOUGH_GPUS,
    blockers.SCATTERED: BlockerCode.SCATTERED,
    blockers.NOT_ENOUGH_CPU_OR_MEMORY: BlockerCode.NOT_ENOUGH_CPU_OR_MEMORY,
    blockers.WAITING_FOR_VICTIMS: BlockerCode.WAITING_FOR_VICTIMS,
    blockers.RECLAIMED_BEFORE: BlockerCode.RECLAIMED_BEFORE,
    blockers.RESERVED_IN_ADVANCE: BlockerCode.RESERVED_IN_ADVANCE,
    blockers.BACKFILL_NOT_DUE: BlockerCode.BACKFILL_NOT_DUE,
    blockers.RESERVED_FOR_HEAD: BlockerCode.RESERVED_FOR_HEAD,
    blockers.BEHIND_IN_QUEUE: BlockerCode.BEHIND_IN_QUEUE,
}
"""What the numbers of the compiled functions stand for. The others are found here, from what is rarely looked at."""

_SHAPES_OF_ONE = 8
_ABOUT_NODES = {
    BlockerCode.NO_NODE_LARGE_ENOUGH,
    BlockerCode.NODES_OUT_OF_SERVICE,
    BlockerCode.NOT_ENOUGH_GPUS,
    BlockerCode.SCATTERED,
}
_NOT_ENOUGH_NOW = {BlockerCode.NOT_ENOUGH_GPUS, BlockerCode.SCATTERED}


def explain(world: World, job: str, now_ms: int) -> Why:
    """All the blockers of a waiting job; none for one that runs or is over."""
    card = world.card_of(job)
    assert card is not None, f"there is no {job}"
    match card.state:
        case JobState.HELD:
            found = _held(world, card, now_ms)
        case JobState.CLAIMED:
            found = [_waiting_for_victims(world, card)]
        case _ if world.waits(card):
            found = _queued(world, card, now_ms)
        case _:
            return Why(job=job, state=card.state.value, position=0, blockers=(), no_eta=NoEta.NOT_WAITING)
    return Why(
        job=job,
        state=card.state.value,
        position=int(place_in_queue(world.columns, card.row)),
        blockers=tuple(sorted(found, key=lambda blocker: ORDER.index(blocker.code))),
        tasks_waiting=copies.waiting if (copies := world.copies_of(card)) else 0,
    )


def explain_all(world: World, now_ms: int) -> FirstBlockers:
    """The first blocker of every waiting job, found at once."""
    return FirstBlockers(world, now_ms)


def warm_up() -> None:
    """Compile everything that explaining needs, or load it from the cache."""
    world = World()
    columns, kept = world.columns, np.zeros((MOST_HOLDERS, 2), dtype=np.int64)
    find_blockers(columns, 0, records(SHAPE, _SHAPES_OF_ONE), records(FINDING, MOST_FINDINGS))
    kept_off(columns, 0, records(FINDING, MOST_FINDINGS), 0)
    protected_borrowers(columns, 0, 0, 0, 0, kept)
    largest_under(columns, 0, 0, kept)
    place_in_queue(columns, 0)
    explain_all(world, 0)


class FirstBlockers(Mapping[str, Blocker]):
    """By job, the first blocker of those that wait, without who holds what is missing: `explain` says that."""

    def __init__(self, world: World, now_ms: int) -> None:
        rows = world.rows
        self._world = world
        self._now_ms = now_ms
        self._firsts: Records = records(FINDING, max(1, rows))
        shapes, scratch = records(SHAPE, SHAPES_REMEMBERED), records(FINDING, MOST_FINDINGS)
        first_blockers(world.columns, rows, shapes, scratch, self._firsts)
        self._codes = self._firsts["code"]

    def __getitem__(self, job: str) -> Blocker:
        card = self._world.jobs[job]
        if card.row == NONE or self._codes[card.row] == NONE:
            raise KeyError(job)
        if card.state is JobState.HELD:
            # Only the card knows what for.
            return _held(self._world, card, self._now_ms)[0]
        return _blocker(self._world, card, self._firsts[card.row])

    def __iter__(self) -> Iterator[str]:
        return (self._world.job_at(int(row)) for row in np.flatnonzero(self._codes[: self._world.rows] != NONE))

    def __len__(self) -> int:
        return int((self._codes[: self._world.rows] != NONE).sum())


def _held(world: World, card: JobCard, now_ms: int) -> list[Blocker]:
    if card.release_at_ms is not None and card.attempt == 0:
        return [until_its_time(card.release_at_ms)]
    if card.release_at_ms is not None:
        return [Blocker(code=BlockerCode.HELD_BY_BACKOFF, until_ms=card.release_at_ms)]
    unfinished = [job for job in card.submitted.depends if not world.has_succeeded(job)]
    waits_for = Blocker(code=BlockerCode.HELD_BY_DEPENDENCY, holders=tuple(unfinished))
    not_before_ms = card.submitted.not_before_ms
    return [waits_for, until_its_time(not_before_ms)] if not_before_ms > now_ms else [waits_for]


def _waiting_for_victims(world: World, card: JobCard) -> Blocker:
    victims = [world.jobs[world.job_at(row)] for row in _victims(world, card.row)]
    victims.sort(key=lambda victim: (-victim.gpus_milli, victim.row))
    gone_ms = [int(world.columns.jobs[victim.row].expected_end_ms) for victim in victims]
    return Blocker(
        code=BlockerCode.WAITING_FOR_VICTIMS,
        gpu_class=card.gpu_class,
        short_milli=sum(victim.gpus_milli for victim in victims),
        holders=tuple(victim.job for victim in victims),
        until_ms=max(gone_ms, default=None),
    )


def _victims(world: World, claimant: int) -> Iterator[int]:
    at = int(world.columns.jobs[claimant].first_victim)
    while at != NONE:
        yield at
        at = int(world.columns.jobs[at].next_victim)


def _queued(world: World, card: JobCard, now_ms: int) -> list[Blocker]:
    found: Records = records(FINDING, MOST_FINDINGS)
    count = find_blockers(world.columns, card.row, records(SHAPE, _SHAPES_OF_ONE), found)
    reasons = []
    for index in range(count):
        reasons.append(_in_full(world, card, found[index], now_ms))
        if reasons[-1].code in _NOT_ENOUGH_NOW:
            reasons += _not_given_back_yet(world, card, int(found[index].gpu_class), now_ms)
    if all(each.code is not BlockerCode.RESERVED_IN_ADVANCE for each in reasons):
        kept = range(int(kept_off(world.columns, card.row, found, 0)))
        reasons += [_blocker(world, card, found[index]) for index in kept]
    return reasons


def _blocker(world: World, card: JobCard, finding: Records) -> Blocker:
    """A finding with names, as far as it goes by itself."""
    code = CODES[int(finding.code)]
    nodes = card.nodes if code in _ABOUT_NODES else 0
    share = int(finding.share)
    return Blocker(
        code=code,
        gpu_class="" if finding.gpu_class == NONE else world.atlas.class_name(int(finding.gpu_class)),
        share=world.atlas.share_name(share, world.columns) if share != NONE else "",
        short_milli=int(finding.short_milli),
        nodes=nodes,
        per_node_milli=int(world.columns.jobs[card.row].gpus_milli) if nodes else 0,
        guaranteed=code is BlockerCode.NOT_LENT and _is_guaranteed(world, card, share),
        holders=_named(world, finding),
        until_ms=int(finding.until_ms) if finding.until_ms < NEVER else None,
    )


def _named(world: World, finding: Records) -> tuple[str, ...]:
    """The job or the reservation that a finding is about."""
    if finding.booking != NONE:
        return (world.nation.reservations[int(world.columns.bookings[int(finding.booking)].reservation)].name,)
    return (world.job_at(int(finding.job)),) if finding.job != NONE else ()


def _is_guaranteed(world: World, card: JobCard, share: int) -> bool:
    record = world.columns.jobs[card.row]
    return bool(within_guarantee(world.columns.shares, share, int(record.nodes * record.gpus_milli)))


def _in_full(world: World, card: JobCard, finding: Records, now_ms: int) -> Blocker:
    """A finding with names, with who holds what is missing, and with when it ends at the latest."""
    blocker = _blocker(world, card, finding)
    match blocker.code:
        case BlockerCode.NODES_OUT_OF_SERVICE:
            return replace(blocker, until_ms=_next_return_ms(world, card, int(finding.gpu_class)))
        case BlockerCode.SHARE_LIMIT:
            return _held_by(blocker, _largest_jobs(world, int(finding.share)))
        case BlockerCode.NOT_LENT:
            return _held_by(blocker, _largest_shares(world, int(finding.gpu_class)))
        case BlockerCode.NOT_ENOUGH_GPUS | BlockerCode.SCATTERED:
            holders = _largest_shares(world, int(finding.gpu_class))
            return _held_by(blocker, holders, _surely_free_ms(world, card, int(finding.gpu_class), now_ms))
        case BlockerCode.BEHIND_IN_QUEUE:
            return _held_by(blocker, _ahead(world, card))
        case _:
            return blocker


def _held_by(blocker: Blocker, holders: tuple[str, ...], until_ms: int | None = None) -> Blocker:
    return replace(blocker, holders=holders, until_ms=until_ms)


def _next_return_ms(world: World, card: JobCard, gpu_class: int) -> int | None:
    """When the first suspect node of a class is taken back, of those where the job may run."""
    pools, sites = world.columns.pools, int(world.columns.jobs[card.row].sites)
    returns = []
    for name, until_ms in world.suspect_until_ms.items():
        pool = pools[world.columns.nodes[world.atlas.node_index(name)].pool]
        if pool.gpu_class == gpu_class and sites >> int(pool.site) & 1:
            returns.append(until_ms)
    return min(returns, default=None)


def _surely_free_ms(world: World, card: JobCard, gpu_class: int, now_ms: int) -> int | None:
    """When enough nodes are free if every running job uses its whole time limit and nothing else starts there."""
    record = world.columns.classes[gpu_class]
    pools = range(int(record.first_pool), int(record.first_pool + record.pool_count))
    sites = int(world.columns.jobs[card.row].sites)
    allowed = [pool for pool in pools if sites >> int(world.columns.pools[pool].site) & 1]
    surely_ms = min((int(shadow_ms(world.columns, card.row, pool, now_ms)) for pool in allowed), default=NEVER)
    return surely_ms if surely_ms < NEVER else None


def _not_given_back_yet(world: World, card: JobCard, gpu_class: int, now_ms: int) -> Iterator[Blocker]:
    """What keeps a job within its guarantee from having GPUs given back to it."""
    share = gpu_class * int(world.columns.counters[0].shares) + int(world.columns.jobs[card.row].share)
    if world.columns.jobs[card.row].times_reclaimed > 0 or not _is_guaranteed(world, card, share):
        return
    kept = np.zeros((MOST_HOLDERS, 2), dtype=np.int64)
    count = protected_borrowers(world.columns, card.row, gpu_class, world.rows, now_ms, kept)
    if count > 0:
        yield Blocker(
            code=BlockerCode.VICTIMS_PROTECTED,
            gpu_class=world.atlas.class_name(gpu_class),
            holders=_names(world, kept, count),
            until_ms=int(kept[0, 1]),
        )
    yield from reclaim_pause(world, gpu_class, share, now_ms)


def _largest_jobs(world: World, share: int) -> tuple[str, ...]:
    kept = np.zeros((MOST_HOLDERS, 2), dtype=np.int64)
    return _names(world, kept, largest_under(world.columns, share, world.rows, kept))


def _names(world: World, kept: Records, count: int) -> tuple[str, ...]:
    return tuple(world.job_at(int(row)) for row in kept[:count, 0])


def _largest_shares(world: World, gpu_class: int) -> tuple[str, ...]:
    """The leaves that use most of a class, largest first; ties go to the first of the document."""
    root = int(world.columns.classes[gpu_class].root)
    rows = np.arange(root + 1, root + int(world.columns.counters[0].shares))
    used = world.columns.shares["used"][rows]
    users = np.flatnonzero((used > 0) & (world.columns.shares["first_child"][rows] == NONE))
    largest = rows[users[np.argsort(-used[users], kind="stable")]][:MOST_HOLDERS]
    return tuple(world.atlas.share_name(int(row), world.columns) for row in largest)


def _ahead(world: World, card: JobCard) -> tuple[str, ...]:
    ahead: list[str] = []
    at = int(world.columns.jobs[card.row].previous)
    while at != NONE and len(ahead) < MOST_HOLDERS:
        ahead.append(world.job_at(at))
        at = int(world.columns.jobs[at].previous)
    return tuple(ahead)
