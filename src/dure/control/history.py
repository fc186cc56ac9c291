"""All that follows from the ledger's entries alone: it can be thrown away and made again at any time."""

from __future__ import annotations

from dure.audit import Books
from dure.control.outputs import Outputs
from dure.governance.register import Register
from dure.model.events import (
    AttemptEnded,
    AttemptStarted,
    FleetEvent,
    JobSubmitted,
    LedgerRestored,
    TokenIssued,
    decode,
)
from dure.model.jobs import Outcome
from dure.model.oversight import OversightEvent
from dure.reports.lending_totals import LendingTotals
from dure.world.world import World


class History:
    """World, books, totals, kept outputs and counters as of `position`: the entries that were taken in."""

    def __init__(self) -> None:
        self.position = 0
        self.latest_ms = 0
        """Time of the last entry."""
        self.world = World()
        self.books = Books()
        self.lending = LendingTotals()
        self.outputs = Outputs()
        self.register = Register()
        self.jobs_made = 0
        self.tokens_made = 0
        self.false_starts: dict[str, int] = {}
        """How often in a row an engine could not start a job, where it is not never."""

    def take_in(self, entry: bytes) -> None:
        """Apply the next entry of the ledger."""
        event = decode(entry)
        self.latest_ms = event.at_ms
        self.position += 1
        if isinstance(event, OversightEvent):
            self.register.apply(event)
            self.outputs.follow(event)
        else:
            self._follow(event)

    def _follow(self, event: FleetEvent) -> None:
        self.world.apply(event)
        self.books.apply(event)
        self.lending.apply(event)
        self.note(event)
        self.outputs.note(self.world, self.register)
        match event:
            case JobSubmitted():
                self.register.note_use(event)
                self.jobs_made = max(self.jobs_made, int(event.job[1:]))
            case LedgerRestored():
                self.jobs_made = max(self.jobs_made, event.first_job - 1)
            case TokenIssued():
                self.tokens_made += 1
            case _:
                pass
        self.world.touched.clear()

    def note(self, event: FleetEvent) -> None:
        """Count what the next decisions of the loop depend on and no card has."""
        match event:
            case AttemptEnded(outcome=Outcome.NEVER_STARTED):
                self.false_starts[event.job] = self.false_starts.get(event.job, 0) + 1
            case AttemptStarted() | AttemptEnded():
                self.false_starts.pop(event.job, None)
            case _:
                return
