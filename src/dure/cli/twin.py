"""`dure twin`: the same kernel over a trace or a generated workload."""

from __future__ import annotations

import click

from dure.cli.options import as_json


@click.group()
def twin() -> None:
    """Simulate: the same decisions on a trace, at full speed."""


@twin.command()
@click.option("--trace", metavar="FILE", help="Trace to play; without one, a plausible national workload is generated.")
@click.option(
    "--format", "trace_format", type=click.Choice(["equal", "openb", "philly"]), help="How the trace is written."
)
@click.option("--fleet", metavar="FLEET", help="NODESxGPUS such as 72x8, or a file.")
@click.option(
    "--policy", type=click.Choice(["fifo", "sjf", "dure"]), default="dure", show_default=True, help="Who goes first."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every random stream.")
@click.option("--ledger", "ledger_file", metavar="FILE", help="Write the run's ledger here.")
@as_json
def run(
    trace: str | None,
    trace_format: str | None,
    fleet: str | None,
    policy: str,
    seed: int,
    ledger_file: str | None,
    json_wanted: bool,
) -> None:
    """Play a workload and report waits, completion times and use.

    Traces named without a folder are also looked for in DURE_TRACES.
    """
    from dure.twin.run import run_trace

    del trace, trace_format, fleet, policy, seed, ledger_file, json_wanted, run_trace
