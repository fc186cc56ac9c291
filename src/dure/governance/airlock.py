"""What waits in the airlock, what was released or refused, and who may have it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from enum import StrEnum
from typing import assert_never

from msgspec import Struct

from dure.model.agreements import Agreement, Operation
from dure.model.nation import Nation
from dure.model.result_events import ResultEvent, ResultsHeld, ResultsRefused, ResultsReleased, ResultsWiped
from dure.model.results import HeldResult, InspectedResult, Verdict


class ResultState(StrEnum):
    """Where a result is. Both decisions are final."""

    HELD = "held"
    RELEASED = "released"
    REFUSED = "refused"


class Holding(Struct, kw_only=True):
    """The results of one job."""

    job: str
    recipient: str
    datasets: tuple[str, ...]
    results: tuple[HeldResult, ...]
    held_at_ms: int
    keep_until_ms: int
    states: dict[int, ResultState] = {}
    """By number, of those that were decided about."""

    def state(self, number: int) -> ResultState:
        """Where one of the results is."""
        return self.states.get(number, ResultState.HELD)

    def numbers_in(self, state: ResultState) -> tuple[int, ...]:
        """The results that are there, in order."""
        return tuple(each.number for each in self.results if self.state(each.number) is state)

    def result(self, number: int) -> HeldResult | None:
        """The result of this number."""
        return self.results[number - 1] if 1 <= number <= len(self.results) else None


class Airlock(Struct):
    """The results of all jobs on restricted data that are not deleted yet. `apply` is the only way it changes."""

    holdings: dict[str, Holding] = {}

    def apply(self, event: ResultEvent) -> None:
        """Change the state as the event says."""
        match event:
            case ResultsHeld():
                self.holdings[event.job] = Holding(
                    job=event.job,
                    recipient=event.recipient,
                    datasets=event.datasets,
                    results=event.results,
                    held_at_ms=event.at_ms,
                    keep_until_ms=event.keep_until_ms,
                )
            case ResultsReleased():
                self.release(event.job, event.numbers)
            case ResultsRefused():
                self._decide(event.job, event.numbers, ResultState.REFUSED)
            case ResultsWiped():
                del self.holdings[event.job]
            case _:
                assert_never(event)

    def release(self, job: str, numbers: Iterable[int]) -> None:
        """Let results go. Those that were refused or deleted meanwhile stay where they are."""
        self._decide(job, numbers, ResultState.RELEASED)

    def next_end_ms(self) -> int | None:
        """When the time of the next results is over."""
        return min((each.keep_until_ms for each in self.holdings.values()), default=None)

    def _decide(self, job: str, numbers: Iterable[int], state: ResultState) -> None:
        holding = self.holdings.get(job)
        for number in numbers if holding else ():
            assert holding is not None
            if holding.state(number) is ResultState.HELD:
                holding.states[number] = state


def commitment(result: InspectedResult) -> str:
    """What the ledger has of a result: hexadecimal SHA-256 of its salt and of all that identifies it."""
    identity = [result.salt, result.attempt, result.kind, result.path, result.size_bytes, result.sha256]
    return hashlib.sha256(json.dumps(identity, separators=(",", ":")).encode()).hexdigest()


def held(number: int, result: InspectedResult) -> HeldResult:
    """A result as the ledger has it."""
    return HeldResult(
        number=number,
        attempt=result.attempt,
        kind=result.kind,
        size_bytes=result.size_bytes,
        commitment=commitment(result),
        media_type=result.media_type,
        findings=result.findings,
    )


def may_have(
    agreements: Iterable[Agreement], recipient: str, datasets: Iterable[str], operations: Iterable[Operation]
) -> bool:
    """True when for each of the datasets an agreement in force lets the recipient do one of the operations.

    `agreements` are those in force. A dataset that no agreement names is nobody's to give.
    """
    wanted = set(operations)
    covered = {
        dataset
        for each in agreements
        if each.terms.recipient == recipient and wanted.intersection(each.terms.operations)
        for dataset in each.terms.datasets
    }
    needed = set(datasets)
    return bool(needed) and needed <= covered


def crosses_a_border(nation: Nation, recipient: str, datasets: Iterable[str]) -> bool:
    """True unless the recipient and whoever owns it are surely where all of the data belongs."""
    organisation = next((each for each in nation.organisations if each.name == recipient), None)
    if organisation is None:
        return True
    homes = {each.jurisdiction for each in nation.datasets if each.name in set(datasets)}
    known = {each.name for each in nation.datasets}
    at_home = {organisation.country, organisation.parent_country} == homes
    return not (at_home and known.issuperset(datasets))


def needs_second_person(nation: Nation, holding: Holding, numbers: Iterable[int]) -> bool:
    """True when one steward alone may not release these: they cross a border, or a finding speaks against one."""
    chosen = set(numbers)
    blocked = any(each.verdict is Verdict.BLOCK for each in holding.results if each.number in chosen)
    return blocked or crosses_a_border(nation, holding.recipient, holding.datasets)
