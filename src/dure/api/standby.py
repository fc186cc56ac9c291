"""What a server answers that stands by while another leads: its health, and to all else that it is not its turn."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dure.api.platform import Health
from dure.api.problems import SECURITY_HEADERS, problem, problem_response
from dure.api.wire import Wire, server_config
from dure.control.ports import Clock
from dure.ledger.contract import LedgerUnreachable
from dure.ledger.postgres import Candidate, PostgresLedger

log = logging.getLogger(__name__)

TRY_EVERY_S = 0.5
"""How often a standby tries to lead: part of the time that a failover takes."""
RETRY_AFTER_S = "1"
SHUTDOWN_S = 1
_AWAY = "the database does not answer; the log says why"


class Standby:
    """Waits for the lead of a ledger, and answers meanwhile that `leader` has it, as long as nothing else is known.

    `consider` is told how long the ledger is by now.
    """

    def __init__(
        self, candidate: Candidate, leader: str, clock: Clock, wire: Wire, consider: Callable[[int], None]
    ) -> None:
        self._candidate = candidate
        self._consider = consider
        self._wire = wire
        self._clock = clock
        self._detail = f"{leader} leads"

    async def until_leading(self, listener: socket.socket) -> PostgresLedger:
        """The ledger, once nobody else leads it. Serves on `listener` until then, and closes it.

        Raises `LedgerUnreadable`, or `asyncio.CancelledError` when the process is told to stop.
        """
        server = uvicorn.Server(server_config(self.application(), self._wire, SHUTDOWN_S, is_secure=False))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not serving.done():
                if (ledger := await asyncio.to_thread(self._try)) is not None:
                    return ledger
                await asyncio.wait([serving], timeout=TRY_EVERY_S)
            raise asyncio.CancelledError
        finally:
            server.should_exit = True
            await serving

    def application(self) -> Starlette:
        """What is served meanwhile."""
        open_to_all = [Route("/v1/health", self._health), Route("/livez", _live), Route("/readyz", _not_here)]
        paths = [*open_to_all, Route("/{path:path}", _not_here, methods=_METHODS)]
        return Starlette(routes=paths)

    def _try(self) -> PostgresLedger | None:
        try:
            ledger = self._candidate.try_to_lead()
            if ledger is None:
                self._detail = f"{self._candidate.leader() or 'another server'} leads"
                self._consider(self._candidate.size())
        except LedgerUnreachable as error:
            # Whoever asks for the health is not told where the database is.
            if self._detail != _AWAY:
                log.warning("standing by: %s", error)
            self._detail = _AWAY
            return None
        return ledger

    async def _health(self, _: Request) -> Response:
        health = Health(status="standby", detail=self._detail, at_ms=self._clock.now_ms(), entries=0)
        return Response(msgspec.json.encode(health), 200, SECURITY_HEADERS, "application/json")


_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


async def _live(_: Request) -> Response:
    return PlainTextResponse("live\n")


async def _not_here(_: Request) -> Response:
    message = "This server stands by while another one leads. Ask that one, or ask again in a moment."
    return problem_response(problem(503, "standby", message, headers={"Retry-After": RETRY_AFTER_S}))
