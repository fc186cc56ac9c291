"""`dure twin`: the same kernel over a trace or a generated workload."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from dure.cli.options import as_json

if TYPE_CHECKING:
    from pathlib import Path

    from dure.twin.run import Progress, RunReport

FORMATS = ("equal", "openb", "philly")
POLICIES = ("fifo", "sjf", "dure")


@click.group()
def twin() -> None:
    """Simulate: the same decisions on a trace, at full speed."""


@twin.command()
@click.option("--trace", metavar="FILE", help="Trace to play; without one, a plausible national workload is generated.")
@click.option(
    "--format", "trace_format", type=click.Choice(FORMATS), help="How the trace is written.  [default: equal]"
)
@click.option(
    "--fleet", metavar="FLEET", default="72x8", show_default=True, help="NODESxGPUS, a node list or a nation file."
)
@click.option("--policy", type=click.Choice(POLICIES), default="dure", show_default=True, help="Who goes first.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every random stream.")
@click.option("--ledger", "ledger_file", metavar="FILE", help="Write the run's ledger here, one entry a line.")
@click.option("--audit", is_flag=True, help="Check every decision by the rules, independently of the kernel.")
@click.option("--lending", is_flag=True, help="Say who lent whom how many GPU-hours, and what was taken back.")
@as_json
def run(
    trace: str | None,
    trace_format: str | None,
    fleet: str,
    policy: str,
    seed: int,
    ledger_file: str | None,
    audit: bool,
    lending: bool,
    json_wanted: bool,
) -> None:
    """Play a workload and report waits, completion times and use.

    A trace that is not a file here is looked for in the folder DURE_TRACES. Compilation is not in the reported times.
    """
    from pathlib import Path

    from dure.bootstrap import compile_twin, prepare_compilation

    # Where compiled code is kept must be known before anything imports the kernel.
    prepare_compilation()

    from dure.cli.errors import BadInput
    from dure.intake.refusals import BadInput as BadDocument
    from dure.sources.errors import BadSource
    from dure.sources.fleet import read_fleet
    from dure.twin.run import make_scene, run_scene

    if trace_format and not trace:
        raise BadInput(f"--format {trace_format}: says how a trace is written; name the trace with --trace")
    try:
        trace_file = _find_trace(trace) if trace else None
        scene = make_scene(
            trace_file=trace_file, trace_format=trace_format, fleet=read_fleet(fleet), policy=policy, seed=seed
        )
        compile_twin()
        with _progress() as progress:
            report = run_scene(
                scene,
                seed=seed,
                ledger_file=Path(ledger_file) if ledger_file else None,
                audit=audit,
                lending=lending,
                progress=progress,
            )
    except BadSource as error:
        raise BadInput(str(error)) from None
    except BadDocument as error:
        raise BadInput("\n".join(f"{fleet}: {problem}" for problem in error.problems)) from None
    except OSError as error:
        raise BadInput(f"{error.filename}: cannot be used ({error.strerror})") from None
    _print_report(report, json_wanted)


def _find_trace(name: str) -> Path:
    from pathlib import Path

    from dure.sources.locate import trace_folder

    folder = None if Path(name).is_file() else trace_folder()
    return folder / name if folder and (folder / name).is_file() else Path(name)


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """Tells a person at a terminal how far the run is; a pipe or a file is told nothing."""
    if not sys.stderr.isatty():
        yield None
        return

    def show(done: int, jobs: int) -> None:
        click.echo(f"\r{done:,} of {jobs:,} jobs", nl=False, err=True)

    try:
        yield show
    finally:
        # What is printed next begins on an empty line.
        click.echo("\r\x1b[K", nl=False, err=True)


def _print_report(report: RunReport, json_wanted: bool) -> None:
    import msgspec

    if json_wanted:
        click.echo(msgspec.json.encode(report).decode())
        return
    figures = {name: value for name, value in msgspec.to_builtins(report).items() if value is not None}
    figures.pop("lending", None)
    width = max(len(name) for name in figures)
    for name, value in figures.items():
        click.echo(f"{name:<{width}}  {value:,}" if isinstance(value, int | float) else f"{name:<{width}}  {value}")
    if report.lending is not None:
        from dure.cli.lending import print_lending

        click.echo()
        print_lending(report.lending)
