"""Requests: what each of them changes, or why it is not done. Effects come last, after every reason to say no."""

from __future__ import annotations

from typing import assert_never

from dure.control.access import TOKEN_BYTES, Role, TokenCard, token_digest, token_text
from dure.control.draft import Draft
from dure.control.memory import Memory
from dure.control.nations import apply_nation
from dure.control.requests import (
    ApplyNation,
    CancelJob,
    ChangeContact,
    ChangeNode,
    Done,
    IssueToken,
    JobStands,
    NodeStands,
    NotDone,
    NotDoneCode,
    Reply,
    Request,
    RevokeToken,
    StoreSecret,
    SubmitJob,
    SubmitJobs,
    TokenIssuedOnce,
)
from dure.control.submission import submit, submit_all
from dure.model.events import (
    CancelRequested,
    NodeChanged,
    SecretStored,
    SiteContact,
    SiteContactChanged,
    TokenIssued,
    TokenRevoked,
)


def handle(request: Request, memory: Memory, draft: Draft) -> Reply:
    """Carry out one request against the world as the requests before it left it."""
    match request:
        case SubmitJob():
            return submit(request, memory, draft)
        case SubmitJobs():
            return submit_all(request, memory, draft)
        case CancelJob():
            return _cancel(request, draft)
        case ApplyNation():
            return apply_nation(request, memory, draft)
        case ChangeNode():
            return _change_node(request, draft)
        case ChangeContact():
            return _change_contact(request, draft)
        case IssueToken():
            return _issue_token(request, memory, draft)
        case RevokeToken():
            return _revoke_token(request, memory, draft)
        case StoreSecret():
            return _store_secret(request, memory, draft)
        case _:
            assert_never(request)


def _cancel(request: CancelJob, draft: Draft) -> Reply:
    card = draft.world.card_of(request.job)
    if card is None:
        return NotDone(code=NotDoneCode.UNKNOWN_JOB, message=f"No job {request.job} waits or runs.")
    owner = draft.world.nation.organisation_of(card.submitted.project)
    if not request.caller.speaks_for(owner.name if owner else ""):
        return NotDone(code=NotDoneCode.NOT_YOUR_JOB, message=f"{request.job} belongs to another organisation.")
    if card.state.is_final:
        return NotDone(code=NotDoneCode.JOB_IS_OVER, message=f"{request.job} is over: {card.state.value}.")
    if not card.cancel_requested:
        draft.record(CancelRequested(at_ms=draft.now_ms, job=request.job, by=request.caller.id))
    after = draft.world.card_of(request.job)
    return JobStands(job=request.job, state=after.state if after else card.state)


def _change_node(request: ChangeNode, draft: Draft) -> Reply:
    if not draft.world.atlas.has_node(request.node):
        message = f"There is no node {request.node}; `dure nodes` lists them."
        return NotDone(code=NotDoneCode.UNKNOWN_NODE, message=message)
    node = draft.world.node(request.node)
    if node.state != request.state:
        draft.record(NodeChanged(at_ms=draft.now_ms, node=request.node, state=request.state, by=request.caller.id))
    return NodeStands(node=request.node, state=request.state, jobs=node.jobs)


def _change_contact(request: ChangeContact, draft: Draft) -> Reply:
    contact = SiteContact.LOST if request.problem else SiteContact.CONNECTED
    draft.record(SiteContactChanged(at_ms=draft.now_ms, site=request.site, contact=contact, detail=request.problem))
    return Done()


def _issue_token(request: IssueToken, memory: Memory, draft: Draft) -> Reply:
    known = {each.name for each in draft.world.nation.organisations}
    needs_organisation = request.role is Role.MEMBER
    if needs_organisation and not request.organisation:
        message = "A member's token is for one organisation; name it as organisation."
        return NotDone(code=NotDoneCode.UNKNOWN_ORGANISATION, message=message)
    if needs_organisation and request.organisation not in known:
        message = f"A member's token is for one organisation; {request.organisation!r} is not one of this nation."
        return NotDone(code=NotDoneCode.UNKNOWN_ORGANISATION, message=message)
    if not needs_organisation and request.organisation:
        message = f"A token with the role {request.role.value} is for no organisation; leave it out."
        return NotDone(code=NotDoneCode.UNKNOWN_ORGANISATION, message=message)
    text = token_text(memory.random.tokens(TOKEN_BYTES))
    card = TokenCard(
        id=memory.next_token(),
        role=request.role,
        organisation=request.organisation,
        by=request.caller.id,
        issued_at_ms=draft.now_ms,
    )
    draft.record(
        TokenIssued(
            at_ms=draft.now_ms, token=card.id, role=card.role, organisation=card.organisation, by=request.caller.id
        )
    )
    draft.rows.append(memory.tokens.add(token_digest(text), card))
    return TokenIssuedOnce(text=text, card=card)


def _revoke_token(request: RevokeToken, memory: Memory, draft: Draft) -> Reply:
    if memory.tokens.card(request.token) is None:
        message = f"There is no token {request.token}; `dure token list` shows them."
        return NotDone(code=NotDoneCode.NO_SUCH_BEARER, message=message)
    draft.record(TokenRevoked(at_ms=draft.now_ms, token=request.token, by=request.caller.id))
    draft.rows.append(memory.tokens.remove(request.token))
    return Done()


def _store_secret(request: StoreSecret, memory: Memory, draft: Draft) -> Reply:
    owner = draft.world.nation.organisation_of(request.project)
    if owner is None:
        return NotDone(code=NotDoneCode.UNKNOWN_PROJECT, message=f"There is no project {request.project}.")
    if not request.caller.speaks_for(owner.name):
        message = f"The project {request.project} belongs to another organisation."
        return NotDone(code=NotDoneCode.NOT_YOUR_PROJECT, message=message)
    draft.record(SecretStored(at_ms=draft.now_ms, project=request.project, name=request.name, by=request.caller.id))
    draft.rows.append(memory.secrets.put(request.project, request.name, request.value))
    return Done()
