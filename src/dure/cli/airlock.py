"""`dure airlock`: what jobs on restricted data left, and a steward's decisions about it."""

from __future__ import annotations

from typing import Any

import click

from dure.cli.options import as_json, quoted

FOR_GOOD = "Decisions are final. Results are named by their numbers; without any, all that are held are meant."
REASON = click.option("--reason", required=True, metavar="TEXT", help="Why; it stands in the ledger.")
SHOWN_DIGITS = 12
"""Of a digest of 64, in a table; `--json` has all of it."""
NUMBERS = click.argument("numbers", metavar="[NUMBER]...", nargs=-1, type=click.IntRange(min=1))


@click.group()
def airlock() -> None:
    """See what waits in the airlock, and release or refuse it.

    What a job on restricted data of another organisation leaves and prints waits there. For stewards and operators.
    """


@airlock.command("list")
@as_json
def list_airlock(json_wanted: bool) -> None:
    """List jobs that have results in the airlock."""
    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json, print_table

    answer = connect().get("/v1/airlock")
    if json_wanted:
        print_json(answer)
        return
    jobs = msgspec.json.decode(answer)["jobs"]
    if not jobs:
        click.echo("nothing waits in the airlock")
        return
    headings = ("JOB", "OF", "DATA", ">HELD", ">RELEASED", ">REFUSED", "FOUND", ">BYTES")
    print_table(headings, [_job_row(each) for each in jobs])


@airlock.command("show")
@click.argument("job")
@as_json
def show_airlock(job: str, json_wanted: bool) -> None:
    """Show the results of JOB, and what was found out about them."""
    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json

    answer = connect().get(f"/v1/airlock/{quoted(job)}")
    if json_wanted:
        print_json(answer)
    else:
        _print_results(msgspec.json.decode(answer))


@airlock.command("get")
@click.argument("job")
@click.argument("number", type=click.IntRange(min=1))
@click.option("--to", "target", metavar="FILE", required=True, help="Where to put it.")
def get_result(job: str, number: int, target: str) -> None:
    """Fetch result NUMBER of JOB to judge it. The server's log says who did."""
    from dure.cli.client import connect

    size = connect().save(f"/v1/airlock/{quoted(job)}/results/{number}", {}, target)
    click.echo(f"{target}: {size:,} bytes", err=True)


@airlock.command(epilog=FOR_GOOD)
@click.argument("job")
@NUMBERS
@REASON
@as_json
def release(job: str, numbers: tuple[int, ...], reason: str, json_wanted: bool) -> None:
    """Let the organisation that ran JOB have results of it.

    What crosses a border, or has a finding against it, is proposed: it goes when a second person has approved it
    (`dure proposal approve`).
    """
    _decide("release", job, numbers, reason, json_wanted)


@airlock.command(epilog=FOR_GOOD)
@click.argument("job")
@NUMBERS
@REASON
@as_json
def refuse(job: str, numbers: tuple[int, ...], reason: str, json_wanted: bool) -> None:
    """Refuse results of JOB. They are deleted."""
    _decide("refuse", job, numbers, reason, json_wanted)


def _decide(decision: str, job: str, numbers: tuple[int, ...], reason: str, json_wanted: bool) -> None:
    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json

    body = msgspec.json.encode({"numbers": numbers, "reason": reason})
    answer = connect().send("POST", f"/v1/airlock/{quoted(job)}/{decision}", body=body)
    if json_wanted:
        print_json(answer)
        return
    stands = msgspec.json.decode(answer)
    counts = ", ".join(f"{len(stands[state])} {state}" for state in ("held", "released", "refused"))
    click.echo(f"{job}: {counts}")
    if stands["proposal"]:
        click.echo(f"a second person must approve it: dure proposal approve {stands['proposal']}", err=True)


def _job_row(line: dict[str, Any]) -> tuple[str, ...]:
    data = ",".join(line["datasets"])
    if not line["is_inspected"]:
        return line["job"], line["recipient"], data, "", "", "", "being inspected", ""
    counts = (f"{line[state]:,}" for state in ("held", "released", "refused"))
    return line["job"], line["recipient"], data, *counts, line["verdict"], f"{line['size_bytes']:,}"


def _print_results(report: dict[str, Any]) -> None:
    from dure.cli.tables import print_table

    click.echo(f"{report['job']} of {report['recipient']}, on {', '.join(report['datasets'])}")
    border = "a release crosses a border and takes two people" if report["crosses_border"] else "it crosses no border"
    click.echo(f"{border}; {_agreed(report)}")
    for proposal in report["proposals"]:
        click.echo(f"proposal {proposal} waits for a second person")
    headings = (">NO", "STATE", ">BYTES", "TYPE", "SHA-256", "VERDICT", "ATTEMPT/NAME", "FINDINGS")
    print_table(headings, [_result_row(each) for each in report["results"]])


def _result_row(result: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(result["number"]),
        result["state"],
        f"{result['size_bytes']:,}",
        result["media_type"],
        result["sha256"][:SHOWN_DIGITS],
        result["verdict"],
        f"{result['attempt']}/{result['path']}" if result["path"] else "(gone)",
        "; ".join(result["notes"]),
    )


def _agreed(report: dict[str, Any]) -> str:
    if report["may_take"]:
        return f"{report['recipient']} may take released results away"
    if report["may_view"]:
        return f"{report['recipient']} may look at released results"
    return f"no agreement in force lets {report['recipient']} have results"
