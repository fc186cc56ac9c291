"""What takes two people: one proposes, another approves.

Both must be signed in as a person: a token that belongs to nobody, or to a program, says nothing about who holds it.
"""

from __future__ import annotations

from typing import assert_never

from dure.control.access import Caller
from dure.control.accounts import AccountKind
from dure.control.draft import Draft
from dure.control.memory import Memory
from dure.control.oversight.promotion import why_not_promoted
from dure.control.oversight.release_rules import why_not_release
from dure.control.oversight.requests import (
    ApproveChange,
    ProposalStands,
    ProposalState,
    ProposeChange,
    WithdrawChange,
)
from dure.control.requests import NotDone, NotDoneCode, Reply
from dure.ledger.note import NoteError, VerifierKey, is_signed_by
from dure.model.oversight import ChangeApproved, ChangeProposed, ChangeWithdrawn
from dure.model.proposals import (
    KeyChange,
    ModelPromotion,
    PolicyChange,
    ProposedChange,
    ResultsRelease,
    StopOrderLifting,
    TransferApproval,
)
from dure.policy import PolicyError


def propose(request: ProposeChange, memory: Memory, draft: Draft) -> Reply:
    """Put a change up for approval, if it could be made."""
    if not _is_a_person(request.caller, memory):
        return _needs_account()
    wrong = _why_not(request.change, request.caller, memory, draft)
    if wrong:
        return NotDone(code=NotDoneCode.CANNOT_BE_PROPOSED, message=wrong)
    name = f"p{draft.register.proposals_made + 1}"
    draft.record(ChangeProposed(at_ms=draft.now_ms, proposal=name, change=request.change, by=request.caller.account))
    return ProposalStands(proposal=draft.register.proposals[name], state=ProposalState.PROPOSED)


def approve(request: ApproveChange, memory: Memory, draft: Draft) -> Reply:
    """Make a proposed change, if it can still be made and somebody else proposed it."""
    proposal = draft.register.proposals.get(request.proposal)
    if proposal is None:
        return _unknown(request.proposal)
    if not _is_a_person(request.caller, memory):
        return _needs_account()
    if request.caller.account == proposal.by:
        message = f"You proposed {proposal.id} yourself; somebody else must approve it."
        return NotDone(code=NotDoneCode.OWN_PROPOSAL, message=message)
    wrong = _why_not(proposal.change, request.caller, memory, draft)
    if wrong:
        return NotDone(code=NotDoneCode.CANNOT_BE_PROPOSED, message=wrong)
    draft.record(ChangeApproved(at_ms=draft.now_ms, proposal=proposal.id, by=request.caller.account))
    return ProposalStands(proposal=proposal, state=ProposalState.APPROVED)


def withdraw(request: WithdrawChange, draft: Draft) -> Reply:
    """Take a proposal off the table. Turning down takes one person, for nothing changes by it."""
    proposal = draft.register.proposals.get(request.proposal)
    if proposal is None:
        return _unknown(request.proposal)
    draft.record(ChangeWithdrawn(at_ms=draft.now_ms, proposal=proposal.id, by=request.caller.account))
    return ProposalStands(proposal=proposal, state=ProposalState.WITHDRAWN)


def _why_not(change: ProposedChange, caller: Caller, memory: Memory, draft: Draft) -> str:
    """Why the change cannot be made as things are, or not by this caller; empty when it can."""
    register = draft.register
    match change:
        case PolicyChange():
            try:
                memory.policy_set_with(change.policies)
            except PolicyError as error:
                return f"These rules cannot be used:\n{error}"
            return ""
        case StopOrderLifting():
            return "" if change.stop_order in register.stop_orders else f"No stop order {change.stop_order} holds."
        case TransferApproval():
            agreement = register.agreements.get(change.agreement)
            if agreement is None:
                return f"There is no agreement {change.agreement}."
            if agreement.version != change.version:
                return f"{change.agreement} has other terms now: version {agreement.version}."
            return ""
        case ModelPromotion():
            return why_not_promoted(change.version, draft)
        case ResultsRelease():
            holding = register.airlock.holdings.get(change.job)
            if holding is None:
                return f"There are no results of {change.job} in the airlock."
            no = why_not_release(caller, holding, change.numbers, memory, draft)
            return no.message if no else ""
        case KeyChange():
            return _why_not_key(change.key, memory)
        case _:
            assert_never(change)


def _why_not_key(text: str, memory: Memory) -> str:
    checkpoint = memory.ledger.latest_checkpoint()
    if checkpoint is None:
        return "This ledger is not signed."
    try:
        key = VerifierKey.parse(text)
    except NoteError as error:
        return f"That is no verifier key: {error}."
    origin = checkpoint.note.partition("\n")[0]
    if key.name != origin:
        return f"The key is for {key.name}, and this ledger is {origin}."
    return "The ledger is signed with that key already." if is_signed_by(checkpoint.note, key) else ""


def _is_a_person(caller: Caller, memory: Memory) -> bool:
    """A program's account is its owner's second hand, and so is a token without an account."""
    account = memory.accounts.get(caller.account)
    return account is not None and account.kind is not AccountKind.SERVICE


def _needs_account() -> NotDone:
    message = (
        "This takes two people, and your token is no person's. Sign in with `dure login`, or use the token of a "
        "local account (`dure account --help`)."
    )
    return NotDone(code=NotDoneCode.NEEDS_ACCOUNT, message=message)


def _unknown(proposal: str) -> NotDone:
    message = f"No proposal {proposal} waits for approval; `dure proposal list` lists those that do."
    return NotDone(code=NotDoneCode.UNKNOWN_PROPOSAL, message=message)
