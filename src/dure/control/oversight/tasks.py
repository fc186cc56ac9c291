"""Tasks: what a person has to look into, opened once and closed by somebody."""

from __future__ import annotations

from dure.control.draft import Draft
from dure.model.model_events import TaskOpened
from dure.model.model_versions import ModelName, Task, TaskKind


def open_task(
    kind: TaskKind, model: ModelName, draft: Draft, *, version: int = 0, about: str = "", due_at_ms: int = 0
) -> str:
    """Open a task, unless the same one is open already. Returns its id."""
    models = draft.register.models
    for each in models.tasks.values():
        if (each.kind, each.model, each.version, each.about) == (kind, model, version, about):
            return each.id
    task = Task(
        id=f"task{models.tasks_opened + 1}",
        kind=kind,
        model=model,
        version=version,
        about=about,
        opened_at_ms=draft.now_ms,
        due_at_ms=due_at_ms,
    )
    draft.record(TaskOpened(at_ms=draft.now_ms, task=task))
    return task.id
