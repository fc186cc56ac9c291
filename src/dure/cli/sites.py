"""`dure sites`: what each site has, and how its engine is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dure.cli.options import as_json

if TYPE_CHECKING:
    from dure.reports.fleet import ContactLine, SiteLine

HEADINGS = ("SITE", "COUNTRY", "ENGINE", "CONTACT", ">GPUS", ">USED", ">OUT", ">NODES")


@click.command()
@as_json
def sites(json_wanted: bool) -> None:
    """List sites: their engines, when those were last heard, and how many GPUs are in use or out of service.

    While a site is out of contact nothing starts there; what runs there runs on.
    """
    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json, print_table
    from dure.reports.fleet import SitesReport

    body = connect().get("/v1/sites")
    if json_wanted:
        print_json(body)
        return
    report = msgspec.json.decode(body, type=SitesReport)
    if not report.sites:
        click.echo("no sites; declare them with `dure apply -f FILE`", err=True)
        return
    print_table(HEADINGS, [_row(site, report.at_ms) for site in report.sites])


def _row(site: SiteLine, now_ms: int) -> tuple[str, ...]:
    from dure.model.units import format_gpus

    contact = site.contact
    return (
        site.name,
        site.country,
        contact.engine if contact else "-",
        _contact(contact, now_ms) if contact else "-",
        format_gpus(site.capacity_milli),
        format_gpus(site.used_milli),
        format_gpus(site.unavailable_milli),
        str(site.nodes_total),
    )


def _contact(contact: ContactLine, now_ms: int) -> str:
    from dure.reports.wording import ago

    if not contact.is_lost:
        return "ok"
    heard = f"heard {ago(contact.heard_at_ms, now_ms)}" if contact.heard_at_ms else "never heard"
    return f"lost: {contact.problem} ({heard})"
