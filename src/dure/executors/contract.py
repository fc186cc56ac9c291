"""What every engine that runs processes offers, and the values that go in and come out.

The loop in `dure.control` knows an engine only by `Executor`; each engine here keeps to it, and one contract suite
(`tests/executors/test_contract.py`) holds them to it alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from msgspec import Struct

from dure.model.plan import Placement


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


class Started(Struct, frozen=True, kw_only=True):
    """The attempt's processes run since `at_ms`."""

    attempt_id: str
    at_ms: int


class Ended(Struct, frozen=True, kw_only=True):
    """The attempt's processes are gone. `exit_code` is 0 only if every rank's was; -N for signal N."""

    attempt_id: str
    at_ms: int
    exit_code: int


class NeverStarted(Struct, frozen=True, kw_only=True):
    """The attempt is proven never to have run; the same attempt may be sent again or given up."""

    attempt_id: str
    at_ms: int
    reason: str


Observation = Started | Ended | NeverStarted


class Executor(Protocol):
    """An engine that runs processes. It makes no choices and may lose contact at any time."""

    def start(self, launch: Launch) -> None:
        """Start an attempt and return at once. Starting the same attempt twice is starting it once."""
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
        """After a restart: what is known of each of these attempts; None while it runs or its fate is not proven."""
        ...

    def on_observation(self, wake: Callable[[], None]) -> None:
        """Call `wake` (from any thread) whenever `observe` has something new."""
        ...

    def log_path(self, attempt_id: str, rank: int) -> str | None:
        """Where the output of a rank lies on this machine, once there is any."""
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
