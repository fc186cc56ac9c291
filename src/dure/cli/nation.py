"""`dure apply`: declare fleet, organisations, shares and datasets."""

from __future__ import annotations

import click

from dure.cli.options import as_json


@click.command()
@click.option(
    "-f", "--file", "file", metavar="FILE", required=True, help="Nation document (YAML), or - for standard input."
)
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@as_json
def apply(file: str, dry_run: bool, json_wanted: bool) -> None:
    """Declare the nation: sites, organisations, shares, datasets.

    Prints the difference to what was declared before. A document that does not add up is refused as a whole.
    """
    import msgspec

    from dure.cli.client import connect
    from dure.cli.documents import YAML, read_document
    from dure.cli.tables import print_json
    from dure.control.requests import NationStands

    body = read_document(file)
    answer = connect().send("PUT", "/v1/nation", body=body, content_type=YAML, params={"dry_run": str(dry_run).lower()})
    if json_wanted:
        print_json(answer)
        return
    stands = msgspec.json.decode(answer, type=NationStands)
    for change in stands.changes:
        click.echo(change)
    for note in stands.notes:
        click.echo(f"  {note}")
    click.echo(_conclusion(len(stands.changes), stands.applied))


def _conclusion(changes: int, applied: bool) -> str:
    if not changes:
        return "Nothing to change."
    counted = "1 change" if changes == 1 else f"{changes} changes"
    return f"{counted} applied." if applied else f"{counted} would be made; nothing was written."
