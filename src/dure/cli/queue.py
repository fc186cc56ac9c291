"""`dure queue` and `dure why`: who runs, who waits, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dure.cli.options import as_json, eta_wanted, quoted, without_eta

if TYPE_CHECKING:
    from dure.reports.jobs import JobLine, JobReport

HEADINGS = ("JOB", "NAME", "PROJECT", "SHARE", "STATE", "GPUS", "SITE", "~SINCE", "REASON")


@click.command()
@click.option("--all", "-a", "everything", is_flag=True, help="List finished jobs too, newest first.")
@click.option("--project", metavar="NAME", help="Only jobs of this project, newest first.")
@click.option("--state", metavar="STATE", help="Only jobs in this state, such as failed, newest first.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    help="Most jobs of a list.  [default: 100, or 200 that run and 200 that wait]",
)
@as_json
def queue(everything: bool, project: str | None, state: str | None, limit: int | None, json_wanted: bool) -> None:
    """List running and waiting jobs.

    Waiting jobs come in the order in which they will be tried, each with the first reason why it waits.
    """
    from dure.cli.client import connect
    from dure.cli.tables import print_json

    server = connect()
    is_list = everything or project is not None or state is not None
    wanted_state = state or (None if everything else "active")
    params = {"project": project, "state": wanted_state, "limit": limit}
    body = server.get("/v1/jobs", params) if is_list else server.get("/v1/queue", {"limit": limit})
    if json_wanted:
        print_json(body)
    elif is_list:
        _print_jobs(body)
    else:
        _print_queue(body)


def _print_queue(body: bytes) -> None:
    import msgspec

    from dure.reports.jobs import QueueReport

    report = msgspec.json.decode(body, type=QueueReport)
    _print_lines([*report.running, *report.waiting], report.at_ms, "nothing runs and nothing waits")
    more_run, more_wait = report.running_in_all - len(report.running), report.waiting_in_all - len(report.waiting)
    if more_run or more_wait:
        click.echo(f"and {more_run:,} more run, {more_wait:,} more wait", err=True)


def _print_jobs(body: bytes) -> None:
    import msgspec

    from dure.reports.jobs import JobsReport

    report = msgspec.json.decode(body, type=JobsReport)
    _print_lines(list(report.jobs), report.at_ms, "no such jobs")


def _print_lines(lines: list[JobLine], now_ms: int, when_none: str) -> None:
    from dure.cli.tables import print_table

    if not lines:
        click.echo(when_none, err=True)
        return
    print_table(HEADINGS, [_row(line, now_ms) for line in lines])


def _row(line: JobLine, now_ms: int) -> tuple[str, ...]:
    from dure.reports.wording import ago

    since_ms = line.ended_at_ms or line.started_at_ms if not line.state.is_waiting else line.submitted_at_ms
    return (
        line.job,
        line.name or "-",
        line.project or "-",
        line.share or "-",
        line.state,
        line.gpus,
        line.site or "-",
        ago(since_ms, now_ms),
        _remark(line, now_ms),
    )


def _remark(line: JobLine, now_ms: int) -> str:
    """The free text at the end of a line: why it waits, or what is special about how it runs or ended."""
    from dure.model.jobs import JobState
    from dure.reports.wording import ago

    if line.tasks:
        return f"{line.tasks.note}; {line.reason}" if line.reason else line.tasks.note
    if line.reason:
        return line.reason
    if line.stop_at_ms is not None and line.state is JobState.WARNED:
        return f"yields {ago(line.stop_at_ms, now_ms)}"
    if line.state is JobState.FAILED and line.exit_code is not None:
        return f"exit code {line.exit_code}"
    return "borrowed" if line.borrowed and not line.state.is_final else ""


@click.command()
@click.argument("job")
@without_eta
@as_json
def why(job: str, no_eta: bool, json_wanted: bool) -> None:
    """Say why JOB waits, or what became of it.

    Lists everything that keeps it from starting, who holds what it needs, what would unblock it and when it may start.
    """
    import msgspec

    from dure.cli.client import connect
    from dure.cli.explaining import print_why
    from dure.cli.tables import print_json
    from dure.reports.jobs import JobReport

    server = connect()
    if json_wanted:
        print_json(server.get(f"/v1/jobs/{quoted(job)}/why", eta_wanted(no_eta)))
        return
    report = msgspec.json.decode(server.get(f"/v1/jobs/{quoted(job)}", eta_wanted(no_eta)), type=JobReport)
    _print_headline(report)
    if report.why:
        print_why(report.why, report.at_ms)
    _print_timeline(report)


def _print_headline(report: JobReport) -> None:
    from dure.model.dates import format_moment
    from dure.reports.wording import ago

    line = report.line
    place = f", number {report.why.position} in its queue" if report.why and report.why.position else ""
    where = f" at {line.site}" if line.site and not line.state.is_final else ""
    click.echo(f"{line.job} {line.name or ''}".rstrip() + f": {line.state}{where}{place}")
    if line.visible:
        click.echo(f"  asked {_asked(report)}")
        for what, at_ms in _dates(report):
            click.echo(f"  {what} {format_moment(at_ms)} ({ago(at_ms, report.at_ms)})")
    if line.max_nodes is not None and report.placements:
        click.echo(f"  has {line.nodes} of up to {line.max_nodes} nodes")
    if report.engine_waits:
        click.echo(f"  {line.site} does not start it yet: {report.engine_waits}")
    if report.engine_nodes:
        click.echo(f"  on {', '.join(report.engine_nodes)}, chosen by its site")
    if report.gpu_use:
        kwh = report.gpu_use.energy_j / 3_600_000
        click.echo(f"  its GPUs used {kwh:.3f} kWh so far and were {report.gpu_use.busy_percent} % busy")
    if line.tasks:
        click.echo(f"  {line.tasks.note}")
    ended = f"exit code {line.exit_code}" if line.exit_code is not None and line.state.is_final else ""
    if ended:
        click.echo(f"  {ended}")


def _dates(report: JobReport) -> list[tuple[str, int]]:
    dates = [
        ("starts not before", report.not_before_ms),
        ("must start by", report.not_after_ms),
        ("must end by", report.deadline_ms),
    ]
    return [(what, at_ms) for what, at_ms in dates if at_ms is not None]


def _asked(report: JobReport) -> str:
    from dure.model.units import format_duration

    line = report.line
    nodes = "1 node" if line.nodes == 1 else f"{line.nodes} nodes"
    if line.max_nodes is not None:
        nodes = f"{line.min_nodes} to {line.max_nodes} nodes"
    gpus = " or ".join(report.wanted_gpus) or "no GPUs"
    limit = f"for {format_duration(report.time_ms)}" if report.time_ms else "without a time limit"
    return f"{gpus} on {nodes} {limit}, share {report.line.share}"


def _print_timeline(report: JobReport) -> None:
    from dure.reports.wording import ago

    for moment in report.timeline:
        note = moment.note if moment.note != moment.state else ""
        click.echo(f"  {ago(moment.at_ms, report.at_ms):<10}  {moment.state:<10}  {note}".rstrip())
