"""What people ask of the model registry, and how it stands after."""

from __future__ import annotations

from msgspec import Struct

from dure.control.access import Caller
from dure.model.model_versions import (
    BaseModel,
    ComputeClaim,
    FactValue,
    FileDigest,
    IncidentKind,
    ModelName,
    Precision,
    PromotionGate,
    Utilisation,
    VersionName,
)


class RegisterModel(Struct, frozen=True, kw_only=True):
    """Make the next version of a model, from jobs of the same organisation that are over."""

    caller: Caller
    model: ModelName
    jobs: tuple[str, ...] = ()
    parents: tuple[VersionName, ...] = ()
    bases: tuple[BaseModel, ...] = ()
    claim: ComputeClaim | None = None
    precision: Precision | None = None
    """Of all its jobs; what each job's own document says unless given."""
    utilisation: Utilisation | None = None
    code: str = ""
    image: str = ""
    source: str = ""
    files: tuple[FileDigest, ...] = ()
    busy_percent: dict[str, int] = {}
    """By job, what the counters of its GPUs say, where there are any."""


class AliasModel(Struct, frozen=True, kw_only=True):
    """Let a name such as `production` stand for a version; for none when it is 0."""

    caller: Caller
    model: ModelName
    alias: str
    version: int


class EvaluateModel(Struct, frozen=True, kw_only=True):
    """Add results of measuring a version."""

    caller: Caller
    version: VersionName
    metrics: tuple[tuple[str, str], ...]
    job: str = ""
    dataset: str = ""


class DeclareModelFacts(Struct, frozen=True, kw_only=True):
    """Say what the model is used for, and all else that duties depend on."""

    caller: Caller
    model: ModelName
    facts: dict[str, FactValue]


class DeclareModelEvidence(Struct, frozen=True, kw_only=True):
    """Say that something is held which shows that a duty was done."""

    caller: Caller
    model: ModelName
    kind: str
    reference: str


class ReassessModels(Struct, frozen=True, kw_only=True):
    """Assess every model again whose last assessment was by other packs than those in use."""

    caller: Caller


class SetPromotionGate(Struct, frozen=True, kw_only=True):
    """Say what versions of the model must show before they are promoted."""

    caller: Caller
    model: ModelName
    gate: PromotionGate


class PromoteModel(Struct, frozen=True, kw_only=True):
    """Propose that a version be put to use. A second person has to approve it."""

    caller: Caller
    version: VersionName


class WithdrawModel(Struct, frozen=True, kw_only=True):
    """Say that a version must not be used any more."""

    caller: Caller
    version: VersionName
    reason: str


class ReportIncident(Struct, frozen=True, kw_only=True):
    """Say that something went wrong with a version in use."""

    caller: Caller
    version: VersionName
    kind: IncidentKind
    reference: str


class RecordEvidence(Struct, frozen=True, kw_only=True):
    """Note in the ledger that an evidence bundle with this digest was made."""

    caller: Caller
    version: VersionName
    digest: str


class CloseTask(Struct, frozen=True, kw_only=True):
    """Say that a task was looked into."""

    caller: Caller
    task: str
    reference: str = ""


ModelRequest = (
    RegisterModel
    | AliasModel
    | EvaluateModel
    | DeclareModelFacts
    | DeclareModelEvidence
    | ReassessModels
    | SetPromotionGate
    | PromoteModel
    | WithdrawModel
    | ReportIncident
    | RecordEvidence
    | CloseTask
)


class ModelStands(Struct, frozen=True, kw_only=True):
    """How a model or a version stands after a request about it."""

    model: str
    """`organisation/model`, with `@` and a number for a version."""
    state: str
    tasks: tuple[str, ...] = ()
    """Ids of the tasks that were opened."""
    proposal: str = ""
    """Id of the proposal that a second person has to approve."""
    warnings: tuple[str, ...] = ()
