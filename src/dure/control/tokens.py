"""The tokens that prove who asks. A token is 32 random bytes, shown once.

What is kept of one is its SHA-256, so a copied database lets nobody in. A browser's session is a token too, of a kind
of its own: neither is ever accepted in the other's place.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from enum import StrEnum

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dure.control.access import Caller, Grant, Permission, Role
from dure.control.ports import Row
from dure.model.units import DAY_MS, MINUTE_MS

TOKEN_BYTES = 32
BEARER_PREFIX = "dure_"
"""The mark by which scanners of code and logs recognise a leaked token."""
SESSION_PREFIX = "dures_"

USE_KEPT_EVERY_MS = 10 * MINUTE_MS
"""How finely the last use of a token is kept: no request pays for a write of its own."""
EXPIRED_LISTED_MS = 30 * DAY_MS
"""How long an expired token stays in the list, so that people see why something stopped working."""


class TokenKind(StrEnum):
    """Where a token may be shown."""

    BEARER = "bearer"
    SESSION = "session"
    """In a browser's cookie, and nowhere else."""


_PREFIXES = {TokenKind.BEARER: BEARER_PREFIX, TokenKind.SESSION: SESSION_PREFIX}


class TokenCard(Struct, frozen=True, kw_only=True):
    """A token as it is listed: never the token itself."""

    id: str
    role: Role
    organisation: str
    by: str
    issued_at_ms: int
    kind: TokenKind = TokenKind.BEARER
    scope: tuple[Permission, ...] = ()
    """What it is left with of its role; all of it when empty."""
    project: str = ""
    """The one project whose jobs it touches; any of the organisation's when empty."""
    expires_at_ms: int = 0
    """From when on it is not accepted any more; 0 for never."""
    idle_ms: int = 0
    """Without use for so long, it is not accepted any more; 0 for a token that may lie idle."""
    used_at_ms: int = 0
    """Its last use, to within ten minutes; 0 before the first."""
    account: str = ""
    parent: str = ""
    """The token that this one was made with, and with which it ends."""

    @property
    def grant(self) -> Grant:
        """Role and organisation."""
        return Grant(role=self.role, organisation=self.organisation)


def token_text(random_bytes: bytes, kind: TokenKind = TokenKind.BEARER) -> str:
    """The token as people copy it, or as a browser keeps it."""
    return _PREFIXES[kind] + base64.urlsafe_b64encode(random_bytes).rstrip(b"=").decode()


def token_digest(token: str) -> str:
    """What is kept of a token: hexadecimal SHA-256."""
    return hashlib.sha256(token.encode()).hexdigest()


class _Held:
    """An accepted token in memory: its row, the caller it makes, and when it was last used."""

    __slots__ = ("caller", "card", "digest", "kept_ms", "used_ms")

    def __init__(self, digest: str, card: TokenCard) -> None:
        self.digest = digest
        self.card = card
        self.caller = Caller(
            id=card.id,
            role=card.role,
            organisation=card.organisation,
            account=card.account,
            scope=frozenset(card.scope or Permission),
            project=card.project,
        )
        self.used_ms = self.kept_ms = card.used_at_ms

    @property
    def last_use_ms(self) -> int:
        """When it was last used, coarsely; 0 before the first use."""
        return max(self.used_ms - self.used_ms % USE_KEPT_EVERY_MS, self.card.issued_at_ms) if self.used_ms else 0

    def is_accepted(self, now_ms: int) -> bool:
        """True until it expires, or lies idle too long."""
        card = self.card
        if card.expires_at_ms and now_ms >= card.expires_at_ms:
            return False
        return not card.idle_ms or now_ms < max(self.used_ms, card.issued_at_ms) + card.idle_ms


class Tokens:
    """The tokens that were issued and not revoked, by digest and by id."""

    def __init__(self, rows: Iterable[tuple[str, bytes]]) -> None:
        self._by_digest: dict[str, _Held] = {}
        self._by_id: dict[str, _Held] = {}
        self._used: dict[str, _Held] = {}
        for digest, body in rows:
            self._hold(_Held(digest, msgspec.json.decode(body, type=TokenCard)))

    def caller(self, token: str, now_ms: int, kind: TokenKind = TokenKind.BEARER) -> Caller | None:
        """Whoever holds this token, if it is accepted now. Notes that it was used."""
        held = self._by_digest.get(token_digest(token))
        if held is None or held.card.kind is not kind or not held.is_accepted(now_ms):
            return None
        held.used_ms = now_ms
        if now_ms - held.kept_ms >= USE_KEPT_EVERY_MS:
            held.kept_ms = now_ms
            self._used[held.card.id] = held
        return held.caller

    def is_accepted(self, token_id: str, now_ms: int) -> bool:
        """True while a token is good that somebody watches with; to watch is to use it."""
        held = self._by_id.get(token_id)
        if held is None or not held.is_accepted(now_ms):
            return False
        held.used_ms = now_ms
        return True

    def knows(self, token: str, kind: TokenKind) -> bool:
        """True for a token that was once good: telling its holder so reveals nothing to anybody else."""
        held = self._by_digest.get(token_digest(token))
        return held is not None and held.card.kind is kind

    def card(self, token_id: str) -> TokenCard | None:
        """The token with this id, accepted or expired."""
        held = self._by_id.get(token_id)
        return None if held is None else held.card

    def cards(self) -> list[TokenCard]:
        """Every token that was not revoked, oldest first, with its last use."""
        return [replace(held.card, used_at_ms=held.last_use_ms) for held in self._by_id.values()]

    def of_account(self, account: str) -> list[TokenCard]:
        """All tokens of a person or service."""
        return [held.card for held in self._by_id.values() if held.card.account == account]

    def children(self, token_id: str) -> list[TokenCard]:
        """The sessions that were made with this token."""
        return [held.card for held in self._by_id.values() if held.card.parent == token_id]

    def add(self, digest: str, card: TokenCard) -> Row:
        """Accept a token from now on; the row makes it durable."""
        self._hold(_Held(digest, card))
        return Row("tokens", digest, msgspec.json.encode(card))

    def remove(self, token_id: str) -> Row:
        """Accept a token no longer; the row makes it durable."""
        held = self._by_id.pop(token_id)
        self._used.pop(token_id, None)
        del self._by_digest[held.digest]
        return Row("tokens", held.digest, None)

    def forgotten(self, now_ms: int) -> Iterator[Row]:
        """Stop listing what has long been over: tokens after thirty days, sessions at once."""
        for held in list(self._by_id.values()):
            listed_ms = 0 if held.card.kind is TokenKind.SESSION else EXPIRED_LISTED_MS
            if not held.is_accepted(now_ms - listed_ms):
                yield self.remove(held.card.id)

    def uses(self) -> Iterator[Row]:
        """Rows for the last uses that are not kept yet; they go with whatever is made durable next."""
        while self._used:
            _, held = self._used.popitem()
            held.card = replace(held.card, used_at_ms=held.last_use_ms)
            yield Row("tokens", held.digest, msgspec.json.encode(held.card))

    def _hold(self, held: _Held) -> None:
        self._by_digest[held.digest] = held
        self._by_id[held.card.id] = held
