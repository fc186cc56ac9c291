"""`dure nodes`, `dure shares` and `dure usage`: what there is, whose it is, and who used it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dure.cli.options import as_json, quoted

if TYPE_CHECKING:
    from dure.reports.fleet import NodeLine
    from dure.reports.shares import ShareLine
    from dure.reports.usage import UsageLine, UsageReport

NODE_HEADINGS = ("NODE", "SITE", "STATE", "GPUS", ">FREE", ">CPUS", ">FREE", ">MEMORY", ">FREE", "JOBS")
SHARE_HEADINGS = (
    "SHARE",
    "CLASS",
    ">GUARANTEE",
    ">USED",
    ">BORROWED",
    ">LENT",
    ">IDLE",
    ">LIMIT",
    ">WEIGHT",
    ">WAITING",
)

USAGE_HEADINGS = (
    "ORGANISATION",
    "PROJECT",
    "CLASS",
    ">ATTEMPTS",
    ">GPU-HOURS",
    ">BORROWED",
    ">PREEMPTED",
    ">REFERENCE",
)


@click.group(invoke_without_command=True)
@click.pass_context
@as_json
def nodes(context: click.Context, json_wanted: bool) -> None:
    """List nodes, or change the state of one.

    Free amounts are what a new job could have. Only a node that is up takes new jobs. A node that keeps failing is
    suspect: the platform sets it aside by itself for a while. What a node is reserved for stands after its jobs.
    """
    if context.invoked_subcommand is not None:
        return
    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json, print_table
    from dure.reports.fleet import NodesReport

    body = connect().get("/v1/nodes")
    if json_wanted:
        print_json(body)
        return
    report = msgspec.json.decode(body, type=NodesReport)
    if not report.nodes:
        click.echo("no nodes; declare them with `dure apply -f FILE`", err=True)
        return
    print_table(NODE_HEADINGS, [_node_row(node, report.at_ms) for node in report.nodes])


def _node_row(node: NodeLine, now_ms: int) -> tuple[str, ...]:
    from dure.model.units import format_gpus
    from dure.reports.wording import gpus_text

    return (
        node.name,
        node.site,
        node.state,
        gpus_text(node.gpu_class, node.gpus * 1000),
        format_gpus(node.free_gpus_milli),
        str(node.cpus),
        str(node.free_cpus),
        _memory(node.memory_mib),
        _memory(node.free_memory_mib),
        ",".join(node.jobs) + _reserved(node, now_ms) or "-",
    )


def _reserved(node: NodeLine, now_ms: int) -> str:
    """The reservation that a node is kept for now, or next."""
    from dure.reports.wording import ago

    if not node.reservations:
        return ""
    first = node.reservations[0]
    when = f"begins {ago(first.from_ms, now_ms)}" if first.from_ms > now_ms else f"ends {ago(first.until_ms, now_ms)}"
    return f"{' ' if node.jobs else ''}(reserved for {first.name}: {when})"


def _memory(mib: int) -> str:
    return f"{mib // 1024}GB" if mib >= 1024 else f"{mib}MB"


@nodes.command()
@click.argument("node")
def cordon(node: str) -> None:
    """Start nothing new on NODE: what runs there ends by itself."""
    _change(node, "cordon")


@nodes.command()
@click.argument("node")
def drain(node: str) -> None:
    """Empty NODE: preemptible jobs leave and go on elsewhere, the others end by themselves."""
    _change(node, "drain")


@nodes.command()
@click.argument("node")
def down(node: str) -> None:
    """Give NODE up for lost: all jobs there stop and go on elsewhere from their last checkpoint."""
    _change(node, "down")


@nodes.command()
@click.argument("node")
def resume(node: str) -> None:
    """Put NODE back into service, and forget what made it suspect."""
    _change(node, "resume")


def _change(node: str, action: str) -> None:
    import msgspec

    from dure.cli.client import connect
    from dure.control.requests import NodeStands

    answer = connect().send("POST", f"/v1/nodes/{quoted(node)}/{action}")
    stands = msgspec.json.decode(answer, type=NodeStands)
    still = f"; still running: {', '.join(stands.jobs)}" if stands.jobs and stands.state != "up" else ""
    click.echo(f"{stands.node}: {stands.state}{still}")


@click.command()
@as_json
def shares(json_wanted: bool) -> None:
    """List the share tree: guaranteed, used, borrowed and lent GPUs.

    USED counts everything the share runs, BORROWED the part of it above its guarantee, LENT the part of its guarantee
    that others use, IDLE the part that nobody uses. Shares without anything of a class are left out.
    """
    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json, print_table
    from dure.reports.shares import SharesReport

    body = connect().get("/v1/shares")
    if json_wanted:
        print_json(body)
        return
    report = msgspec.json.decode(body, type=SharesReport)
    if not report.shares:
        click.echo("no shares; declare them with `dure apply -f FILE`", err=True)
        return
    print_table(SHARE_HEADINGS, [_share_row(line) for line in report.shares if line.matters])


def _share_row(line: ShareLine) -> tuple[str, ...]:
    from dure.reports.wording import rounded_gpus

    return (
        "  " * line.depth + line.name,
        line.gpu_class,
        rounded_gpus(line.guarantee_milli),
        rounded_gpus(line.used_milli),
        rounded_gpus(line.borrowed_milli),
        rounded_gpus(line.lent_milli),
        rounded_gpus(line.idle_guarantee_milli),
        "-" if line.limit_milli is None else rounded_gpus(line.limit_milli),
        str(line.weight),
        str(line.waiting_jobs),
    )


@click.command()
@click.option("--last", metavar="TIME", help="Only the last so much time, such as 7d or 12h.  [default: everything]")
@as_json
def usage(last: str | None, json_wanted: bool) -> None:
    """Show who used how many GPU-hours.

    BORROWED is the part above every guarantee, PREEMPTED the part in attempts that were stopped for an owner, REFERENCE
    all of it times the exchange factor of the class.
    """
    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json, print_table
    from dure.reports.usage import UsageReport

    body = connect().get("/v1/usage", {"from_ms": _time_before(last)})
    if json_wanted:
        print_json(body)
        return
    report = msgspec.json.decode(body, type=UsageReport)
    if not report.lines:
        click.echo("nobody has used anything yet", err=True)
        return
    rows = [
        (line.organisation, line.project or "(all)", line.gpu_class or "-", str(line.attempts), *_hours(line))
        for line in report.lines
    ]
    print_table(
        USAGE_HEADINGS, [*rows, ("TOTAL", "", "", str(sum(line.attempts for line in report.lines)), *_hours(report))]
    )


def _time_before(last: str | None) -> int | None:
    import time

    from dure.cli.errors import BadInput
    from dure.model.units import UnitError, parse_duration

    if last is None:
        return None
    try:
        return max(0, time.time_ns() // 1_000_000 - parse_duration(last))
    except UnitError as error:
        raise BadInput(f"--last: {error}") from None


def _hours(line: UsageLine | UsageReport) -> tuple[str, str, str, str]:
    hours = (line.used_gpu_hours, line.borrowed_gpu_hours, line.preempted_gpu_hours, line.reference_gpu_hours)
    used, borrowed, preempted, reference = (f"{each:,.2f}" for each in hours)
    return used, borrowed, preempted, reference
