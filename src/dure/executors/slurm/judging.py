"""What is to be concluded of an attempt from its files and from what Slurm says: one table, read by everybody."""

from __future__ import annotations

from enum import Enum, auto
from typing import assert_never

from msgspec import Struct

from dure.executors.shared.agent.files import LOST_EXIT_CODE
from dure.executors.shared.folder import Fate, SharedFolder
from dure.executors.slurm.jobs import Phase, SlurmJob, reason_sentence


class Conclusion(Enum):
    """What holds of an attempt."""

    OPEN = auto()
    """It runs, may run, or nobody can tell yet."""
    NEVER_RAN = auto()
    """No job will ever run it."""
    HOPELESS = auto()
    """Slurm took its job and will never run it."""
    ENDED = auto()
    """Its end is on record, and that is all there is to say."""
    LOST = auto()
    """Its job is gone, and no agent could record how it ended."""
    CUT = auto()
    """Its agents recorded the end, and it was Slurm or somebody at the site that ended it."""


class Verdict(Struct, frozen=True, kw_only=True):
    """A conclusion with what goes with it."""

    conclusion: Conclusion
    was_taken: bool = False
    """Slurm or somebody at the site ended it, for reasons that are not the job's."""
    exit_code: int = LOST_EXIT_CODE
    reason: str = ""
    must_ask: bool = False
    """What Slurm says of its job is needed now."""


_OPEN = Verdict(conclusion=Conclusion.OPEN)


def judge(folder: SharedFolder, job: SlurmJob | None, *, is_gone: bool) -> Verdict:
    """What holds now. `job` is None when Slurm was not asked or knows none; `is_gone`: it surely has none any more."""
    fate = folder.fate()
    is_over = is_gone or (job is not None and job.phase in (Phase.OVER, Phase.TAKEN))
    match fate:
        case Fate.ENDED:
            return _judge_ended(folder, job, is_over=is_over, is_gone=is_gone)
        case Fate.ABSENT | Fate.GIVEN_UP:
            return Verdict(conclusion=Conclusion.NEVER_RAN, reason="it was not submitted")
        case Fate.ORDERED if job is not None and job.is_hopeless:
            return Verdict(conclusion=Conclusion.HOPELESS, reason=reason_sentence(job.reason))
        case Fate.ORDERED | Fate.CLAIMED:
            return Verdict(conclusion=Conclusion.NEVER_RAN, reason=_why(folder, job)) if is_over else _OPEN
        case Fate.RUNNING:
            taken = job is None or job.phase is Phase.TAKEN
            return Verdict(conclusion=Conclusion.LOST, was_taken=taken) if is_over else _OPEN
        case _:
            assert_never(fate)


def _judge_ended(folder: SharedFolder, job: SlurmJob | None, *, is_over: bool, is_gone: bool) -> Verdict:
    """The agents' record counts; if the job was cut short, Slurm says by whom."""
    if not folder.was_cut():
        return Verdict(conclusion=Conclusion.ENDED)
    if not is_over:
        return Verdict(conclusion=Conclusion.OPEN, must_ask=True)
    ended = folder.ended()
    assert ended is not None, "its fate is that it ended, and the record of that is never taken back"
    taken = is_gone or (job is not None and job.phase is Phase.TAKEN)
    return Verdict(conclusion=Conclusion.CUT, was_taken=taken, exit_code=ended.exit_code)


def _why(folder: SharedFolder, job: SlurmJob | None) -> str:
    if job is None:
        return "Slurm knows no job of it"
    said = folder.complaint()
    return f"Slurm's job {job.job_id} ended before it ran: {job.state}" + (f"; {said}" if said else "")
