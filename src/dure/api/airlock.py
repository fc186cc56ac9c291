"""Operations on the airlock: what waits there, what is in it, and decisions about it. For stewards and operators."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Annotated
from urllib.parse import parse_qs, quote

from msgspec import Meta, Struct
from starlette.responses import RedirectResponse, StreamingResponse

from dure.api.bodies import read_struct
from dure.api.held import verified
from dure.api.operations import Call
from dure.api.platform import Platform
from dure.api.problems import SECURITY_HEADERS, problem
from dure.api.replies import done, not_done
from dure.control.oversight.result_requests import RefuseResults, ReleaseResults
from dure.control.requests import Answer, NotDoneCode
from dure.governance.airlock import Holding, ResultState
from dure.reports.airlock import AirlockReport, ResultsReport

log = logging.getLogger(__name__)

_NUMBERS = re.compile(r"\d{1,4}(,\d{1,4}){0,199}")
Reason = Annotated[str, Meta(min_length=1, max_length=500)]
Numbers = Annotated[tuple[Annotated[int, Meta(ge=1, le=1_000)], ...], Meta(max_length=1_000)]


class Decision(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why, and about which results, by number; about all that are held unless some are named."""

    reason: Reason
    numbers: Numbers = ()


async def listing(platform: Platform, call: Call) -> AirlockReport:
    """Every job with results in the airlock."""
    return platform.airlock()


async def one(platform: Platform, call: Call) -> ResultsReport:
    """Everything about the results of one job."""
    return await platform.results(_holding(platform, call.path("job")))


async def fetch(platform: Platform, call: Call) -> StreamingResponse:
    """The content of one result, released or not: who decides about it must be able to look at it."""
    holding = _holding(platform, call.path("job"))
    lines = await platform.named_results(holding)
    line = next((each for each in lines if str(each.number) == call.path("number")), None)
    if line is None or not line.path or line.state is ResultState.REFUSED:
        raise not_done(NotDoneCode.UNKNOWN_RESULTS, f"There is no such result of {holding.job}, or not any more.")
    log.info(
        "a result in the airlock was looked at by=%s number=%s", call.caller.id, line.number, extra={"job": holding.job}
    )
    return await verified(platform, holding.job, line)


async def release(platform: Platform, call: Call) -> Answer:
    """Let the job's organisation have results."""
    wanted = read_struct(call, Decision)
    request = ReleaseResults(
        caller=call.caller, job=call.path("job"), reason=wanted.reason, numbers=_each_once(wanted.numbers)
    )
    return done(await platform.ask(request))


async def refuse(platform: Platform, call: Call) -> Answer:
    """Refuse results for good."""
    wanted = read_struct(call, Decision)
    request = RefuseResults(
        caller=call.caller, job=call.path("job"), reason=wanted.reason, numbers=_each_once(wanted.numbers)
    )
    return done(await platform.ask(request))


async def decide(platform: Platform, call: Call) -> RedirectResponse:
    """A steward's decision in the portal: its form, and back to the page."""
    fields = parse_qs(call.body.decode("ascii", "replace"), max_num_fields=10)
    job, reason = call.path("job"), fields.get("reason", [""])[0].strip()[:500]
    listed = fields.get("numbers", [""])[0].replace(" ", "")
    if not reason:
        raise problem(422, "bad-document", "Every decision needs a reason.")
    if listed and not _NUMBERS.fullmatch(listed):
        raise problem(422, "bad-document", "Write the numbers of results as 1,2,5.")
    numbers = _each_once(int(each) for each in listed.split(",") if each)
    kind = ReleaseResults if fields.get("decision") == ["release"] else RefuseResults
    done(await platform.ask(kind(caller=call.caller, job=job, reason=reason, numbers=numbers)))
    return RedirectResponse(f"/airlock/{quote(job, safe='')}", 303, SECURITY_HEADERS)


def _holding(platform: Platform, job: str) -> Holding:
    memory = platform.control.memory
    holding = memory.register.airlock.holdings.get(job)
    if holding is None:
        is_coming = job in memory.outputs.held
        why = (
            f"The results of {job} are still being inspected." if is_coming else f"{job} has no results in the airlock."
        )
        raise not_done(NotDoneCode.UNKNOWN_RESULTS, why)
    return holding


def _each_once(numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(numbers)))
