"""Agreements, stop orders, the programme's own rules and open proposals, as of the ledger's last entry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dure.governance.airlock import Airlock
from dure.governance.models import ModelRegister
from dure.model.agreements import NEXT_STATES, Agreement, AgreementMove, AgreementState, Condition
from dure.model.events import JobSubmitted
from dure.model.model_events import ModelEvent
from dure.model.oversight import (
    AgreementAccepted,
    AgreementDeclined,
    AgreementEnded,
    AgreementOffered,
    AgreementRefused,
    ChangeApproved,
    ChangeProposed,
    ChangeWithdrawn,
    KeyChanged,
    OversightEvent,
    PersonForgotten,
    StopOrdered,
)
from dure.model.proposals import (
    KeyChange,
    ModelPromotion,
    PolicyChange,
    Proposal,
    ProposedChange,
    ResultsRelease,
    StopOrderLifting,
    TransferApproval,
)
from dure.model.result_events import ResultEvent
from dure.model.stop_orders import StopOrder

_Moved = AgreementAccepted | AgreementDeclined | AgreementEnded


class Register(Struct):
    """What was agreed, ordered and proposed. `apply` is the only way it changes."""

    agreements: dict[str, Agreement] = {}
    stop_orders: dict[str, StopOrder] = {}
    """Those that hold."""
    stop_orders_issued: int = 0
    jobs_on: dict[str, list[str]] = {}
    """Jobs by the agreement that lets them read their data, oldest first: how it was used."""
    proposals: dict[str, Proposal] = {}
    """Those that wait for a second person."""
    proposals_made: int = 0
    policies: tuple[tuple[str, str], ...] = ()
    """The programme's own rules: texts by file name."""
    approved_key: str = ""
    """What the ledger is to be signed with from the next start on; empty when that is the key it has."""
    models: ModelRegister = msgspec.field(default_factory=ModelRegister)
    airlock: Airlock = msgspec.field(default_factory=Airlock)
    version: int = 0
    """Grows with whatever may change what is allowed."""

    def apply(self, event: OversightEvent) -> None:
        """Change the state as the event says."""
        if isinstance(event, ModelEvent):
            self.models.apply(event)
            return
        if isinstance(event, ResultEvent):
            self.airlock.apply(event)
            return
        match event:
            case AgreementOffered():
                self._offer(event)
            case AgreementAccepted():
                self._move(event, AgreementState.AGREED)
            case AgreementDeclined():
                self._move(event, AgreementState.DECLINED)
            case AgreementEnded():
                self._move(event, AgreementState.ENDED, event.reason)
            case StopOrdered():
                self.stop_orders[event.order.id] = event.order
                self.stop_orders_issued += 1
                self.version += 1
            case ChangeProposed():
                made = Proposal(id=event.proposal, change=event.change, by=event.by, proposed_at_ms=event.at_ms)
                self.proposals[event.proposal] = made
                self.proposals_made += 1
            case ChangeApproved():
                self._enact(self.proposals.pop(event.proposal), event)
            case ChangeWithdrawn():
                del self.proposals[event.proposal]
            case KeyChanged():
                self.approved_key = ""
            case PersonForgotten() | AgreementRefused():
                pass
            case _:
                assert_never(event)

    def note_use(self, event: JobSubmitted) -> None:
        """Remember on which agreements a job runs."""
        for agreement in event.agreements:
            self.jobs_on.setdefault(agreement, []).append(event.job)

    def agreements_in_force(self, at_ms: int) -> tuple[Agreement, ...]:
        """Agreements that jobs may be run on at this moment, in the order in which they were offered."""
        return tuple(each for each in self.agreements.values() if each.is_in_force(at_ms))

    def asks_for(self, condition: Condition, agreements: Iterable[str]) -> bool:
        """True when one of these agreements asks this of jobs that run on it."""
        return any(condition in self.agreements[each].terms.conditions for each in agreements)

    def _offer(self, event: AgreementOffered) -> None:
        before = self.agreements.get(event.agreement)
        state = AgreementState.NEGOTIATING if before else AgreementState.OFFERED
        if before is not None:
            _check_move(before, state)
        version = before.version + 1 if before else 1
        self.agreements[event.agreement] = Agreement(
            id=event.agreement,
            terms=event.terms,
            state=state,
            offered_by=event.organisation,
            version=version,
            needs_approval=event.needs_approval,
            history=(*(before.history if before else ()), _moved(event, state, version)),
        )
        # It allows nothing yet, but a refusal may speak of it.
        self.version += 1

    def _move(self, event: _Moved, state: AgreementState, reason: str = "") -> None:
        before = self.agreements[event.agreement]
        _check_move(before, state)
        history = (*before.history, _moved(event, state, before.version, reason))
        self.agreements[before.id] = replace(before, state=state, history=history)
        self.version += 1

    def _approve(self, change: TransferApproval, approval: ChangeApproved) -> None:
        agreement = self.agreements[change.agreement]
        if agreement.version != change.version:
            return
        move = AgreementMove(
            at_ms=approval.at_ms,
            state=agreement.state,
            organisation="",
            by=approval.by,
            version=change.version,
            reason="two people approved that it crosses a border",
        )
        history = (*agreement.history, move)
        self.agreements[agreement.id] = replace(agreement, approved=True, history=history)

    def _enact(self, proposal: Proposal, approval: ChangeApproved) -> None:
        change: ProposedChange = proposal.change
        match change:
            case PolicyChange():
                self.policies = change.policies
            case StopOrderLifting():
                self.stop_orders.pop(change.stop_order, None)
            case TransferApproval():
                self._approve(change, approval)
            case ModelPromotion():
                # Who may use data stays as it is, so no running job has to be asked about again.
                self.models.promote(change.version, proposal.proposed_at_ms, approval.at_ms)
                return
            case ResultsRelease():
                self.airlock.release(change.job, change.numbers)
                return
            case KeyChange():
                self.approved_key = change.key
                return
            case _:
                assert_never(change)
        self.version += 1


def _moved(event: AgreementOffered | _Moved, state: AgreementState, version: int, reason: str = "") -> AgreementMove:
    return AgreementMove(
        at_ms=event.at_ms, state=state, organisation=event.organisation, by=event.by, version=version, reason=reason
    )


def _check_move(agreement: Agreement, state: AgreementState) -> None:
    assert state in NEXT_STATES[agreement.state], f"{agreement.id} is {agreement.state} and cannot be {state}"
