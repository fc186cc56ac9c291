"""How a browser signs in: a one-time link sets a cookie that only the server can read.

A ticket is random, works once and for ten minutes. The cookie holds the id of the token it stands for, sealed; it is
accepted only for reading, never leaves the site it came from (`SameSite=Strict`), and dies with its token.
"""

from __future__ import annotations

import base64
import hashlib

import msgspec
from msgspec import Struct

from dure.control.access import Caller
from dure.control.memory import Memory
from dure.control.ports import RandomBytes
from dure.model.units import HOUR_MS, MINUTE_MS

COOKIE = "dure_session"
TICKET_BYTES = 32
TICKET_LIVES_MS = 10 * MINUTE_MS
SESSION_LIVES_MS = 12 * HOUR_MS
MOST_TICKETS = 1_000
_PURPOSE = "session"


class Session(Struct, frozen=True, kw_only=True):
    """What a cookie says once it is opened."""

    token: str
    until_ms: int


class Ticket(Struct, frozen=True, kw_only=True):
    """A right to sign in once, as `token`, until `until_ms`."""

    token: str
    until_ms: int


class Sessions:
    """Tickets that were not used yet, and the sealing of cookies."""

    def __init__(self, tickets: RandomBytes) -> None:
        self._random = tickets
        self._open: dict[str, Ticket] = {}

    def new_ticket(self, caller: Caller, now_ms: int) -> str:
        """A ticket for whoever asks; the oldest is forgotten when there are too many."""
        while len(self._open) >= MOST_TICKETS:
            del self._open[next(iter(self._open))]
        text = base64.urlsafe_b64encode(self._random(TICKET_BYTES)).rstrip(b"=").decode()
        self._open[_digest(text)] = Ticket(token=caller.id, until_ms=now_ms + TICKET_LIVES_MS)
        return text

    def cookie_for(self, ticket: str, memory: Memory, now_ms: int) -> str | None:
        """The cookie that a ticket buys; None when it was used, is too old, or never was."""
        found = self._open.pop(_digest(ticket), None)
        if found is None or found.until_ms < now_ms:
            return None
        session = Session(token=found.token, until_ms=now_ms + SESSION_LIVES_MS)
        return base64.urlsafe_b64encode(memory.vault.seal(msgspec.json.encode(session), _PURPOSE)).decode()

    def caller(self, cookie: str, memory: Memory, now_ms: int) -> Caller | None:
        """Whoever a cookie stands for, while both the cookie and its token are accepted."""
        try:
            sealed = base64.urlsafe_b64decode(cookie)
        except ValueError:
            return None
        opened = memory.vault.open(sealed, _PURPOSE)
        if opened is None:
            return None
        session = msgspec.json.decode(opened, type=Session)
        card = memory.tokens.card(session.token)
        if card is None or session.until_ms < now_ms:
            return None
        return Caller(id=card.id, role=card.role, organisation=card.organisation)


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()
