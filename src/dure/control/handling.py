"""Requests: what each of them changes, or why it is not done. Effects come last, after every reason to say no."""

from __future__ import annotations

from typing import assert_never

from dure.control.draft import Draft
from dure.control.forgetting import forget_person
from dure.control.granting import add_account, issue_token, open_session, remove_account, revoke_token, sign_in
from dure.control.memory import Memory
from dure.control.nations import apply_nation
from dure.control.oversight.agreement_requests import (
    AcceptAgreement,
    CounterAgreement,
    DeclineAgreement,
    EndAgreement,
    OfferAgreement,
)
from dure.control.oversight.agreements import handle_agreement
from dure.control.oversight.model_requests import ModelRequest
from dure.control.oversight.models import handle_model_request
from dure.control.oversight.proposals import approve, propose, withdraw
from dure.control.oversight.requests import ApproveChange, IssueStopOrder, ProposeChange, WithdrawChange
from dure.control.oversight.result_requests import ResultRequest
from dure.control.oversight.results import handle_results
from dure.control.oversight.stop_orders import issue_stop_order
from dure.control.people import ForgetPerson
from dure.control.requests import (
    AddAccount,
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
    OpenSession,
    RemoveAccount,
    Reply,
    Request,
    RevokeToken,
    SignIn,
    StoreSecret,
    SubmitJob,
    SubmitJobs,
)
from dure.control.submission import submit, submit_all
from dure.model.events import CancelRequested, NodeChanged, SecretStored, SiteContact, SiteContactChanged


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
            return issue_token(request, memory, draft)
        case OpenSession():
            return open_session(request, memory, draft)
        case SignIn():
            return sign_in(request, memory, draft)
        case RevokeToken():
            return revoke_token(request, memory, draft)
        case AddAccount():
            return add_account(request, memory, draft)
        case RemoveAccount():
            return remove_account(request, memory, draft)
        case ForgetPerson():
            return forget_person(request, memory, draft)
        case StoreSecret():
            return _store_secret(request, memory, draft)
        case OfferAgreement() | CounterAgreement() | AcceptAgreement() | DeclineAgreement() | EndAgreement():
            return handle_agreement(request, draft)
        case _ if isinstance(request, ModelRequest):
            return handle_model_request(request, memory, draft)
        case IssueStopOrder():
            return issue_stop_order(request, draft)
        case ProposeChange():
            return propose(request, memory, draft)
        case ApproveChange():
            return approve(request, memory, draft)
        case WithdrawChange():
            return withdraw(request, draft)
        case _ if isinstance(request, ResultRequest):
            return handle_results(request, memory, draft)
        case _:
            assert_never(request)


def _cancel(request: CancelJob, draft: Draft) -> Reply:
    card = draft.world.card_of(request.job)
    if card is None:
        return NotDone(code=NotDoneCode.UNKNOWN_JOB, message=f"No job {request.job} waits or runs.")
    owner = draft.world.nation.organisation_of(card.submitted.project)
    if not request.caller.acts_for(owner.name if owner else "", card.submitted.project):
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


def _store_secret(request: StoreSecret, memory: Memory, draft: Draft) -> Reply:
    owner = draft.world.nation.organisation_of(request.project)
    if owner is None:
        return NotDone(code=NotDoneCode.UNKNOWN_PROJECT, message=f"There is no project {request.project}.")
    if not request.caller.acts_for(owner.name, request.project):
        message = f"The project {request.project} belongs to another organisation."
        return NotDone(code=NotDoneCode.NOT_YOUR_PROJECT, message=message)
    draft.record(SecretStored(at_ms=draft.now_ms, project=request.project, name=request.name, by=request.caller.id))
    draft.rows.append(memory.secrets.put(request.project, request.name, request.value))
    return Done()
