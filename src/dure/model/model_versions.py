"""Model versions: what jobs made, of what, with how much computing, and what became of it.

Numbers that can be larger than 64 bits or have a fraction (operations, metrics) are decimal texts, so that an entry of
the ledger holds no floating-point number.
"""

from __future__ import annotations

import re
from enum import StrEnum

from msgspec import Struct

MODEL_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
MOST_FILES = 200
MOST_JOBS = 200
MOST_PARENTS = 20


class Precision(StrEnum):
    """The number format that most of a training's operations are done in; peaks of GPUs are listed by it."""

    TF32 = "tf32"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    FP8 = "fp8"
    FP4 = "fp4"


class ModelName(Struct, frozen=True, order=True):
    """A model of an organisation, written `organisation/model`."""

    organisation: str
    model: str

    def __str__(self) -> str:
        return f"{self.organisation}/{self.model}"


class VersionName(Struct, frozen=True, order=True):
    """One version of a model, written `organisation/model@3`. Versions count from 1."""

    organisation: str
    model: str
    version: int

    @property
    def of(self) -> ModelName:
        """The model that it is a version of."""
        return ModelName(self.organisation, self.model)

    def __str__(self) -> str:
        return f"{self.organisation}/{self.model}@{self.version}"


class ComputeClaim(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the developer says of a training: the numbers from which its operations can be counted."""

    parameters: int
    tokens: int
    active_parameters: int = 0
    """Of a mixture of experts, those that one token uses; 0 for all."""


class Utilisation(Struct, frozen=True, kw_only=True):
    """Part of the peak that a training reached, in thousandths, as a range: the developer's own figures."""

    least_permille: int
    most_permille: int


class HardwareTime(Struct, frozen=True, kw_only=True):
    """How long GPUs of one class were held: thousandths of a GPU times milliseconds."""

    gpu_class: str
    gpu_milli_ms: int


class DatasetUse(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A dataset that a job read, and the digest of its content manifest as the nation declared it then."""

    dataset: str
    digest: str = ""


class JobRun(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job that trained a version, as the platform recorded it."""

    job: str
    project: str
    commitment: str
    """Salted digest of what it ran, as in its entry `job-submitted`."""
    submitted_at_ms: int
    started_at_ms: int
    ended_at_ms: int
    attempts: tuple[tuple[int, int], ...]
    """When each attempt began to hold GPUs, and when it let go of them."""
    hardware: tuple[HardwareTime, ...]
    sites: tuple[str, ...]
    data: tuple[DatasetUse, ...] = ()
    purpose: str = ""
    agreements: tuple[str, ...] = ()
    """Those in force for its data when it started."""
    precision: Precision | None = None
    """None when nobody said so: its operations are then unknown, not none."""
    busy_percent: int | None = None
    """How much of the time its GPUs were busy, by their own counters; None where nobody measured."""


class FileDigest(Struct, frozen=True, kw_only=True):
    """A file of the version: its path, its size, and the SHA-256 of its content in hexadecimal."""

    path: str
    size: int
    sha256: str


class BaseModel(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model from elsewhere that training went on from. `flop` is what is said of it, in decimal; empty if unknown."""

    name: str
    flop: str = ""


class Making(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a version was made of, and with."""

    jobs: tuple[JobRun, ...] = ()
    parents: tuple[VersionName, ...] = ()
    """Versions of this registry that it goes on from."""
    bases: tuple[BaseModel, ...] = ()
    claim: ComputeClaim | None = None
    utilisation: Utilisation | None = None
    code: str = ""
    """Digest of the source, such as `gitCommit:...` or `sha256:...`; as the developer declares it."""
    image: str = ""
    """Digest of the container image; as the developer declares it."""
    source: str = ""
    """Where it was imported from, when no job of the platform made it."""
    files: tuple[FileDigest, ...] = ()


class Evaluation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Results of measuring a version. Values are decimal texts, by metric."""

    at_ms: int
    metrics: tuple[tuple[str, str], ...]
    job: str = ""
    """The job that measured, if one of the platform's did."""
    dataset: str = ""
    by: str


class Bound(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a metric must reach, or must not exceed. An empty text is no bound."""

    metric: str
    at_least: str = ""
    at_most: str = ""


class PromotionGate(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a version of a model must show before it may be promoted; besides, two people must want it."""

    bounds: tuple[Bound, ...] = ()
    duties: tuple[str, ...] = ()
    """Ids of duties that the assessment must find fulfilled, or not to apply."""


class IncidentKind(StrEnum):
    """How bad it was."""

    SERIOUS = "serious"
    """Harm to life, health, rights, property or infrastructure, as the acts on AI mean it."""
    OTHER = "other"


class Incident(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something went wrong with a version in use. What it was lies elsewhere, under `reference`."""

    at_ms: int
    kind: IncidentKind
    reference: str
    by: str


class VersionState(StrEnum):
    """How far a version has come."""

    REGISTERED = "registered"
    PROMOTED = "promoted"
    WITHDRAWN = "withdrawn"


NEXT_STATES: dict[VersionState, frozenset[VersionState]] = {
    VersionState.REGISTERED: frozenset({VersionState.PROMOTED, VersionState.WITHDRAWN}),
    VersionState.PROMOTED: frozenset({VersionState.WITHDRAWN}),
    VersionState.WITHDRAWN: frozenset(),
}
"""Every move a version can make. What was withdrawn never comes back: its successor is another version."""


class ModelVersion(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A version as it stands."""

    name: VersionName
    making: Making
    by: str
    registered_at_ms: int
    state: VersionState = VersionState.REGISTERED
    evaluations: tuple[Evaluation, ...] = ()
    incidents: tuple[Incident, ...] = ()
    withdrawn_because: str = ""
    bundles: tuple[str, ...] = ()
    """Digests of the evidence bundles that were made of it."""
    entries_at_ms: tuple[int, ...] = ()
    """Times of the ledger's entries that are about it, oldest first."""

    @property
    def metrics(self) -> dict[str, str]:
        """The latest value of each metric."""
        return dict(each for evaluation in self.evaluations for each in evaluation.metrics)


FactValue = str | tuple[str, ...] | dict[str, str]
"""A fact as declared: a word, an amount, a day or a country; several words; or the least and the most of an amount."""


class DeclaredEvidence(Struct, frozen=True, kw_only=True):
    """Something that shows a duty was done, as the model's organisation declares it."""

    kind: str
    reference: str
    at_ms: int


class TaskKind(StrEnum):
    """Why somebody has to look at a model."""

    THRESHOLD_EXPECTED = "threshold-expected"
    """A job was accepted that may take it over a threshold of the law."""
    THRESHOLD_CROSSED = "threshold-crossed"
    COMPUTE_DIFFERS = "compute-differs"
    """What was claimed and what was metered differ by more than a factor of two."""
    INCIDENT = "incident"
    USE_CHANGED = "use-changed"
    """Other facts were declared than before, so other duties may apply."""
    RULES_CHANGED = "rules-changed"
    """The packs in use now ask for something else."""
    VERSION_ADDED = "version-added"
    """The new version has to show something that the one before had not."""
    PARENT_WITHDRAWN = "parent-withdrawn"


class Task(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that a person has to look into. `about` says what, in a word: a threshold, a version, a pack."""

    id: str
    kind: TaskKind
    model: ModelName
    version: int = 0
    """0 when it is about the model as a whole."""
    about: str = ""
    opened_at_ms: int
    due_at_ms: int = 0
    """By when the law wants it done; 0 when it says nothing."""
