"""The airlock as reports: what the register says of results, joined with the names that only their sites have."""

from __future__ import annotations

import asyncio

from dure.control.attempts import attempt_id
from dure.control.control import Control
from dure.control.orders import Engines
from dure.control.ports import ExecutorError
from dure.governance.airlock import Holding, crosses_a_border, may_have
from dure.model.agreements import Operation
from dure.model.proposals import ResultsRelease
from dure.reports.airlock import (
    AirlockLine,
    AirlockReport,
    ResultLine,
    ResultsReport,
    airlock_line,
    result_lines,
)


def airlock_report(control: Control, now_ms: int) -> AirlockReport:
    """Every job with results in the airlock, those that are not inspected yet included."""
    holdings = control.memory.register.airlock.holdings
    lines = [
        airlock_line(holdings[job]) if job in holdings else _uninspected(control, job)
        for job in control.memory.outputs.held
    ]
    return AirlockReport(at_ms=now_ms, jobs=tuple(lines))


async def results_report(control: Control, engines: Engines, holding: Holding, now_ms: int) -> ResultsReport:
    """The results of one job, and what a decision about them depends on."""
    register = control.memory.register
    agreements = register.agreements_in_force(now_ms)
    take, see = (Operation.TAKE_RESULTS,), (Operation.VIEW_RESULTS, Operation.TAKE_RESULTS)
    open_releases = [
        each.id
        for each in register.proposals.values()
        if isinstance(each.change, ResultsRelease) and each.change.job == holding.job
    ]
    return ResultsReport(
        at_ms=now_ms,
        job=holding.job,
        recipient=holding.recipient,
        datasets=holding.datasets,
        held_at_ms=holding.held_at_ms,
        keep_until_ms=holding.keep_until_ms,
        crosses_border=crosses_a_border(control.world.nation, holding.recipient, holding.datasets),
        may_view=may_have(agreements, holding.recipient, holding.datasets, see),
        may_take=may_have(agreements, holding.recipient, holding.datasets, take),
        results=await named_results(control, engines, holding),
        proposals=tuple(open_releases),
    )


async def named_results(control: Control, engines: Engines, holding: Holding) -> tuple[ResultLine, ...]:
    """Every result with its name, where its site still has it."""
    output = control.memory.outputs.held[holding.job]
    try:
        executor = engines.executor(output.engine)
    except ExecutorError:
        return result_lines(holding, ())
    names = [attempt_id(holding.job, attempt) for attempt in range(1, output.attempts + 1)]
    inspected = await asyncio.to_thread(lambda: [each for name in names for each in executor.inspected(name)])
    return result_lines(holding, inspected)


def _uninspected(control: Control, job: str) -> AirlockLine:
    card = control.world.card_of(job)
    owner = control.world.nation.organisation_of(card.submitted.project) if card else None
    data = card.submitted.data if card else ()
    return AirlockLine(job=job, recipient=owner.name if owner else "", datasets=data, is_inspected=False)
