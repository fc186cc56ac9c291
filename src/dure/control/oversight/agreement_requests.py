"""What is asked about agreements, and what is answered. `organisation` is the side it is asked for.

An organisation's administrator speaks for its own side. Operators and stewards may speak for either, and the ledger
says that it was they; empty means the side whose turn it is.
"""

from __future__ import annotations

from msgspec import Struct

from dure.control.access import Caller
from dure.model.agreements import AgreementState, Terms


class OfferAgreement(Struct, frozen=True, kw_only=True):
    """Offer these terms to the other side."""

    caller: Caller
    terms: Terms
    organisation: str = ""


class CounterAgreement(Struct, frozen=True, kw_only=True):
    """Answer an offer with other terms."""

    caller: Caller
    agreement: str
    terms: Terms
    organisation: str = ""


class AcceptAgreement(Struct, frozen=True, kw_only=True):
    """Agree to the terms of this version, which the caller has read."""

    caller: Caller
    agreement: str
    version: int
    organisation: str = ""


class DeclineAgreement(Struct, frozen=True, kw_only=True):
    """Turn down what the other side offered."""

    caller: Caller
    agreement: str
    organisation: str = ""


class EndAgreement(Struct, frozen=True, kw_only=True):
    """Take one's own offer back, or end what was agreed before its time."""

    caller: Caller
    agreement: str
    reason: str = ""
    organisation: str = ""


AgreementRequest = OfferAgreement | CounterAgreement | AcceptAgreement | DeclineAgreement | EndAgreement


class AgreementStands(Struct, frozen=True, kw_only=True):
    """Where an agreement is after a request about it."""

    agreement: str
    state: AgreementState
    version: int
    needs_approval: bool = False
    """Two people of the programme must still approve it before it counts."""
