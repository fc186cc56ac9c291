"""Assessing models again whenever something changed that duties hang on, and a task for what is newly to do."""

from __future__ import annotations

from dure.control.draft import Draft
from dure.control.oversight.tasks import open_task
from dure.governance.accelerators import shipped_catalogue
from dure.governance.assessment import Assessment
from dure.governance.library import shipped_library
from dure.governance.model_assessment import assess_version, assessed_model, open_provisions
from dure.governance.models import Model
from dure.model.model_events import ModelAssessed
from dure.model.model_versions import ModelName, ModelVersion, TaskKind

MOST_NAMED = 8
"""Provisions that a task names; `dure assess` shows all of them."""


def assess(version: ModelVersion, draft: Draft) -> Assessment:
    """The version by the packs in use, as of now."""
    datasets = draft.world.nation.datasets
    register = draft.register.models
    return assess_version(version, register, datasets, shipped_library(), shipped_catalogue(), draft.now_ms)


def reassess(name: ModelName, kind: TaskKind, draft: Draft) -> tuple[str, ...]:
    """Assess the model's latest version again; a task of this kind says what is newly to do. Returns its id."""
    model = draft.register.models.models[name]
    version = assessed_model(model)
    if version is None:
        return ()
    found = assess(version, draft)
    now_open = open_provisions(found)
    packs = tuple((each.name, each.version, each.digest) for each in found.packs)
    before = dict(model.open_provisions)
    if now_open == before and packs == model.assessed_by:
        return ()
    is_first = not model.assessed_by
    draft.record(ModelAssessed(at_ms=draft.now_ms, model=name, packs=packs, open=tuple(sorted(now_open.items()))))
    newly_open = [each for each, status in now_open.items() if before.get(each) != status]
    if is_first or not newly_open:
        return ()
    return (open_task(kind, name, draft, version=version.name.version, about=_named(newly_open)),)


def reassess_by_other_packs(draft: Draft) -> tuple[str, ...]:
    """Assess again every model whose last assessment was by other packs than those in use."""
    in_use = tuple((pack.name, pack.version, pack.digest) for pack in shipped_library().packs)
    outdated = [each for each in draft.register.models.models.values() if _is_outdated(each, in_use)]
    return tuple(task for model in outdated for task in reassess(model.name, TaskKind.RULES_CHANGED, draft))


def _is_outdated(model: Model, in_use: tuple[tuple[str, str, str], ...]) -> bool:
    return bool(model.assessed_by) and model.assessed_by != in_use


def _named(provisions: list[str]) -> str:
    more = len(provisions) - MOST_NAMED
    return ", ".join(provisions[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
