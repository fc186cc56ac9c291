"""Recorded requests under changed rules: what would have been answered otherwise, had these rules been in force.

Every request of the ledger that policy judged, accepted or refused, is asked once more, with the nation, agreements and
stop orders as they were at its moment: under the rules that the programme had then, and under the changed ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec import Struct

from dure.governance.register import Register
from dure.model.datasets import Purpose
from dure.model.events import AccessRefused, AnyEvent, JobSubmitted, NationApplied
from dure.model.nation import Nation
from dure.model.oversight import OversightEvent
from dure.policy import PermittedSites, PolicyInForce, PolicySet


class Changed(Struct, frozen=True, kw_only=True):
    """A request that is answered otherwise. `job` is empty for one that was refused."""

    position: int
    at_ms: int
    job: str
    organisation: str
    purpose: str
    data: tuple[str, ...]
    before: PermittedSites
    after: PermittedSites


class Replayed(Struct):
    """How many requests were asked again so far."""

    requests: int = 0
    changed: int = 0


class _Asked(NamedTuple):
    organisation: str
    purpose: Purpose
    data: tuple[str, ...]


def replay(
    entries: Iterable[tuple[int, AnyEvent]], shipped: PolicySet, changed: PolicySet, counts: Replayed
) -> Iterator[Changed]:
    """Every recorded request whose permitted sites, or whose refusing rules, differ. Counts as it goes."""
    judges = _Judges(shipped, changed)
    for position, event in entries:
        if isinstance(event, JobSubmitted | AccessRefused):
            asked = judges.question(event)
            before, after = judges.answers(asked, event.at_ms)
            counts.requests += 1
            if _outcome(before) == _outcome(after):
                continue
            counts.changed += 1
            yield Changed(
                position=position,
                at_ms=event.at_ms,
                job=event.job if isinstance(event, JobSubmitted) else "",
                organisation=asked.organisation,
                purpose=asked.purpose.value,
                data=asked.data,
                before=before,
                after=after,
            )
        else:
            judges.follow(event)


class _Judges:
    """Both sets of rules over the facts as of the last entry."""

    def __init__(self, shipped: PolicySet, changed: PolicySet) -> None:
        self._shipped = shipped
        self._changed = changed
        self._nation = Nation()
        self._register = Register()
        self._bound: tuple[PolicyInForce, PolicyInForce] | None = None

    def follow(self, event: AnyEvent) -> None:
        """Take in what may change an answer."""
        if isinstance(event, NationApplied):
            self._nation = event.nation
            self._bound = None
        elif isinstance(event, OversightEvent):
            version = self._register.version
            self._register.apply(event)
            if self._register.version != version:
                self._bound = None

    def question(self, event: JobSubmitted | AccessRefused) -> _Asked:
        """Who asked for what. A project that is nobody's was nobody's request."""
        owner = self._nation.organisation_of(event.project)
        return _Asked(owner.name if owner else "", Purpose(event.purpose), event.data)

    def answers(self, asked: _Asked, at_ms: int) -> tuple[PermittedSites, PermittedSites]:
        """Where it would have been permitted then, and where under the changed rules."""
        if self._bound is None or at_ms >= (self._bound[0].next_change_ms or at_ms + 1):
            register = self._register
            facts = (self._nation, register.agreements.values(), register.stop_orders.values(), at_ms)
            then = self._shipped.with_own(register.policies)
            self._bound = PolicyInForce(then, *facts), PolicyInForce(self._changed, *facts)
        before, after = (each.permitted_sites(*asked) for each in self._bound)
        return before, after


def _outcome(found: PermittedSites) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What makes two answers the same for whoever asked: where it may run, or which rules refuse it everywhere."""
    return found.sites, () if found.sites else found.rules
