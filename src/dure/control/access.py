"""Who may ask for what: roles, their permissions, and the bearer tokens that prove them.

Everything is denied unless a role's line below grants it. A token is 32 random bytes, shown once; what is kept is its
SHA-256, so a copied database lets nobody in.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from enum import StrEnum

import msgspec
from msgspec import Struct

from dure.control.ports import Row
from dure.reports.viewer import Viewer

TOKEN_BYTES = 32
BEARER_PREFIX = "dure_"
"""The mark by which scanners of code and logs recognise a leaked token."""


class Role(StrEnum):
    """What a token is for."""

    OPERATOR = "operator"
    AUDITOR = "auditor"
    MEMBER = "member"


class Permission(StrEnum):
    """What a request needs. Which jobs and projects it may then touch is asked again where they are handled."""

    READ = "read"
    AUDIT = "audit"
    SUBMIT = "submit"
    OPERATE = "operate"


GRANTS: dict[Role, frozenset[Permission]] = {
    Role.OPERATOR: frozenset(Permission),
    Role.AUDITOR: frozenset({Permission.READ, Permission.AUDIT}),
    Role.MEMBER: frozenset({Permission.READ, Permission.SUBMIT}),
}


class Caller(Struct, frozen=True, kw_only=True):
    """Whoever sent a request: the opaque id of the token, its role, and the organisation it speaks for."""

    id: str
    role: Role
    organisation: str = ""

    def may(self, permission: Permission) -> bool:
        """True when the role grants it."""
        return permission in GRANTS[self.role]

    def speaks_for(self, organisation: str) -> bool:
        """True when the caller may act for this organisation; operators may for all."""
        return self.role is Role.OPERATOR or (bool(organisation) and organisation == self.organisation)

    @property
    def viewer(self) -> Viewer:
        """What the caller sees of other people's jobs."""
        return Viewer(organisation=self.organisation, sees_everything=self.may(Permission.AUDIT))


PLATFORM = Caller(id="platform", role=Role.OPERATOR)
"""The platform itself, for what it does of its own accord."""


class TokenCard(Struct, frozen=True, kw_only=True):
    """A token as it is listed: never the token itself."""

    id: str
    role: Role
    organisation: str
    by: str
    issued_at_ms: int


def token_text(random_bytes: bytes) -> str:
    """The bearer token as people copy it."""
    return BEARER_PREFIX + base64.urlsafe_b64encode(random_bytes).rstrip(b"=").decode()


def token_digest(token: str) -> str:
    """What is kept of a bearer token: hexadecimal SHA-256."""
    return hashlib.sha256(token.encode()).hexdigest()


class Tokens:
    """The tokens that are accepted now, by digest and by id."""

    def __init__(self, rows: Iterable[tuple[str, bytes]]) -> None:
        self._by_digest: dict[str, TokenCard] = {
            digest: msgspec.json.decode(body, type=TokenCard) for digest, body in rows
        }
        self._digest_of = {card.id: digest for digest, card in self._by_digest.items()}

    def caller(self, token: str) -> Caller | None:
        """Whoever holds this token, if it is accepted."""
        card = self._by_digest.get(token_digest(token))
        return None if card is None else Caller(id=card.id, role=card.role, organisation=card.organisation)

    def card(self, token_id: str) -> TokenCard | None:
        """The token with this id, if it is accepted."""
        digest = self._digest_of.get(token_id)
        return self._by_digest[digest] if digest else None

    def cards(self) -> list[TokenCard]:
        """Every accepted token, oldest first."""
        return list(self._by_digest.values())

    def add(self, digest: str, card: TokenCard) -> Row:
        """Accept a token from now on; the row makes it durable."""
        self._by_digest[digest] = card
        self._digest_of[card.id] = digest
        return Row("tokens", digest, msgspec.json.encode(card))

    def remove(self, token_id: str) -> Row:
        """Accept a token no longer; the row makes it durable."""
        digest = self._digest_of.pop(token_id)
        del self._by_digest[digest]
        return Row("tokens", digest, None)
