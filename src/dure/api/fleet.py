"""Operations on the fleet and on the shares of it."""

from __future__ import annotations

from dure.api.operations import Call
from dure.api.platform import Platform
from dure.api.replies import done
from dure.control.requests import Answer, ChangeNode
from dure.reports.fleet import NodesReport
from dure.reports.shares import SharesReport


async def nodes(platform: Platform, _: Call) -> NodesReport:
    """Every node with what is free on it."""
    return platform.nodes()


async def drain(platform: Platform, call: Call) -> Answer:
    """Start nothing more on a node. What runs there runs to its end."""
    return await _change(platform, call, "drained")


async def resume(platform: Platform, call: Call) -> Answer:
    """Take a node back into service."""
    return await _change(platform, call, "up")


async def shares(platform: Platform, _: Call) -> SharesReport:
    """The share tree: guaranteed, used, borrowed and lent."""
    return platform.shares()


async def _change(platform: Platform, call: Call, state: str) -> Answer:
    return done(await platform.ask(ChangeNode(caller=call.caller, node=call.path("node"), state=state)))
