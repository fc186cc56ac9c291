"""Entries of the ledger about models. People and what happened appear as opaque ids and references only."""

from __future__ import annotations

from dure.model.event import Event
from dure.model.model_versions import (
    Evaluation,
    FactValue,
    Incident,
    Making,
    ModelName,
    Precision,
    PromotionGate,
    Task,
    VersionName,
)


class ModelRegistered(Event, frozen=True, kw_only=True, omit_defaults=True, tag="model-registered"):
    """A version of a model was registered; the first makes the model."""

    version: VersionName
    making: Making
    by: str


class ModelAliased(Event, frozen=True, kw_only=True, omit_defaults=True, tag="model-aliased"):
    """A name such as `production` stands for this version from now on; for none when it is 0."""

    model: ModelName
    alias: str
    version: int
    by: str


class ModelEvaluated(Event, frozen=True, kw_only=True, omit_defaults=True, tag="model-evaluated"):
    """A version was measured."""

    version: VersionName
    evaluation: Evaluation


class ModelFactsDeclared(Event, frozen=True, kw_only=True, omit_defaults=True, tag="model-facts-declared"):
    """What the model is used for, and all else that duties depend on, as its organisation declares it."""

    model: ModelName
    facts: dict[str, FactValue]
    by: str


class PromotionGateSet(Event, frozen=True, kw_only=True, omit_defaults=True, tag="promotion-gate-set"):
    """Versions of the model must show this from now on before they are promoted."""

    model: ModelName
    gate: PromotionGate
    by: str


class ModelWithdrawn(Event, frozen=True, kw_only=True, omit_defaults=True, tag="model-withdrawn"):
    """A version must not be used any more."""

    version: VersionName
    reason: str
    by: str


class IncidentReported(Event, frozen=True, kw_only=True, omit_defaults=True, tag="incident-reported"):
    """Something went wrong with a version in use."""

    version: VersionName
    incident: Incident


class TrainingAccepted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="training-accepted"):
    """A job that was accepted trains this model."""

    model: ModelName
    job: str
    precision: Precision | None = None


class EvidenceRecorded(Event, frozen=True, kw_only=True, omit_defaults=True, tag="evidence-recorded"):
    """An evidence bundle was made. `digest` is the SHA-256 of its manifest, which names the digests of all else."""

    version: VersionName
    digest: str
    by: str


class ModelEvidenceDeclared(Event, frozen=True, kw_only=True, omit_defaults=True, tag="model-evidence-declared"):
    """The model's organisation holds something that shows a duty was done. What it is lies under `reference`."""

    model: ModelName
    kind: str
    reference: str
    by: str


class ModelAssessed(Event, frozen=True, kw_only=True, omit_defaults=True, tag="model-assessed"):
    """A model was assessed by these rule packs (name, version, digest). `open` is what there is still to do."""

    model: ModelName
    packs: tuple[tuple[str, str, str], ...]
    open: tuple[tuple[str, str], ...]
    """Provisions and where they stand, such as `missing-evidence`."""


class TaskOpened(Event, frozen=True, kw_only=True, omit_defaults=True, tag="task-opened"):
    """Somebody has to look into something."""

    task: Task


class TaskClosed(Event, frozen=True, kw_only=True, omit_defaults=True, tag="task-closed"):
    """It was looked into. What came of it lies elsewhere, under `reference`."""

    task: str
    by: str
    reference: str = ""


ModelEvent = (
    ModelRegistered
    | ModelAliased
    | ModelEvaluated
    | ModelFactsDeclared
    | PromotionGateSet
    | ModelWithdrawn
    | IncidentReported
    | TrainingAccepted
    | EvidenceRecorded
    | ModelEvidenceDeclared
    | ModelAssessed
    | TaskOpened
    | TaskClosed
)
