"""Issuing a stop order. It counts at once: what runs against it is stopped in the same turn of the loop."""

from __future__ import annotations

import re

from dure.control.draft import Draft
from dure.control.oversight.requests import IssueStopOrder, StopOrderStands
from dure.control.requests import NotDone, NotDoneCode, Reply
from dure.model.oversight import StopOrdered
from dure.model.stop_orders import StopOrder
from dure.model.units import DAY_MS

LONGEST_REASON = 500
_COUNTRY = re.compile(r"[A-Z]{2}\Z")


def issue_stop_order(request: IssueStopOrder, draft: Draft) -> Reply:
    """Put the order on record, or say what is wrong with it."""
    wrong = _what_is_wrong(request, draft)
    if wrong:
        return NotDone(code=NotDoneCode.BAD_STOP_ORDER, message=wrong)
    order = StopOrder(
        id=f"s{draft.register.stop_orders_issued + 1}",
        within_ms=request.within_ms,
        reason=request.reason.strip(),
        recipient=request.recipient,
        country=request.country,
        dataset=request.dataset,
    )
    draft.record(StopOrdered(at_ms=draft.now_ms, order=order, by=request.caller.id))
    return StopOrderStands(order=order)


def _what_is_wrong(request: IssueStopOrder, draft: Draft) -> str:
    """An order that nothing fits would look as if something had been stopped, so all that it names must exist."""
    nation = draft.world.nation
    if not (request.recipient or request.country or request.dataset):
        return "A stop order names a recipient, a country, a dataset, or several of these."
    if request.recipient and request.recipient not in {each.name for each in nation.organisations}:
        return f"There is no organisation {request.recipient}."
    if request.dataset and request.dataset not in {each.name for each in nation.datasets}:
        return f"There is no dataset {request.dataset}."
    if request.country and not _COUNTRY.match(request.country):
        return f"{request.country!r} is no country; write two capital letters, like KR."
    if not 0 < request.within_ms <= DAY_MS:
        return "A stop order is carried out within a day: give a limit between one millisecond and a day."
    if not request.reason.strip() or len(request.reason) > LONGEST_REASON or not request.reason.isprintable():
        return f"Give a reason of one line, at most {LONGEST_REASON} characters; it stays in the ledger for good."
    return ""
