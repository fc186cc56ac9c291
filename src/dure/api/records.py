"""Operations on the ledger: its last signed statement, its entries, and the same as static files (C2SP tlog-tiles)."""

from __future__ import annotations

import asyncio

from starlette.responses import PlainTextResponse, Response

from dure.api.bodies import OCTETS
from dure.api.metrics import CONTENT_TYPE, exposition
from dure.api.operations import Call
from dure.api.platform import Health, Platform
from dure.api.problems import SECURITY_HEADERS, ProblemRaised, problem
from dure.ledger.tiles import Tile, large_position
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


async def log_checkpoint(platform: Platform, _: Call) -> Response:
    """The checkpoint that the tiles are served for: the last that witnesses made final, or else the newest."""
    note = platform.tiles.checkpoint()
    if not note:
        raise _nothing_there("checkpoint")
    return PlainTextResponse(note, headers=SECURITY_HEADERS)


async def log_tile(platform: Platform, call: Call) -> Response:
    """A hash tile or an entry bundle, as `tile/LEVEL/NUMBER` or `tile/entries/NUMBER`, with `.p/WIDTH` if partial."""
    path = f"tile/{call.path('tile')}"
    tile = Tile.parse(path)
    body = None if tile is None else await asyncio.to_thread(platform.tiles.tile, tile)
    return _file(path, body)


async def log_large(platform: Platform, call: Call) -> Response:
    """The whole of an entry of which the bundle has only length and hash."""
    path = f"large/{call.path('number')}"
    position = large_position(path)
    body = None if position is None else await asyncio.to_thread(platform.tiles.large, position)
    return _file(path, body)


def _file(path: str, body: bytes | None) -> Response:
    if body is None:
        raise _nothing_there(path)
    return Response(body, media_type=OCTETS, headers=SECURITY_HEADERS)


def _nothing_there(path: str) -> ProblemRaised:
    return problem(404, "no-such-tile", f"The ledger has no {path[:200]} (yet).")
