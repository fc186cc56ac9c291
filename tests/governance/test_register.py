"""Agreements, stop orders and proposals, as the ledger's entries make them."""

from __future__ import annotations

import pytest

from dure.governance.register import Register
from dure.model.agreements import AgreementState, Operation, Terms
from dure.model.datasets import Purpose
from dure.model.oversight import (
    AgreementAccepted,
    AgreementDeclined,
    AgreementEnded,
    AgreementOffered,
    ChangeApproved,
    ChangeProposed,
    ChangeWithdrawn,
    StopOrdered,
)
from dure.model.proposals import PolicyChange, ProposedChange, StopOrderLifting, TransferApproval
from dure.model.stop_orders import StopOrder

TERMS = Terms(
    provider="samsung",
    recipient="oslo-lab",
    datasets=("fab",),
    purposes=(Purpose.RESEARCH,),
    operations=(Operation.COMPUTE,),
    sites=("pyeongtaek",),
    from_ms=1_000,
    until_ms=2_000,
)


def offered(*, needs_approval: bool = False) -> Register:
    register = Register()
    register.apply(
        AgreementOffered(
            at_ms=1, agreement="a1", terms=TERMS, organisation="samsung", by="t1", needs_approval=needs_approval
        )
    )
    return register


def agreed(*, needs_approval: bool = False) -> Register:
    register = offered(needs_approval=needs_approval)
    register.apply(AgreementAccepted(at_ms=2, agreement="a1", version=1, organisation="oslo-lab", by="t2"))
    return register


def enact(register: Register, change: ProposedChange) -> None:
    register.apply(ChangeProposed(at_ms=3, proposal="p1", change=change, by="ann"))
    register.apply(ChangeApproved(at_ms=4, proposal="p1", by="bob"))


@pytest.mark.parametrize(("at_ms", "is_in_force"), [(999, False), (1_000, True), (1_999, True), (2_000, False)])
def test_an_agreement_is_in_force_between_its_dates(at_ms: int, is_in_force: bool) -> None:
    assert bool(agreed().agreements_in_force(at_ms)) is is_in_force


def test_an_offer_alone_allows_nothing() -> None:
    assert not offered().agreements_in_force(1_500)


def test_other_terms_are_another_version_that_the_other_side_must_accept() -> None:
    register = offered()
    register.apply(AgreementOffered(at_ms=2, agreement="a1", terms=TERMS, organisation="oslo-lab", by="t2"))
    agreement = register.agreements["a1"]
    assert (agreement.state, agreement.version, agreement.offered_by) == (AgreementState.NEGOTIATING, 2, "oslo-lab")


@pytest.mark.parametrize(
    "last",
    [
        AgreementDeclined(at_ms=3, agreement="a1", organisation="oslo-lab", by="t2"),
        AgreementEnded(at_ms=3, agreement="a1", by="t1", reason="the project is over"),
    ],
)
def test_what_is_declined_or_ended_is_never_agreed(last: AgreementDeclined | AgreementEnded) -> None:
    register = offered()
    register.apply(last)
    with pytest.raises(AssertionError, match="cannot be agreed"):
        register.apply(AgreementAccepted(at_ms=4, agreement="a1", version=1, organisation="oslo-lab", by="t2"))


def test_what_crosses_a_border_counts_once_two_people_approved_it() -> None:
    register = agreed(needs_approval=True)
    assert not register.agreements_in_force(1_500)
    enact(register, TransferApproval(agreement="a1", version=1))
    assert register.agreements_in_force(1_500)
    last = register.agreements["a1"].history[-1]
    assert (last.by, last.organisation, last.state) == ("bob", "", AgreementState.AGREED)


def test_an_approval_of_other_terms_approves_nothing() -> None:
    register = agreed(needs_approval=True)
    enact(register, TransferApproval(agreement="a1", version=2))
    assert not register.agreements_in_force(1_500)


def test_a_proposal_changes_nothing_by_itself() -> None:
    register = Register()
    change = PolicyChange(policies=(("own.cedar", "forbid (principal, action, resource);"),))
    register.apply(ChangeProposed(at_ms=3, proposal="p1", change=change, by="ann"))
    assert (register.policies, register.version, list(register.proposals)) == ((), 0, ["p1"])
    register.apply(ChangeWithdrawn(at_ms=4, proposal="p1", by="ann"))
    assert not register.proposals


def test_a_stop_order_holds_until_it_is_lifted() -> None:
    register = Register()
    order = StopOrder(id="s1", within_ms=5_000, reason="ordered by the commission", country="NO")
    register.apply(StopOrdered(at_ms=1, order=order, by="t1"))
    assert register.stop_orders == {"s1": order}
    enact(register, StopOrderLifting(stop_order="s1"))
    assert not register.stop_orders
