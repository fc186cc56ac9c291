"""`dure up` and `dure demo`: run the platform on this machine."""

from __future__ import annotations

import sys

import click

from dure.cli.options import with_database


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=7474, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--state", metavar="FOLDER", envvar="DURE_STATE", default=".dure", show_default=True, help="State folder."
)
@with_database
@click.option(
    "--engines", metavar="FILE", envvar="DURE_ENGINES", help="How the engines of other sites are reached (YAML)."
)
@click.option("--stop-jobs", is_flag=True, help="Stop running jobs when the server stops, instead of leaving them.")
def up(host: str, port: int, state: str, database: str | None, engines: str | None, stop_jobs: bool) -> None:
    """Run the platform here: ledger, scheduler, API and portal.

    Everything it knows is in the state folder; starting again continues where it was, with the jobs that kept running.
    Ctrl-C stops serving; jobs run on, and the next server adopts them.

    With --database the ledger is in PostgreSQL. A second server on the same database stands by, and takes over when the
    first is gone.
    """
    from pathlib import Path

    from dure.bootstrap import serve

    engines_file = Path(engines) if engines else None
    sys.exit(serve(Path(state), host, port, database=database, kill_jobs_at_end=stop_jobs, engines_file=engines_file))


@click.command()
@click.option("--exit", "exit_at_end", is_flag=True, help="End after the story instead of serving on.")
def demo(exit_at_end: bool) -> None:
    """Play a short story of sharing with real jobs, then serve.

    Idle GPUs are borrowed, their owner takes them back, the borrower resumes from its checkpoint, a gang starts whole,
    a rule refuses data that must stay home, and the ledger is verified.
    """
    from dure.demo import run

    sys.exit(run(exit_at_end))
