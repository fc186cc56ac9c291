"""Agreements from offer to end: who may speak for whom, and that nobody agrees with themselves."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dure.control.access import Caller, Permission, Role
from dure.control.control import Control
from dure.control.orders import LaunchOrder
from dure.control.oversight.agreement_requests import (
    AcceptAgreement,
    AgreementStands,
    CounterAgreement,
    DeclineAgreement,
    EndAgreement,
    OfferAgreement,
)
from dure.control.requests import ApplyNation, NotDone, Reply, Request, SubmitJob, Submitted
from dure.intake.refusals import Refusal
from dure.ledger.memory import MemoryLedger
from dure.model.agreements import AgreementState, Condition, Operation, Terms
from dure.model.datasets import Purpose
from dure.model.events import decode
from dure.model.oversight import AgreementRefused, ChangeApproved, ChangeProposed
from dure.model.proposals import TransferApproval

from .builders import HANBIT as MEMBER
from .builders import NATION, OPERATOR, START_MS, ask, empty_control, nation, run, spec

DATA = """
datasets:
  - {name: rain, owner: ministry, classes: [personal], jurisdiction: KR, purposes: [research], sites: [daejeon],
     readers: []}
  - {name: maps, owner: ministry, classes: [public], jurisdiction: KR, purposes: [research], sites: [daejeon],
     readers: []}
"""
TERMS = Terms(
    provider="ministry",
    recipient="hanbit",
    datasets=("rain",),
    purposes=(Purpose.RESEARCH,),
    operations=(Operation.COMPUTE,),
    sites=("daejeon",),
    from_ms=START_MS,
    until_ms=START_MS + 1_000,
)
MINISTRY = Caller(id="t1", role=Role.ADMINISTRATOR, organisation="ministry")
HANBIT = Caller(id="t2", role=Role.ADMINISTRATOR, organisation="hanbit")
OUTSIDER = Caller(id="t3", role=Role.ADMINISTRATOR, organisation="kaist")
STEWARD = Caller(id="t4", role=Role.STEWARD, account="asteward")


@pytest.fixture
def control() -> Control:
    made = empty_control()
    text = NATION.replace("shares:", "  - {name: kaist, kind: university, country: KR}\nshares:") + DATA
    ask(made, ApplyNation(caller=OPERATOR, nation=nation(text)))
    return made


def code(reply: Reply) -> str:
    assert isinstance(reply, NotDone | Refusal), reply
    return reply.code.value


def stands(control: Control, request: Request) -> tuple[AgreementState, int]:
    reply = ask(control, request)
    assert isinstance(reply, AgreementStands), reply
    return reply.state, reply.version


def offer(control: Control, caller: Caller = MINISTRY) -> None:
    assert stands(control, OfferAgreement(caller=caller, terms=TERMS)) == (AgreementState.OFFERED, 1)


def accept(caller: Caller, version: int = 1, organisation: str = "") -> AcceptAgreement:
    return AcceptAgreement(caller=caller, agreement="a1", version=version, organisation=organisation)


def test_one_side_offers_and_the_other_accepts(control: Control) -> None:
    offer(control)
    assert stands(control, accept(HANBIT)) == (AgreementState.AGREED, 1)
    register = control.memory.register
    assert [each.id for each in register.agreements_in_force(START_MS)] == ["a1"]
    assert [(each.organisation, each.by) for each in register.agreements["a1"].history] == [
        ("ministry", "t1"),
        ("hanbit", "t2"),
    ]


def test_a_recipient_may_ask_for_terms_and_the_provider_accepts(control: Control) -> None:
    offer(control, HANBIT)
    assert code(ask(control, accept(HANBIT))) == "own-offer"
    assert stands(control, accept(MINISTRY)) == (AgreementState.AGREED, 1)


def test_nobody_answers_their_own_offer_not_even_for_the_other_side(control: Control) -> None:
    offer(control, STEWARD)
    assert code(ask(control, accept(STEWARD))) == "own-offer"
    assert code(ask(control, accept(STEWARD, organisation="ministry"))) == "own-offer"
    same_person = Caller(id="t9", role=Role.OPERATOR, account="asteward")
    assert code(ask(control, accept(same_person))) == "own-offer"
    assert stands(control, accept(OPERATOR)) == (AgreementState.AGREED, 1)


def test_an_approval_in_between_hides_nobodys_own_offer(control: Control) -> None:
    offer(control, STEWARD)
    change = TransferApproval(agreement="a1", version=1)
    register = control.memory.register
    register.apply(ChangeProposed(at_ms=START_MS, proposal="p1", change=change, by="ann"))
    register.apply(ChangeApproved(at_ms=START_MS, proposal="p1", by="bob"))
    assert code(ask(control, accept(STEWARD))) == "own-offer"


def test_a_counter_offer_is_the_other_sides_to_answer(control: Control) -> None:
    offer(control)
    counter = CounterAgreement(caller=HANBIT, agreement="a1", terms=TERMS)
    assert code(ask(control, CounterAgreement(caller=MINISTRY, agreement="a1", terms=TERMS))) == "own-offer"
    assert stands(control, counter) == (AgreementState.NEGOTIATING, 2)
    assert code(ask(control, accept(HANBIT, 2))) == "own-offer"
    assert code(ask(control, accept(MINISTRY, 1))) == "terms-have-changed"
    assert stands(control, accept(MINISTRY, 2)) == (AgreementState.AGREED, 2)


def test_a_counter_offer_is_between_the_same_parties_and_judged_again(control: Control) -> None:
    offer(control)
    others = replace(TERMS, recipient="kaist")
    assert code(ask(control, CounterAgreement(caller=HANBIT, agreement="a1", terms=others))) == "parties-are-fixed"
    wider = replace(TERMS, purposes=(Purpose.COMMERCIAL,))
    refused = ask(control, CounterAgreement(caller=HANBIT, agreement="a1", terms=wider))
    assert code(refused) == "agreement-purpose-not-held"


def test_to_outsiders_an_agreement_does_not_exist(control: Control) -> None:
    offer(control)
    requests: list[Request] = [
        accept(OUTSIDER),
        CounterAgreement(caller=OUTSIDER, agreement="a1", terms=TERMS),
        DeclineAgreement(caller=OUTSIDER, agreement="a1"),
        EndAgreement(caller=OUTSIDER, agreement="a1"),
    ]
    missing = code(ask(control, DeclineAgreement(caller=OUTSIDER, agreement="a9")))
    assert {code(ask(control, each)) for each in requests} == {missing} == {"unknown-agreement"}


@pytest.mark.parametrize(
    ("caller", "organisation"),
    [
        (OUTSIDER, ""),
        (OUTSIDER, "ministry"),
        (MINISTRY, "hanbit"),
        (STEWARD, "kaist"),
        (Caller(id="t5", role=Role.ADMINISTRATOR, organisation="ministry", project="weather"), ""),
    ],
)
def test_everybody_speaks_for_their_own_side_only(control: Control, caller: Caller, organisation: str) -> None:
    reply = ask(control, OfferAgreement(caller=caller, terms=TERMS, organisation=organisation))
    assert code(reply) == "not-your-side"


def test_a_token_without_the_scope_to_govern_sees_no_agreement(control: Control) -> None:
    offer(control)
    narrow = Caller(id="t6", role=Role.STEWARD, scope=frozenset({Permission.AGREE}))
    assert code(ask(control, DeclineAgreement(caller=narrow, agreement="a1"))) == "unknown-agreement"


def test_an_offer_is_taken_back_by_its_side_and_declined_by_the_other(control: Control) -> None:
    offer(control)
    assert code(ask(control, EndAgreement(caller=HANBIT, agreement="a1"))) == "agreement-not-open"
    assert code(ask(control, DeclineAgreement(caller=MINISTRY, agreement="a1"))) == "own-offer"
    assert stands(control, EndAgreement(caller=MINISTRY, agreement="a1")) == (AgreementState.ENDED, 1)
    assert stands(control, OfferAgreement(caller=MINISTRY, terms=TERMS)) == (AgreementState.OFFERED, 1)
    assert stands(control, DeclineAgreement(caller=HANBIT, agreement="a2")) == (AgreementState.DECLINED, 1)
    assert code(ask(control, AcceptAgreement(caller=HANBIT, agreement="a2", version=1))) == "agreement-not-open"


@pytest.mark.parametrize("caller", [MINISTRY, HANBIT, STEWARD])
def test_whoever_is_a_party_or_the_programme_ends_an_agreement_at_once(control: Control, caller: Caller) -> None:
    offer(control)
    ask(control, accept(HANBIT))
    ended = EndAgreement(caller=caller, agreement="a1", reason="the project is over")
    assert stands(control, ended) == (AgreementState.ENDED, 1)
    agreement = control.memory.register.agreements["a1"]
    assert not agreement.is_in_force(START_MS)
    assert (agreement.history[-1].organisation, agreement.history[-1].reason) == (
        caller.organisation,
        "the project is over",
    )


def test_terms_are_judged_again_when_they_are_accepted(control: Control) -> None:
    offer(control)
    assert code(ask(control, accept(HANBIT), now_ms=START_MS + 1_000)) == "agreement-already-over"


def test_an_attempt_to_grant_what_is_not_theirs_is_kept_with_its_rule(control: Control) -> None:
    ask(control, OfferAgreement(caller=HANBIT, terms=replace(TERMS, provider="hanbit", recipient="ministry")))
    last = decode(list(control.ledger.entries())[-1])
    assert isinstance(last, AgreementRefused)
    assert (last.organisation, last.by, last.rule) == ("hanbit", "t2", "agreement-not-the-owner")
    assert control.memory.register.agreements == {}


def submission(dataset: str) -> SubmitJob:
    wanted = spec("chat", gpus=1, data=(dataset,), purpose=Purpose.RESEARCH)
    return SubmitJob(caller=MEMBER, spec=wanted)


def test_jobs_run_on_an_agreement_while_it_is_in_force_and_are_counted_as_its_use(control: Control) -> None:
    assert isinstance(ask(control, submission("rain")), Refusal)
    offer(control)
    assert isinstance(ask(control, submission("rain")), Refusal)
    ask(control, accept(HANBIT))
    accepted = ask(control, submission("rain"))
    assert isinstance(accepted, Submitted)
    assert control.memory.register.jobs_on == {"a1": list(accepted.jobs)}
    ask(control, EndAgreement(caller=MINISTRY, agreement="a1"))
    assert isinstance(ask(control, submission("rain")), Refusal)


@pytest.mark.parametrize("conditions", [(), (Condition.SANDBOX,)])
def test_a_condition_of_the_agreement_holds_where_the_job_runs(
    control: Control, conditions: tuple[Condition, ...]
) -> None:
    terms = replace(TERMS, datasets=("maps",), conditions=conditions)
    ask(control, OfferAgreement(caller=MINISTRY, terms=terms))
    ask(control, accept(HANBIT))
    launches = [each.launch for each in run(control, [submission("maps")]).orders if isinstance(each, LaunchOrder)]
    assert [each.sandbox for each in launches] == [bool(conditions)]


def test_what_was_agreed_is_the_same_after_a_restart() -> None:
    ledger = MemoryLedger()
    first = empty_control(ledger)
    ask(first, ApplyNation(caller=OPERATOR, nation=nation(NATION + DATA)))
    offer(first)
    ask(first, accept(HANBIT))
    assert empty_control(ledger).memory.register == first.memory.register
