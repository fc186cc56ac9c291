"""Makes the ASGI application from the table of operations: access check first, then the handler, then JSON."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Lifespan

from dure.api.operations import Call, Operation
from dure.api.platform import Platform
from dure.api.problems import TITLES, ProblemRaised, problem, problem_response
from dure.control.access import Caller, Role

log = logging.getLogger(__name__)

LARGEST_BODY = 1 << 20
"""Bytes; a job file or a nation is text that somebody wrote."""

SECURITY_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

NOBODY = Caller(id="nobody", role=Role.MEMBER)
"""Who calls an open operation: somebody who speaks for no organisation."""

_encoder = msgspec.json.Encoder()


def make_app(
    platform: Platform,
    operations: Sequence[Operation],
    pages: Sequence[BaseRoute],
    lifespan: Lifespan[Starlette],
) -> Starlette:
    """The application: every operation, and the portal's pages."""
    routes = [_route(platform, path, methods) for path, methods in _by_path(operations).items()]
    handlers = {HTTPException: _http_problem, ProblemRaised: _raised_problem, Exception: _unexpected_problem}
    return Starlette(routes=[*routes, *pages], lifespan=lifespan, exception_handlers=handlers)


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


async def answer(platform: Platform, operation: Operation, request: Request) -> Response:
    """Check who asks, read the body within its limit, and let the operation answer."""
    try:
        caller = _admit(platform, operation, request)
        body = await _read_body(request) if operation.bodies else b""
        result = await operation.handler(platform, Call(request=request, caller=caller, body=body))
    except ProblemRaised as raised:
        return problem_response(raised)
    if isinstance(result, Response):
        return result
    return Response(_encoder.encode(result), operation.status, SECURITY_HEADERS, "application/json")


def _admit(platform: Platform, operation: Operation, request: Request) -> Caller:
    """Who asks, if they may. Nobody gets past here without the permission that the operation names."""
    if operation.permission is None:
        return NOBODY
    caller = platform.caller(request)
    if caller is None:
        raise problem(
            401,
            "not-signed-in",
            "This needs a valid token: send it as `Authorization: Bearer dure_...`.",
            headers={"WWW-Authenticate": 'Bearer realm="dure"'},
        )
    if not caller.may(operation.permission):
        raise problem(
            403,
            "role-lacks-permission",
            f"A token with the role {caller.role.value} may not do this; it needs the permission to "
            f"{operation.permission.value}.",
        )
    return caller


async def _read_body(request: Request) -> bytes:
    """The whole body. One that is too long is refused as soon as that is known."""
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > LARGEST_BODY:
        raise _too_large()
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > LARGEST_BODY:
            raise _too_large()
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large() -> ProblemRaised:
    return problem(
        413, "body-too-large", f"A request may have at most {LARGEST_BODY >> 20} MiB.", headers={"Connection": "close"}
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


def _unexpected_problem(request: Request, error: Exception) -> Response:
    """A bug of ours. The caller learns that it is one and nothing about our insides; the log has the rest."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem_response(
        problem(500, "internal-error", "Something is wrong inside Dure; the server's log says what.")
    )
