"""What takes two people is not done by one."""

from __future__ import annotations

import pytest

from dure.control.access import Caller, Grant, Role
from dure.control.accounts import AccountKind
from dure.control.control import Control
from dure.control.oversight.requests import (
    ApproveChange,
    IssueStopOrder,
    ProposalStands,
    ProposalState,
    ProposeChange,
    StopOrderStands,
    WithdrawChange,
)
from dure.control.requests import AddAccount, NotDone, NotDoneCode, Reply
from dure.model.proposals import PolicyChange, ProposedChange, StopOrderLifting, TransferApproval

from .builders import OPERATOR, ask, small_control

FORBIDS_ALL = """
@id("closed") @title_ko("닫힘") @title_en("Closed for the week")
@remedy_ko("다음 주에 다시 신청하십시오") @remedy_en("Ask again next week")
forbid (principal, action == Action::"run", resource);
"""


@pytest.fixture
def control() -> Control:
    return small_control()


def person(control: Control, name: str, role: Role = Role.STEWARD, kind: AccountKind = AccountKind.LOCAL) -> Caller:
    """Somebody signed in to an account of their own."""
    wanted = AddAccount(caller=OPERATOR, kind=kind, name=name, grant=Grant(role=role), password_hash="$argon2id$x")
    account = ask(control, wanted)
    return Caller(id=f"t-{name}", role=role, account=account.id)  # type: ignore[union-attr]


def propose(control: Control, caller: Caller, change: ProposedChange) -> Reply:
    return ask(control, ProposeChange(caller=caller, change=change))


def code(reply: Reply) -> NotDoneCode:
    assert isinstance(reply, NotDone), reply
    return reply.code


def lifting(control: Control, caller: Caller) -> StopOrderLifting:
    order = ask(control, IssueStopOrder(caller=caller, within_ms=5_000, reason="ordered", country="NO"))
    assert isinstance(order, StopOrderStands)
    return StopOrderLifting(stop_order=order.order.id)


def test_one_person_issues_a_stop_order_and_two_lift_it(control: Control) -> None:
    ann, bob = person(control, "ann"), person(control, "bob")
    assert isinstance(propose(control, ann, lifting(control, ann)), ProposalStands)
    assert list(control.memory.register.stop_orders) == ["s1"]
    assert code(ask(control, ApproveChange(caller=ann, proposal="p1"))) is NotDoneCode.OWN_PROPOSAL
    answer = ask(control, ApproveChange(caller=bob, proposal="p1"))
    assert isinstance(answer, ProposalStands)
    assert answer.state is ProposalState.APPROVED
    assert not control.memory.register.stop_orders


def test_another_token_of_the_same_person_is_the_same_person(control: Control) -> None:
    ann = person(control, "ann")
    propose(control, ann, lifting(control, ann))
    other_token = Caller(id="t99", role=Role.OPERATOR, account=ann.account)
    assert code(ask(control, ApproveChange(caller=other_token, proposal="p1"))) is NotDoneCode.OWN_PROPOSAL


def test_a_token_of_nobody_and_a_program_count_as_no_person(control: Control) -> None:
    ann = person(control, "ann")
    program = person(control, "robot", Role.OPERATOR, AccountKind.SERVICE)
    change = lifting(control, ann)
    for nobody in (OPERATOR, program):
        assert code(propose(control, nobody, change)) is NotDoneCode.NEEDS_ACCOUNT
    propose(control, ann, change)
    for nobody in (OPERATOR, program):
        assert code(ask(control, ApproveChange(caller=nobody, proposal="p1"))) is NotDoneCode.NEEDS_ACCOUNT
    assert control.memory.register.stop_orders


def test_what_was_turned_down_cannot_be_approved(control: Control) -> None:
    ann, bob = person(control, "ann"), person(control, "bob")
    propose(control, ann, lifting(control, ann))
    assert isinstance(ask(control, WithdrawChange(caller=bob, proposal="p1")), ProposalStands)
    assert code(ask(control, ApproveChange(caller=bob, proposal="p1"))) is NotDoneCode.UNKNOWN_PROPOSAL
    assert control.memory.register.stop_orders


def test_what_was_done_meanwhile_is_not_done_again(control: Control) -> None:
    ann, bob = person(control, "ann"), person(control, "bob")
    change = lifting(control, ann)
    propose(control, ann, change)
    propose(control, ann, change)
    ask(control, ApproveChange(caller=bob, proposal="p1"))
    assert code(ask(control, ApproveChange(caller=bob, proposal="p2"))) is NotDoneCode.CANNOT_BE_PROPOSED


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (StopOrderLifting(stop_order="s9"), "No stop order s9"),
        (TransferApproval(agreement="a9", version=1), "no agreement a9"),
        (PolicyChange(policies=(("own.cedar", "permit everything"),)), "own.cedar"),
        (PolicyChange(policies=(("residency.cedar", FORBIDS_ALL),)), "residency.cedar"),
    ],
)
def test_what_could_not_be_done_cannot_be_proposed(control: Control, change: ProposedChange, says: str) -> None:
    reply = propose(control, person(control, "ann"), change)
    assert code(reply) is NotDoneCode.CANNOT_BE_PROPOSED
    assert isinstance(reply, NotDone)
    assert says in reply.message


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"recipient": "nobody"},
        {"dataset": "nothing"},
        {"country": "Norway"},
        {"country": "NO", "within_ms": 0},
        {"country": "NO", "reason": " "},
        {"country": "NO", "reason": "two\nlines"},
    ],
)
def test_a_stop_order_that_nothing_could_fit_is_refused(control: Control, wanted: dict[str, object]) -> None:
    fields = {"within_ms": 5_000, "reason": "ordered"} | wanted
    reply = ask(control, IssueStopOrder(caller=OPERATOR, **fields))  # type: ignore[arg-type]
    assert code(reply) is NotDoneCode.BAD_STOP_ORDER
    assert not control.memory.register.stop_orders
