"""`dure twin`: the same kernel over a trace or a generated workload."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from dure.cli.options import as_json
from dure.cli.scenario import replay_scenario
from dure.cli.twin_options import Wishes, find_trace, workload_options

if TYPE_CHECKING:
    from dure.twin.packing import PackReport
    from dure.twin.run import Progress, RunReport
    from dure.twin.scene import Scene

POLICIES = ("fifo", "sjf", "silo", "priority-backfill", "conservative", "fair-share", "bestfit", "fgd", "dure")
PLACEMENT_RULES = ("random", "dotprod", "clustering", "packing", "bestfit", "fgd", "dure")
PACK_ROWS = ("50", "80", "90", "95", "100", "130")
PACK_HEADINGS = (">ASKED FOR %", ">ALLOCATED %", ">FRAGMENTED %")
COMPARE_HEADINGS = (
    "POLICY",
    ">FINISHED",
    ">REFUSED",
    ">WAIT",
    ">WAIT P99",
    ">COMPLETION",
    ">MAKESPAN",
    ">ALLOCATED %",
    ">RECLAIMED",
    ">LOST GPU-HOURS",
    ">GUARANTEE P99",
)


@click.group()
def twin() -> None:
    """Simulate: the same decisions on a trace, at full speed."""


twin.add_command(replay_scenario)

_seed = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every random stream."
)
_audit = click.option("--audit", is_flag=True, help="Check every decision by the rules, independently of the kernel.")


@twin.command()
@workload_options
@click.option("--policy", type=click.Choice(POLICIES), default="dure", show_default=True, help="How GPUs are shared.")
@_seed
@click.option("--ledger", "ledger_file", metavar="FILE", help="Write the run's ledger here, one entry a line.")
@_audit
@click.option("--lending", is_flag=True, help="Say who lent whom how many GPU-hours, and what was taken back.")
@as_json
def run(
    wishes: Wishes,
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

    with _mistakes_named(wishes.fleet):
        scene = _scene(wishes, policy, seed)
        from dure.twin.run import run_scene

        with _progress() as progress:
            report = run_scene(
                scene,
                seed=seed,
                ledger_file=Path(ledger_file) if ledger_file else None,
                audit=audit,
                lending=lending,
                progress=progress,
            )
    _print_report(report, json_wanted)


@twin.command()
@workload_options
@click.option(
    "--policies", metavar="NAMES", default=",".join(POLICIES), help="Some of them, with commas.  [default: all]"
)
@_seed
@_audit
@as_json
def compare(
    wishes: Wishes,
    policies: str,
    seed: int,
    audit: bool,
    json_wanted: bool,
) -> None:
    """Play the same workload under several policies and print one table.

    Times are in seconds. WAIT is from submission to the first start; GUARANTEE P99 is what 99 of 100 jobs waited at
    most that came while their owner asked for no more than it is guaranteed.
    """
    names = _policies(policies)
    with _mistakes_named(wishes.fleet):
        scene = _scene(wishes, names[0], seed)
        from dure.twin.compare import compare as run_all

        with _progress() as progress:
            reports = list(run_all(scene, names, seed=seed, audit=audit, progress=progress))
    if json_wanted:
        import msgspec

        click.echo(msgspec.json.encode(reports).decode())
        return
    from dure.cli.tables import print_table

    print_table(COMPARE_HEADINGS, [_compared(report) for report in reports])


@twin.command()
@click.option("--trace", metavar="PODS", required=True, help="Pods, in the openb format.")
@click.option("--fleet", metavar="NODES", required=True, help="A node list, NODESxGPUS or a nation file.")
@click.option(
    "--policy", type=click.Choice(PLACEMENT_RULES), default="dure", show_default=True, help="How a node is chosen."
)
@_seed
@as_json
def pack(trace: str, fleet: str, policy: str, seed: int, json_wanted: bool) -> None:
    """Fill a fleet with pods that never leave, and report how much of it could be handed out.

    Pods are drawn from PODS until they ask for 130% of the fleet's GPUs, and arrive in random order; one that fits
    nowhere is dropped. Files that are not here are looked for in the folder DURE_TRACES.
    """
    with _mistakes_named(fleet):
        from dure.bootstrap import compile_packing
        from dure.sources.fleet import read_fleet
        from dure.sources.openb import read_openb
        from dure.twin.packing import pods_for, run_pack

        nodes = read_fleet(str(find_trace(fleet)))
        pods = pods_for(read_openb(find_trace(trace)), nodes)
        compile_packing()
        report = run_pack(pods, nodes, policy, seed)
    _print_packed(report, json_wanted)


def _print_packed(report: PackReport, json_wanted: bool) -> None:
    if json_wanted:
        import msgspec

        click.echo(msgspec.json.encode(report).decode())
        return
    from dure.cli.tables import print_table

    click.echo(f"{report.trace} on {report.fleet}, {report.policy}, seed {report.seed}: ", nl=False)
    click.echo(f"{report.placed:,} placed, {report.dropped:,} dropped, {report.wall_s:.2f} s")
    click.echo(f"Ties: {report.tie_rule}.")
    asked = [asked for asked in report.allocation_pct if asked in PACK_ROWS]
    print_table(
        PACK_HEADINGS,
        [(asked, f"{report.allocation_pct[asked]:.2f}", f"{report.frag_pct[asked]:.2f}") for asked in asked],
    )


def _policies(names: str) -> list[str]:
    from dure.cli.errors import BadInput

    wanted = [name.strip() for name in names.split(",")]
    if unknown := [name for name in wanted if name not in POLICIES]:
        raise BadInput(f"--policies: {unknown[0]!r} is not a policy; choose from {', '.join(POLICIES)}")
    return list(dict.fromkeys(wanted))


def _compared(report: RunReport) -> tuple[str, ...]:
    delay = report.p99_guarantee_delay_s
    return (
        report.policy,
        f"{report.finished:,}",
        f"{report.refused:,}",
        f"{report.avg_wait_s:,.0f}",
        f"{report.p99_wait_s:,.0f}",
        f"{report.avg_jct_s:,.0f}",
        f"{report.makespan_s:,.0f}",
        f"{report.allocation_pct:.1f}",
        f"{report.reclaimed:,}",
        f"{report.lost_gpu_hours:,.0f}",
        "-" if delay is None else f"{delay:,.0f}",
    )


def _scene(wishes: Wishes, policy: str, seed: int) -> Scene:
    """What is about to run, with the event loop compiled. Raises what `_mistakes_named` words."""
    from dure.bootstrap import compile_twin
    from dure.sources.fleet import read_fleet
    from dure.twin.making import make_scene

    source, failures = wishes.source(), wishes.failures()
    scene = make_scene(source, read_fleet(wishes.fleet), policy=policy, seed=seed, failures=failures)
    compile_twin()
    return scene


@contextmanager
def _mistakes_named(fleet: str) -> Iterator[None]:
    """Turns what is wrong with a workload into one message and exit code 2."""
    from dure.bootstrap import prepare_compilation

    # Where compiled code is kept must be known before anything imports the kernel.
    prepare_compilation()

    from dure.cli.errors import BadInput
    from dure.intake.refusals import BadInput as BadDocument
    from dure.sources.errors import BadSource

    try:
        yield
    except BadSource as error:
        raise BadInput(str(error)) from None
    except BadDocument as error:
        raise BadInput("\n".join(f"{fleet}: {problem}" for problem in error.problems)) from None
    except OSError as error:
        raise BadInput(f"{error.filename}: cannot be used ({error.strerror})") from None


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
