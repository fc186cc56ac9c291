"""What is asked of the airlock, and how the results of a job stand after."""

from __future__ import annotations

from msgspec import Struct

from dure.control.access import Caller
from dure.model.results import InspectedResult


class HoldResults(Struct, frozen=True, kw_only=True):
    """A job on restricted data is over, and this is what it left. Only the platform itself says so."""

    caller: Caller
    job: str
    results: tuple[InspectedResult, ...]


class ReleaseResults(Struct, frozen=True, kw_only=True):
    """Let the job's organisation have these results, by number; all that are held when there are none."""

    caller: Caller
    job: str
    reason: str
    numbers: tuple[int, ...] = ()


class RefuseResults(Struct, frozen=True, kw_only=True):
    """Refuse these results for good, and have them deleted; all that are held when there are none."""

    caller: Caller
    job: str
    reason: str
    numbers: tuple[int, ...] = ()


class WipeResults(Struct, frozen=True, kw_only=True):
    """The time of a job's results is over. Only the platform itself says so."""

    caller: Caller
    job: str


ResultRequest = HoldResults | ReleaseResults | RefuseResults | WipeResults


class ResultsStand(Struct, frozen=True, kw_only=True):
    """How the results of a job stand after a request about them, by number."""

    job: str
    held: tuple[int, ...]
    released: tuple[int, ...]
    refused: tuple[int, ...]
    proposal: str = ""
    """Id of the proposal that a second person has to approve before the results go."""
