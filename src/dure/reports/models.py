"""The model registry as people read it: models, versions, what they descend from, and what has to be looked into."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from dure.governance.accelerators import shipped_catalogue
from dure.governance.forecast import thresholds
from dure.governance.library import shipped_library
from dure.governance.model_compute import VersionCompute, version_compute
from dure.governance.models import Model, ModelRegister
from dure.model.model_versions import (
    Evaluation,
    FactValue,
    Incident,
    Making,
    ModelName,
    ModelVersion,
    PromotionGate,
    Task,
    VersionName,
)

Sees = Callable[[ModelName], bool]
"""Whether the reader may know of a model."""


class ModelLine(Struct, frozen=True, kw_only=True):
    """One model in a list. `model` is `organisation/model`; `latest` is 0 while its first version is being trained."""

    model: str
    latest: int
    state: str
    """Of its latest version; `training` while there is none."""
    aliases: dict[str, int]
    open_tasks: int


class ModelsReport(Struct, frozen=True, kw_only=True):
    """The models that the reader may know of, by organisation and name."""

    models: tuple[ModelLine, ...]


class VersionLine(Struct, frozen=True, kw_only=True):
    """One version of a model in a list."""

    version: int
    state: str
    registered_at_ms: int
    jobs: tuple[str, ...]
    parents: tuple[str, ...]
    metrics: dict[str, str]
    withdrawn_ancestors: tuple[str, ...]


class ModelReport(Struct, frozen=True, kw_only=True):
    """A model with its versions, oldest first."""

    model: str
    aliases: dict[str, int]
    facts: dict[str, FactValue]
    gate: PromotionGate | None
    training: tuple[str, ...]
    """Jobs that train it and are in none of its versions yet."""
    versions: tuple[VersionLine, ...]
    tasks: tuple[Task, ...]


class VersionReport(Struct, frozen=True, kw_only=True):
    """Everything about one version."""

    model: str
    state: str
    registered_at_ms: int
    registered_by: str
    making: Making
    compute: VersionCompute
    evaluations: tuple[Evaluation, ...]
    incidents: tuple[Incident, ...]
    withdrawn_because: str
    withdrawn_ancestors: tuple[str, ...]
    aliases: tuple[str, ...]
    bundles: tuple[str, ...]


class LineageLine(Struct, frozen=True, kw_only=True):
    """A version in a lineage. One that the reader may not know of has a name and nothing else."""

    model: str
    state: str
    parents: tuple[str, ...]


class LineageReport(Struct, frozen=True, kw_only=True):
    """What a version descends from, itself first, and what descends from it, nearest first."""

    model: str
    ancestors: tuple[LineageLine, ...]
    descendants: tuple[LineageLine, ...]


class TasksReport(Struct, frozen=True, kw_only=True):
    """What has to be looked into, oldest first."""

    tasks: tuple[Task, ...]


def models_report(register: ModelRegister, sees: Sees) -> ModelsReport:
    """The list of models."""
    names = sorted(name for name in register.models if sees(name))
    return ModelsReport(models=tuple(_line(register.models[name], register) for name in names))


def model_report(model: Model, register: ModelRegister) -> ModelReport:
    """One model with its versions."""
    return ModelReport(
        model=str(model.name),
        aliases=model.aliases,
        facts=model.facts,
        gate=model.gate,
        training=tuple(model.training),
        versions=tuple(_version_line(version, register) for version in model.versions),
        tasks=_tasks(register, lambda name: name == model.name),
    )


def version_report(version: ModelVersion, register: ModelRegister) -> VersionReport:
    """One version."""
    aliases = register.models[version.name.of].aliases
    return VersionReport(
        model=str(version.name),
        state=version.state.value,
        registered_at_ms=version.registered_at_ms,
        registered_by=version.by,
        making=version.making,
        compute=version_compute(version.name, register, shipped_catalogue(), thresholds(shipped_library())),
        evaluations=version.evaluations,
        incidents=version.incidents,
        withdrawn_because=version.withdrawn_because,
        withdrawn_ancestors=_named(register.withdrawn_ancestors(version.name)),
        aliases=tuple(alias for alias, number in aliases.items() if number == version.name.version),
        bundles=version.bundles,
    )


def lineage_report(version: ModelVersion, register: ModelRegister, sees: Sees) -> LineageReport:
    """What a version descends from, and what descends from it as far as the reader may know."""
    descendants = register.descendants(version.name)
    return LineageReport(
        model=str(version.name),
        ancestors=tuple(_lineage_line(each, sees) for each in register.lineage(version.name)),
        descendants=tuple(_lineage_line(each, sees) for each in descendants if sees(each.name.of)),
    )


def tasks_report(register: ModelRegister, sees: Sees) -> TasksReport:
    """The open tasks that the reader may know of."""
    return TasksReport(tasks=_tasks(register, sees))


def _line(model: Model, register: ModelRegister) -> ModelLine:
    latest = model.latest
    return ModelLine(
        model=str(model.name),
        latest=latest.name.version if latest else 0,
        state=latest.state.value if latest else "training",
        aliases=model.aliases,
        open_tasks=len(_tasks(register, lambda name: name == model.name)),
    )


def _version_line(version: ModelVersion, register: ModelRegister) -> VersionLine:
    return VersionLine(
        version=version.name.version,
        state=version.state.value,
        registered_at_ms=version.registered_at_ms,
        jobs=tuple(run.job for run in version.making.jobs),
        parents=_named(version.making.parents),
        metrics=version.metrics,
        withdrawn_ancestors=_named(register.withdrawn_ancestors(version.name)),
    )


def _lineage_line(version: ModelVersion, sees: Sees) -> LineageLine:
    if not sees(version.name.of):
        return LineageLine(model=str(version.name), state="", parents=())
    parents = _named(version.making.parents)
    return LineageLine(model=str(version.name), state=version.state.value, parents=parents)


def _tasks(register: ModelRegister, sees: Sees) -> tuple[Task, ...]:
    return tuple(each for each in register.tasks.values() if sees(each.model))


def _named(versions: tuple[VersionName, ...]) -> tuple[str, ...]:
    return tuple(str(each) for each in versions)
