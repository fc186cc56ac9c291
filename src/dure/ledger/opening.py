"""Opens a platform's ledger for appending, with its key; both are made when a platform begins."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from dure.ledger.contract import Ledger, LedgerInUse, LedgerUnreadable
from dure.ledger.keys import install_next, load_next_signer, load_or_create_signer
from dure.ledger.location import Location, moved_from, read_stored, remember
from dure.ledger.note import Signer, is_signed_by

if TYPE_CHECKING:
    from dure.ledger.postgres import Candidate, PostgresLedger

log = logging.getLogger(__name__)

LEDGER_KEY_FILE = "ledger.key"
SECRETS_KEY_FILE = "secrets.key"

StandBy = Callable[["Candidate"], "PostgresLedger"]
"""Waits until nobody else leads."""


def open_ledger(
    state: Path,
    location: Location,
    new_name: str,
    stand_by: StandBy | None = None,
    on_deposed: Callable[[str], None] = log.critical,
) -> Ledger:
    """The ledger of a state folder, for this process alone to append to; a new one gets the origin `new_name`.

    While another server leads the database, `stand_by` waits; without it `LedgerInUse` is raised. `on_deposed` is
    called when another takes over later. Raises `LedgerError`, `KeyFileError` or `OSError`.
    """
    _finish_key_change(state, location)
    if not location.database:
        from dure.ledger.sqlite import SqliteLedger

        return SqliteLedger.open(location.file, load_or_create_signer(state / LEDGER_KEY_FILE, new_name))
    _refuse_strange_database(state, location)
    signer = load_or_create_signer(state / LEDGER_KEY_FILE, new_name)
    return _lead_database(state, location, signer, stand_by, on_deposed)


def _finish_key_change(state: Path, location: Location) -> None:
    """When the ledger is signed with the next key already, a crash kept that key's file from its place."""
    path = state / LEDGER_KEY_FILE
    try:
        following = load_next_signer(path).verifier
        with read_stored(location) as stored:
            notes = stored.checkpoints()
    except FileNotFoundError:
        return
    if notes and is_signed_by(notes[-1], following):
        install_next(path)


def _refuse_strange_database(state: Path, location: Location) -> None:
    """No key is made for a ledger that has one, and no ledger is begun by a platform that has one elsewhere."""
    from dure.ledger.postgres_schema import holds_log
    from dure.ledger.postgres_server import described

    missing = [name for name in (LEDGER_KEY_FILE, SECRETS_KEY_FILE) if not (state / name).exists()]
    before = moved_from(state, location)
    if not missing and not before:
        return
    url = location.url()
    is_there = holds_log(url)
    if missing and is_there:
        raise LedgerUnreadable(
            f"The {described(url)} holds a ledger, but its keys are not in {state}. Copy {' and '.join(missing)} there "
            "from the state folder of the server that began it."
        )
    if before and not is_there:
        raise LedgerUnreadable(
            f"This platform's ledger is in {before}, and the {described(url)} is empty. Restore a backup there first, "
            "or name another state folder with --state."
        )


def _lead_database(
    state: Path, location: Location, signer: Signer, stand_by: StandBy | None, on_deposed: Callable[[str], None]
) -> PostgresLedger:
    from dure.ledger.postgres import Candidate

    with closing(Candidate(location.url(), signer, on_deposed=on_deposed)) as candidate:
        ledger = candidate.try_to_lead()
        remember(state, location)
        if ledger is not None:
            return ledger
        if stand_by is None:
            raise LedgerInUse(f"The {candidate.where} is led by another server ({candidate.leader() or 'unknown'}).")
        return stand_by(candidate)
