"""What one person alone may not do: it is proposed by one and approved by another."""

from __future__ import annotations

from msgspec import Struct

from dure.model.model_versions import VersionName


class PolicyChange(Struct, frozen=True, kw_only=True, tag="policy", tag_field="change"):
    """These are the programme's own rules from now on, beside those that are shipped: texts by file name."""

    policies: tuple[tuple[str, str], ...]


class StopOrderLifting(Struct, frozen=True, kw_only=True, tag="lift-stop-order", tag_field="change"):
    """A stop order no longer holds."""

    stop_order: str


class TransferApproval(Struct, frozen=True, kw_only=True, tag="approve-transfer", tag_field="change"):
    """An agreement may let data or results cross a border, on these terms and no others."""

    agreement: str
    version: int


class ModelPromotion(Struct, frozen=True, kw_only=True, tag="promote-model", tag_field="change"):
    """A version of a model passed its gate and may be put to use."""

    version: VersionName


class ResultsRelease(Struct, frozen=True, kw_only=True, tag="release-results", tag_field="change"):
    """Results of a job on restricted data go to its organisation, across a border or against a finding."""

    job: str
    numbers: tuple[int, ...]
    reason: str


class KeyChange(Struct, frozen=True, kw_only=True, tag="key", tag_field="change"):
    """The ledger is signed with another key from the next start of the server on: a verifier key as C2SP writes it."""

    key: str


ProposedChange = PolicyChange | StopOrderLifting | TransferApproval | ModelPromotion | ResultsRelease | KeyChange


class Proposal(Struct, frozen=True, kw_only=True):
    """A change that waits for a second person. `by` is the account that proposed it."""

    id: str
    change: ProposedChange
    by: str
    proposed_at_ms: int
