"""Entries of the ledger about who may use data, and who decided so. They change no GPU's use by themselves."""

from __future__ import annotations

from dure.model.agreements import Terms
from dure.model.event import Event
from dure.model.model_events import ModelEvent
from dure.model.proposals import ProposedChange
from dure.model.result_events import ResultEvent
from dure.model.stop_orders import StopOrder


class AgreementOffered(Event, frozen=True, kw_only=True, omit_defaults=True, tag="agreement-offered"):
    """An organisation offered terms: for a new agreement, or other terms for one that is being negotiated."""

    agreement: str
    terms: Terms
    organisation: str
    by: str
    needs_approval: bool = False


class AgreementRefused(Event, frozen=True, kw_only=True, omit_defaults=True, tag="agreement-refused"):
    """Somebody offered or accepted terms that grant what is not theirs to grant; `rule` is the one that forbids it."""

    terms: Terms
    organisation: str
    by: str
    rule: str


class AgreementAccepted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="agreement-accepted"):
    """The other side accepted the latest terms."""

    agreement: str
    version: int
    organisation: str
    by: str


class AgreementDeclined(Event, frozen=True, kw_only=True, omit_defaults=True, tag="agreement-declined"):
    """The other side does not want it."""

    agreement: str
    organisation: str
    by: str


class AgreementEnded(Event, frozen=True, kw_only=True, omit_defaults=True, tag="agreement-ended"):
    """One of the parties, or the programme, ended it before its time."""

    agreement: str
    by: str
    reason: str = ""
    organisation: str = ""
    """On which side it was ended; empty for the programme."""


class StopOrdered(Event, frozen=True, kw_only=True, omit_defaults=True, tag="stop-ordered"):
    """A stop order holds from now on."""

    order: StopOrder
    by: str


class KeyChanged(Event, frozen=True, kw_only=True, omit_defaults=True, tag="key-changed"):
    """From this entry on the ledger is signed with `key`. All before it is under `checkpoint`, signed with `former`."""

    key: str
    former: str
    checkpoint: str


class PersonForgotten(Event, frozen=True, kw_only=True, omit_defaults=True, tag="person-forgotten"):
    """All that was personal about an account was erased, and what its jobs ran: `jobs` of them, all over by then."""

    account: str
    by: str
    jobs: int = 0


class ChangeProposed(Event, frozen=True, kw_only=True, omit_defaults=True, tag="change-proposed"):
    """Somebody wants a change that needs two people. `by` is an account."""

    proposal: str
    change: ProposedChange
    by: str


class ChangeApproved(Event, frozen=True, kw_only=True, omit_defaults=True, tag="change-approved"):
    """A second person approved the change: it counts from now on."""

    proposal: str
    by: str


class ChangeWithdrawn(Event, frozen=True, kw_only=True, omit_defaults=True, tag="change-withdrawn"):
    """The change is not wanted any more, or was turned down."""

    proposal: str
    by: str


OversightEvent = (
    AgreementOffered
    | AgreementAccepted
    | AgreementDeclined
    | AgreementEnded
    | AgreementRefused
    | StopOrdered
    | ChangeProposed
    | ChangeApproved
    | ChangeWithdrawn
    | KeyChanged
    | PersonForgotten
    | ModelEvent
    | ResultEvent
)
