"""The running platform as handlers and pages see it: reports to read, and one door for changes.

Everything here is called on the event loop's thread, between two steps, so a report is always of one moment.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from starlette.requests import Request as HttpRequest

from dure import kernel
from dure.api.admission import Admission
from dure.api.airlock_reports import airlock_report, named_results, results_report
from dure.api.expectations import Expectations
from dure.api.metrics import Metrics
from dure.api.sessions import Sessions
from dure.api.tiles import Tiles
from dure.control.access import Grant, Permission
from dure.control.attempts import attempt_id
from dure.control.feed import EVERYTHING
from dure.control.holding import are_results_held
from dure.control.launching import engine_of
from dure.control.logs import gpu_use, log_path
from dure.control.loop import Loop
from dure.control.orders import Engines, address_of
from dure.control.oversight.released_logs import is_log_released
from dure.control.ports import Clock, LedgerWriteFailed
from dure.control.requests import Reply, Request
from dure.governance.airlock import Holding
from dure.identity.passwords import Backoff, Passwords
from dure.identity.reader import Reader
from dure.identity.settings import IdentitySettings
from dure.model.blockers import Eta, NoEta, Why
from dure.model.jobs import JobSpec, JobState
from dure.model.nation import Nation
from dure.model.units import DAY_MS
from dure.policy import Rule, must_be_sandboxed
from dure.reports.agreements import AgreementsReport, agreements_report
from dure.reports.airlock import AirlockReport, ResultLine, ResultsReport
from dure.reports.datasets import DatasetsReport, datasets_report
from dure.reports.fleet import ContactLine, NodesReport, SitesReport, nodes_report, sites_report
from dure.reports.jobs import JobReport, JobsReport, QueueReport, finished_report, job_report, jobs_report, queue_report
from dure.reports.ledger import LedgerEntries, LedgerReport, entries_report, ledger_report
from dure.reports.lending import Day, LendingReport, lending_report
from dure.reports.shares import SharesReport, shares_report
from dure.reports.usage import Attempt
from dure.reports.viewer import Viewer
from dure.world.cards import JobCard
from dure.world.world import World

if TYPE_CHECKING:
    from dure.api.provider_sign_in import ProviderSignIn
    from dure.ledger.cosigning import Cosigning, Finality
    from dure.ledger.note import Signer

LENDING_SHOWN_MS = 29 * DAY_MS
"""How far back the lender's ledger on the page goes: today and the 29 days before."""
_ATTEMPT = msgspec.json.Decoder(Attempt)
_CARD = msgspec.json.Decoder(JobCard)


_UNWELL = {
    "failing": "nothing becomes durable now, so nothing is accepted; the server's log says why",
    "halted": "the audit refused a plan, so nothing is started; the server's log says which",
}


class Health(Struct, frozen=True, kw_only=True):
    """Whether the platform works. `status` is `ok`, `halted` (it starts nothing) or `failing` (it accepts nothing)."""

    status: str
    detail: str
    at_ms: int
    entries: int


class Platform:
    """Reports for viewers, and `ask` for everything that changes something."""

    def __init__(
        self,
        loop: Loop,
        clock: Clock,
        engines: Engines,
        sessions: Sessions,
        expectations: Expectations,
        settings: IdentitySettings | None = None,
    ) -> None:
        self.loop = loop
        self.control = loop.control
        self.clock = clock
        self.engines = engines
        self.sessions = sessions
        self.settings = settings or IdentitySettings()
        self.provider_sign_in: ProviderSignIn | None = None
        """Set when the identity file names a provider."""
        self.signer: Signer | None = None
        """The platform's key, for what it vouches for besides its ledger: the provenance of models."""
        self.cosigning: Cosigning | None = None
        """Set when a witnesses file was given."""
        self.passwords = Passwords()
        self.backoff = Backoff()
        self.admission = Admission(loop.control, clock, sessions, self.settings.limits)
        self.expectations = expectations
        self.metrics = Metrics()
        self.tiles = Tiles(lambda: loop.control.ledger, self.finality)

    @property
    def world(self) -> World:
        """The state as of the latest step."""
        return self.control.world

    async def ask(self, request: Request) -> Reply:
        """Have something changed; returns once it is durable, or was not done."""
        return await self.loop.ask(request)

    async def until_durable(self) -> None:
        """Wait until the ledger has all that was just read. Raises `LedgerError` when it has not, and will not."""
        if not await self.loop.until_durable():
            raise LedgerWriteFailed("what the world says now could not be made durable")

    def viewer(self, request: HttpRequest) -> Viewer | None:
        """What the sender of a request may see; None when nobody is signed in."""
        caller = self.admission.viewer_of(request)
        return caller.viewer if caller else None

    def reader(self, request: HttpRequest) -> Reader | None:
        """Who is signed in with this browser; None for nobody, and for a program with a token."""
        if "authorization" in request.headers or (caller := self.admission.caller(request)) is None:
            return None
        account = self.control.memory.accounts.get(caller.account)
        mine = Grant(role=caller.role, organisation=caller.organisation)
        return Reader(
            name=account.name if account else "",
            role=caller.role,
            organisation=caller.organisation,
            form_token=self.admission.form_token(request),
            other_grants=tuple(each for each in account.grants if each != mine) if account else (),
        )

    def provider_title(self) -> str:
        """What people call the identity provider; empty when there is none to sign in at."""
        provider = self.settings.provider
        return "" if provider is None else provider.title or provider.issuer

    def health(self) -> Health:
        """Whether the platform works. Anybody may ask, so why it does not is only in the log."""
        status = "failing" if self.loop.trouble else "halted" if self.control.halted else "ok"
        detail = _UNWELL.get(status, "")
        return Health(status=status, detail=detail, at_ms=self.clock.now_ms(), entries=self.control.position)

    def nation(self) -> Nation:
        """The declared state."""
        return self.world.nation

    def datasets(self, viewer: Viewer) -> DatasetsReport:
        """The datasets that the viewer may know of."""
        nation, agreements = self.nation(), tuple(self.control.memory.register.agreements.values())
        restricted = {each.name for each in nation.datasets if must_be_sandboxed([each], nation.data_classes)}
        return datasets_report(nation, agreements, restricted, viewer, self.clock.now_ms())

    def rules(self) -> tuple[Rule, ...]:
        """The rules about data that are in force."""
        return self.control.memory.policy.policy_set.rules

    def agreements(self, viewer: Viewer) -> AgreementsReport:
        """The agreements that the viewer may know of."""
        return agreements_report(self.control.memory.register.agreements.values(), viewer, self.clock.now_ms())

    def queue(self, viewer: Viewer, limit: int) -> QueueReport:
        """Who runs and who waits: at most `limit` of each."""
        now_ms = self.clock.now_ms()
        firsts = kernel.explain_all(self.world, now_ms)
        return queue_report(self.world, self.explain, firsts, viewer, self._specs_of, now_ms, limit)

    def finished(self, viewer: Viewer) -> JobsReport:
        """Jobs that ended last."""
        return finished_report(self.world, viewer, self._specs_of, self.clock.now_ms())

    def jobs(self, cards: Iterable[JobCard], viewer: Viewer, limit: int) -> JobsReport:
        """The newest of these jobs."""
        return jobs_report(self.world, cards, viewer, self._specs_of, self.clock.now_ms(), limit)

    def card(self, job: str) -> JobCard | None:
        """A job, however old."""
        card = self.world.jobs.get(job)
        if card is None and (row := self.control.ledger.row("jobs", job)) is not None:
            card = _CARD.decode(row)
        return card or self.world.not_begun(job)

    async def job(self, job: str, viewer: Viewer, *, expect: bool = True) -> JobReport | None:
        """Everything about one job, with its expected start if that is wanted; None when there is no such job."""
        card = self.card(job)
        if card is None:
            return None
        report = job_report(self.world, card, self.explain, viewer, self._spec_of, self.clock.now_ms())
        if report.line.visible and not are_results_held(self.nation(), self.control.memory.register, card):
            report = replace(report, gpu_use=gpu_use(self.world, self.engines, card))
        if report.line.visible and card.state is JobState.STARTING:
            name = attempt_id(card.job, card.attempt)
            report = replace(report, engine_waits=self.engines.waiting(engine_of(self.world, card), name))
        return replace(report, why=await self.expect(report.why)) if report.why and expect else report

    def explain(self, job: str) -> Why:
        """Why a job waits."""
        return kernel.explain(self.world, job, self.clock.now_ms())

    async def expect(self, why: Why) -> Why:
        """Add when the job may start, or why that is not known."""
        card = self.world.jobs.get(why.job)
        return with_expectation(why, await self.expectations.of(card)) if card else why

    def sites(self) -> SitesReport:
        """The fleet by site."""
        return sites_report(self.world, self.clock.now_ms(), self._contacts())

    def site_list(self) -> SitesReport:
        """The sites with their totals, without their nodes."""
        return sites_report(self.world, self.clock.now_ms(), self._contacts(), most_nodes=0)

    def nodes(self) -> NodesReport:
        """The fleet by node."""
        return nodes_report(self.world, self.clock.now_ms())

    def shares(self) -> SharesReport:
        """The share tree."""
        return shares_report(self.world, self.clock.now_ms())

    def lending_days(self) -> list[Day]:
        """What was lent, day by day; changes no more, so it may be added up in any thread."""
        return self.control.memory.lending.days(self.clock.now_ms())

    def lending(self, viewer: Viewer) -> LendingReport:
        """The lender's ledger of the last thirty days."""
        now_ms = self.clock.now_ms()
        return lending_report(self.nation(), self.lending_days(), now_ms - LENDING_SHOWN_MS, now_ms, now_ms, viewer)

    def attempts(self) -> Iterator[Attempt]:
        """Every attempt there was, oldest first. May be called from any thread."""
        return (_ATTEMPT.decode(row) for _, row in self.control.ledger.rows("attempts"))

    def finality(self) -> Finality | None:
        """How far witnesses made the ledger final; None when it has none."""
        return None if self.cosigning is None else self.cosigning.finality

    def ledger(self) -> LedgerReport:
        """The ledger's size, its last checkpoint, and how far it is final."""
        last = self.control.ledger.latest_checkpoint()
        if last is None:
            return ledger_report(self.control.ledger.size, 0, b"", None, "")
        report = ledger_report(self.control.ledger.size, last.size, last.root, last.at_ms, last.note)
        found = self.finality()
        if found is None:
            return report
        return replace(
            report,
            quorum=found.quorum,
            witnesses=found.witnesses,
            final_entries=found.size,
            cosigned_by=found.cosigned_by,
            not_cosigned_by=tuple(name for name, _ in found.problems),
        )

    def ledger_entries(self, start: int, limit: int) -> LedgerEntries:
        """Entries from a position on."""
        ledger = self.control.ledger
        return entries_report(start, ledger.entries(start, start + limit), ledger.size)

    def log_path(self, card: JobCard, attempt: int, rank: int) -> str | None:
        """Where a rank's output lies, once there is any and it may be seen."""
        if not self.may_read_log(card, attempt, rank):
            return None
        return log_path(self.world, self.engines, card, attempt, rank)

    def may_read_log(self, card: JobCard, attempt: int, rank: int) -> bool:
        """True unless it is held: a job on restricted data prints for the airlock."""
        memory = self.control.memory
        if not are_results_held(self.nation(), memory.register, card):
            return True
        output = memory.outputs.held.get(card.job)
        return output is not None and is_log_released(
            memory.register, self.engines, output, card.job, attempt, rank, self.clock.now_ms()
        )

    def may_govern(self, request: HttpRequest) -> bool:
        """True when the sender of a request may decide about the use of data."""
        caller = self.admission.viewer_of(request)
        return caller is not None and caller.may(Permission.GOVERN)

    def airlock(self) -> AirlockReport:
        """Every job with results in the airlock."""
        return airlock_report(self.control, self.clock.now_ms())

    async def results(self, holding: Holding) -> ResultsReport:
        """The results of one job in the airlock."""
        return await results_report(self.control, self.engines, holding, self.clock.now_ms())

    async def named_results(self, holding: Holding) -> tuple[ResultLine, ...]:
        """The results of one job with the names that their site has for them."""
        return await named_results(self.control, self.engines, holding)

    async def results_of(self, job: str) -> ResultsReport | None:
        """As `results`, for the job of this name; None when it has none there, or none yet."""
        holding = self.control.memory.register.airlock.holdings.get(job)
        return await self.results(holding) if holding else None

    def are_results_held(self, card: JobCard) -> bool:
        """True when what the job leaves and prints waits in the airlock."""
        return are_results_held(self.nation(), self.control.memory.register, card)

    def changes(self, request: HttpRequest) -> AsyncIterator[bytes] | None:
        """Something whenever a report may have changed, and now and then in between; None for who is not signed in."""
        caller = self.admission.viewer_of(request)
        if caller is None:
            return None
        return self.admission.while_accepted(caller, self.loop.feed.subscribe(EVERYTHING, None))

    def _contacts(self) -> dict[str, ContactLine]:
        return contacts_of(self.world, self.engines)

    def _specs_of(self, jobs: Iterable[str]) -> dict[str, JobSpec]:
        return self.control.memory.specs.of_all(jobs)

    def _spec_of(self, job: str) -> JobSpec | None:
        return self.control.memory.specs.of(job)


def contacts_of(world: World, engines: Engines) -> dict[str, ContactLine]:
    """How each site's engine is reached, and when it was last heard."""
    lines = {}
    for site in world.nation.sites:
        contact = engines.contact(address_of(site))
        lines[site.name] = ContactLine(
            engine=site.engine.value,
            is_lost=site.name in world.lost_sites,
            heard_at_ms=contact.heard_at_ms if contact else 0,
            problem=world.lost_sites.get(site.name, ""),
        )
    return lines


def with_expectation(why: Why, expected: Eta | NoEta) -> Why:
    """The same reasons with an expected start, or with why there is none."""
    if isinstance(expected, Eta):
        return replace(why, eta=expected, no_eta=None)
    return replace(why, eta=None, no_eta=expected)
