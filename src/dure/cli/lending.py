"""`dure lending`: who lent whom how many GPU-hours, and what was taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dure.cli.options import as_json

if TYPE_CHECKING:
    from dure.reports.lending import LendingLine, LendingReport

WHO = ("LENDER", "BORROWER", "WITHIN", "CLASS")
FIGURES = (">LENT", ">REFERENCE", ">RECLAIMS", ">GOT BACK", ">MEAN", ">LONGEST", ">LATE")


@click.command()
@click.option("--since", metavar="DATE", help="First day (UTC), such as 2026-01-31.  [default: everything]")
@click.option("--until", metavar="DATE", help="Last day (UTC), that day included.  [default: today]")
@as_json
def lending(since: str | None, until: str | None, json_wanted: bool) -> None:
    """Show who lent whom how many GPU-hours, and what was taken back.

    A share lends what of its guarantee is idle and others hold, until they have gone; (undivided) is what a parent, or
    the nation, guarantees none of its children. RECLAIMS are jobs of the lender
    that took GPUs back, MEAN and LONGEST how long they waited for them from their demand on, LATE how many waited
    longer than promised, GOT BACK the GPU-hours they then ran there. Members see the lines of their own organisation.
    """
    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json
    from dure.reports.lending import LendingReport

    body = connect().get(
        "/v1/lending", {"from_ms": _day_ms(since, "--since", 0), "until_ms": _day_ms(until, "--until", 1)}
    )
    if json_wanted:
        print_json(body)
    else:
        print_lending(msgspec.json.decode(body, type=LendingReport))


def _day_ms(text: str | None, option: str, days_later: int) -> int | None:
    """The beginning of a day, or of one some days later."""
    from datetime import UTC, date, datetime, time, timedelta

    from dure.cli.errors import BadInput

    if text is None:
        return None
    try:
        day = date.fromisoformat(text) + timedelta(days=days_later)
    except (ValueError, OverflowError):
        raise BadInput(f"{option}: {text!r} is not a date; write it like 2026-01-31") from None
    return max(0, round(datetime.combine(day, time(), UTC).timestamp() * 1000))


def print_lending(report: LendingReport) -> None:
    """A line per lender, borrower and class, the sums, and what was promised."""
    from dure.cli.tables import print_table
    from dure.reports.wording import rough_duration

    if not report.lines:
        click.echo("nothing was lent", err=True)
        return
    rows = [
        (line.lender or "(undivided)", line.borrower, line.parent or "-", line.gpu_class, *_figures(line))
        for line in report.lines
    ]
    print_table((*WHO, *FIGURES), [*rows, ("TOTAL", "", "", "", *_figures(report))])
    promised, protected = rough_duration(report.warning_and_grace_ms), rough_duration(report.protected_ms)
    click.echo(f"promised: {promised} from demand to GPUs, after a borrower's first {protected}")


def _figures(line: LendingLine | LendingReport) -> tuple[str, ...]:
    from dure.reports.wording import rough_duration

    times = (line.mean_reclaim_ms, line.longest_reclaim_ms)
    return (
        f"{line.lent_gpu_hours:,.2f}",
        f"{line.reference_gpu_hours:,.2f}",
        str(line.reclaims),
        f"{line.got_back_gpu_hours:,.2f}",
        *("-" if each is None else rough_duration(each) for each in times),
        str(line.late_reclaims),
    )
