"""`dure ledger reconcile`: the GPU time in the ledger against the books of a site's own engine."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dure.cli.options import DURATION, with_database

if TYPE_CHECKING:
    from dure.executors.slurm.accounting import Comparison
    from dure.executors.slurm.site import SlurmSite
    from dure.model.events import AnyEvent

HEADINGS = ("ATTEMPT", ">LEDGER", ">SLURM", "WHAT")
_HOUR_MS = 3_600_000


@click.command()
@click.argument("site")
@click.option("--engines", "file", metavar="FILE", envvar="DURE_ENGINES", required=True, help="The engines file.")
@click.option("--since", type=DURATION, default="7d", show_default=True, help="How far to look back.")
@click.option(
    "--state", metavar="FOLDER", envvar="DURE_STATE", default=".dure", show_default=True, help="State folder."
)
@with_database
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def reconcile(site: str, file: str, since: int, state: str, database: str | None, json_wanted: bool) -> None:
    """Hold the ledger's GPU time of SITE against Slurm's own accounting.

    Lists the attempts that ended since then and that the two do not agree on: by more than ten seconds for each GPU, on
    how many GPUs, or on whether they ran at all. Works beside a running server. Exit code 1 if there are any.
    """
    found = _compare(_slurm_site(Path(file), site), site, Path(state), database, since)
    if json_wanted:
        import msgspec

        click.echo(msgspec.json.encode(found).decode())
    else:
        _print(found)
    sys.exit(1 if found.differences else 0)


def _slurm_site(file: Path, name: str) -> SlurmSite:
    from dure.cli.errors import BadInput
    from dure.executors.contract import ExecutorError
    from dure.executors.engines_file import read_engines_file
    from dure.executors.slurm.site import SlurmSite

    try:
        site = read_engines_file(file).get(name)
    except ExecutorError as error:
        raise BadInput(str(error)) from None
    if not isinstance(site, SlurmSite):
        raise BadInput(f"{file}: {name} is no site with Slurm, and only Slurm keeps books of its own")
    return site


def _compare(site: SlurmSite, name: str, state: Path, database: str | None, since: int) -> Comparison:
    from dure.cli.errors import BadInput
    from dure.executors.contract import ExecutorError
    from dure.executors.slurm.accounting import compare_books
    from dure.ledger.contract import LedgerError

    since_ms = time.time_ns() // 1_000_000 - since
    try:
        return compare_books(_events(state, database), name, site, since_ms)
    except FileNotFoundError as error:
        raise BadInput(f"{error}\n  Name the server's state folder with --state.") from None
    except (ExecutorError, LedgerError) as error:
        raise BadInput(str(error)) from None


def _events(state: Path, database: str | None) -> Iterator[AnyEvent]:
    from dure.ledger.location import locate, read_stored
    from dure.model.events import decode

    with read_stored(locate(state, database)) as log:
        for page in log.entries():
            for _, body in page:
                yield decode(body)


def _print(found: Comparison) -> None:
    from dure.cli.tables import print_table

    if found.differences:
        rows = [
            (each.attempt_id, _hours(each.ours_gpu_ms), _hours(each.slurms_gpu_ms), each.reason)
            for each in found.differences
        ]
        print_table(HEADINGS, rows)
    click.echo(f"{found.compared:,} attempts compared, {len(found.differences):,} differ")


def _hours(gpu_ms: int) -> str:
    return f"{gpu_ms / _HOUR_MS:,.2f} GPU-h"
