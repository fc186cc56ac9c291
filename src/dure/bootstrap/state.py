"""The state folder: its keys, and the ledger that it holds or names."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dure.ledger.contract import Ledger
    from dure.ledger.location import Location
    from dure.ledger.postgres import Candidate, PostgresLedger

LEDGER_FILE = "ledger.sqlite"


LEDGER_KEY_FILE = "ledger.key"


SECRETS_KEY_FILE = "secrets.key"


OPERATOR_FILE = "operator.token"


DEPOSED = 75
"""Exit code of a server that is no longer the leader: start it again, and it stands by."""


class StartError(Exception):
    """The platform cannot be started; the message says why and what to do."""


def prepare_state(state: Path) -> None:
    """Make the state folder if need be, for this user alone. Raises `StartError`."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)
    except OSError as error:
        raise StartError(f"the state folder {state} cannot be used ({error.strerror}); choose another") from None


def open_ledger(state: Path) -> Ledger:
    """The ledger in a state folder, with its key; both are made on the first start. Raises `StartError`."""
    from dure.ledger.location import Location

    return open_located_ledger(state, Location(state / LEDGER_FILE))


def locate_ledger(state: Path, database: str | None) -> Location:
    """Where the ledger is: in this database, or where the state folder says. Raises `StartError`."""
    from dure.ledger.contract import LedgerError
    from dure.ledger.location import locate

    try:
        return locate(state, database)
    except LedgerError as error:
        raise StartError(str(error)) from None


def open_located_ledger(
    state: Path, location: Location, stand_by: Callable[[Candidate], PostgresLedger] | None = None
) -> Ledger:
    """The ledger, for this server alone to append to. Stands by while another one leads. Raises `StartError`."""
    from dure.ledger import opening
    from dure.ledger.contract import LedgerError
    from dure.ledger.keys import KeyFileError

    try:
        # Logs of different platforms need different names, which say nothing else about them.
        return opening.open_ledger(state, location, f"dure/{secrets.token_hex(4)}", stand_by, _step_down)
    except (LedgerError, KeyFileError, OSError) as error:
        raise StartError(str(error)) from None


def _step_down(message: str) -> None:
    """Whoever no longer leads must tell no engine anything more, not even what is on its way.

    So it ends at once, as by a power cut, which everything here survives.
    """
    sys.stderr.write(f"Error: {message}\n")
    sys.stderr.flush()
    os._exit(DEPOSED)


def secrets_key(state: Path) -> bytes:
    """The key that secrets and snapshots are sealed with; made on the first start. Raises `StartError`."""
    from dure.control.vault import KEY_BYTES

    return _load_or_create_key(state / SECRETS_KEY_FILE, KEY_BYTES)


def _load_or_create_key(path: Path, size: int) -> bytes:
    """A random key in a file that only this user can read. Raises `StartError` when the file holds something else."""
    if not path.exists():
        write_private(path, os.urandom(size))
    key = path.read_bytes()
    if len(key) != size:
        raise StartError(f"{path} does not hold a key of {size} bytes; restore it from your backup")
    return key


def write_private(path: Path, body: bytes) -> None:
    """Write a new file whole and durably, readable by this user alone."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
