"""`dure agreement`: offer, answer, look at and end agreements on the use of data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dure.cli.options import as_json, quoted

if TYPE_CHECKING:
    from dure.model.agreements import AgreementMove
    from dure.reports.agreements import AgreementReport, AgreementsReport


def _as_side(command: Any) -> Any:
    """Add `--for`, which only those need who may speak for more than one side."""
    text = "Side that you speak for; your own, or whose turn it is, unless given."
    return click.option("--for", "organisation", metavar="ORGANISATION", default="", help=text)(command)


def _from_file(command: Any) -> Any:
    text = "Agreement file (YAML), or - for standard input."
    return click.option("-f", "--file", "file", metavar="FILE", required=True, help=text)(command)


@click.group()
def agreement() -> None:
    """Agree with other organisations on the use of data."""


@agreement.command()
@_from_file
@_as_side
@as_json
def offer(file: str, organisation: str, json_wanted: bool) -> None:
    """Offer the terms in FILE to the other side.

    Refused when they grant what their parties may not grant.
    """
    _send_terms("/v1/agreements", file, organisation, json_wanted)


@agreement.command()
@click.argument("agreement_id", metavar="AGREEMENT")
@_from_file
@_as_side
@as_json
def counter(agreement_id: str, file: str, organisation: str, json_wanted: bool) -> None:
    """Answer an offer with the terms in FILE.

    The other side has to answer them then.
    """
    _send_terms(f"/v1/agreements/{quoted(agreement_id)}/counter", file, organisation, json_wanted)


@agreement.command()
@click.argument("agreement_id", metavar="AGREEMENT")
@click.option(
    "--version", type=click.IntRange(1), required=True, help="Version of the terms that you read (`show` says it)."
)
@_as_side
@as_json
def accept(agreement_id: str, version: int, organisation: str, json_wanted: bool) -> None:
    """Agree to the terms that the other side offered.

    What crosses a border counts once two people of the programme have approved it.
    """
    _answer(agreement_id, "accept", {"version": version, "organisation": organisation}, json_wanted)


@agreement.command()
@click.argument("agreement_id", metavar="AGREEMENT")
@_as_side
@as_json
def decline(agreement_id: str, organisation: str, json_wanted: bool) -> None:
    """Turn an offer down."""
    _answer(agreement_id, "decline", {"organisation": organisation}, json_wanted)


@agreement.command()
@click.argument("agreement_id", metavar="AGREEMENT")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is kept in the ledger, so name nobody.")
@_as_side
@as_json
def end(agreement_id: str, reason: str, organisation: str, json_wanted: bool) -> None:
    """Take an offer back, or end an agreement at once."""
    _answer(agreement_id, "end", {"reason": reason, "organisation": organisation}, json_wanted)


@agreement.command("list")
@as_json
def list_agreements(json_wanted: bool) -> None:
    """List the agreements that your organisation is a party to."""
    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json
    from dure.reports.agreements import AgreementsReport

    answer = connect().get("/v1/agreements")
    if json_wanted:
        print_json(answer)
    else:
        _print_listing(msgspec.json.decode(answer, type=AgreementsReport))


@agreement.command()
@click.argument("agreement_id", metavar="AGREEMENT")
@as_json
def show(agreement_id: str, json_wanted: bool) -> None:
    """Show the terms of an agreement, its history and its use."""
    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json
    from dure.reports.agreements import AgreementReport

    answer = connect().get(f"/v1/agreements/{quoted(agreement_id)}")
    if json_wanted:
        print_json(answer)
    else:
        _print_agreement(msgspec.json.decode(answer, type=AgreementReport))


@agreement.command()
@click.argument("agreement_id", metavar="AGREEMENT")
def odrl(agreement_id: str) -> None:
    """Print an agreement as an ODRL policy (JSON-LD)."""
    from dure.cli.client import connect
    from dure.cli.tables import print_json

    print_json(connect().get(f"/v1/agreements/{quoted(agreement_id)}/odrl"))


def _send_terms(path: str, file: str, organisation: str, json_wanted: bool) -> None:
    from dure.cli.client import connect
    from dure.cli.documents import YAML, read_document

    body = read_document(file)
    _print_standing(
        connect().send("POST", path, body=body, content_type=YAML, params={"organisation": organisation or None}),
        json_wanted,
    )


def _answer(agreement_id: str, verb: str, wanted: dict[str, object], json_wanted: bool) -> None:
    import msgspec

    from dure.cli.client import connect

    path = f"/v1/agreements/{quoted(agreement_id)}/{verb}"
    _print_standing(connect().send("POST", path, body=msgspec.json.encode(wanted)), json_wanted)


def _print_standing(answer: bytes, json_wanted: bool) -> None:
    import msgspec

    from dure.cli.tables import print_json
    from dure.control.oversight.agreement_requests import AgreementStands

    if json_wanted:
        print_json(answer)
        return
    stands = msgspec.json.decode(answer, type=AgreementStands)
    click.echo(f"{stands.agreement}: {stands.state}, version {stands.version}")
    if stands.needs_approval:
        click.echo("  It lets data or results cross a border: two people of the programme must approve it")
        click.echo(f"  once it is agreed: dure proposal transfer {stands.agreement}")


def _print_listing(report: AgreementsReport) -> None:
    from dure.cli.tables import print_table

    if not report.agreements:
        click.echo("no agreements", err=True)
        return
    rows = [
        (each.id, each.terms.provider, each.terms.recipient, ",".join(each.terms.datasets), each.note)
        for each in report.agreements
    ]
    print_table(("ID", "PROVIDER", "RECIPIENT", "DATASETS", "STATE"), rows)


def _print_agreement(report: AgreementReport) -> None:
    from dure.intake.agreements import terms_to_document

    line = report.line
    click.echo(f"{line.id}, version {line.version} offered by {line.offered_by}: {line.note}")
    for field, value in terms_to_document(line.terms).items():
        click.echo(f"  {field}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    for each in report.purposes:
        click.echo(f"  {each.purpose}: {each.wording.en} / {each.wording.ko}")
    click.echo("history")
    for move in report.history:
        click.echo(f"  {_move_text(move)}")
    click.echo(f"use: {_use_text(report)}")


def _move_text(move: AgreementMove) -> str:
    from dure.model.dates import format_moment

    reason = f": {move.reason}" if move.reason else ""
    side = move.organisation or "the programme"
    return f"{format_moment(move.at_ms)}  {move.state} (version {move.version}) by {move.by} for {side}{reason}"


def _use_text(report: AgreementReport) -> str:
    from dure.model.dates import format_moment

    use = report.use
    if not use.jobs:
        return "none"
    last = f", last begun {format_moment(use.last_ms)}" if use.last_ms else ""
    jobs = "1 job" if use.jobs == 1 else f"{use.jobs:,} jobs"
    return f"{jobs}, {use.gpu_hours:g} GPU-hours, {use.running} running{last}"
