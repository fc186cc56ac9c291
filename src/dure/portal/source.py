"""What the pages need from the platform, as one Protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from starlette.requests import Request

from dure.identity.reader import Reader
from dure.model.nation import Nation
from dure.policy import Rule
from dure.reports.agreements import AgreementsReport
from dure.reports.airlock import AirlockReport, ResultsReport
from dure.reports.datasets import DatasetsReport
from dure.reports.fleet import SitesReport
from dure.reports.jobs import JobReport, JobsReport, QueueReport
from dure.reports.ledger import LedgerReport
from dure.reports.lending import LendingReport
from dure.reports.shares import SharesReport
from dure.reports.viewer import Viewer
from dure.world.cards import JobCard


class Source(Protocol):
    """Reports for a viewer, and a stream that says when they changed. Nothing here changes the platform."""

    async def until_durable(self) -> None:
        """Wait until the ledger has all that was just read; raises when it has not, and will not."""
        ...

    def viewer(self, request: Request) -> Viewer | None:
        """Who sent the request; None when nobody is signed in."""
        ...

    def reader(self, request: Request) -> Reader | None:
        """Who is signed in with this browser; None for nobody, and for a program with a token."""
        ...

    def provider_title(self) -> str:
        """What people call the identity provider; empty when there is none to sign in at."""
        ...

    def nation(self) -> Nation:
        """The declared state, for names and titles."""
        ...

    def queue(self, viewer: Viewer, limit: int) -> QueueReport:
        """Who runs and who waits: at most `limit` of each."""
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

    def lending(self, viewer: Viewer) -> LendingReport:
        """The lender's ledger of the last thirty days, as far as the viewer may see it."""
        ...

    def datasets(self, viewer: Viewer) -> DatasetsReport:
        """The datasets that the viewer may know of."""
        ...

    def agreements(self, viewer: Viewer) -> AgreementsReport:
        """The agreements that the viewer may know of."""
        ...

    def rules(self) -> tuple[Rule, ...]:
        """The rules about data that are in force."""
        ...

    def ledger(self) -> LedgerReport:
        """The ledger's size and last checkpoint."""
        ...

    async def job(self, job: str, viewer: Viewer) -> JobReport | None:
        """One job with its expected start; None when there is no such job."""
        ...

    def card(self, job: str) -> JobCard | None:
        """One job's state, however old."""
        ...

    def log_path(self, card: JobCard, attempt: int, rank: int) -> str | None:
        """Where a rank's output lies on this machine, once there is any."""
        ...

    def may_govern(self, request: Request) -> bool:
        """True when the sender of a request may decide about the use of data."""
        ...

    def airlock(self) -> AirlockReport:
        """Every job with results in the airlock."""
        ...

    async def results_of(self, job: str) -> ResultsReport | None:
        """The results of one job in the airlock; None when it has none there, or none yet."""
        ...

    def are_results_held(self, card: JobCard) -> bool:
        """True when what the job leaves and prints waits in the airlock."""
        ...

    def changes(self, request: Request) -> AsyncIterator[bytes] | None:
        """Something whenever a report may have changed, and now and then in between; None when nobody is signed in.

        Ends when the platform stops, and when the reader's session does.
        """
        ...
