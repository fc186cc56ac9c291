"""Who there is: people and services, each under an opaque id. Names and passwords are in rows that can be erased."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec
from msgspec import Struct

from dure.control.access import Grant
from dure.control.ports import Row

ACCOUNT_BYTES = 10


class AccountKind(StrEnum):
    """How somebody proves who they are."""

    PERSON = "person"
    """At the identity provider, which also says what they may do."""
    LOCAL = "local"
    """By a password, for when the identity provider is down."""
    SERVICE = "service"
    """By tokens only."""


class Account(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Row `accounts/{id}`: a person or service. Only `id`, `kind` and `grants` are in the ledger too."""

    id: str
    kind: AccountKind
    name: str
    grants: tuple[Grant, ...]
    by: str
    added_at_ms: int
    subject: str = ""
    """Of a person: what the identity provider's name for them is turned into. The one link from them to `id`."""
    password_hash: str = ""
    """Argon2id in its usual text form; empty for who has no password."""


class AccountLine(Struct, frozen=True, kw_only=True):
    """An account as it is listed."""

    id: str
    kind: AccountKind
    name: str
    grants: tuple[Grant, ...]
    by: str
    added_at_ms: int

    @classmethod
    def of(cls, account: Account) -> AccountLine:
        """Everything but the password."""
        return cls(**{field: getattr(account, field) for field in cls.__struct_fields__})


class Accounts:
    """All accounts, by id."""

    def __init__(self, rows: Iterable[tuple[str, bytes]]) -> None:
        self._by_id = {key: msgspec.json.decode(body, type=Account) for key, body in rows}

    def get(self, account: str) -> Account | None:
        """The account with this id."""
        return self._by_id.get(account)

    def named(self, name: str) -> Account | None:
        """The local or service account of this name. Names of people come from outside, and need not be unique."""
        own = (each for each in self._by_id.values() if each.kind is not AccountKind.PERSON)
        return next((each for each in own if each.name == name), None)

    def of_subject(self, subject: str) -> Account | None:
        """The account of a person at the identity provider. Once it was the id itself, and still is of old accounts."""
        return next((each for each in self._by_id.values() if each.subject == subject), self._by_id.get(subject))

    def all(self) -> list[Account]:
        """Every account, oldest first."""
        return list(self._by_id.values())

    def put(self, account: Account) -> Row:
        """Add or replace an account; the row makes it durable."""
        self._by_id[account.id] = account
        return Row("accounts", account.id, msgspec.json.encode(account))

    def remove(self, account: str) -> Row:
        """Forget an account with all that is personal about it; the row makes it durable."""
        del self._by_id[account]
        return Row("accounts", account, None)
