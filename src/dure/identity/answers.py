"""What an identity provider answers, once it was understood: somebody, not yet, no, or something not to be believed."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from dure.control.access import Grant
from dure.identity.settings import GroupRole


class Disbelief(StrEnum):
    """Why an ID token is not believed. Other programs match on these: add, but never rename."""

    MALFORMED = "id-token-malformed"
    ALGORITHM = "id-token-algorithm"
    UNKNOWN_KEY = "id-token-unknown-key"
    SIGNATURE = "id-token-signature"
    ISSUER = "id-token-issuer"
    AUDIENCE = "id-token-audience"
    EXPIRED = "id-token-expired"
    NOT_YET = "id-token-from-the-future"
    TOO_OLD = "id-token-too-old"
    NONCE = "id-token-nonce"
    NO_SUBJECT = "id-token-without-subject"


class NotBelieved(Exception):
    """An ID token that proves nothing."""

    def __init__(self, why: Disbelief) -> None:
        super().__init__(why.value)
        self.why = why


class ProviderUnreachable(Exception):
    """The provider does not answer, or not as it should; the message is for our log."""


class ProviderRefused(Exception):
    """The provider says no: to a code, to a device, to our client. `code` is its OAuth error."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class DeviceCode(Struct, frozen=True, kw_only=True):
    """The provider's answer to a device: what its owner does elsewhere, and what the device asks with meanwhile."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str = ""
    expires_in: int = 600
    interval: int = 5


class Person(Struct, frozen=True, kw_only=True):
    """Somebody who proved who they are. `issuer` and `subject` together never mean anybody else."""

    issuer: str
    subject: str
    name: str
    groups: tuple[str, ...]


class Pending(Struct, frozen=True, kw_only=True):
    """The owner of a device has not decided yet; ask again after so many seconds more than before."""

    longer_by_s: int


def grants_of(groups: Sequence[str], roles: Sequence[GroupRole], organisations: frozenset[str]) -> tuple[Grant, ...]:
    """What somebody in these groups may do here, in the order of the identity file.

    A role in an organisation that the nation does not have is none.
    """
    found = (
        each.grant
        for each in roles
        if each.group in groups and (not each.grant.organisation or each.grant.organisation in organisations)
    )
    return tuple(dict.fromkeys(found))
