"""What Slurm says of jobs: its states as a table, its reasons as sentences, and one short line per job.

The poll asks for five fields by name, not for JSON: a line is 40 bytes where JSON is three to four kilobytes, and its
meaning has been the same in every version of Slurm, while the JSON was renamed in most of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import Enum, auto

from msgspec import Struct

from dure.executors.contract import ExecutorError


class Phase(Enum):
    """How far a Slurm job has come."""

    WAITING = auto()
    """It has no nodes."""
    ALIVE = auto()
    """It has nodes, and processes may run."""
    OVER = auto()
    """It ended by itself, or within the rules that it asked for: nothing of it runs."""
    TAKEN = auto()
    """Slurm or somebody at the site ended it: nothing of it runs."""


STATES = {
    "PENDING": Phase.WAITING,
    "REQUEUED": Phase.WAITING,
    "REQUEUE_FED": Phase.WAITING,
    "REQUEUE_HOLD": Phase.WAITING,
    "SPECIAL_EXIT": Phase.WAITING,
    "RESV_DEL_HOLD": Phase.WAITING,
    "CONFIGURING": Phase.ALIVE,
    "RUNNING": Phase.ALIVE,
    "COMPLETING": Phase.ALIVE,
    "RESIZING": Phase.ALIVE,
    "SIGNALING": Phase.ALIVE,
    "STAGE_OUT": Phase.ALIVE,
    "STOPPED": Phase.ALIVE,
    "SUSPENDED": Phase.ALIVE,
    "COMPLETED": Phase.OVER,
    "FAILED": Phase.OVER,
    "TIMEOUT": Phase.OVER,
    "DEADLINE": Phase.OVER,
    "OUT_OF_MEMORY": Phase.OVER,
    "CANCELLED": Phase.TAKEN,
    "PREEMPTED": Phase.TAKEN,
    "NODE_FAIL": Phase.TAKEN,
    "BOOT_FAIL": Phase.TAKEN,
    "LAUNCH_FAILED": Phase.TAKEN,
    "RECONFIG_FAIL": Phase.TAKEN,
    "REVOKED": Phase.TAKEN,
}

REASONS = {
    "None": "Slurm has not looked at it yet",
    "Resources": "Slurm waits for nodes to become free",
    "Priority": "other jobs of this Slurm come first",
    "Dependency": "Slurm waits for a job that it depends on",
    "BeginTime": "Slurm starts it no sooner than at a later time",
    "JobHeldUser": "it was held in Slurm by the user it runs as",
    "JobHeldAdmin": "it was held by an administrator of Slurm",
    "Licenses": "Slurm waits for a licence",
    "NodeDown": "a node that it needs is down in Slurm",
    "ReqNodeNotAvail": "a node that it needs is down, drained or reserved in Slurm",
    "Reservation": "Slurm waits for the start of a reservation",
    "ReservationDeleted": "its reservation was deleted in Slurm",
    "PartitionDown": "the partition does not start jobs",
    "PartitionInactive": "the partition is inactive",
    "PartitionNodeLimit": "it wants more nodes than the partition allows",
    "PartitionTimeLimit": "it wants more time than the partition allows",
    "AccountNotAllowed": "its account may not use this partition or QOS",
    "QOSNotAllowed": "its QOS may not be used in this partition",
    "InvalidAccount": "its account does not exist in Slurm any more",
    "InvalidQOS": "its QOS does not exist in Slurm any more",
    "PartitionConfig": "it wants more nodes than the partition has",
    "BadConstraints": "no node of this Slurm can satisfy what it asks for",
    "NodesUnavailable": "too few nodes of this Slurm are in service",
    "Cleaning": "Slurm still clears up after an earlier run",
    "Prolog": "the prolog of its nodes is running",
    "MaxRequeue": "Slurm requeued it too often",
}
HOPELESS = frozenset(
    (
        "AccountNotAllowed",
        "BadConstraints",
        "InvalidAccount",
        "InvalidQOS",
        "PartitionConfig",
        "PartitionNodeLimit",
        "PartitionTimeLimit",
        "QOSNotAllowed",
    )
)
"""Reasons that do not go away until somebody changes Slurm; the job would hold its place in Dure's plan for nothing."""
_REASON_PREFIXES = {
    "Assoc": "a limit of its account in Slurm is reached",
    "QOS": "a limit of its QOS in Slurm is reached",
    "AssocGrp": "its account has as much as its limit in Slurm allows",
    "QOSGrp": "its QOS has as much as its limit in Slurm allows",
}
QUERY = ("--noheader", "--states=all", "--format=%A|%T|%r|%N|%Z")


class SlurmJob(Struct, frozen=True, kw_only=True):
    """One job as Slurm shows it now."""

    job_id: int
    state: str
    reason: str
    nodes: str
    """A host list; empty before it has nodes."""
    folder: str
    """Where it was submitted to run: the attempt's folder."""

    @property
    def phase(self) -> Phase:
        """How far it has come. A state that no table has yet counts as alive: nothing is concluded from it."""
        return STATES.get(self.state, Phase.ALIVE)

    @property
    def is_hopeless(self) -> bool:
        """True when it waits for something that will not come."""
        return self.phase is Phase.WAITING and self.reason in HOPELESS


def read_jobs(listing: str, attempts: str) -> dict[str, list[SlurmJob]]:
    """The jobs of all attempts whose folders lie in `attempts`, by attempt id, in the order they were submitted in."""
    found: dict[str, list[SlurmJob]] = {}
    for line in listing.splitlines():
        job = _read_job(line)
        parent, attempt_id = os.path.split(job.folder)
        if parent == attempts:
            found.setdefault(attempt_id, []).append(job)
    for jobs in found.values():
        jobs.sort(key=lambda each: each.job_id)
    return found


def _read_job(line: str) -> SlurmJob:
    try:
        job_id, state, reason, nodes, folder = line.split("|", 4)
        return SlurmJob(job_id=int(job_id), state=state, reason=reason, nodes=nodes, folder=folder)
    except ValueError:
        raise ExecutorError(f"squeue said what Dure does not understand: {line[:200]!r}") from None


def reason_sentence(code: str) -> str:
    """Why Slurm keeps a job waiting, in words, with Slurm's own code."""
    plain = code.split(",")[0].strip("() ")
    prefixes = sorted((each for each in _REASON_PREFIXES if plain.startswith(each)), key=len)
    sentence = REASONS.get(plain) or (_REASON_PREFIXES[prefixes[-1]] if prefixes else "Slurm keeps it waiting")
    return f"{sentence} ({plain})"


def alive_or_last(jobs: Iterable[SlurmJob]) -> SlurmJob | None:
    """Of an attempt's jobs, one that may still run it, else the latest."""
    latest = None
    for job in jobs:
        if job.phase is Phase.ALIVE:
            return job
        latest = job
    return latest
