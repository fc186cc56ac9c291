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
@click.option(
    "--identity",
    metavar="FILE",
    envvar="DURE_IDENTITY",
    help="Identity file: provider, roles, lives of tokens, limits.",
)
@click.option(
    "--witnesses",
    metavar="FILE",
    envvar="DURE_WITNESSES",
    help="Witnesses file: who cosigns the ledger, and how many must.",
)
@click.option("--tls-cert", metavar="FILE", help="Certificate (PEM), for TLS.")
@click.option("--tls-key", metavar="FILE", help="Private key of the certificate (PEM).")
@click.option("--trust-proxy", metavar="ADDRESS", default="", help="Reverse proxy that does TLS and tells who asks.")
@click.option("--insecure-http", is_flag=True, help="Listen beyond this machine without TLS.")
@click.option(
    "--log-format", type=click.Choice(("text", "json")), default="text", show_default=True, help="Form of log lines."
)
@click.option("--stop-jobs", is_flag=True, help="Stop running jobs when the server stops, instead of leaving them.")
def up(
    host: str,
    port: int,
    state: str,
    database: str | None,
    engines: str | None,
    identity: str | None,
    witnesses: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    trust_proxy: str,
    insecure_http: bool,
    log_format: str,
    stop_jobs: bool,
) -> None:
    """Run the platform here: ledger, scheduler, API and portal.

    Everything it knows is in the state folder; starting again continues where it was, with the jobs that kept running.
    Ctrl-C stops serving; jobs run on, and the next server adopts them.

    With --database the ledger is in PostgreSQL. A second server on the same database stands by, and takes over when the
    first is gone.
    """
    from pathlib import Path

    from dure.api.wire import Wire
    from dure.bootstrap import serve

    wire = Wire(
        certificate=Path(tls_cert) if tls_cert else None,
        key=Path(tls_key) if tls_key else None,
        trusted_proxy=trust_proxy,
        insecure_http=insecure_http,
    )
    code = serve(
        Path(state),
        host,
        port,
        database=database,
        kill_jobs_at_end=stop_jobs,
        engines_file=Path(engines) if engines else None,
        identity=Path(identity) if identity else None,
        wire=wire,
        log_format=log_format,
        witnesses_file=Path(witnesses) if witnesses else None,
    )
    sys.exit(code)


@click.command()
@click.option("--exit", "exit_at_end", is_flag=True, help="End after the story instead of serving on.")
def demo(exit_at_end: bool) -> None:
    """Play a short story of sharing with real jobs, then serve.

    Idle GPUs are borrowed, their owner takes them back, the borrower resumes from its checkpoint, a gang starts whole,
    a rule refuses data that must stay home, and the ledger is verified.
    """
    from dure.demo import run

    sys.exit(run(exit_at_end))
