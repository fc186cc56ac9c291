"""Operations on the ledger: its last signed statement, and its entries."""

from __future__ import annotations

from starlette.responses import PlainTextResponse, Response

from dure.api.metrics import CONTENT_TYPE, exposition
from dure.api.operations import Call
from dure.api.platform import Health, Platform
from dure.reports.ledger import LedgerEntries, LedgerReport

MOST_ENTRIES = 1_000


async def health(platform: Platform, _: Call) -> Health:
    """Whether the platform works."""
    return platform.health()


async def live(_: Platform, __: Call) -> Response:
    """The process answers. Restart it when it does not."""
    return PlainTextResponse("live\n")


async def ready(platform: Platform, _: Call) -> Response:
    """Whether requests should be sent here: it leads, and what it accepts becomes durable."""
    health = platform.health()
    is_ready = health.status != "failing"
    return PlainTextResponse("ready\n" if is_ready else f"not ready: {health.status}\n", 200 if is_ready else 503)


async def metrics(platform: Platform, _: Call) -> Response:
    """All figures, for Prometheus."""
    return Response(exposition(platform), media_type=CONTENT_TYPE)


async def checkpoint(platform: Platform, _: Call) -> LedgerReport:
    """The ledger's last signed checkpoint."""
    return platform.ledger()


async def entries(platform: Platform, call: Call) -> LedgerEntries:
    """Entries by position, as the very bytes that were hashed."""
    start = call.number("start", 0, 1 << 53)
    return platform.ledger_entries(start, call.number("limit", 100, MOST_ENTRIES))
