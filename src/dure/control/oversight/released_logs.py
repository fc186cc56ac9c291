"""Which logs of jobs on restricted data may be read: those that were released, while an agreement lets them be seen."""

from __future__ import annotations

from dure.control.attempts import attempt_id
from dure.control.orders import Engines
from dure.control.outputs import HeldOutput
from dure.control.ports import ExecutorError
from dure.governance.airlock import ResultState, commitment, may_have
from dure.governance.register import Register
from dure.model.agreements import Operation
from dure.model.results import ResultKind

SEEING = (Operation.VIEW_RESULTS, Operation.TAKE_RESULTS)


def is_log_released(
    register: Register, engines: Engines, output: HeldOutput, job: str, attempt: int, rank: int, at_ms: int
) -> bool:
    """True when this log was released, and the job's organisation may see results at this moment."""
    holding = register.airlock.holdings.get(job)
    if holding is None:
        return False
    if not may_have(register.agreements_in_force(at_ms), holding.recipient, holding.datasets, SEEING):
        return False
    try:
        inspected = engines.executor(output.engine).inspected(attempt_id(job, attempt))
    except ExecutorError:
        return False
    wanted = {commitment(each) for each in inspected if each.kind is ResultKind.LOG and each.path == f"rank{rank}.log"}
    released = holding.numbers_in(ResultState.RELEASED)
    return any(each.commitment in wanted for each in holding.results if each.number in released)
