"""Operations on the fleet and on the shares of it."""

from __future__ import annotations

import asyncio

from dure.api.operations import Call
from dure.api.platform import Platform
from dure.api.replies import done
from dure.control.requests import Answer, ChangeNode
from dure.reports.fleet import NodesReport, SitesReport
from dure.reports.lending import LendingReport, lending_report
from dure.reports.shares import SharesReport
from dure.reports.usage import UsageReport, usage_report

LATEST_MS = 1 << 53


async def nodes(platform: Platform, _: Call) -> NodesReport:
    """Every node with what is free on it."""
    return platform.nodes()


async def sites(platform: Platform, _: Call) -> SitesReport:
    """Every site: its engine, when that was last heard, and what is in use."""
    return platform.site_list()


async def cordon(platform: Platform, call: Call) -> Answer:
    """Start nothing more on a node. What runs there runs to its end."""
    return await _change(platform, call, "cordoned")


async def drain(platform: Platform, call: Call) -> Answer:
    """Empty a node: preemptible jobs are asked to leave and queue again, the others run to their end or limit."""
    return await _change(platform, call, "drained")


async def down(platform: Platform, call: Call) -> Answer:
    """A node is lost: whatever runs there is stopped and goes on elsewhere from its last checkpoint."""
    return await _change(platform, call, "down")


async def resume(platform: Platform, call: Call) -> Answer:
    """Take a node back into service, and forget what made it suspect."""
    return await _change(platform, call, "up")


async def shares(platform: Platform, _: Call) -> SharesReport:
    """The share tree: guaranteed, used, borrowed and lent."""
    return platform.shares()


async def usage(platform: Platform, call: Call) -> UsageReport:
    """GPU-hours by organisation, project and class. Of other organisations only the totals are shown."""
    now_ms = platform.clock.now_ms()
    from_ms = call.number("from_ms", 0, LATEST_MS)
    until_ms = call.number("until_ms", now_ms, LATEST_MS)
    nation, viewer = platform.nation(), call.caller.viewer
    # Every attempt there ever was is read, which may take a while; the loop goes on meanwhile.
    return await asyncio.to_thread(lambda: usage_report(nation, platform.attempts(), from_ms, until_ms, now_ms, viewer))


async def lending(platform: Platform, call: Call) -> LendingReport:
    """Who lent whom how many GPU-hours, and what was taken back. Members see the lines of their own organisation."""
    now_ms = platform.clock.now_ms()
    from_ms = call.number("from_ms", 0, LATEST_MS)
    until_ms = call.number("until_ms", now_ms, LATEST_MS)
    nation, viewer, days = platform.nation(), call.caller.viewer, platform.lending_days()
    return await asyncio.to_thread(lambda: lending_report(nation, days, from_ms, until_ms, now_ms, viewer))


async def _change(platform: Platform, call: Call, state: str) -> Answer:
    return done(await platform.ask(ChangeNode(caller=call.caller, node=call.path("node"), state=state)))
