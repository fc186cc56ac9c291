"""What every engine that runs processes offers, and the values that go in and come out.

The loop in `dure.control` knows an engine only by `Executor`; each engine here keeps to it, and one contract suite
(`tests/executors/test_contract.py`) holds them to it alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from dure.governance.inspection.terms import InspectionTerms
from dure.model.jobs import GpuUse
from dure.model.outputs import OutputListing
from dure.model.plan import Placement
from dure.model.results import InspectedResult, ResultKind


class ExecutorError(Exception):
    """An engine cannot be used, or an order makes no sense to it. The message says what is wrong and what to do."""


class Launch(Struct, frozen=True, kw_only=True):
    """All an executor needs to start one attempt. `attempt_id` is `{job}.{attempt}` and makes starting idempotent."""

    attempt_id: str
    site: str
    gpu_class: str
    placements: tuple[Placement, ...]
    argv: tuple[str, ...]
    """Program and arguments; run once per placement (rank)."""
    script: str
    """Text of a shell script run instead of `argv` when not empty; starts with its own `#!` line or runs under bash."""
    setup: str
    """Shell text run before, once per rank, in the same environment."""
    workdir: str
    env: dict[str, str]
    """Everything the job should see besides what the executor adds (MASTER_ADDR, NODE_RANK, ...)."""
    secret_env: dict[str, str]
    """As `env`, but never written to disk in clear nor logged."""
    checkpoint_dir: str
    """Survives attempts of the same job."""
    organisation: str = ""
    """Whose job it is, for engines that keep organisations apart by serving only some."""
    project: str = ""
    """Whom engines with accounts of their own charge it to."""
    time_limit_ms: int = 0
    """How long it may run, for engines that can see to it themselves as well; 0 for no limit."""
    cpus: int = 0
    """Per node, as `memory_mib`; 0 where the job does not say."""
    memory_mib: int = 0
    sandbox: bool = False
    """Run without network; of files it sees only `read_only` and its own folders; its scratch is wiped."""
    read_only: tuple[str, ...] = ()
    """Paths of data that it reads and must not change."""


class Started(Struct, frozen=True, kw_only=True):
    """The attempt's processes run since `at_ms`."""

    attempt_id: str
    at_ms: int
    nodes: tuple[str, ...] = ()
    """Where it runs, by rank, when the engine chose the nodes; empty where the plan did."""


class Ended(Struct, frozen=True, kw_only=True):
    """The attempt's processes are gone. `exit_code` is 0 only if every rank's was; -N for signal N."""

    attempt_id: str
    at_ms: int
    exit_code: int
    was_lost: bool = False
    """The engine ended it for reasons that are not the job's: a node died under it, or the engine took it back."""


class NeverStarted(Struct, frozen=True, kw_only=True):
    """The attempt is proven never to have run; the same attempt may be sent again or given up."""

    attempt_id: str
    at_ms: int
    reason: str


class Refused(Struct, frozen=True, kw_only=True):
    """The engine will never run this attempt as it was ordered, and says why; it is not sent there again."""

    attempt_id: str
    at_ms: int
    reason: str


Observation = Started | Ended | NeverStarted | Refused


def without_false_start(observed: list[Observation], attempt_id: str) -> list[Observation]:
    """What is left to tell once an attempt is started again: that it never started is not so any more.

    Whoever heard of it nevertheless would give the attempt up and start the next one beside it.
    """
    return [each for each in observed if not (isinstance(each, NeverStarted) and each.attempt_id == attempt_id)]


class Contact(Struct, frozen=True, kw_only=True):
    """How old what is known of an engine is. `problem` says why it cannot be reached; empty while it answers."""

    heard_at_ms: int
    """When it last answered; 0 when it never did."""
    problem: str = ""


class NodeCapacity(Struct, frozen=True, kw_only=True):
    """A node as its engine knows it. `problem` is why nothing can start there; empty for one in service."""

    name: str
    gpus: int
    cpus: int
    memory_mib: int
    problem: str = ""


class GpuReading(Struct, frozen=True, kw_only=True):
    """What a real GPU last said of itself. None stands for what its driver does not tell."""

    hostname: str
    index: int
    """Its number on that machine, as `nvidia-smi` lists it; `minor` is that of its device file."""
    minor: int
    uuid: str
    model_name: str
    utilisation_percent: int
    power_w: float
    energy_mj: int | None
    """Millijoules since its driver was loaded."""
    memory_used_mib: int | None


class Executor(Protocol):
    """An engine that runs processes. It makes no choices and may lose contact at any time.

    Calls that order something raise `ExecutorError` when the engine cannot be reached; they are made again later.
    """

    def start(self, launch: Launch) -> None:
        """Start an attempt and return at once. Starting the same attempt twice is starting it once.

        One that is proven never to have started may start after all; `observe` then no longer says that it did not, if
        it has not said so by now.
        """
        ...

    def warn(self, attempt_id: str, stop_at_ms: int, signal: str) -> None:
        """Tell a running attempt that it will be stopped: write its notice file, and send `signal` if one is named."""
        ...

    def spare(self, attempt_id: str) -> None:
        """Take a warning back: remove the notice file."""
        ...

    def stop(self, attempt_id: str, grace_ms: int) -> None:
        """Terminate (SIGTERM) every process of the attempt; kill (SIGKILL) what is left after the grace."""
        ...

    def observe(self) -> list[Observation]:
        """What was seen since the last call, each thing once per process life."""
        ...

    def recover(self, attempt_ids: Iterable[str]) -> dict[str, Observation | None]:
        """After a restart: what is known of each of these attempts; None while it runs or its fate is not proven.

        `observe` says nothing afterwards that is not so any more: of an attempt that is started again, it does not
        report that it never started.
        """
        ...

    def on_observation(self, wake: Callable[[], None]) -> None:
        """Call `wake` (from any thread) whenever `observe` has something new, or contact is lost or found again."""
        ...

    def contact(self) -> Contact:
        """When the engine was last heard, and what is wrong if it does not answer. Returns at once."""
        ...

    def waiting(self) -> Mapping[str, str]:
        """Attempts that were ordered and that the engine itself keeps from starting: why, in English words."""
        ...

    def capacity(self) -> tuple[NodeCapacity, ...] | None:
        """The nodes the engine has, to be compared with what was declared; None where it has none of its own."""
        ...

    def gpu_use(self, attempt_id: str) -> GpuUse | None:
        """What the attempt's GPUs used so far; None where nobody measures that."""
        ...

    def gpu_readings(self) -> tuple[GpuReading, ...]:
        """What each real GPU last said of itself, not long ago; without those that do not answer. Returns at once."""
        ...

    def log_path(self, attempt_id: str, rank: int) -> str | None:
        """Where the output of a rank lies on this machine, once there is any."""
        ...

    def outputs(self, attempt_id: str) -> OutputListing | None:
        """What lies in the attempt's output folder; None where there is none. May take long: it reads all of it.

        Once the attempt has ended, that is for good, and comes with types and digests.
        """
        ...

    def output(self, attempt_id: str, path: str) -> Iterator[bytes]:
        """The content of a file in the attempt's output folder, in pieces; raises `ExecutorError` if it has none."""
        ...

    def inspect(
        self, attempt_ids: Sequence[str], data: Sequence[str], terms: InspectionTerms
    ) -> tuple[InspectedResult, ...]:
        """Find out what must be known about the results of these attempts, which are over, before they are released.

        They are compared with the data at these paths. Takes minutes, and is over when `terms` say. What was found is
        kept with the results. Raises `ExecutorError` where it cannot be done.
        """
        ...

    def end_inspection(self) -> None:
        """End the inspection that is under way, if one is: it raises `ExecutorError` where it was asked for."""
        ...

    def inspected(self, attempt_id: str) -> tuple[InspectedResult, ...]:
        """What `inspect` kept of an attempt; nothing where nothing was."""
        ...

    def discard(self, attempt_id: str, kind: ResultKind, path: str) -> None:
        """Delete one result of an attempt that is over. Does nothing when it is gone; raises `ExecutorError`."""
        ...

    def discard_checkpoints(self, checkpoint_dir: str) -> None:
        """Delete the checkpoints of a job that is over. Does nothing when there are none; raises `ExecutorError`."""
        ...

    def over(self) -> list[str]:
        """Attempts that ended and that something is still kept of, such as their output."""
        ...

    def forget(self, attempt_id: str) -> None:
        """Delete all that is kept of an attempt that ended; does nothing when there is nothing.

        Only for attempts that nobody will start or ask about again. Raises `ExecutorError` while it has not ended.
        """
        ...

    def close(self, kill: bool) -> None:
        """Let go of the engine. With `kill`, stop everything that runs; else leave it running for the next process."""
        ...
