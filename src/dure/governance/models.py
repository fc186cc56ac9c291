"""The model registry: versions, what became of them, what they descend from, and the tasks that they gave rise to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from dure.model.model_events import (
    EvidenceRecorded,
    IncidentReported,
    ModelAliased,
    ModelAssessed,
    ModelEvaluated,
    ModelEvent,
    ModelEvidenceDeclared,
    ModelFactsDeclared,
    ModelRegistered,
    ModelWithdrawn,
    PromotionGateSet,
    TaskClosed,
    TaskOpened,
    TrainingAccepted,
)
from dure.model.model_versions import (
    NEXT_STATES,
    DeclaredEvidence,
    FactValue,
    ModelName,
    ModelVersion,
    Precision,
    PromotionGate,
    Task,
    TaskKind,
    VersionName,
    VersionState,
)


class Model(Struct):
    """A model of an organisation, with all its versions. It may have none yet, while its first is being trained."""

    name: ModelName
    versions: list[ModelVersion] = []
    """By number, from 1."""
    aliases: dict[str, int] = {}
    facts: dict[str, FactValue] = {}
    gate: PromotionGate | None = None
    evidence: tuple[DeclaredEvidence, ...] = ()
    assessed_by: tuple[tuple[str, str, str], ...] = ()
    """The packs of its last assessment: name, version and digest."""
    open_provisions: dict[str, str] = {}
    """What there was still to do then."""
    known_on_ms: dict[str, int] = {}
    """When it was first known that a threshold is, or will be, crossed; by threshold."""
    training: dict[str, Precision | None] = {}
    """Jobs that train it and are in none of its versions yet, with the precision that they name."""

    @property
    def latest(self) -> ModelVersion | None:
        """The version that was registered last."""
        return self.versions[-1] if self.versions else None


class ModelRegister(Struct):
    """All models. `apply` and `promote` are the only ways in which it changes."""

    models: dict[ModelName, Model] = {}
    tasks: dict[str, Task] = {}
    """Those that are open."""
    tasks_opened: int = 0

    def apply(self, event: ModelEvent) -> None:
        """Change the state as the event says."""
        match event:
            case ModelRegistered():
                self._register(event)
            case ModelAliased():
                self._alias(event)
            case ModelEvaluated():
                before = self.known(event.version)
                self._update(event.version, event.at_ms, evaluations=(*before.evaluations, event.evaluation))
            case ModelFactsDeclared():
                self._model(event.model).facts = event.facts
            case PromotionGateSet():
                self._model(event.model).gate = event.gate
            case ModelWithdrawn():
                self._move(event.version, VersionState.WITHDRAWN)
                self._update(event.version, event.at_ms, withdrawn_because=event.reason)
            case IncidentReported():
                before = self.known(event.version)
                self._update(event.version, event.at_ms, incidents=(*before.incidents, event.incident))
            case TrainingAccepted():
                self._model(event.model).training[event.job] = event.precision
            case EvidenceRecorded():
                before = self.known(event.version)
                self._update(event.version, event.at_ms, bundles=(*before.bundles, event.digest))
            case ModelEvidenceDeclared():
                held = DeclaredEvidence(kind=event.kind, reference=event.reference, at_ms=event.at_ms)
                model = self._model(event.model)
                model.evidence = (*model.evidence, held)
            case ModelAssessed():
                model = self._model(event.model)
                model.assessed_by, model.open_provisions = event.packs, dict(event.open)
            case TaskOpened():
                self._open(event.task)
            case TaskClosed():
                del self.tasks[event.task]
            case _:
                assert_never(event)

    def promote(self, version: VersionName, proposed_at_ms: int, approved_at_ms: int) -> None:
        """Two people wanted it. A version that was withdrawn in between stays withdrawn."""
        if self.known(version).state is VersionState.REGISTERED:
            self._move(version, VersionState.PROMOTED)
            self._update(version, proposed_at_ms)
            self._update(version, approved_at_ms)

    def version(self, name: VersionName) -> ModelVersion | None:
        """The version of this name, if there is one."""
        model = self.models.get(name.of)
        if model is None or not 1 <= name.version <= len(model.versions):
            return None
        return model.versions[name.version - 1]

    def known(self, name: VersionName) -> ModelVersion:
        """The version of this name, which is there."""
        version = self.version(name)
        assert version is not None, f"there is no {name}"
        return version

    def lineage(self, name: VersionName) -> tuple[ModelVersion, ...]:
        """The version and all that it descends from, each once, itself first and parents before theirs."""
        return self._reach(name, lambda each: each.making.parents)

    def descendants(self, name: VersionName) -> tuple[ModelVersion, ...]:
        """All versions that descend from this one, each once, nearest first."""
        children: dict[VersionName, list[VersionName]] = {}
        for version in self.versions():
            for parent in version.making.parents:
                children.setdefault(parent, []).append(version.name)
        return self._reach(name, lambda each: children.get(each.name, ()))[1:]

    def withdrawn_ancestors(self, name: VersionName) -> tuple[VersionName, ...]:
        """Versions that it descends from and that must not be used any more."""
        ancestors = self.lineage(name)[1:]
        return tuple(each.name for each in ancestors if each.state is VersionState.WITHDRAWN)

    def versions(self) -> Iterable[ModelVersion]:
        """Every version of every model."""
        return (version for model in self.models.values() for version in model.versions)

    def _reach(
        self, name: VersionName, following: Callable[[ModelVersion], Iterable[VersionName]]
    ) -> tuple[ModelVersion, ...]:
        found = {name: self.known(name)}
        ahead = [found[name]]
        for version in ahead:  # Grows while it is walked through: breadth first.
            for each in following(version):
                if each not in found:
                    found[each] = self.known(each)
                    ahead.append(found[each])
        return tuple(ahead)

    def _model(self, name: ModelName) -> Model:
        return self.models.setdefault(name, Model(name=name))

    def _register(self, event: ModelRegistered) -> None:
        model = self._model(event.version.of)
        assert event.version.version == len(model.versions) + 1, f"{event.version} is not the next version"
        model.versions.append(
            ModelVersion(
                name=event.version,
                making=event.making,
                by=event.by,
                registered_at_ms=event.at_ms,
                entries_at_ms=(event.at_ms,),
            )
        )
        for run in event.making.jobs:
            model.training.pop(run.job, None)

    def _open(self, task: Task) -> None:
        self.tasks[task.id] = task
        self.tasks_opened += 1
        if task.kind in (TaskKind.THRESHOLD_EXPECTED, TaskKind.THRESHOLD_CROSSED):
            self._model(task.model).known_on_ms.setdefault(task.about.partition(" ")[0], task.opened_at_ms)

    def _alias(self, event: ModelAliased) -> None:
        aliases = self._model(event.model).aliases
        if event.version:
            aliases[event.alias] = event.version
        else:
            aliases.pop(event.alias, None)

    def _move(self, name: VersionName, state: VersionState) -> None:
        before = self.known(name)
        assert state in NEXT_STATES[before.state], f"{name} is {before.state} and cannot be {state}"
        self._put(replace(before, state=state))

    def _update(self, name: VersionName, at_ms: int, **changed: object) -> None:
        before = self.known(name)
        self._put(replace(before, entries_at_ms=(*before.entries_at_ms, at_ms), **changed))

    def _put(self, version: ModelVersion) -> None:
        self.models[version.name.of].versions[version.name.version - 1] = version
