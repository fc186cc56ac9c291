"""The one door: who asks, whether they may, whether they ask too much; and a note of every decision.

An allowed change and every denial is a line of the log `dure.access`, with opaque ids only. Allowed reads and
submissions are counted; each accepted submission is in the ledger.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.requests import HTTPConnection, Request

from dure.api.limits import Failures, Limits
from dure.api.problems import ProblemRaised, problem
from dure.api.sessions import Sessions, form_token
from dure.control.access import GRANTS, Caller, Permission, Role
from dure.control.control import Control
from dure.control.ports import Clock
from dure.control.tokens import TokenKind, Tokens
from dure.identity.settings import RateLimits

if TYPE_CHECKING:
    from dure.api.operations import Operation

log = logging.getLogger("dure.access")

BEARER = "Bearer "
NOBODY = Caller(id="nobody", role=Role.MEMBER)
"""Who calls an open operation: somebody who speaks for no organisation."""
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_TOLD = frozenset({Permission.ADMINISTER, Permission.OPERATE})
_MOST_FAILURES = 60
_MOST_SAID = 600
_NOT_SAID = frozenset({"too-many-requests", "too-many-failures"})


class Admission:
    """Decides about every request before anything else happens to it."""

    def __init__(self, control: Control, clock: Clock, sessions: Sessions, rates: RateLimits) -> None:
        self._control = control
        self._clock = clock
        self._sessions = sessions
        self._limits = Limits(rates)
        self._failures = Failures()
        self._said = Failures()
        self._sign_ins = Failures()
        self.decisions: Counter[tuple[str, str, str]] = Counter()
        """How often each method and path was `allowed`, or denied with which code."""

    def admit(self, operation: Operation, request: Request) -> Caller:
        """Who asks, if they may. Nobody gets past here without the permission that the operation names."""
        caller = NOBODY
        if operation.permission is not None:
            caller = self._identify(request, operation.is_form)
            self.charge(caller, 1)
            if not caller.may(operation.permission):
                raise _forbidden(caller, operation.permission)
        self.decisions[operation.method, operation.path, "allowed"] += 1
        if operation.permission in _TOLD and operation.method not in _SAFE_METHODS:
            log.info("allowed %s %s by=%s role=%s", operation.method, operation.path, caller.id, caller.role.value)
        return caller

    def charge(self, caller: Caller, amount: int) -> None:
        """Count so many requests or jobs. Raises the problem of asking too much."""
        wait_ms = self._limits.take(caller, amount, self._clock.now_ms())
        if wait_ms:
            raise too_many("too-many-requests", "This token, or its organisation, asks more than its limit.", wait_ms)

    def viewer_of(self, request: HTTPConnection) -> Caller | None:
        """Who reads a page; None when nobody is signed in."""
        caller = self.caller(request)
        self.decisions["GET", "page", "allowed" if caller else "not-signed-in"] += 1
        if caller is not None:
            self.charge(caller, 1)
        return caller

    def caller(self, request: HTTPConnection, *, by_form: bool = False) -> Caller | None:
        """Who sent a request: by bearer token, or, for reading and for our own forms, by a browser's session."""
        tokens, now_ms = self._tokens, self._clock.now_ms()
        authorization = request.headers.get("authorization")
        if authorization:
            return tokens.caller(_bearer(authorization), now_ms)
        if not by_form and request.scope["method"] not in _SAFE_METHODS:
            return None
        session = request.cookies.get(self._sessions.cookie)
        return tokens.caller(session, now_ms, TokenKind.SESSION) if session else None

    async def while_accepted(self, caller: Caller, frames: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes]:
        """The frames of a stream, for as long as the token is accepted that somebody watches with."""
        async with aclosing(frames):
            async for frame in frames:
                if not self._tokens.is_accepted(caller.id, self._clock.now_ms()):
                    return
                yield frame

    def form_token(self, request: HTTPConnection) -> str:
        """What a form on a page for this browser must send back; empty without a session."""
        session = request.cookies.get(self._sessions.cookie)
        return form_token(session) if session else ""

    def check_form(self, request: Request, body: bytes) -> None:
        """Refuse a form that another site had the browser send. Whoever shows a bearer token has none."""
        if "authorization" in request.headers:
            return
        given = parse_qs(body.decode("ascii", "replace"), max_num_fields=10).get("form_token", [""])[0]
        if not self._sessions.is_own_form(request, given):
            raise problem(403, "foreign-form", "This form did not come from a page of this platform.")

    def count_failure(self, request: HTTPConnection, most: int = _MOST_FAILURES) -> int:
        """Count a failure to say who one is. Returns how many milliseconds to wait before trying again, or 0."""
        return self._failures.count(address_of(request), self._clock.now_ms(), most)

    def limit_sign_ins(self, request: HTTPConnection) -> None:
        """Let an address begin, and ask about, only so many sign-ins: each has us ask the identity provider."""
        wait_ms = self._sign_ins.count(address_of(request), self._clock.now_ms(), _MOST_FAILURES)
        if wait_ms:
            raise too_many("too-many-requests", "There are too many sign-ins from here.", wait_ms)

    def note_failed_sign_in(self, request: HTTPConnection, code: str, detail: str) -> None:
        """Count a browser that came back from the provider in vain, and say why in the log."""
        self.decisions[request.scope["method"], request.url.path, code] += 1
        if not self._said.count(address_of(request), self._clock.now_ms(), _MOST_SAID):
            log.warning("sign-in denied reason=%s detail=%r address=%s", code, detail, address_of(request))

    def note_denial(self, operation: Operation, denied: ProblemRaised, request: HTTPConnection) -> None:
        """Count a denial, and say it in the log unless this address has filled enough of it already."""
        code = denied.problem.code
        self.decisions[operation.method, operation.path, code] += 1
        address = address_of(request)
        if code in _NOT_SAID or self._said.count(address, self._clock.now_ms(), _MOST_SAID):
            return
        caller = self.caller(request, by_form=operation.is_form)
        by = caller.id if caller else "-"
        log.warning("denied %s %s reason=%s by=%s address=%s", operation.method, operation.path, code, by, address)

    @property
    def _tokens(self) -> Tokens:
        return self._control.memory.tokens

    def _identify(self, request: Request, is_form: bool) -> Caller:
        caller = self.caller(request, by_form=is_form)
        if caller is not None:
            return caller
        authorization = request.headers.get("authorization", "")
        shown = _bearer(authorization) if authorization else self._sessions.of(request)
        if shown and (wait_ms := self.count_failure(request)):
            raise too_many("too-many-failures", "Too many requests from here had no valid token.", wait_ms)
        if self._tokens.knows(shown, TokenKind.BEARER if authorization else TokenKind.SESSION):
            raise _unauthorized("token-expired", "This token has expired; get a new one.")
        if authorization:
            raise _unauthorized("token-not-accepted", "This token is not accepted: it is wrong, or was revoked.")
        raise _unauthorized("not-signed-in", "This needs a valid token: send it as `Authorization: Bearer dure_...`.")


def too_many(code: str, detail: str, wait_ms: int) -> ProblemRaised:
    """The problem of asking too often, with the seconds after which it is worth trying again."""
    wait_s = -(-wait_ms // 1000)
    return problem(429, code, f"{detail} Ask again in {wait_s} s.", headers={"Retry-After": str(wait_s)})


def address_of(request: HTTPConnection) -> str:
    """Where a request comes from."""
    return request.client.host if request.client else ""


def _bearer(authorization: str) -> str:
    return authorization.removeprefix(BEARER).strip() if authorization.startswith(BEARER) else ""


def _forbidden(caller: Caller, permission: Permission) -> ProblemRaised:
    lacks_role = permission not in GRANTS[caller.role]
    what = f"with the role {caller.role.value}" if lacks_role else f"with the scope {', '.join(sorted(caller.scope))}"
    code = "role-lacks-permission" if lacks_role else "scope-lacks-permission"
    return problem(403, code, f"A token {what} may not do this; it needs the permission to {permission.value}.")


def _unauthorized(code: str, detail: str) -> ProblemRaised:
    # RFC 6750: without any credential the challenge names no error.
    error = "" if code == "not-signed-in" else ', error="invalid_token"'
    return problem(401, code, detail, headers={"WWW-Authenticate": f'Bearer realm="dure"{error}'})
