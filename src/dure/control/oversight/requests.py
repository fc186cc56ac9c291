"""What people ask for about the use of data, and what they are answered."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from dure.control.access import Caller
from dure.model.proposals import Proposal, ProposedChange
from dure.model.stop_orders import StopOrder


class IssueStopOrder(Struct, frozen=True, kw_only=True):
    """Stop every use of data that fits all that is named here, and let none begin until the order is lifted."""

    caller: Caller
    within_ms: int
    reason: str
    recipient: str = ""
    country: str = ""
    dataset: str = ""


class ProposeChange(Struct, frozen=True, kw_only=True):
    """Propose a change that takes two people."""

    caller: Caller
    change: ProposedChange


class ApproveChange(Struct, frozen=True, kw_only=True):
    """Approve what somebody else proposed: it counts at once."""

    caller: Caller
    proposal: str


class WithdrawChange(Struct, frozen=True, kw_only=True):
    """Take a proposal back, or turn it down."""

    caller: Caller
    proposal: str


OversightRequest = IssueStopOrder | ProposeChange | ApproveChange | WithdrawChange


class StopOrderStands(Struct, frozen=True, kw_only=True):
    """A stop order that holds."""

    order: StopOrder


class ProposalState(StrEnum):
    """What became of a proposal."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    WITHDRAWN = "withdrawn"


class ProposalStands(Struct, frozen=True, kw_only=True):
    """Where a proposal is after a request about it."""

    proposal: Proposal
    state: ProposalState


OversightAnswer = StopOrderStands | ProposalStands
