"""Why results may not be released: asked when somebody releases them, and again when a second person approves it."""

from __future__ import annotations

from dure.control.access import Caller
from dure.control.draft import Draft
from dure.control.memory import Memory
from dure.control.requests import NotDone, NotDoneCode
from dure.governance.airlock import Holding, ResultState, may_have
from dure.model.agreements import Operation

RECEIVING = (Operation.VIEW_RESULTS, Operation.TAKE_RESULTS)


def why_not_release(
    caller: Caller, holding: Holding, numbers: tuple[int, ...], memory: Memory, draft: Draft
) -> NotDone | None:
    """The first reason why this caller may not release these; None when there is none."""
    return (
        not_theirs_to_decide(caller, holding, memory)
        or not_held(holding, numbers)
        or _nothing_to_release(holding, numbers)
        or _nobody_may_have(holding, draft)
    )


def not_theirs_to_decide(caller: Caller, holding: Holding, memory: Memory) -> NotDone | None:
    """Refuses who has any part in the organisation that wants the results."""
    account = memory.accounts.get(caller.account)
    organisations = {caller.organisation, *(each.organisation for each in (account.grants if account else ()))}
    if holding.recipient not in organisations:
        return None
    message = f"{holding.job} is a job of {holding.recipient}: somebody with no part in it decides about its results."
    return NotDone(code=NotDoneCode.OWN_RESULTS, message=message)


def not_held(holding: Holding, numbers: tuple[int, ...]) -> NotDone | None:
    """Refuses numbers that do not wait for a decision, and to decide about nothing."""
    wrong = [number for number in numbers if number not in holding.numbers_in(ResultState.HELD)]
    if numbers and not wrong:
        return None
    what = f"Result {wrong[0]} of {holding.job} is not held" if wrong else f"No result of {holding.job} is held"
    message = f"{what}; `dure airlock show {holding.job}` lists them with what was decided."
    return NotDone(code=NotDoneCode.RESULT_NOT_HELD, message=message)


def _nothing_to_release(holding: Holding, numbers: tuple[int, ...]) -> NotDone | None:
    empty = [each.number for each in holding.results if each.number in numbers and not each.can_be_released]
    if not empty:
        return None
    message = f"Result {empty[0]} of {holding.job} is no file that could be released; it can be refused."
    return NotDone(code=NotDoneCode.RESULT_NOT_RELEASABLE, message=message)


def _nobody_may_have(holding: Holding, draft: Draft) -> NotDone | None:
    agreements = draft.register.agreements_in_force(draft.now_ms)
    if may_have(agreements, holding.recipient, holding.datasets, RECEIVING):
        return None
    data = ", ".join(holding.datasets)
    message = (
        f"No agreement in force lets {holding.recipient} see results of {data}: its owner may agree to view-results or "
        "take-results (`dure agreement`)."
    )
    return NotDone(code=NotDoneCode.NO_AGREEMENT_FOR_RESULTS, message=message)
