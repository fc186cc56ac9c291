"""Operations on stop orders, and on changes that take two people."""

from __future__ import annotations

from msgspec import Struct

from dure.api.bodies import read_struct
from dure.api.operations import Call
from dure.api.platform import Platform
from dure.api.replies import done
from dure.control.oversight.requests import ApproveChange, IssueStopOrder, ProposeChange, WithdrawChange
from dure.control.requests import Answer
from dure.model.proposals import Proposal, ProposedChange
from dure.model.stop_orders import StopOrder


class WantedStopOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a stop order. It stops what fits all that it names."""

    within_ms: int
    reason: str
    recipient: str = ""
    country: str = ""
    dataset: str = ""


class StopOrdersReport(Struct, frozen=True, kw_only=True):
    """The stop orders that hold, oldest first."""

    stop_orders: tuple[StopOrder, ...]


class WantedChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a proposal."""

    change: ProposedChange


class ProposalsReport(Struct, frozen=True, kw_only=True):
    """The proposals that wait for a second person, oldest first."""

    proposals: tuple[Proposal, ...]


async def issue_stop_order(platform: Platform, call: Call) -> Answer:
    """Stop every use of data that fits all that is named, and let none begin until two people lift the order."""
    wanted = read_struct(call, WantedStopOrder)
    request = IssueStopOrder(
        caller=call.caller,
        within_ms=wanted.within_ms,
        reason=wanted.reason,
        recipient=wanted.recipient,
        country=wanted.country,
        dataset=wanted.dataset,
    )
    return done(await platform.ask(request))


async def stop_orders(platform: Platform, _: Call) -> StopOrdersReport:
    """The stop orders that hold."""
    return StopOrdersReport(stop_orders=tuple(platform.control.memory.register.stop_orders.values()))


async def propose(platform: Platform, call: Call) -> Answer:
    """Propose a change of policy, the lifting of a stop order, or a transfer across a border."""
    change = read_struct(call, WantedChange).change
    return done(await platform.ask(ProposeChange(caller=call.caller, change=change)))


async def proposals(platform: Platform, _: Call) -> ProposalsReport:
    """The proposals that wait for a second person."""
    return ProposalsReport(proposals=tuple(platform.control.memory.register.proposals.values()))


async def approve(platform: Platform, call: Call) -> Answer:
    """Approve what somebody else proposed: it counts at once, for what runs too."""
    return done(await platform.ask(ApproveChange(caller=call.caller, proposal=call.path("proposal"))))


async def withdraw(platform: Platform, call: Call) -> Answer:
    """Take a proposal back, or turn it down."""
    return done(await platform.ask(WithdrawChange(caller=call.caller, proposal=call.path("proposal"))))
