"""The loop's core with the system's clock and randomness, the rules that come with Dure, and the latest snapshot."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dure.bootstrap.compiling import no_garbage_collection
from dure.bootstrap.rules import make_policy_set
from dure.bootstrap.snapshots import make_snapshots
from dure.bootstrap.state import StartError, secrets_key
from dure.control.clock import SteadyClock

if TYPE_CHECKING:
    from dure.control.control import Control
    from dure.ledger.contract import Ledger


class SystemClock(SteadyClock):
    """The machine's clock, which is never earlier than the end of the ledger that is handed over as `at_least_ms`."""

    def __init__(self, at_least_ms: int = 0) -> None:
        super().__init__(lambda: time.time_ns() // 1_000_000, lambda: time.monotonic_ns() // 1_000_000, at_least_ms)


def warm_up() -> None:
    """Have the kernel loaded before anybody waits for it."""
    from dure.control.rehearsal import rehearse

    rehearse(make_policy_set())


def make_control(state: Path, ledger: Ledger) -> Control:
    """The loop's core on a ledger, with the system's randomness, and with the snapshot that the state folder has.

    Raises `StartError` when the programme's own rules do not fit this version: without them too much would be allowed.
    """
    from dure.control.control import Control
    from dure.control.memory import RandomStreams
    from dure.policy import PolicyError

    random = RandomStreams(salts=os.urandom, tokens=os.urandom, nonces=os.urandom)
    latest = make_snapshots(state).latest
    checkpoints = str(state.absolute() / "checkpoints")
    try:
        with no_garbage_collection():
            return Control(ledger, make_policy_set(), secrets_key(state), random, checkpoints, latest)
    except PolicyError as error:
        raise StartError(
            f"the programme's own rules do not fit this version of Dure; have them changed with the version before, "
            f"then start this one:\n{error}"
        ) from None
