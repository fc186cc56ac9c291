"""`dure stop-order` and `dure proposal`: stop a use of data at once, and change what takes two people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dure.cli.options import DURATION, as_json, quoted

if TYPE_CHECKING:
    from dure.model.proposals import ProposedChange
    from dure.model.stop_orders import StopOrder


@click.group("stop-order")
def stop_order() -> None:
    """Stop a use of data at once, running jobs included."""


@stop_order.command()
@click.option("--recipient", metavar="ORGANISATION", default="", help="Whose use stops; everybody's unless given.")
@click.option(
    "--country", metavar="CC", default="", help="Of the recipient, its ultimate parent or the site; any unless given."
)
@click.option("--dataset", metavar="NAME", default="", help="Data whose use stops; all data unless given.")
@click.option(
    "--within", metavar="TIME", type=DURATION, required=True, help="How soon running jobs are over, like 10s."
)
@click.option("--reason", metavar="TEXT", required=True, help="Why; it stays in the ledger for good.")
@as_json
def issue(recipient: str, country: str, dataset: str, within: int, reason: str, json_wanted: bool) -> None:
    """Stop what fits all that is named, and let nothing like it begin.

    Jobs that run against the order are over within the time given. It holds until two people lift it.
    """
    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json

    wanted = {"recipient": recipient, "country": country, "dataset": dataset, "within_ms": within, "reason": reason}
    answer = connect().send("POST", "/v1/stop-orders", body=msgspec.json.encode(wanted))
    if json_wanted:
        print_json(answer)
        return
    click.echo(f"{msgspec.json.decode(answer)['order']['id']}: holds from now on")


@stop_order.command("list")
@as_json
def list_stop_orders(json_wanted: bool) -> None:
    """List the stop orders that hold."""
    import msgspec

    from dure.api.oversight import StopOrdersReport
    from dure.cli.client import connect
    from dure.cli.tables import print_json, print_table

    body = connect().get("/v1/stop-orders")
    if json_wanted:
        print_json(body)
        return
    found = msgspec.json.decode(body, type=StopOrdersReport).stop_orders
    print_table(("ID", "RECIPIENT", "COUNTRY", "DATASET", ">WITHIN", "REASON"), [_order_row(each) for each in found])


def _order_row(order: StopOrder) -> tuple[str, ...]:
    from dure.model.units import format_duration

    named = (each or "any" for each in (order.recipient, order.country, order.dataset))
    return (order.id, *named, format_duration(order.within_ms), order.reason)


@stop_order.command()
@click.argument("stop_order_id", metavar="ID")
def lift(stop_order_id: str) -> None:
    """Propose that the order ID no longer holds. Somebody else approves: `dure proposal approve`."""
    _propose({"change": "lift-stop-order", "stop_order": stop_order_id})


@click.group()
def proposal() -> None:
    """Propose, list and approve changes that take two people.

    Both sign in to an account of a person: `dure login`, or the token of a local account.
    """


@proposal.command("list")
@as_json
def list_proposals(json_wanted: bool) -> None:
    """List the changes that wait for a second person."""
    import time

    import msgspec

    from dure.api.oversight import ProposalsReport
    from dure.cli.client import connect
    from dure.cli.tables import print_json, print_table
    from dure.reports.wording import ago

    body = connect().get("/v1/proposals")
    if json_wanted:
        print_json(body)
        return
    now_ms = time.time_ns() // 1_000_000
    found = msgspec.json.decode(body, type=ProposalsReport).proposals
    rows = [(each.id, each.by, ago(each.proposed_at_ms, now_ms), _words(each.change)) for each in found]
    print_table(("ID", "BY", "~PROPOSED", "CHANGE"), rows)


def _words(change: ProposedChange) -> str:
    from dure.model.proposals import KeyChange, ModelPromotion, PolicyChange, ResultsRelease, StopOrderLifting

    if isinstance(change, ModelPromotion):
        return f"promote model {change.version}"
    if isinstance(change, PolicyChange):
        return f"own rules: {', '.join(file for file, _ in change.policies) or 'none'}"
    if isinstance(change, StopOrderLifting):
        return f"lift stop order {change.stop_order}"
    if isinstance(change, ResultsRelease):
        return f"release {len(change.numbers)} results of {change.job}: {change.reason}"
    if isinstance(change, KeyChange):
        return f"sign the ledger with {change.key}"
    return f"let agreement {change.agreement} (version {change.version}) cross a border"


@proposal.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def policy(folder: Path) -> None:
    """Propose that the .cedar files in FOLDER are the programme's own rules, instead of those it has now.

    An empty folder proposes to have none. `dure policy` shows and tries rules beforehand.
    """
    policies = [[file.name, file.read_text(encoding="utf-8")] for file in sorted(folder.glob("*.cedar"))]
    _propose({"change": "policy", "policies": policies})


@proposal.command()
@click.argument("agreement")
@click.option("--version", "agreed", metavar="N", type=int, default=1, help="Of the terms; the first unless given.")
def transfer(agreement: str, agreed: int) -> None:
    """Propose that AGREEMENT may let data or results cross a border."""
    _propose({"change": "approve-transfer", "agreement": agreement, "version": agreed})


@proposal.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def key(file: Path) -> None:
    """Propose that the ledger is signed with another key: the one whose public half is in FILE.

    `dure ledger new-key` makes one. It is used from the next start of the server on, once somebody else has approved.
    """
    from dure.cli.ledger import load_key

    _propose({"change": "key", "key": str(load_key(file))})


@proposal.command()
@click.argument("proposal_id", metavar="ID")
def approve(proposal_id: str) -> None:
    """Approve what somebody else proposed. It counts at once, for what runs too."""
    from dure.cli.client import connect

    connect().send("POST", f"/v1/proposals/{quoted(proposal_id)}/approve")
    click.echo(f"{proposal_id}: approved")


@proposal.command()
@click.argument("proposal_id", metavar="ID")
def withdraw(proposal_id: str) -> None:
    """Take a proposal back, or turn it down."""
    from dure.cli.client import connect

    connect().send("POST", f"/v1/proposals/{quoted(proposal_id)}/withdraw")
    click.echo(f"{proposal_id}: withdrawn")


def _propose(change: dict[str, object]) -> None:
    import msgspec

    from dure.cli.client import connect

    answer = connect().send("POST", "/v1/proposals", body=msgspec.json.encode({"change": change}))
    name = msgspec.json.decode(answer)["proposal"]["id"]
    click.echo(f"{name}: proposed; somebody else approves it with: dure proposal approve {name}")
