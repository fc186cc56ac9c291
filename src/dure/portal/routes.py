"""The pages and their addresses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from dure.control.logs import Piece, read_piece
from dure.portal.data_words import class_titles, dataset_title
from dure.portal.drawing import (
    Owners,
    fill_class,
    node_uses,
    part_segments,
    part_words,
    share_bars,
    site_segments,
    site_titles,
)
from dure.portal.flows import lending_flows
from dure.portal.phrases import LANGUAGES, Phrases, preferred_language
from dure.portal.source import Source
from dure.reports.jobs import JobReport
from dure.reports.wording import rounded_gpus, rounded_hours

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # With `no-referrer` browsers would not say either where the form for signing out comes from.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
LANGUAGE_COOKIE = "dure_language"
A_YEAR_S = 365 * 24 * 3600
ASSETS = {"portal.css": "text/css", "portal.js": "text/javascript", "mark.svg": "image/svg+xml"}
SIGN_IN_REFUSALS = ("no-role", "not-believed", "not-started", "provider-refused", "provider-unreachable")
Endpoint = Callable[[Request], Awaitable[Response]]
MOST_LISTED = 100
"""Rows of the waiting and running tables; a page is for looking at."""
LOG_TAIL = 64 * 1024
"""Bytes of output that a page starts with."""


def routes(source: Source) -> list[Route]:
    """Routes of the pages, to be mounted at the root."""
    pages = Pages(source)
    return [
        Route("/", _once_durable(source, pages.overview), name="overview"),
        Route("/jobs/{job}", _once_durable(source, pages.job), name="job"),
        Route("/data", _once_durable(source, pages.data), name="data"),
        Route("/airlock", _once_durable(source, pages.airlock), name="airlock"),
        Route("/airlock/{job}", _once_durable(source, pages.results), name="results"),
        Route("/changes", pages.changes, name="changes"),
        Route("/assets/{name}", asset, name="asset"),
    ]


def _once_durable(source: Source, page: Endpoint) -> Endpoint:
    """The page, shown when the ledger has all that it says."""

    async def endpoint(request: Request) -> Response:
        response = await page(request)
        await source.until_durable()
        return response

    return endpoint


class Pages:
    """Renders pages from reports."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._templates = Environment(
            loader=PackageLoader("dure.portal", "pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            fill_class=fill_class, node_uses=node_uses, site_segments=site_segments, format_gpus=rounded_gpus
        )
        self._templates.globals.update(part_segments=part_segments, part_words=part_words)
        self._templates.globals.update(
            iso=_iso, most_listed=MOST_LISTED, lending_flows=lending_flows, format_hours=rounded_hours
        )

    async def overview(self, request: Request) -> Response:
        """The one page that shows the whole platform."""
        viewer = self._source.viewer(request)
        if viewer is None:
            return self._page(request, "sign_in.html", 0, 401)
        queue = self._source.queue(viewer, MOST_LISTED)
        shares = self._source.shares()
        return self._page(
            request,
            "overview.html",
            queue.at_ms,
            queue=queue,
            shares=shares,
            bars=share_bars(tuple(line for line in shares.shares if line.matters)),
            sites=self._source.sites().sites,
            finished=self._source.finished(viewer).jobs,
            lending=self._source.lending(viewer),
            ledger=self._source.ledger(),
        )

    async def job(self, request: Request) -> Response:
        """One job with its timeline and the end of its log."""
        viewer = self._source.viewer(request)
        if viewer is None:
            return self._page(request, "sign_in.html", 0, 401)
        name = request.path_params["job"]
        report = await self._source.job(name, viewer)
        if report is None:
            return self._page(request, "missing.html", 0, 404, job=name)
        rank = _rank(request, report.line.max_nodes or report.line.nodes)
        log = self._log(name, report, rank) if report.line.visible else None
        card = self._source.card(name)
        held = card is not None and self._source.are_results_held(card)
        return self._page(
            request, "job.html", report.at_ms, report=report, rank=rank, log=log, log_tail=LOG_TAIL, held=held
        )

    async def airlock(self, request: Request) -> Response:
        """What waits in the airlock, for those who decide about it."""
        refusal = self._not_for_stewards(request)
        if refusal is not None:
            return refusal
        report = self._source.airlock()
        return self._page(request, "airlock.html", report.at_ms, report=report)

    async def results(self, request: Request) -> Response:
        """The results of one job, what was found out about them, and a form for the decision."""
        refusal = self._not_for_stewards(request)
        if refusal is not None:
            return refusal
        name = request.path_params["job"]
        report = await self._source.results_of(name)
        if report is None:
            return self._page(request, "missing.html", 0, 404, job=name)
        return self._page(request, "results.html", report.at_ms, report=report)

    def _not_for_stewards(self, request: Request) -> Response | None:
        """What is answered to whoever is not signed in, or may not decide about data."""
        if self._source.viewer(request) is None:
            return self._page(request, "sign_in.html", 0, 401)
        if not self._source.may_govern(request):
            return self._page(request, "not_yours.html", 0, 403)
        return None

    async def data(self, request: Request) -> Response:
        """The datasets and agreements that the reader may know of, and the rules about data."""
        viewer = self._source.viewer(request)
        if viewer is None:
            return self._page(request, "sign_in.html", 0, 401)
        agreements = self._source.agreements(viewer)
        return self._page(
            request,
            "data.html",
            agreements.at_ms,
            datasets=self._source.datasets(viewer).datasets,
            agreements=agreements.agreements,
            rules=self._source.rules(),
        )

    def _log(self, name: str, report: JobReport, rank: int) -> Piece | None:
        """The end of a rank's output in the latest attempt; None while there is none."""
        card = self._source.card(name)
        path = self._source.log_path(card, report.line.attempt or 0, rank) if card else None
        try:
            return read_piece(path, -LOG_TAIL) if path else None
        except FileNotFoundError:
            return None

    async def changes(self, request: Request) -> Response:
        """Server-sent events: `changed` whenever a page may look different now. Connecting again catches up."""
        changes = self._source.changes(request)
        if changes is None:
            return Response(status_code=401, headers=SECURITY_HEADERS)
        headers = SECURITY_HEADERS | {"X-Accel-Buffering": "no"}
        return StreamingResponse(_ticks(changes), media_type="text/event-stream", headers=headers)

    def _page(self, request: Request, template: str, now_ms: int, status: int = 200, **values: Any) -> Response:
        asked = request.query_params.get("lang")
        language = preferred_language(
            asked, request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", "")
        )
        t = Phrases(language, now_ms)
        html = self._templates.get_template(template).render(
            t=t,
            owners=Owners(self._source.nation(), language),
            site_title=site_titles(self._source.nation(), language),
            dataset_title=dataset_title(language),
            class_title=class_titles(self._source.nation(), t),
            path=request.url.path,
            languages=LANGUAGES,
            signed_in=status != 401,
            reader=self._source.reader(request) if status != 401 else None,
            provider=self._source.provider_title(),
            refused=_refused(request),
            **values,
        )
        response = HTMLResponse(html, status, SECURITY_HEADERS | {"Content-Language": language, "Vary": "Cookie"})
        if asked in LANGUAGES:
            response.set_cookie(LANGUAGE_COOKIE, asked, max_age=A_YEAR_S, samesite="lax", httponly=True)
        return response


async def _ticks(changes: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    # The first tick covers whatever happened while the page was not connected.
    yield b"event: changed\ndata: {}\n\n"
    async for _ in changes:
        yield b"event: changed\ndata: {}\n\n"


async def asset(request: Request) -> Response:
    """A style sheet, script or picture of the package."""
    name = request.path_params["name"]
    media_type = ASSETS.get(name)
    if media_type is None:
        return Response(status_code=404, headers=SECURITY_HEADERS)
    body = files("dure.portal").joinpath("assets", name).read_bytes()
    return Response(body, media_type=media_type, headers=SECURITY_HEADERS | {"Cache-Control": "no-cache"})


def _refused(request: Request) -> str:
    """Why a sign-in at the provider came to nothing, if it did."""
    code = request.query_params.get("refused", "")
    return code if code in SIGN_IN_REFUSALS else ""


def _rank(request: Request, nodes: int) -> int:
    """The rank whose log is shown; the first one for anything that is not a rank of the job."""
    asked = request.query_params.get("rank", "0")
    return int(asked) if asked.isascii() and asked.isdigit() and int(asked) < nodes else 0


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")
