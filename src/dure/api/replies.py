"""What the loop replied, as HTTP says it: the status of every refusal, in one table."""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import replace

from dure.api.problems import ProblemRaised, problem
from dure.control.requests import Answer, NotDone, NotDoneCode, Reply
from dure.intake.refusals import Problem as FieldProblem
from dure.intake.refusals import Refusal

STATUS: dict[NotDoneCode, int] = {
    NotDoneCode.UNAVAILABLE: 503,
    NotDoneCode.UNKNOWN_JOB: 404,
    NotDoneCode.NOT_YOUR_JOB: 403,
    NotDoneCode.JOB_IS_OVER: 409,
    NotDoneCode.UNKNOWN_NODE: 404,
    NotDoneCode.UNKNOWN_ORGANISATION: 409,
    NotDoneCode.NO_SUCH_BEARER: 404,
    NotDoneCode.UNKNOWN_PROJECT: 404,
    NotDoneCode.NOT_YOUR_PROJECT: 403,
    NotDoneCode.MISSING_CREDENTIAL: 409,
    NotDoneCode.IDEMPOTENCY_KEY_REUSED: 409,
    NotDoneCode.NOT_YOURS_TO_GRANT: 403,
    NotDoneCode.SCOPE_TOO_WIDE: 403,
    NotDoneCode.UNKNOWN_ACCOUNT: 404,
    NotDoneCode.ACCOUNT_EXISTS: 409,
    NotDoneCode.JOBS_NOT_OVER: 409,
    NotDoneCode.UNKNOWN_AGREEMENT: 404,
    NotDoneCode.UNKNOWN_DATASET: 404,
    NotDoneCode.NOT_YOUR_SIDE: 403,
    NotDoneCode.OWN_OFFER: 409,
    NotDoneCode.AGREEMENT_NOT_OPEN: 409,
    NotDoneCode.TERMS_HAVE_CHANGED: 409,
    NotDoneCode.PARTIES_ARE_FIXED: 409,
    NotDoneCode.UNKNOWN_MODEL: 404,
    NotDoneCode.JOB_NOT_OVER: 409,
    NotDoneCode.MODEL_WITHDRAWN: 409,
    NotDoneCode.GATE_NOT_PASSED: 409,
    NotDoneCode.UNKNOWN_TASK: 404,
    NotDoneCode.BAD_STOP_ORDER: 422,
    NotDoneCode.NEEDS_ACCOUNT: 403,
    NotDoneCode.OWN_PROPOSAL: 403,
    NotDoneCode.UNKNOWN_PROPOSAL: 404,
    NotDoneCode.CANNOT_BE_PROPOSED: 409,
    NotDoneCode.UNKNOWN_RESULTS: 404,
    NotDoneCode.OWN_RESULTS: 403,
    NotDoneCode.RESULT_NOT_HELD: 409,
    NotDoneCode.RESULT_NOT_RELEASABLE: 409,
    NotDoneCode.NO_AGREEMENT_FOR_RESULTS: 409,
    NotDoneCode.RESULTS_ARE_HELD: 403,
    NotDoneCode.OUTPUT_NOT_YOURS_TO_TAKE: 403,
}


def done(reply: Reply) -> Answer:
    """The answer. Raises the problem when there is none."""
    if isinstance(reply, Refusal | NotDone):
        raise refused(reply)
    return reply


def refused(no: Refusal | NotDone) -> ProblemRaised:
    """Why something was not done, as a problem."""
    if isinstance(no, NotDone):
        return not_done(no.code, no.message)
    # 403 when the caller may not do this at all, 409 when it does not fit the present state.
    status = 403 if no.is_forbidden else 409
    fields = (FieldProblem(field=no.field, value="", message=no.message),) if no.field else ()
    raised = problem(status, no.code.value, no.message, fields)
    if no.reasons:
        remedy = no.remedy if no.remedy is not None else UNSET
        raised.problem = replace(raised.problem, reasons=no.reasons, remedy=remedy)
    return raised


def not_done(code: NotDoneCode, message: str) -> ProblemRaised:
    """A refusal of the loop, or of a handler that reads."""
    headers = {"Retry-After": "1"} if code is NotDoneCode.UNAVAILABLE else {}
    return problem(STATUS[code], code.value, message, headers=headers)
