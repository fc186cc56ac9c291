"""What the pages need from the platform, as one Protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from msgspec import Struct
from starlette.requests import Request

from dure.model.nation import Nation
from dure.reports.fleet import SitesReport
from dure.reports.jobs import JobReport, JobsReport, QueueReport
from dure.reports.ledger import LedgerReport
from dure.reports.shares import SharesReport
from dure.reports.viewer import Viewer


class LogTail(Struct, frozen=True, kw_only=True):
    """The end of a rank's output. `offset` is the byte after it: where following goes on."""

    text: str
    offset: int
    is_cut: bool
    """True when there was more before it."""


class Source(Protocol):
    """Reports for a viewer, and a stream that says when they changed. Nothing here changes the platform."""

    def viewer(self, request: Request) -> Viewer | None:
        """Who sent the request; None when nobody is signed in."""
        ...

    def nation(self) -> Nation:
        """The declared state, for names and titles."""
        ...

    def queue(self, viewer: Viewer) -> QueueReport:
        """Who runs and who waits."""
        ...

    def finished(self, viewer: Viewer) -> JobsReport:
        """Jobs that ended last."""
        ...

    def sites(self) -> SitesReport:
        """The fleet."""
        ...

    def shares(self) -> SharesReport:
        """The share tree."""
        ...

    def ledger(self) -> LedgerReport:
        """The ledger's size and last checkpoint."""
        ...

    def job(self, job: str, viewer: Viewer) -> JobReport | None:
        """One job; None when there is no such job."""
        ...

    def log_tail(self, report: JobReport, rank: int) -> LogTail | None:
        """The end of a rank's log in the latest attempt; None when there is none yet."""
        ...

    def changes(self) -> AsyncIterator[bytes]:
        """Something whenever a report may have changed, and now and then in between; ends when the platform stops."""
        ...
