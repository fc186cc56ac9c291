"""The airlock from the end of a job to its last decision: who may decide, who may have what, and what is forgotten."""

from __future__ import annotations

import pytest

from dure.control.access import PLATFORM, Caller, Grant, Role
from dure.control.accounts import AccountKind
from dure.control.control import Control
from dure.control.holding import are_results_held, restricted_datasets
from dure.control.orders import LOCAL, ForgetOrder
from dure.control.oversight.agreement_requests import AcceptAgreement, EndAgreement, OfferAgreement
from dure.control.oversight.release_rules import RECEIVING
from dure.control.oversight.requests import ApproveChange
from dure.control.oversight.result_requests import (
    HoldResults,
    RefuseResults,
    ReleaseResults,
    ResultsStand,
    WipeResults,
)
from dure.control.oversight.results import KEPT_MS
from dure.control.ports import Ended
from dure.control.requests import ApplyNation, Done, NotDone, Reply, SignIn
from dure.control.tokens import TokenKind
from dure.governance.airlock import ResultState, crosses_a_border, may_have
from dure.ledger.memory import MemoryLedger
from dure.model.agreements import Operation, Terms
from dure.model.datasets import Purpose
from dure.model.jobs import Retry
from dure.model.proposals import ResultsRelease
from dure.model.results import Finding, FindingCode, InspectedResult, ResultKind, Verdict

from .builders import NATION, OPERATOR, START_MS, ask, empty_control, nation, run, spec, submit

DATA = """
datasets:
  - {name: scans, owner: ministry, classes: [pseudonymised], jurisdiction: KR, purposes: [research],
     sites: [daejeon], readers: [hanbit], paths: {daejeon: /data/scans}}
  - {name: books, owner: ministry, classes: [public], jurisdiction: KR, purposes: [research],
     sites: [daejeon], readers: ["*"], paths: {daejeon: /data/books}}
"""
STEWARD = Caller(id="t70", role=Role.STEWARD, account="a70")
MINISTRY = Caller(id="t71", role=Role.ADMINISTRATOR, organisation="ministry")
HANBIT = Caller(id="t72", role=Role.ADMINISTRATOR, organisation="hanbit")
FINE = ()
BLOCKED = (Finding(code=FindingCode.RARE_ROWS, verdict=Verdict.BLOCK, amount=2),)
NOTHING = (Finding(code=FindingCode.NOT_A_FILE, verdict=Verdict.BLOCK),)


def result(path: str, findings: tuple[Finding, ...] = FINE, kind: ResultKind = ResultKind.OUTPUT) -> InspectedResult:
    return InspectedResult(
        attempt=1,
        kind=kind,
        path=path,
        size_bytes=5,
        salt="00",
        sha256=path,
        media_type="text/plain",
        findings=findings,
    )


RESULTS = (result("rank0.log", kind=ResultKind.LOG), result("a.txt"), result("b.csv", BLOCKED), result("c", NOTHING))


@pytest.fixture
def control() -> Control:
    made = empty_control()
    ask(made, ApplyNation(caller=OPERATOR, nation=nation(NATION + DATA)))
    return made


def finish(control: Control, *data: str, exit_code: int = 0, project: str = "chat") -> str:
    job = submit(control, spec(project=project, data=data))
    run(control, seen=[Ended(attempt_id=f"{job}.1", at_ms=START_MS, exit_code=exit_code)])
    return job


def hold(control: Control, *results: InspectedResult) -> str:
    job = finish(control, "scans")
    assert ask(control, HoldResults(caller=PLATFORM, job=job, results=results or RESULTS)) == Done()
    return job


def agree(control: Control, *operations: Operation) -> None:
    terms = Terms(
        provider="ministry",
        recipient="hanbit",
        datasets=("scans",),
        purposes=(Purpose.RESEARCH,),
        operations=(Operation.COMPUTE, *operations),
        sites=("daejeon",),
        from_ms=START_MS,
        until_ms=START_MS + 10 * KEPT_MS,
    )
    ask(control, OfferAgreement(caller=MINISTRY, terms=terms))
    made = list(control.memory.register.agreements)[-1]
    ask(control, AcceptAgreement(caller=HANBIT, agreement=made, version=1))


def release(job: str, *numbers: int, caller: Caller = STEWARD) -> ReleaseResults:
    return ReleaseResults(caller=caller, job=job, reason="looked at", numbers=numbers)


def person(control: Control, name: str, *more: Grant) -> Caller:
    """A steward signed in to an account of their own, which may have other roles besides."""
    steward = Grant(role=Role.STEWARD)
    ask(
        control,
        SignIn(
            account=f"a-{name}",
            kind=AccountKind.PERSON,
            name=name,
            grants=(steward, *more),
            grant=steward,
            token_kind=TokenKind.BEARER,
            expires_at_ms=START_MS + 1_000_000,
        ),
    )
    return Caller(id=f"t-{name}", role=Role.STEWARD, account=f"a-{name}")


def code(reply: Reply) -> str:
    assert isinstance(reply, NotDone), reply
    return reply.code.value


def stands(reply: Reply) -> ResultsStand:
    assert isinstance(reply, ResultsStand), reply
    return reply


def test_a_job_on_data_of_others_waits_to_be_inspected_and_one_on_public_or_own_data_does_not(control: Control) -> None:
    finish(control)
    finish(control, "books")
    finish(control, "scans", project="weather")
    assert not control.memory.outputs.held
    job = finish(control, "scans", "books")
    assert list(control.memory.outputs.held) == [job]
    assert control.memory.outputs.held[job].engine == LOCAL
    card = control.world.jobs[job]
    assert restricted_datasets(control.world.nation, control.memory.register, card) == ("scans",)


def test_data_that_is_not_declared_any_more_still_holds_what_was_made_of_it(control: Control) -> None:
    job = finish(control, "books")
    ask(control, ApplyNation(caller=OPERATOR, nation=nation()))
    assert not control.world.nation.datasets
    assert are_results_held(control.world.nation, control.memory.register, control.world.jobs[job])


@pytest.mark.parametrize("exit_code", [0, 1, 3, 75, 255, -1, -9, -11])
def test_of_an_exit_code_only_one_bit_is_recorded(control: Control, exit_code: int) -> None:
    assert control.world.jobs[finish(control, "scans", exit_code=exit_code)].exit_code == int(exit_code != 0)
    assert control.world.jobs[finish(control, "books", exit_code=exit_code)].exit_code == exit_code


def test_only_the_platform_says_what_a_job_left_and_only_once(control: Control) -> None:
    job = finish(control, "scans")
    assert code(ask(control, HoldResults(caller=STEWARD, job=job, results=RESULTS))) == "unknown-results"
    assert ask(control, HoldResults(caller=PLATFORM, job=job, results=RESULTS)) == Done()
    assert ask(control, HoldResults(caller=PLATFORM, job=job, results=())) == Done()
    assert len(control.memory.register.airlock.holdings[job].results) == 4
    assert code(ask(control, HoldResults(caller=PLATFORM, job="j99", results=()))) == "unknown-results"


def test_neither_name_nor_digest_of_a_result_is_in_the_ledger(control: Control) -> None:
    hold(control, result("patient-kim.txt"))
    ledger = b"\n".join(control.ledger.entries(0))
    assert b"results-held" in ledger
    assert b"patient-kim" not in ledger


def test_nothing_is_released_that_no_agreement_gives(control: Control) -> None:
    job = hold(control)
    assert code(ask(control, release(job, 1))) == "no-agreement-for-results"
    agree(control)
    assert code(ask(control, release(job, 1))) == "no-agreement-for-results"
    agree(control, Operation.VIEW_RESULTS)
    assert stands(ask(control, release(job, 1))).released == (1,)


def test_what_was_released_is_nobodys_any_more_when_the_agreement_ends(control: Control) -> None:
    job = hold(control)
    agree(control, Operation.VIEW_RESULTS, Operation.TAKE_RESULTS)
    ask(control, release(job, 1))
    register = control.memory.register
    holding = register.airlock.holdings[job]
    assert may_have(register.agreements_in_force(START_MS), "hanbit", holding.datasets, RECEIVING)
    ask(control, EndAgreement(caller=MINISTRY, agreement="a1", reason=""))
    assert not may_have(register.agreements_in_force(START_MS), "hanbit", holding.datasets, RECEIVING)


@pytest.mark.parametrize(
    ("recipient", "datasets", "operations", "expected"),
    [
        ("hanbit", ("scans",), (Operation.VIEW_RESULTS,), True),
        ("hanbit", ("scans",), (Operation.TAKE_RESULTS,), False),
        ("hanbit", ("scans", "other"), (Operation.VIEW_RESULTS,), False),
        ("hanbit", (), (Operation.VIEW_RESULTS,), False),
        ("hanbit", ("scans",), (), False),
        ("ministry", ("scans",), (Operation.VIEW_RESULTS,), False),
    ],
)
def test_an_agreement_gives_what_it_names_and_nothing_else(
    control: Control, recipient: str, datasets: tuple[str, ...], operations: tuple[Operation, ...], expected: bool
) -> None:
    agree(control, Operation.VIEW_RESULTS)
    in_force = control.memory.register.agreements_in_force(START_MS)
    assert may_have(in_force, recipient, datasets, operations) == expected


def test_decisions_are_final_and_name_what_is_there(control: Control) -> None:
    agree(control, Operation.VIEW_RESULTS)
    job = hold(control)
    assert stands(ask(control, release(job, 2))).released == (2,)
    refuse = RefuseResults(caller=STEWARD, job=job, reason="no", numbers=(1,))
    assert stands(ask(control, refuse)) == ResultsStand(job=job, held=(3, 4), released=(2,), refused=(1,))
    for numbers in ((1,), (2,), (9,), (3, 1)):
        assert code(ask(control, release(job, *numbers))) == "result-not-held", numbers
    assert code(ask(control, refuse)) == "result-not-held"
    assert code(ask(control, release(job, 4))) == "result-not-releasable"
    assert code(ask(control, release("j99", 1))) == "unknown-results"


def test_nobody_decides_about_the_results_of_an_organisation_that_they_have_a_part_in(control: Control) -> None:
    agree(control, Operation.VIEW_RESULTS)
    job = hold(control)
    ours = Caller(id="t73", role=Role.OPERATOR, organisation="hanbit")
    assert code(ask(control, release(job, 1, caller=ours))) == "own-results"
    both = person(control, "kim", Grant(role=Role.MEMBER, organisation="hanbit"))
    assert code(ask(control, release(job, 1, caller=both))) == "own-results"
    refusal = RefuseResults(caller=ours, job=job, reason="no", numbers=(1,))
    assert code(ask(control, refusal)) == "own-results"


def test_a_finding_against_a_result_takes_a_second_person(control: Control) -> None:
    agree(control, Operation.VIEW_RESULTS)
    job = hold(control)
    assert code(ask(control, release(job, 1, 3))) == "needs-an-account"
    kim = person(control, "kim")
    asked = stands(ask(control, release(job, 1, 3, caller=kim)))
    assert (asked.released, asked.held) == ((), (1, 2, 3, 4))
    proposal = control.memory.register.proposals[asked.proposal]
    assert proposal.change == ResultsRelease(job=job, numbers=(1, 3), reason="looked at")
    assert proposal.by == kim.account
    assert stands(ask(control, release(job, 1, 3, caller=kim))).proposal == asked.proposal
    assert code(ask(control, ApproveChange(caller=kim, proposal=asked.proposal))) == "own-proposal"
    ours = person(control, "park", Grant(role=Role.MEMBER, organisation="hanbit"))
    assert code(ask(control, ApproveChange(caller=ours, proposal=asked.proposal))) == "cannot-be-proposed"
    ask(control, ApproveChange(caller=person(control, "lee"), proposal=asked.proposal))
    holding = control.memory.register.airlock.holdings[job]
    assert holding.numbers_in(ResultState.RELEASED) == (1, 3)


def test_a_second_person_releases_nothing_that_was_refused_meanwhile(control: Control) -> None:
    agree(control, Operation.VIEW_RESULTS)
    job = hold(control)
    proposal = stands(ask(control, release(job, 3, caller=person(control, "kim")))).proposal
    ask(control, RefuseResults(caller=STEWARD, job=job, reason="no", numbers=(3,)))
    approval = ask(control, ApproveChange(caller=person(control, "lee"), proposal=proposal))
    assert code(approval) == "cannot-be-proposed"
    assert control.memory.register.airlock.holdings[job].state(3) is ResultState.REFUSED


@pytest.mark.parametrize(
    ("country", "parent", "crosses"), [("KR", "KR", False), ("NL", "NL", True), ("KR", "US", True), ("US", "KR", True)]
)
def test_a_border_is_crossed_when_recipient_or_its_parent_is_elsewhere(
    country: str, parent: str, crosses: bool
) -> None:
    text = NATION.replace(
        "startup, country: KR, parent_country: KR", f"startup, country: {country}, parent_country: {parent}"
    )
    made = nation(text + DATA)
    assert crosses_a_border(made, "hanbit", ["scans"]) == crosses
    assert crosses_a_border(made, "hanbit", ["scans", "gone"])
    assert crosses_a_border(made, "nobody", ["scans"])
    assert crosses_a_border(made, "hanbit", [])


def test_all_that_a_job_left_is_forgotten_when_its_time_is_over_and_not_before(control: Control) -> None:
    control.memory.outputs.most = 1
    job = submit(control, spec(data=("scans",), retry=Retry(limit=1, backoff_ms=0)))
    for attempt in (1, 2):
        run(control, seen=[Ended(attempt_id=f"{job}.{attempt}", at_ms=START_MS, exit_code=1)])
    ask(control, HoldResults(caller=PLATFORM, job=job, results=RESULTS))
    for _ in range(3):
        finish(control)
    assert not control.memory.outputs.are_gone(control.world.jobs[job])
    wipe = WipeResults(caller=PLATFORM, job=job)
    assert code(ask(control, wipe, START_MS + KEPT_MS - 1)) == "unknown-results"
    step = run(control, [wipe], now_ms=START_MS + KEPT_MS)
    assert [each.attempt_id for each in step.orders if isinstance(each, ForgetOrder)] == [f"{job}.1", f"{job}.2"]
    assert control.memory.outputs.are_gone(control.world.jobs[job])
    assert job not in control.memory.register.airlock.holdings


def test_after_a_restart_the_airlock_is_what_it_was() -> None:
    ledger = MemoryLedger()
    control = empty_control(ledger)
    ask(control, ApplyNation(caller=OPERATOR, nation=nation(NATION + DATA)))
    agree(control, Operation.VIEW_RESULTS)
    job = hold(control)
    ask(control, release(job, 1))
    uninspected = finish(control, "scans")
    again = empty_control(ledger)
    assert again.memory.register.airlock == control.memory.register.airlock
    assert again.memory.outputs.held == control.memory.outputs.held
    assert uninspected in again.memory.outputs.held
    assert uninspected not in again.memory.register.airlock.holdings
