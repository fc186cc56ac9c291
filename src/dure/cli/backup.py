"""`dure backup` and `dure restore`: a whole ledger, verified, to a folder and back."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from dure.cli.options import with_database

STATE = click.option(
    "--state", metavar="FOLDER", envvar="DURE_STATE", default=".dure", show_default=True, help="State folder."
)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@STATE
@with_database
@click.option(
    "--with-keys", is_flag=True, help="Also copy the private keys, without which nothing can be gone on with."
)
def backup(folder: Path, state: str, database: str | None, with_keys: bool) -> None:
    """Copy the ledger into the new FOLDER, while the server runs, and verify the copy.

    The copy is of one moment, and the same whether the ledger is in SQLite or in PostgreSQL. What jobs wrote is not in
    it. Keep the keys (--with-keys) where you keep passwords.
    """
    from dure.ledger.backup import make_backup
    from dure.ledger.location import locate

    with _refusing(), _progress("copied") as begin:
        verdict = make_backup(Path(state), locate(Path(state), database), folder, with_keys, begin)
    click.echo(f"{verdict.size:,} entries copied to {folder} and verified, root {verdict.root.hex()}")
    if not with_keys:
        click.echo("The keys are not in it; see that you have them elsewhere.")


@click.command()
@click.argument("backup", type=click.Path(path_type=Path, exists=True, file_okay=False))
@STATE
@with_database
def restore(backup: Path, state: str, database: str | None) -> None:
    """Verify BACKUP and put its ledger into a new state folder, or into an empty database.

    Nothing is overwritten. What happened after the backup is lost; jobs of that time which still run are stopped by the
    server that starts on the restored ledger.
    """
    from dure.ledger.backup import restore_backup

    with _refusing(), _progress("restored") as begin:
        verdict = restore_backup(backup, Path(state), database, time.time_ns() // 1_000_000, begin)
    click.echo(f"{verdict.size:,} entries verified and restored, root {verdict.root.hex()}")
    click.echo(f"Start with: dure up --state {state}")


@contextmanager
def _refusing() -> Iterator[None]:
    from dure.cli.errors import Refused
    from dure.ledger.contract import LedgerError
    from dure.ledger.keys import KeyFileError

    try:
        yield
    except (LedgerError, KeyFileError) as error:
        raise Refused(str(error)) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Refused(f"{where}{error.strerror or error}. Nothing was changed.") from None


@contextmanager
def _progress(done: str) -> Iterator[Callable[[int], Callable[[int], None]]]:
    """A bar for each pass over the entries."""
    with ExitStack() as bars:

        def begin(entries: int) -> Callable[[int], None]:
            bar = click.progressbar(length=max(1, entries), label=f"entries {done}", file=sys.stderr)
            return bars.enter_context(bar).update

        yield begin
