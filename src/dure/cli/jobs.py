"""`dure submit`, `dure plan` and `dure cancel`."""

from __future__ import annotations

from typing import Any

import click

from dure.cli.options import as_json, eta_wanted, without_eta


@click.command()
@click.argument("file", metavar="JOB.yaml|SCRIPT.sh|JOBS.ndjson")
@click.option("--key", metavar="TEXT", help="Idempotency key: the same key never makes a second job.")
@as_json
def submit(file: str, key: str | None, json_wanted: bool) -> None:
    """Submit a job file, a shell script with #SBATCH lines, or many jobs as lines of JSON.

    `-` reads standard input. Prints the new jobs' ids; lost answers are retried without making a job twice. Of many
    jobs, those that are refused are named with their line, and keep no other from being accepted.
    """
    from dure.cli.client import connect
    from dure.cli.documents import LINES, job_content_type, read_document
    from dure.cli.tables import print_json

    body = read_document(file)
    content_type = job_content_type(file, body)
    is_batch = content_type == LINES
    answer = connect().submit(body, content_type, key, "/v1/jobs/batch" if is_batch else "/v1/jobs")
    if json_wanted:
        print_json(answer)
    elif is_batch:
        _print_batch(body, answer)
    else:
        _print_submitted(answer)


def _print_batch(body: bytes, answer: bytes) -> None:
    """Print an id per accepted job; on standard error why others were not, by their line. Exits with 1 if any was."""
    import sys

    import msgspec

    lines = [number for number, line in enumerate(body.splitlines(), 1) if line.strip()]
    refused = 0
    for number, job in zip(lines, msgspec.json.decode(answer)["jobs"], strict=True):
        if isinstance(job, str):
            click.echo(job)
        else:
            refused += 1
            field = f"{job['field']}: " if job["field"] else ""
            click.echo(f"line {number}: {field}{job['message']}", err=True)
    if refused:
        click.echo(f"{refused} of {len(lines)} jobs were not accepted", err=True)
        sys.exit(1)


def _print_submitted(answer: bytes) -> None:
    """Say which jobs were accepted, one id a line. Warnings go to standard error."""
    import msgspec

    accepted: dict[str, Any] = msgspec.json.decode(answer)
    for warning in accepted.get("warnings", ()):
        click.echo(f"warning: {warning}", err=True)
    for job in accepted["jobs"]:
        click.echo(job)
        if array := accepted.get("array"):
            click.echo(f"its tasks are {job}_{array['first']} to {job}_{array['last']}", err=True)


@click.command()
@click.argument("file", metavar="JOB.yaml|SCRIPT.sh")
@without_eta
@as_json
def plan(file: str, no_eta: bool, json_wanted: bool) -> None:
    """Say what would happen to a job if it were submitted now.

    The real decision on a copy of the platform's state; nothing is written.
    """
    import msgspec

    from dure.cli.client import connect
    from dure.cli.documents import job_content_type, read_document
    from dure.cli.tables import print_json

    body = read_document(file)
    answer = connect().send(
        "POST", "/v1/plan", body=body, content_type=job_content_type(file, body), params=eta_wanted(no_eta)
    )
    if json_wanted:
        print_json(answer)
    else:
        _print_preview(msgspec.json.decode(answer))


def _print_preview(preview: dict[str, Any]) -> None:
    import msgspec

    from dure.cli.explaining import print_why
    from dure.model.blockers import Why

    for warning in preview["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    click.echo(_outlook(preview))
    for rank, placement in enumerate(preview["placements"]):
        gpus = ",".join(str(index) for index in placement["gpus"])
        part = f" ({placement['milli'] / 1000:g} of it)" if placement["milli"] < 1000 else ""
        if placement.get("profile"):
            slices = ",".join(str(each) for each in placement["slices"])
            part = f" ({placement['profile']}, memory slices {slices})"
        click.echo(f"  rank {rank}: {placement['node']}" + (f" GPU {gpus}{part}" if gpus else ""))
    if preview["agreements"]:
        click.echo(f"  reads its data by agreement: {', '.join(preview['agreements'])}")
    if preview["warned"]:
        click.echo(f"  asks to yield: {', '.join(preview['warned'])}")
    if preview["why"]:
        print_why(msgspec.convert(preview["why"], Why), preview["at_ms"])


def _outlook(preview: dict[str, Any]) -> str:
    where = f" at {preview['site']} on {preview['gpu_class'] or 'CPUs'}" if preview["site"] else ""
    borrowed = ", borrowed" if preview["borrowed"] else ""
    if preview["tasks"] > 1:
        return f"{preview['starting']:,} of {preview['tasks']:,} would start now{where}{borrowed}"
    if preview["state"] == "claimed":
        return f"would start{where} as soon as borrowers have yielded{borrowed}"
    if preview["starting"] and preview["max_nodes"]:
        where += f" with {len(preview['placements'])} of up to {preview['max_nodes']} nodes"
    return f"would start now{where}{borrowed}" if preview["starting"] else "would wait"


@click.command()
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True)
def cancel(jobs: tuple[str, ...]) -> None:
    """Cancel jobs that wait or run.

    A running job is asked to stop (SIGTERM) and killed after its site's grace period.
    """
    from dure.cli.client import connect
    from dure.cli.options import quoted

    server = connect()
    for job in jobs:
        server.send("POST", f"/v1/jobs/{quoted(job)}/cancel")
        click.echo(f"{job}: asked to stop")
