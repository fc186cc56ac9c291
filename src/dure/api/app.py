"""Makes the ASGI application from the table of operations: access check first, then the handler, then JSON."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from dure.api.logs import RequestIds
from dure.api.operations import Call, Operation
from dure.api.platform import Platform
from dure.api.problems import SECURITY_HEADERS, TITLES, ProblemRaised, problem, problem_response
from dure.ledger.contract import LedgerError

log = logging.getLogger(__name__)

LONGEST_UPLOAD_S = 30.0
"""How long a whole body may take to arrive."""

DENIALS = frozenset({401, 403, 429})

_encoder = msgspec.json.Encoder()


def make_app(
    platform: Platform,
    operations: Sequence[Operation],
    pages: Sequence[BaseRoute],
    lifespan: Lifespan[Starlette],
) -> Starlette:
    """The application: every operation, and the portal's pages."""
    routes = [_route(platform, path, methods) for path, methods in _by_path(operations).items()]
    handlers = {
        HTTPException: _http_problem,
        ProblemRaised: _raised_problem,
        LedgerError: _ledger_problem,
        Exception: _unexpected_problem,
    }
    every_request = [Middleware(RequestIds), Middleware(Direct, platform=platform, operations=operations)]
    app = Starlette(routes=[*routes, *pages], lifespan=lifespan, exception_handlers=handlers, middleware=every_request)
    # An address is known as it is written or not at all; a redirect would also repeat whatever host it was sent to.
    app.router.redirect_slashes = False
    return app


def _by_path(operations: Sequence[Operation]) -> dict[str, dict[str, Operation]]:
    paths: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = operation
    return paths


def _route(platform: Platform, path: str, methods: Mapping[str, Operation]) -> Route:
    async def endpoint(request: Request) -> Response:
        # HEAD is answered as GET; the server leaves the body out.
        operation = methods["GET" if request.method == "HEAD" else request.method]
        return await answer(platform, operation, request)

    return Route(path, endpoint, methods=list(methods))


class Direct:
    """Answers operations whose path has no parameters, which are most requests; the router has all others.

    The router and its layers take a quarter of what a request costs in this framework.
    """

    def __init__(self, app: ASGIApp, platform: Platform, operations: Sequence[Operation]) -> None:
        self._app = app
        self._platform = platform
        self._operations = {(each.path, each.method): each for each in operations if "{" not in each.path}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        operation = self._operations.get((scope["path"], scope["method"])) if scope["type"] == "http" else None
        if operation is None:
            await self._app(scope, receive, send)
            return
        response = await answer(self._platform, operation, Request(scope, receive, send))
        await response(scope, receive, send)


async def answer(platform: Platform, operation: Operation, request: Request) -> Response:
    """Check who asks, read the body within its limit, and let the operation answer."""
    began = time.perf_counter()
    response = await _answer(platform, operation, request)
    platform.metrics.note(operation, response.status_code, time.perf_counter() - began)
    return response


async def _answer(platform: Platform, operation: Operation, request: Request) -> Response:
    try:
        caller = platform.admission.admit(operation, request)
        body = await _read_body(request, operation.largest_body) if operation.bodies else b""
        if operation.is_form:
            platform.admission.check_form(request, body)
        result = await operation.handler(platform, Call(request=request, caller=caller, body=body))
        if operation.tells_the_state:
            await platform.until_durable()
    except ProblemRaised as raised:
        if raised.problem.status in DENIALS:
            platform.admission.note_denial(operation, raised, request)
        return problem_response(raised)
    except LedgerError as error:
        return _ledger_problem(request, error)
    if isinstance(result, Response):
        return result
    return Response(_encoder.encode(result), operation.status, SECURITY_HEADERS, "application/json")


async def _read_body(request: Request, largest: int) -> bytes:
    """The whole body. One that is too long is refused as soon as that is known."""
    declared = request.headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdigit() and len(declared) <= 12) or int(declared) > largest:
        raise _too_large(largest)
    try:
        async with asyncio.timeout(LONGEST_UPLOAD_S):
            return await _within_limit(request, largest)
    except TimeoutError:
        message = f"The body did not arrive within {LONGEST_UPLOAD_S:.0f} s."
        raise problem(408, "body-too-slow", message, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise problem(400, "body-cut-off", "The connection ended before the body did.") from None


async def _within_limit(request: Request, largest: int) -> bytes:
    chunks: list[bytes] = []
    size, is_whole = 0, False
    while not is_whole:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > largest:
            raise _too_large(largest)
        is_whole = not message.get("more_body", False)
    return b"".join(chunks)


def _too_large(largest: int) -> ProblemRaised:
    return problem(
        413, "body-too-large", f"This request may have at most {largest >> 20} MiB.", headers={"Connection": "close"}
    )


def _raised_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemRaised)
    return problem_response(error)


def _http_problem(request: Request, error: Exception) -> Response:
    """What the router itself refuses: an unknown address, or a method that is not offered there."""
    assert isinstance(error, HTTPException)
    status = error.status_code if error.status_code in TITLES else 400
    code = {404: "no-such-address", 405: "method-not-allowed"}.get(status, "bad-request")
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return problem_response(problem(status, code, detail, headers=dict(error.headers or {})))


def _ledger_problem(request: Request, error: Exception) -> Response:
    """The database is away, most likely. Callers learn that they may ask again; the log has the rest."""
    log.error("%s %s: %s", request.method, request.url.path, error)
    message = "The ledger cannot be reached at the moment. Ask again in a moment."
    return problem_response(problem(503, "unavailable", message, headers={"Retry-After": "1"}))


def _unexpected_problem(request: Request, error: Exception) -> Response:
    """A bug of ours. The caller learns that it is one and nothing about our insides; the log has the rest."""
    log.error("%s %r failed", request.method, request.url.path, exc_info=error)
    return problem_response(
        problem(500, "internal-error", "Something is wrong inside Dure; the server's log says what.")
    )
