"""Agreements: who may use which data of whom, where, for what, and until when.

They go the way that the Eclipse Dataspace Protocol gives contracts: offered, perhaps negotiated, agreed, used, ended.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from dure.model.datasets import Purpose


class Operation(StrEnum):
    """What an agreement lets its recipient do with the data."""

    COMPUTE = "compute"
    """Run jobs on a copy where it lies. The data goes nowhere."""
    VIEW_RESULTS = "view-results"
    """Look at released results on the platform."""
    TAKE_RESULTS = "take-results"
    """Take released results away."""
    COPY = "copy"
    """Have a copy made at the sites that the agreement names."""


class TransferBasis(StrEnum):
    """On what personal data may be transferred abroad: Personal Information Protection Act (Korea), Art. 28-8(1)."""

    CONSENT = "consent"
    STATUTE_OR_TREATY = "statute-or-treaty"
    CONTRACT = "contract"
    CERTIFIED_RECIPIENT = "certified-recipient"
    EQUIVALENT_COUNTRY = "equivalent-country"


class ExportClearance(StrEnum):
    """What stands for an export of national core technology (Industrial Technology Protection Act, Korea, Art. 11)."""

    APPROVED = "approved"
    """Developed with state money, an export needs an approval."""
    REPORTED = "reported"
    """Any other export needs a report beforehand."""


class Condition(StrEnum):
    """What an agreement asks of every job that runs on it. Only what the platform sees to by itself is a condition."""

    SANDBOX = "sandbox"
    """It runs without network, changes no data and leaves no copy behind, whatever class the data is of."""


class Terms(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What two organisations agree on. Nothing that is not named here is granted."""

    provider: str
    """The organisation that owns all the datasets."""
    recipient: str
    datasets: tuple[str, ...]
    purposes: tuple[Purpose, ...]
    operations: tuple[Operation, ...]
    sites: tuple[str, ...]
    from_ms: int
    until_ms: int
    transfer_basis: TransferBasis | None = None
    clearance: ExportClearance | None = None
    clearance_reference: str = ""
    """The authority's number of the approval or report."""
    conditions: tuple[Condition, ...] = ()


class AgreementState(StrEnum):
    """How far an agreement has come."""

    OFFERED = "offered"
    NEGOTIATING = "negotiating"
    """The other side offered other terms."""
    AGREED = "agreed"
    DECLINED = "declined"
    ENDED = "ended"


NEXT_STATES: dict[AgreementState, frozenset[AgreementState]] = {
    AgreementState.OFFERED: frozenset(
        {AgreementState.NEGOTIATING, AgreementState.AGREED, AgreementState.DECLINED, AgreementState.ENDED}
    ),
    AgreementState.NEGOTIATING: frozenset(
        {AgreementState.NEGOTIATING, AgreementState.AGREED, AgreementState.DECLINED, AgreementState.ENDED}
    ),
    AgreementState.AGREED: frozenset({AgreementState.ENDED}),
    AgreementState.DECLINED: frozenset(),
    AgreementState.ENDED: frozenset(),
}
"""Every move an agreement can make. Whoever offered the latest terms can end the talk; the other side declines it."""


class AgreementMove(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of an agreement's life: for which side it was made, and by whom (the opaque id of a token)."""

    at_ms: int
    state: AgreementState
    organisation: str
    """The party on whose side it was done; empty when the programme itself did it."""
    by: str
    version: int
    reason: str = ""


class Agreement(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An agreement as it stands. `version` counts the terms that were offered; `offered_by` offered the latest."""

    id: str
    terms: Terms
    state: AgreementState
    offered_by: str
    version: int = 1
    needs_approval: bool = False
    """It lets data or results cross a border, so two people of the programme must approve it before it counts."""
    approved: bool = False
    history: tuple[AgreementMove, ...] = ()
    """How it came to where it stands, oldest first."""

    @property
    def offer(self) -> AgreementMove:
        """The step with which the latest terms were offered."""
        return next(each for each in self.history if each.version == self.version)

    def is_in_force(self, at_ms: int) -> bool:
        """True when jobs may be run on it at this moment."""
        is_cleared = self.approved or not self.needs_approval
        in_time = self.terms.from_ms <= at_ms < self.terms.until_ms
        return self.state is AgreementState.AGREED and is_cleared and in_time
