"""What is to be concluded of an attempt from its files and from what Ray says: one table, read by everybody."""

from __future__ import annotations

from enum import Enum, auto
from typing import assert_never

from dure.executors.local import records
from dure.executors.ray.api import Phase, RayJob
from dure.executors.shared.agent import files
from dure.executors.shared.folder import Fate, SharedFolder


class Conclusion(Enum):
    """What holds of an attempt."""

    OPEN = auto()
    """It runs, may run, or nobody can tell yet."""
    NEVER_RAN = auto()
    """No job will ever run it."""
    ENDED = auto()
    """Its end is on record."""
    ABANDONED = auto()
    """Its job is gone, and its ranks may still be about to end."""
    LOST = auto()
    """Its job is gone, and so are its ranks; nobody recorded how it ended."""


def judge(folder: SharedFolder, job: RayJob | None, *, is_gone: bool) -> Conclusion:
    """What holds now. `job` is None when Ray was not asked or knows none; `is_gone`: it surely has none any more."""
    fate = folder.fate()
    is_over = is_gone or (job is not None and job.phase is Phase.OVER)
    match fate:
        case Fate.ENDED:
            return Conclusion.ENDED
        case Fate.ABSENT | Fate.GIVEN_UP:
            return Conclusion.NEVER_RAN
        case Fate.ORDERED | Fate.CLAIMED:
            return Conclusion.NEVER_RAN if is_over else Conclusion.OPEN
        case Fate.RUNNING:
            if not is_over:
                return Conclusion.OPEN
            return Conclusion.LOST if _have_all_ended(folder) else Conclusion.ABANDONED
        case _:
            assert_never(fate)


def why_unrun(folder: SharedFolder, job: RayJob | None) -> str:
    """Why no job ran it, as far as Ray and the agents say."""
    if job is None:
        return folder.complaint() or "Ray knows no job of it"
    return folder.complaint() or f"Ray's job of it ended before it ran ({job.status}): {job.message or ''}"


def _have_all_ended(folder: SharedFolder) -> bool:
    """True when every rank that started has its end on record."""
    rank = 0
    while records.exists(folder.path, files.rank_folder("", rank)):
        path = files.rank_folder(folder.path, rank)
        if records.exists(path, records.START) and not records.exists(path, records.EXIT):
            return False
        rank += 1
    return True
