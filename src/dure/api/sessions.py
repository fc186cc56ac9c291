"""How a browser stays signed in: a cookie that only the server can read.

A ticket is random, works once and for ten minutes, and buys a session. A session's text is in the cookie and nowhere
else; what is kept of it is a token of its own kind (`dure.control.tokens`). It ends when it lies idle, when it gets too
old, when its owner signs out, and with the token or account it was made with. The cookie is accepted for reading, and
for a form that proves that it is ours; it never leaves the site it came from (`SameSite=Strict`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from dure.control.access import Caller
from dure.control.ports import RandomBytes
from dure.model.units import MINUTE_MS

COOKIE = "dure_session"
TICKET_BYTES = 32
TICKET_LIVES_MS = 10 * MINUTE_MS
MOST_TICKETS = 1_000


class Ticket(Struct, frozen=True, kw_only=True):
    """A right to sign in once, as `caller`, until `until_ms`."""

    caller: Caller
    until_ms: int


class Sessions:
    """Tickets that were not used yet, and the cookie that holds a session."""

    def __init__(self, tickets: RandomBytes, *, is_secure: bool = False, public_url: str = "") -> None:
        self._random = tickets
        self._public_url = public_url
        self._open: dict[str, Ticket] = {}
        self._is_secure = is_secure
        # A browser lets no other host and no plain http set a cookie of this name.
        self.cookie = f"__Host-{COOKIE}" if is_secure else COOKIE

    def new_ticket(self, caller: Caller, now_ms: int) -> str:
        """A ticket for whoever asks; the oldest is forgotten when there are too many."""
        while len(self._open) >= MOST_TICKETS:
            del self._open[next(iter(self._open))]
        text = base64.urlsafe_b64encode(self._random(TICKET_BYTES)).rstrip(b"=").decode()
        self._open[_digest(text)] = Ticket(caller=caller, until_ms=now_ms + TICKET_LIVES_MS)
        return text

    def redeem(self, ticket: str, now_ms: int) -> Caller | None:
        """Who a ticket signs in; None when it was used, is too old, or never was."""
        found = self._open.pop(_digest(ticket), None)
        return None if found is None or found.until_ms < now_ms else found.caller

    def of(self, request: Request) -> str:
        """The session that a browser shows; empty when it shows none."""
        return request.cookies.get(self.cookie, "")

    def is_own_form(self, request: Request, given: str) -> bool:
        """True when a form was sent from a page of ours: by its token, and by what the browser says of its origin."""
        origin = request.headers.get("origin", "")
        # A proxy may have put another name in place of the one that the browser knows.
        is_own_origin = bool(origin) and (
            origin == self._public_url or origin.partition("://")[2] == request.headers.get("host", "")
        )
        is_own_site = request.headers.get("sec-fetch-site", "same-origin") == "same-origin"
        wanted = form_token(self.of(request))
        return is_own_origin and is_own_site and hmac.compare_digest(given.encode(), wanted.encode())

    def give(self, answer: Response, session: str, lives_ms: int) -> None:
        """Have the browser keep a session."""
        answer.set_cookie(
            self.cookie, session, max_age=lives_ms // 1000, httponly=True, samesite="strict", secure=self._is_secure
        )

    def take_away(self, answer: Response) -> None:
        """Have the browser forget its session."""
        answer.delete_cookie(self.cookie, httponly=True, samesite="strict", secure=self._is_secure)


def form_token(session: str) -> str:
    """What a form of ours has and no other site can know: it follows from the session, which only its browser has."""
    return hashlib.sha256(f"form {session}".encode()).hexdigest()


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()
