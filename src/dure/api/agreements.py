"""Operations on agreements. To everybody but its parties and the programme, an agreement does not exist."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from starlette.responses import Response

from dure.api.bodies import YAML, bad_document, media_type, read_struct, text_of, unsupported
from dure.api.operations import Call
from dure.api.platform import Platform
from dure.api.problems import SECURITY_HEADERS
from dure.api.replies import done, not_done
from dure.control.oversight.agreement_requests import (
    AcceptAgreement,
    CounterAgreement,
    DeclineAgreement,
    EndAgreement,
    OfferAgreement,
)
from dure.control.requests import Answer, NotDoneCode
from dure.governance.odrl import odrl_policy
from dure.intake.agreements import terms_from_yaml
from dure.intake.refusals import BadInput
from dure.model.agreements import Agreement, Terms
from dure.reports.agreements import AgreementReport, AgreementsReport, agreement_report, may_see

LD_JSON = "application/ld+json"

Side = Annotated[str, Meta(max_length=63)]
Reason = Annotated[str, Meta(max_length=500)]


class Acceptance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which version of the terms is accepted, and for which side; the side whose turn it is unless it is named."""

    version: int
    organisation: Side = ""


class Refusing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For which side an offer is turned down."""

    organisation: Side = ""


class Ending(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why an agreement ends, and for which side; for the programme unless one is named."""

    reason: Reason = ""
    organisation: Side = ""


async def listing(platform: Platform, call: Call) -> AgreementsReport:
    """The agreements that the caller's organisation is a party to; all of them for the programme."""
    return platform.agreements(call.caller.viewer)


async def one(platform: Platform, call: Call) -> AgreementReport:
    """One agreement: its terms, its history, and what was computed on it."""
    agreement, now_ms = _found(platform, call), platform.clock.now_ms()
    jobs = tuple(platform.control.memory.register.jobs_on.get(agreement.id, ()))
    # Every attempt there ever was is read, which may take a while; the loop goes on meanwhile.
    return await asyncio.to_thread(lambda: agreement_report(agreement, jobs, platform.attempts(), now_ms))


async def odrl(platform: Platform, call: Call) -> Response:
    """One agreement as an ODRL policy (JSON-LD)."""
    policy = odrl_policy(_found(platform, call), platform.nation())
    return Response(msgspec.json.format(msgspec.json.encode(policy)), 200, SECURITY_HEADERS, LD_JSON)


async def offer(platform: Platform, call: Call) -> Answer:
    """Offer terms to another organisation. They are refused when they grant what their parties may not grant."""
    request = OfferAgreement(caller=call.caller, terms=_terms(call), organisation=call.text("organisation"))
    return done(await platform.ask(request))


async def counter(platform: Platform, call: Call) -> Answer:
    """Answer an offer with other terms, which the other side has to answer then."""
    name, side = _found(platform, call).id, call.text("organisation")
    return done(
        await platform.ask(CounterAgreement(caller=call.caller, agreement=name, terms=_terms(call), organisation=side))
    )


async def accept(platform: Platform, call: Call) -> Answer:
    """Agree to the terms of a version. What crosses a border counts once two people of the programme approved it."""
    name, wanted = _found(platform, call).id, read_struct(call, Acceptance)
    request = AcceptAgreement(
        caller=call.caller, agreement=name, version=wanted.version, organisation=wanted.organisation
    )
    return done(await platform.ask(request))


async def decline(platform: Platform, call: Call) -> Answer:
    """Turn an offer down."""
    name, wanted = _found(platform, call).id, read_struct(call, Refusing)
    request = DeclineAgreement(caller=call.caller, agreement=name, organisation=wanted.organisation)
    return done(await platform.ask(request))


async def end(platform: Platform, call: Call) -> Answer:
    """Take an offer back, or end an agreement at once, before its time."""
    name, wanted = _found(platform, call).id, read_struct(call, Ending)
    request = EndAgreement(
        caller=call.caller,
        agreement=name,
        reason=wanted.reason,
        organisation=wanted.organisation,
    )
    return done(await platform.ask(request))


def _found(platform: Platform, call: Call) -> Agreement:
    name = call.path("agreement")
    agreement = platform.control.memory.register.agreements.get(name)
    if agreement is None or not may_see(call.caller.viewer, agreement):
        message = f"There is no agreement {name}; `dure agreement list` shows yours."
        raise not_done(NotDoneCode.UNKNOWN_AGREEMENT, message)
    return agreement


def _terms(call: Call) -> Terms:
    if media_type(call) != YAML:
        raise unsupported(media_type(call), (YAML,))
    try:
        return terms_from_yaml(text_of(call))
    except BadInput as bad:
        raise bad_document("The agreement file", bad) from None
