"""The airlock: results are held, then released or refused by a steward, and deleted when their time is over.

A release goes to the organisation that ran the job, as far as its agreements go. Who has a part in that organisation
does not decide about its results; and what crosses a border, or has a finding against it, takes two people.
"""

from __future__ import annotations

from typing import assert_never

from dure.control.access import PLATFORM, Caller
from dure.control.draft import Draft
from dure.control.holding import restricted_datasets
from dure.control.memory import Memory
from dure.control.oversight.proposals import propose
from dure.control.oversight.release_rules import not_held, not_theirs_to_decide, why_not_release
from dure.control.oversight.requests import ProposalStands, ProposeChange
from dure.control.oversight.result_requests import (
    HoldResults,
    RefuseResults,
    ReleaseResults,
    ResultRequest,
    ResultsStand,
    WipeResults,
)
from dure.control.requests import Done, NotDone, NotDoneCode, Reply
from dure.governance.airlock import Holding, ResultState, held, needs_second_person
from dure.model.proposals import ResultsRelease
from dure.model.result_events import ResultsHeld, ResultsRefused, ResultsReleased, ResultsWiped
from dure.model.units import DAY_MS

KEPT_MS = 30 * DAY_MS
"""How long results are kept after the job, whatever is decided about them."""
MOST_HELD = 1_000
"""Results of one job that the ledger lists; what there is beyond is deleted with the others and never released."""


def handle_results(request: ResultRequest, memory: Memory, draft: Draft) -> Reply:
    """Carry out one request about results, or say why not."""
    match request:
        case HoldResults():
            return _hold(request, draft)
        case ReleaseResults():
            return _release(request, memory, draft)
        case RefuseResults():
            return _refuse(request, memory, draft)
        case WipeResults():
            return _wipe(request, draft)
        case _:
            assert_never(request)


def _hold(request: HoldResults, draft: Draft) -> Reply:
    card = draft.world.card_of(request.job)
    if request.caller != PLATFORM or request.job not in draft.outputs.held or card is None:
        return _unknown(request.job)
    if request.job in draft.register.airlock.holdings:
        return Done()
    owner = draft.world.nation.organisation_of(card.submitted.project)
    draft.record(
        ResultsHeld(
            at_ms=draft.now_ms,
            job=request.job,
            recipient=owner.name if owner else "",
            datasets=restricted_datasets(draft.world.nation, draft.register, card),
            results=tuple(held(number, each) for number, each in enumerate(request.results[:MOST_HELD], 1)),
            keep_until_ms=draft.now_ms + KEPT_MS,
        )
    )
    return Done()


def _release(request: ReleaseResults, memory: Memory, draft: Draft) -> Reply:
    holding = draft.register.airlock.holdings.get(request.job)
    if holding is None:
        return _unknown(request.job)
    numbers = request.numbers or _releasable(holding)
    no = why_not_release(request.caller, holding, numbers, memory, draft)
    if no is not None:
        return no
    if needs_second_person(draft.world.nation, holding, numbers):
        return _propose(request, holding, numbers, memory, draft)
    by = _who(request.caller)
    draft.record(ResultsReleased(at_ms=draft.now_ms, job=request.job, numbers=numbers, by=by, reason=request.reason))
    return _stand(holding)


def _propose(
    request: ReleaseResults, holding: Holding, numbers: tuple[int, ...], memory: Memory, draft: Draft
) -> Reply:
    """Put the release up for a second person's approval, once."""
    change = ResultsRelease(job=request.job, numbers=numbers, reason=request.reason)
    open_one = next((each.id for each in draft.register.proposals.values() if each.change == change), "")
    if open_one:
        return _stand(holding, open_one)
    reply = propose(ProposeChange(caller=request.caller, change=change), memory, draft)
    return _stand(holding, reply.proposal.id) if isinstance(reply, ProposalStands) else reply


def _refuse(request: RefuseResults, memory: Memory, draft: Draft) -> Reply:
    holding = draft.register.airlock.holdings.get(request.job)
    if holding is None:
        return _unknown(request.job)
    numbers = request.numbers or holding.numbers_in(ResultState.HELD)
    no = not_theirs_to_decide(request.caller, holding, memory) or not_held(holding, numbers)
    if no is not None:
        return no
    by = _who(request.caller)
    draft.record(ResultsRefused(at_ms=draft.now_ms, job=request.job, numbers=numbers, by=by, reason=request.reason))
    return _stand(holding)


def _wipe(request: WipeResults, draft: Draft) -> Reply:
    holding = draft.register.airlock.holdings.get(request.job)
    if holding is None or request.caller != PLATFORM or draft.now_ms < holding.keep_until_ms:
        return _unknown(request.job)
    draft.record(ResultsWiped(at_ms=draft.now_ms, job=request.job))
    return Done()


def _releasable(holding: Holding) -> tuple[int, ...]:
    """All that waits and has any content."""
    waiting = holding.numbers_in(ResultState.HELD)
    return tuple(each.number for each in holding.results if each.number in waiting and each.can_be_released)


def _who(caller: Caller) -> str:
    return caller.account or caller.id


def _unknown(job: str) -> NotDone:
    message = f"There are no results of {job} in the airlock; `dure airlock list` says which jobs have some."
    return NotDone(code=NotDoneCode.UNKNOWN_RESULTS, message=message)


def _stand(holding: Holding, proposal: str = "") -> ResultsStand:
    return ResultsStand(
        job=holding.job,
        held=holding.numbers_in(ResultState.HELD),
        released=holding.numbers_in(ResultState.RELEASED),
        refused=holding.numbers_in(ResultState.REFUSED),
        proposal=proposal,
    )
