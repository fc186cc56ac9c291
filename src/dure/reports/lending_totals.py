"""Adds up what is lent, from one event to the next: the running totals behind the lender's ledger.

Between two events nothing changes, so each level of the tree keeps who lends what to whom now (`lent_between`) and adds
it up when that changes, a day ends, or somebody asks. Nothing is kept per job that is over. Made anew from a ledger's
events, the totals are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from msgspec import Struct

from dure.model.events import (
    AttemptEnded,
    CancelRequested,
    FleetEvent,
    JobReleased,
    JobSubmitted,
    NationApplied,
    NodeChanged,
    Planned,
    SiteContact,
    SiteContactChanged,
    SitesChanged,
)
from dure.model.jobs import Outcome
from dure.model.nation import Nation
from dure.model.plan import Claim, Plan, Spare, Start, Stop, Warn
from dure.model.units import DAY_MS
from dure.reports.lending import EVERYBODY, UNDIVIDED, Day, LendingSum, Pair
from dure.reports.lending_demand import Charges
from dure.reports.lending_rule import divide, lent_between

ROOT = ""
_GOES_ON = frozenset({Outcome.PREEMPTED, Outcome.RESIZED, Outcome.NODE_LOST, Outcome.DRAINED, Outcome.NEVER_STARTED})


class _Job(Struct, gc=False):
    """A job that waits or runs. `held_milli` is what its attempt holds, `charged_milli` what counts as its share's."""

    submitted: JobSubmitted
    waits_since_ms: int
    gpu_class: str = ""
    held_milli: int = 0
    charged_milli: int = 0
    started_ms: int = 0
    site: str = ""
    """Where it ran last."""
    refused_at: frozenset[str] = frozenset()
    is_running: bool = False
    failures: int = 0
    is_cancelled: bool = False
    tasks_over: int = 0
    """Of an array."""

    def copy_waits_since_ms(self, now_ms: int) -> int:
        """Since when a task or replica that begins now has waited: with its array, or since the load profile rose."""
        if self.submitted.replicas is None:
            return self.waits_since_ms
        step_began_ms = now_ms - min((now_ms - at_ms) % DAY_MS for at_ms, _ in self.submitted.replicas.steps)
        return max(self.waits_since_ms, step_began_ms)


class _Claim(Struct):
    """A job that waits for GPUs to be given back: since when it demands them, where, and whose jobs were warned."""

    demanded_ms: int
    site: str
    nodes: frozenset[str]
    victims: list[tuple[str, int]]
    """Shares, and how much each of their jobs held."""


class _Level:
    """The siblings under one parent, for one class."""

    def __init__(self, nation: Nation, gpu_class: str, parent: str, children: Sequence[str], now_ms: int) -> None:
        shares = {share.name: share for share in nation.shares}
        amounts = [nation.amount(shares[name], gpu_class) for name in children]
        own = nation.amount(shares[parent], gpu_class).guarantee_milli if parent else nation.capacity_milli(gpu_class)
        self.guarantee = np.array([each.guarantee_milli for each in amounts])
        self.lend = np.array([each.lend_milli for each in amounts])
        self.undivided = max(0, own - int(self.guarantee.sum()))
        self.held = np.zeros(len(children), dtype=np.int64)
        self.index = {name: index for index, name in enumerate(children)}
        self.names = [UNDIVIDED, *children]
        self._key = (gpu_class, parent)
        self._rates = np.zeros((len(children) + 1, len(children)), dtype=np.int64)
        self._lent = np.zeros_like(self._rates)
        self._is_stale = self._is_lending = False
        self._since_ms = now_ms

    def change(self, share: str, held_milli: int, now_ms: int) -> None:
        """A share holds so much more."""
        self.advance(now_ms)
        self.held[self.index[share]] += held_milli
        self._is_stale = True

    def advance(self, now_ms: int) -> None:
        """Add up to `now_ms` what is lent."""
        if now_ms == self._since_ms:
            return
        if self._is_stale:
            self._rates = lent_between(self.held, self.guarantee, self.lend, self.undivided)
            self._is_stale = False
            self._is_lending = bool(self._rates.any())
        if self._is_lending:
            self._lent += self._rates * (now_ms - self._since_ms)
        self._since_ms = now_ms

    def sums(self) -> Iterator[tuple[Pair, LendingSum]]:
        """What was lent since the day began."""
        gpu_class, parent = self._key
        for row, column in zip(*(indices.tolist() for indices in np.nonzero(self._lent)), strict=True):
            pair = Pair(gpu_class, parent, self.names[row], self.names[column + 1])
            yield pair, LendingSum(lent=int(self._lent[row, column]))

    def forget(self) -> None:
        """A new day begins."""
        self._lent[:] = 0


class LendingTotals:
    """Who lent whom how much, per day, as of the last event applied."""

    def __init__(self) -> None:
        self._now_ms = 0
        self._jobs: dict[str, _Job] = {}
        self._claims: dict[str, _Claim] = {}
        self._taken_back: dict[str, list[tuple[Pair, int]]] = {}
        """Of jobs that run on GPUs they took back: from whom, and how much."""
        self._days: list[Day] = []
        self._today = Day(0, {}, {})
        self._use_nation(Nation())

    def apply(self, event: FleetEvent) -> None:
        """Take an event in, in the order of the ledger."""
        self._advance(event.at_ms)
        match event:
            case NationApplied():
                self._turn_over(event.nation)
            case JobSubmitted():
                self._jobs[event.job] = _Job(event, event.at_ms)
            case JobReleased() if event.job in self._jobs:
                self._jobs[event.job].waits_since_ms = event.at_ms
            case SitesChanged():
                for name, submitted in event.changed((name, each.submitted) for name, each in self._jobs.items()):
                    self._jobs[name].submitted = submitted
                self._turn_over(self._nation)
            case CancelRequested():
                self._cancel_with_copies(event)
            case NodeChanged() if event.state != "up":
                for job in [job for job, claim in self._claims.items() if event.node in claim.nodes]:
                    self._give_up_claim(job)
            case SiteContactChanged() if event.contact is SiteContact.LOST:
                for job in [job for job, claim in self._claims.items() if event.site == claim.site]:
                    self._give_up_claim(job)
            case Planned():
                self._enter(event.plan)
            case AttemptEnded() if event.job in self._jobs:
                self._end(event)
            case _:
                return

    def days(self, now_ms: int) -> list[Day]:
        """Every day on which something was lent or taken back, up to `now_ms`. The result changes no more."""
        self._advance(now_ms)
        return [*self._days, self._up_to_now()]

    # Jobs.

    def _enter(self, plan: Plan) -> None:
        victims: dict[str, list[tuple[str, int]]] = {}
        for decision in plan.decisions:
            if isinstance(decision, Warn) and (share := self._share(decision.job)) != ROOT:
                victims.setdefault(decision.claimant, []).append((share, self._jobs[decision.job].held_milli))
        for decision in plan.decisions:
            if decision.job not in self._jobs and not self._begin_copy(decision.job):
                continue
            match decision:
                case Start():
                    self._start(decision)
                case Claim():
                    self._claim(decision, victims.get(decision.job, []))
                case Warn() if decision.claimant:
                    self._charge(decision.job, 0)
                case Spare():
                    self._charge(decision.job, self._jobs[decision.job].held_milli)
                case Stop() if not self._jobs[decision.job].is_running:
                    self._cancel(decision.job)

    def _claim(self, claim: Claim, victims: list[tuple[str, int]]) -> None:
        job = self._jobs[claim.job]
        job.gpu_class = claim.gpu_class
        amount = len(claim.placements) * dict(job.submitted.gpus).get(claim.gpu_class, 0)
        path = self._path(self._share(claim.job))
        demanded_ms = self._charges.demanded_ms(claim.gpu_class, path, amount, job.waits_since_ms, self._now_ms)
        nodes = frozenset(placement.node for placement in claim.placements)
        self._claims[claim.job] = _Claim(demanded_ms, claim.site, nodes, victims)
        self._charge(claim.job, amount)

    def _start(self, start: Start) -> None:
        job = self._jobs[start.job]
        job.gpu_class, job.started_ms, job.is_running = start.gpu_class, self._now_ms, True
        job.site = start.site
        job.held_milli = sum(len(placement.gpus) * placement.milli for placement in start.placements)
        self._hold(start.job, job.held_milli)
        self._charge(start.job, job.held_milli)
        claim = self._claims.pop(start.job, None)
        if claim is not None and claim.victims:
            self._count_reclaim(start.job, claim)

    def _count_reclaim(self, name: str, claim: _Claim) -> None:
        """A claim has its GPUs: from whom, how fast, and what its attempt runs on that others gave back."""
        job = self._jobs[name]
        taken: dict[Pair, int] = {}
        for share, milli in claim.victims:
            pair = self._meeting(job.gpu_class, self._share(name), share)
            taken[pair] = taken.get(pair, 0) + milli
        back = divide(min(job.held_milli, sum(taken.values())), np.array(list(taken.values()), dtype=np.int64))
        self._taken_back[name] = list(zip(taken, back.tolist(), strict=True))
        timing = self._nation.timing
        took_ms = self._now_ms - claim.demanded_ms
        late = took_ms > timing.protected_ms + timing.warning_ms + timing.grace_ms
        one = LendingSum(reclaims=1, reclaim_ms=took_ms, longest_reclaim_ms=took_ms, late=int(late))
        for pair in taken:
            self._today.pairs.setdefault(pair, LendingSum()).add(one)
        for lender in {pair.lender for pair in taken} | {EVERYBODY}:
            self._today.reclaims.setdefault((job.gpu_class, lender), LendingSum()).add(one)

    def _end(self, event: AttemptEnded) -> None:
        job = self._jobs[event.job]
        self._hold(event.job, -job.held_milli)
        self._charge(event.job, 0)
        _add(self._today.pairs, self._run_on_taken_back(event.job))
        self._taken_back.pop(event.job, None)
        job.held_milli, job.is_running, job.waits_since_ms = 0, False, self._now_ms
        job.failures += event.outcome is Outcome.FAILED
        tries_again = event.outcome is Outcome.FAILED and job.failures <= job.submitted.retry_limit
        if event.outcome is Outcome.REFUSED:
            job.refused_at |= {job.site}
            tries_again = not set(job.submitted.sites) <= job.refused_at
        if job.is_cancelled or not (tries_again or event.outcome in _GOES_ON):
            self._forget(event.job)

    def _begin_copy(self, job: str) -> bool:
        """A task or replica is known from its first start or claim on; False when there is no such array or service."""
        template = self._jobs.get(job.rpartition("_")[0])
        if template is None:
            return False
        self._jobs[job] = _Job(template.submitted, template.copy_waits_since_ms(self._now_ms))
        return True

    def _forget(self, job: str) -> None:
        """A job is over, and with its last task an array."""
        self._jobs.pop(job, None)
        name = job.rpartition("_")[0]
        template = self._jobs.get(name)
        if template is not None and (array := template.submitted.array) is not None:
            template.tasks_over += 1
            if template.tasks_over > array.last - array.first:
                del self._jobs[name]

    def _cancel_with_copies(self, event: CancelRequested) -> None:
        """Somebody wants a job gone, or an array or service; or it is too late for the tasks that have not begun."""
        job = self._jobs.get(event.job)
        if job is None:
            self._forget(event.job)
            return
        if (job.submitted.array or job.submitted.replicas) and event.too_late is None:
            for name in [name for name in self._jobs if name.startswith(f"{event.job}_")]:
                self._cancel(name)
        if event.job in self._jobs:
            self._cancel(event.job)

    def _cancel(self, job: str) -> None:
        self._give_up_claim(job)
        self._jobs[job].is_cancelled = True
        if not self._jobs[job].is_running:
            self._forget(job)

    def _give_up_claim(self, job: str) -> None:
        if self._claims.pop(job, None) is not None:
            self._charge(job, 0)

    def _charge(self, name: str, milli: int) -> None:
        job = self._jobs[name]
        if milli != job.charged_milli:
            path = self._path(self._share(name))
            self._charges.charge(job.gpu_class, path, milli - job.charged_milli, self._now_ms)
            job.charged_milli = milli

    def _hold(self, name: str, milli: int) -> None:
        for share in self._path(self._share(name)) if milli else ():
            level = self._levels.get((self._jobs[name].gpu_class, self._parents[share]))
            if level is not None:
                level.change(share, milli, self._now_ms)

    # Days.

    def _advance(self, at_ms: int) -> None:
        while at_ms >= self._today.first_ms + DAY_MS:
            self._now_ms = max(self._now_ms, self._today.first_ms + DAY_MS)
            self._end_day(at_ms)
        self._now_ms = max(self._now_ms, at_ms)

    def _end_day(self, at_ms: int) -> None:
        day = self._up_to_now()
        if day.pairs:
            self._days.append(day)
        for level in self._levels.values():
            level.forget()
        # Where nothing is lent, nothing changes until the next event: the days in between are skipped.
        self._today = Day((self._now_ms if day.pairs else at_ms) // DAY_MS * DAY_MS, {}, {})

    def _up_to_now(self) -> Day:
        """Today's sums, with what is lent and run at this moment."""
        pairs: dict[Pair, LendingSum] = {}
        _add(pairs, self._today.pairs.items())
        _add(pairs, self._lent_today())
        for job in self._taken_back:
            _add(pairs, self._run_on_taken_back(job))
        reclaims: dict[tuple[str, str], LendingSum] = {}
        _add(reclaims, self._today.reclaims.items())
        return Day(self._today.first_ms, pairs, reclaims)

    def _lent_today(self) -> Iterator[tuple[Pair, LendingSum]]:
        for level in self._levels.values():
            level.advance(self._now_ms)
            yield from level.sums()

    def _run_on_taken_back(self, job: str) -> Iterator[tuple[Pair, LendingSum]]:
        for pair, milli in self._taken_back.get(job, ()):
            ran_ms = self._now_ms - max(self._jobs[job].started_ms, self._today.first_ms)
            yield pair, LendingSum(got_back=milli * ran_ms)

    # The nation.

    def _turn_over(self, nation: Nation) -> None:
        """A new declaration: claims are given up, and everything held counts in the new tree."""
        _add(self._today.pairs, self._lent_today())
        for job in list(self._claims):
            self._give_up_claim(job)
        self._use_nation(nation)
        for name, each in self._jobs.items():
            charged, each.charged_milli = each.charged_milli, 0
            self._hold(name, each.held_milli)
            self._charge(name, charged)

    def _use_nation(self, nation: Nation) -> None:
        self._nation = nation
        self._charges = Charges(nation)
        self._parents = {share.name: share.parent or ROOT for share in nation.shares}
        children: dict[str, list[str]] = {}
        for share in nation.shares:
            children.setdefault(share.parent or ROOT, []).append(share.name)
        self._levels = {
            (each.name, parent): _Level(nation, each.name, parent, names, self._now_ms)
            for each in nation.gpu_classes
            for parent, names in children.items()
        }

    def _share(self, job: str) -> str:
        """The share a job runs under; the root when it has none."""
        known = self._jobs.get(job)
        share = self._nation.share_of(known.submitted.project) if known else None
        return share.name if share else ROOT

    def _path(self, share: str) -> list[str]:
        """A share and those above it, nearest first, without the root."""
        path = []
        while share != ROOT:
            path.append(share)
            share = self._parents[share]
        return path

    def _meeting(self, gpu_class: str, claimant: str, victim: str) -> Pair:
        """The two siblings whose jobs they are, below the closest share both belong to."""
        of_claimant, of_victim = self._path(claimant), self._path(victim)
        while len(of_claimant) > 1 and len(of_victim) > 1 and of_claimant[-1] == of_victim[-1]:
            of_claimant.pop()
            of_victim.pop()
        return Pair(gpu_class, self._parents[of_claimant[-1]], of_claimant[-1], of_victim[-1])


_Key = TypeVar("_Key")


def _add(sums: dict[_Key, LendingSum], found: Iterable[tuple[_Key, LendingSum]]) -> None:
    for key, more in found:
        sums.setdefault(key, LendingSum()).add(more)
