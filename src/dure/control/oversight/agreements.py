"""Agreements: offered by one side, answered by the other, ended by either. Nobody answers their own offer."""

from __future__ import annotations

from typing import assert_never

from dure.control.access import Caller, Permission
from dure.control.draft import Draft
from dure.control.oversight.agreement_requests import (
    AcceptAgreement,
    AgreementRequest,
    AgreementStands,
    CounterAgreement,
    DeclineAgreement,
    EndAgreement,
    OfferAgreement,
)
from dure.control.requests import NotDone, NotDoneCode, Reply
from dure.intake.agreement_rules import crosses_a_border, refuse_terms
from dure.intake.refusals import Refusal
from dure.model.agreements import NEXT_STATES, Agreement, AgreementState, Terms
from dure.model.oversight import (
    AgreementAccepted,
    AgreementDeclined,
    AgreementEnded,
    AgreementOffered,
    AgreementRefused,
)

PROGRAMME = ""
"""The side of who ends an agreement for the programme and for neither party."""


def handle_agreement(request: AgreementRequest, draft: Draft) -> Reply:
    """Carry out one request about an agreement, or say why not."""
    match request:
        case OfferAgreement():
            return _offer(request, draft)
        case CounterAgreement():
            return _counter(request, draft)
        case AcceptAgreement():
            return _accept(request, draft)
        case DeclineAgreement():
            return _decline(request, draft)
        case EndAgreement():
            return _end(request, draft)
        case _:
            assert_never(request)


def _offer(request: OfferAgreement, draft: Draft) -> Reply:
    side = request.organisation or request.caller.organisation or request.terms.provider
    no = _not_their_side(request.caller, side, request.terms) or _refused(request.terms, side, request.caller, draft)
    if no is not None:
        return no
    return _record_offer(f"a{len(draft.register.agreements) + 1}", request.terms, side, request.caller, draft)


def _counter(request: CounterAgreement, draft: Draft) -> Reply:
    found = _found(request.agreement, request.caller, draft)
    if isinstance(found, NotDone):
        return found
    side = request.organisation or request.caller.organisation or _other_side(found)
    no = (
        _not_their_side(request.caller, side, found.terms)
        or _not_open(found, AgreementState.NEGOTIATING)
        or _own_offer(found, side, request.caller)
        or _other_parties(found, request.terms)
        or _refused(request.terms, side, request.caller, draft)
    )
    return no if no is not None else _record_offer(found.id, request.terms, side, request.caller, draft)


def _accept(request: AcceptAgreement, draft: Draft) -> Reply:
    found = _found(request.agreement, request.caller, draft)
    if isinstance(found, NotDone):
        return found
    side = request.organisation or request.caller.organisation or _other_side(found)
    no = (
        _not_their_side(request.caller, side, found.terms)
        or _not_open(found, AgreementState.AGREED)
        or _own_offer(found, side, request.caller)
        or _other_version(found, request.version)
        or _refused(found.terms, side, request.caller, draft)
    )
    if no is not None:
        return no
    draft.record(
        AgreementAccepted(
            at_ms=draft.now_ms,
            agreement=found.id,
            version=found.version,
            organisation=side,
            by=_person(request.caller),
        )
    )
    return _standing(found.id, draft)


def _decline(request: DeclineAgreement, draft: Draft) -> Reply:
    found = _found(request.agreement, request.caller, draft)
    if isinstance(found, NotDone):
        return found
    side = request.organisation or request.caller.organisation or _other_side(found)
    no = (
        _not_their_side(request.caller, side, found.terms)
        or _not_open(found, AgreementState.DECLINED)
        or _should_end_it(found, side)
    )
    if no is not None:
        return no
    by = _person(request.caller)
    draft.record(AgreementDeclined(at_ms=draft.now_ms, agreement=found.id, organisation=side, by=by))
    return _standing(found.id, draft)


def _end(request: EndAgreement, draft: Draft) -> Reply:
    found = _found(request.agreement, request.caller, draft)
    if isinstance(found, NotDone):
        return found
    side = request.organisation or request.caller.organisation or PROGRAMME
    no = (
        (_not_their_side(request.caller, side, found.terms) if side else None)
        or _not_open(found, AgreementState.ENDED)
        or _should_decline_it(found, side)
    )
    if no is not None:
        return no
    draft.record(
        AgreementEnded(
            at_ms=draft.now_ms,
            agreement=found.id,
            by=_person(request.caller),
            reason=request.reason,
            organisation=side,
        )
    )
    return _standing(found.id, draft)


def _record_offer(agreement: str, terms: Terms, side: str, caller: Caller, draft: Draft) -> AgreementStands:
    draft.record(
        AgreementOffered(
            at_ms=draft.now_ms,
            agreement=agreement,
            terms=terms,
            organisation=side,
            by=_person(caller),
            needs_approval=crosses_a_border(terms, draft.world.nation),
        )
    )
    return _standing(agreement, draft)


def _refused(terms: Terms, side: str, caller: Caller, draft: Draft) -> Refusal | None:
    """Why the terms cannot be agreed. That somebody tried to grant what is not theirs is evidence, so it is kept."""
    refusal = refuse_terms(terms, draft.world.nation, draft.now_ms)
    if refusal is not None:
        event = AgreementRefused(
            at_ms=draft.now_ms, terms=terms, organisation=side, by=_person(caller), rule=refusal.code.value
        )
        draft.record(event)
    return refusal


def _standing(agreement: str, draft: Draft) -> AgreementStands:
    found = draft.register.agreements[agreement]
    is_over = not NEXT_STATES[found.state]
    return AgreementStands(
        agreement=found.id,
        state=found.state,
        version=found.version,
        needs_approval=found.needs_approval and not found.approved and not is_over,
    )


def _person(caller: Caller) -> str:
    """Who asks, by opaque id: an account, or a token that belongs to none."""
    return caller.account or caller.id


def _found(agreement: str, caller: Caller, draft: Draft) -> Agreement | NotDone:
    """The agreement, if the caller may know of it: that of others is as unknown as one that does not exist."""
    found = draft.register.agreements.get(agreement)
    if found is not None and (_governs(caller) or caller.organisation in _parties(found.terms)):
        return found
    message = f"There is no agreement {agreement}; `dure agreement list` shows yours."
    return NotDone(code=NotDoneCode.UNKNOWN_AGREEMENT, message=message)


def _governs(caller: Caller) -> bool:
    return not caller.organisation and caller.may(Permission.GOVERN)


def _parties(terms: Terms) -> tuple[str, str]:
    return terms.provider, terms.recipient


def _other_side(agreement: Agreement) -> str:
    """The party whose turn it is to answer."""
    provider, recipient = _parties(agreement.terms)
    return recipient if agreement.offered_by == provider else provider


def _not_their_side(caller: Caller, side: str, terms: Terms) -> NotDone | None:
    """Everybody speaks for a party, and whoever is of an organisation for that one, as a whole."""
    if side not in _parties(terms):
        message = f"{side or 'Nobody'} is no party to this: it is between {terms.provider} and {terms.recipient}."
    elif caller.organisation and caller.organisation != side:
        message = f"You speak for {caller.organisation} only, not for {side}."
    elif caller.project:
        message = f"Your token is for the project {caller.project} only; it binds no organisation."
    else:
        return None
    return NotDone(code=NotDoneCode.NOT_YOUR_SIDE, message=message)


def _own_offer(agreement: Agreement, side: str, caller: Caller) -> NotDone | None:
    """The other side answers an offer, and another person: whoever may speak for both agrees with nobody."""
    if side == agreement.offered_by:
        message = f"{side} offered these terms; {_other_side(agreement)} must answer them."
    elif agreement.offer.by == _person(caller):
        message = f"You offered these terms yourself, for {agreement.offered_by}; somebody else must answer them."
    else:
        return None
    return NotDone(code=NotDoneCode.OWN_OFFER, message=message)


def _not_open(agreement: Agreement, wanted: AgreementState) -> NotDone | None:
    if wanted in NEXT_STATES[agreement.state]:
        return None
    message = f"{agreement.id} is {agreement.state.value} and cannot be {wanted.value} any more; offer a new agreement."
    return NotDone(code=NotDoneCode.AGREEMENT_NOT_OPEN, message=message)


def _other_version(agreement: Agreement, version: int) -> NotDone | None:
    """Nobody agrees to terms that they have not seen."""
    if version == agreement.version:
        return None
    message = (
        f"{agreement.id} has version {agreement.version} of its terms now, not {version}; "
        f"read them first: dure agreement show {agreement.id}"
    )
    return NotDone(code=NotDoneCode.TERMS_HAVE_CHANGED, message=message)


def _other_parties(agreement: Agreement, terms: Terms) -> NotDone | None:
    if _parties(agreement.terms) == _parties(terms):
        return None
    message = (
        f"{agreement.id} is between {' and '.join(_parties(agreement.terms))}; others need an agreement of their own."
    )
    return NotDone(code=NotDoneCode.PARTIES_ARE_FIXED, message=message)


def _should_end_it(agreement: Agreement, side: str) -> NotDone | None:
    if side != agreement.offered_by:
        return None
    message = f"{side} offered this itself; take it back with `dure agreement end {agreement.id}`."
    return NotDone(code=NotDoneCode.OWN_OFFER, message=message)


def _should_decline_it(agreement: Agreement, side: str) -> NotDone | None:
    is_open = agreement.state is not AgreementState.AGREED
    if side in (agreement.offered_by, PROGRAMME) or not is_open:
        return None
    message = f"{agreement.offered_by} offered this; turn it down with `dure agreement decline {agreement.id}`."
    return NotDone(code=NotDoneCode.AGREEMENT_NOT_OPEN, message=message)
