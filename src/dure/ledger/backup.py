"""Backups: a folder laid out like a state folder, with the ledger as one SQLite file, wherever it came from.

A backup is verified from its entries to the signed root before it gets its name, and again before it is put back.
Nothing is overwritten, and what fails leaves nothing behind.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from dure.ledger import transfer
from dure.ledger.contract import LedgerError
from dure.ledger.keys import load_signer, load_verifier_key, public_path
from dure.ledger.location import LEDGER_FILE, Location, locate, read_stored, remember
from dure.ledger.note import Signer
from dure.ledger.opening import LEDGER_KEY_FILE, SECRETS_KEY_FILE
from dure.ledger.sqlite import SqliteLedger
from dure.ledger.transfer import Progress
from dure.ledger.verify import Verdict, verify
from dure.model.events import JobSubmitted, LedgerRestored, decode, encode

JOBS_SKIPPED = 1_000_000
"""After a restore, jobs are numbered from the next multiple of this: nobody knows how many there were since."""

Begin = Callable[[int], Progress]
"""Told the number of entries, returns what is told of each batch."""


class BackupRefused(LedgerError):
    """A backup or a restore was not begun, or its ledger does not prove itself. Nothing was changed."""


def make_backup(state: Path, location: Location, folder: Path, with_keys: bool, begin: Begin) -> Verdict:
    """Copy a ledger into the new folder `folder`, while a server may go on appending, and verify the copy.

    With `with_keys` it also gets the keys, without which a ledger can be read but not gone on with. Raises
    `BackupRefused`, another `LedgerError`, `FileNotFoundError` or `OSError`.
    """
    if folder.exists():
        raise BackupRefused(f"{folder} is there already; name a new folder.")
    key = load_verifier_key(state / public_path(Path(LEDGER_KEY_FILE)))
    with _workplace(folder) as unfinished:
        with transfer.read_whole(location) as whole:
            transfer.write_file(whole, unfinished / LEDGER_FILE, begin(whole.head.entries))
        _copy_private(state / public_path(Path(LEDGER_KEY_FILE)), unfinished)
        for name in (LEDGER_KEY_FILE, SECRETS_KEY_FILE) if with_keys else ():
            _copy_private(state / name, unfinished)
        with read_stored(Location(unfinished / LEDGER_FILE)) as log:
            verdict = verify(log, key)
        if not verdict.is_sound:
            raise BackupRefused(f"The ledger does not prove itself, so this is no backup: {verdict.faults[0].message}")
        for path in (*unfinished.iterdir(), unfinished):
            _sync(path)
        unfinished.rename(folder)
    return verdict


def restore_backup(backup: Path, state: Path, database: str | None, now_ms: int, begin: Begin) -> Verdict:
    """Put a backup's ledger where there is none: into a state folder, or into an empty database.

    The keys are those of the state folder, or else of the backup. The ledger then says that it was restored. Raises
    `BackupRefused`, another `LedgerError`, `KeyFileError` or `OSError`.
    """
    if not (backup / LEDGER_FILE).is_file():
        raise BackupRefused(f"{backup} is not a backup: there is no {LEDGER_FILE} in it.")
    keys = _keys(backup, state)
    location = locate(state, database)
    if not location.database and location.file.exists():
        raise BackupRefused(f"{location.file} is there already; name another state folder, or move it away.")
    signer = load_signer(keys / LEDGER_KEY_FILE)
    with read_stored(Location(backup / LEDGER_FILE)) as log:
        verdict = verify(log, signer.verifier)
    if not verdict.is_sound:
        raise BackupRefused(
            f"The backup does not prove itself, so it was not put in place: {verdict.faults[0].message}"
        )
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _workplace(state / "restore") as unfinished:
        _restored_file(backup / LEDGER_FILE, unfinished / LEDGER_FILE, signer, now_ms, begin)
        if location.database:
            with transfer.read_whole(Location(unfinished / LEDGER_FILE)) as whole:
                transfer.write_database(whole, location.url(), begin(whole.head.entries))
        _put_in_place(unfinished, keys, state, location)
    return verdict


def _keys(backup: Path, state: Path) -> Path:
    """The folder with the keys to go on with."""
    for folder in (state, backup):
        missing = [name for name in (LEDGER_KEY_FILE, SECRETS_KEY_FILE) if not (folder / name).exists()]
        if not missing:
            return folder
    raise BackupRefused(
        f"A ledger cannot be gone on with without its keys: put {LEDGER_KEY_FILE} and {SECRETS_KEY_FILE} into {state}, "
        "or use a backup that was made with --with-keys."
    )


def _restored_file(backup: Path, path: Path, signer: Signer, now_ms: int, begin: Begin) -> None:
    """A copy of a backup's file, brought up to date, whose last entry says that it was restored."""
    with transfer.read_whole(Location(backup)) as whole:
        transfer.write_file(whole, path, begin(whole.head.entries))
    with closing(SqliteLedger.open(path, signer)) as ledger:
        latest_ms, jobs = 0, 0
        for event in map(decode, ledger.entries()):
            latest_ms = event.at_ms
            if isinstance(event, JobSubmitted):
                jobs = int(event.job[1:])
        first_job = (jobs // JOBS_SKIPPED + 1) * JOBS_SKIPPED
        restored = LedgerRestored(at_ms=max(now_ms, latest_ms), first_job=first_job)
        ledger.append(ledger.size, [encode(restored)], [], restored.at_ms)


def _put_in_place(unfinished: Path, keys: Path, state: Path, location: Location) -> None:
    """The ledger comes last: before it there is nothing to start from."""
    if keys != state:
        for name in (LEDGER_KEY_FILE, SECRETS_KEY_FILE):
            _copy_private(keys / name, state)
    load_signer(state / LEDGER_KEY_FILE)
    if location.database:
        remember(state, location)
    else:
        (unfinished / LEDGER_FILE).rename(location.file)


@contextmanager
def _workplace(beside: Path) -> Iterator[Path]:
    """A private folder beside a place, gone with the block unless it was given another name."""
    workplace = beside.with_name(f".{beside.name}.{os.getpid()}")
    workplace.mkdir(mode=0o700, parents=True)
    try:
        yield workplace
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def _copy_private(source: Path, folder: Path) -> None:
    """Copy a file so that only its owner may read it."""
    descriptor = os.open(folder / source.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(source.read_bytes())
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
