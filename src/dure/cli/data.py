"""`dure data`: which data there is, what a copy of it holds, and whether a copy is the declared one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dure.cli.options import as_json, quoted

if TYPE_CHECKING:
    from dure.model.manifests import ContentManifest
    from dure.reports.datasets import DatasetLine, DatasetsReport

MOST_SHOWN = 20
"""Files that are named when a copy differs."""


@click.group()
def data() -> None:
    """See datasets, and check what a copy holds."""


@data.command("list")
@as_json
def list_datasets(json_wanted: bool) -> None:
    """List the datasets that you own, may read, or were offered."""
    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json
    from dure.reports.datasets import DatasetsReport

    answer = connect().get("/v1/datasets")
    if json_wanted:
        print_json(answer)
    else:
        _print_listing(msgspec.json.decode(answer, type=DatasetsReport))


@data.command()
@click.argument("name")
@as_json
def show(name: str, json_wanted: bool) -> None:
    """Show everything that is declared of a dataset."""
    from dure.cli.client import connect
    from dure.cli.tables import print_json

    answer = connect().get(f"/v1/datasets/{quoted(name)}")
    if json_wanted:
        print_json(answer)
    else:
        _print_dataset(_line(answer))


@data.command()
@click.argument("name")
def croissant(name: str) -> None:
    """Print a dataset's description as Croissant (JSON-LD)."""
    from dure.cli.client import connect
    from dure.cli.tables import print_json

    print_json(connect().get(f"/v1/datasets/{quoted(name)}/croissant"))


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the manifest to this file instead.")
def manifest(folder: Path, output: Path | None) -> None:
    """Print what FOLDER holds: SHA-256, size and path of every file.

    The last lines, on standard error, are `size_bytes` and `digest` for the nation file.
    """
    found = _manifest_of(folder)
    if output is None:
        click.echo(found.text, nl=False)
    else:
        _write(output, found.text)
    click.echo(f"size_bytes: {found.size_bytes}\ndigest: {found.digest}", err=True)


@data.command()
@click.argument("name")
@click.option("--site", metavar="SITE", default="", help="Whose copy; needed where more than one has a path.")
@click.option("--folder", type=click.Path(path_type=Path), help="Look here instead of where the copy is declared.")
@click.option(
    "--manifest", "file", type=click.Path(path_type=Path), help="The declared manifest, to be told which files differ."
)
def check(name: str, site: str, folder: Path | None, file: Path | None) -> None:
    """Compare the copy of a dataset on this machine with what was declared.

    Run it at a site that holds a copy. Exit code 0 when it is the declared one, 1 when it differs.
    """
    from dure.cli.client import connect
    from dure.cli.errors import Refused

    dataset = _line(connect().get(f"/v1/datasets/{quoted(name)}")).dataset
    if not dataset.digest:
        raise Refused(f"{name}: no digest was declared; `dure data manifest FOLDER` prints one for the nation file")
    place = folder or _place(name, dataset.paths, site)
    found = _manifest_of(place)
    if found.digest == dataset.digest:
        files = "1 file" if len(found.entries) == 1 else f"{len(found.entries):,} files"
        click.echo(f"{name}: {place} is the declared copy ({files}, {found.size_bytes:,} bytes)")
        return
    raise Refused(f"{name}: {place} is not the declared copy\n  {_how(found, dataset.digest, file)}")


def _place(name: str, paths: dict[str, str], site: str) -> Path:
    """Where the copy lies."""
    from dure.cli.errors import BadInput

    if site and site not in paths:
        raise BadInput(f"--site: the nation file has no path of {name} at {site}; name the folder with --folder")
    if not site and len(paths) != 1:
        where = ", ".join(paths) or "none"
        raise BadInput(f"--site: sites with a path of {name}: {where}; name one, or the folder with --folder")
    return Path(paths[site] if site else next(iter(paths.values())))


def _how(found: ContentManifest, declared: str, file: Path | None) -> str:
    """How the copy differs, as far as that can be known."""
    from dure.cli.documents import read_document
    from dure.cli.errors import BadInput
    from dure.model.manifests import differences, manifest_from_text

    if file is None:
        return f"its digest is {found.digest}, declared was {declared}; with --manifest FILE you are told what differs"
    try:
        written = manifest_from_text(read_document(str(file)).decode())
    except ValueError as error:
        raise BadInput(f"{file}: this is no content manifest: {error}") from None
    if written.digest != declared:
        raise BadInput(f"{file}: this is not the manifest that was declared, whose digest is {declared}")
    lines = differences(written, found)
    more = [f"and {len(lines) - MOST_SHOWN:,} more"] if len(lines) > MOST_SHOWN else []
    return "\n  ".join([*lines[:MOST_SHOWN], *more])


def _manifest_of(folder: Path) -> ContentManifest:
    from dure.cli.errors import BadInput
    from dure.sources.errors import BadFolder
    from dure.sources.folders import manifest_of

    try:
        return manifest_of(folder)
    except BadFolder as error:
        raise BadInput(str(error)) from None


def _write(output: Path, text: str) -> None:
    from dure.cli.errors import BadInput

    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{output}: cannot be written ({error.strerror})") from None


def _line(answer: bytes) -> DatasetLine:
    import msgspec

    from dure.reports.datasets import DatasetLine

    return msgspec.json.decode(answer, type=DatasetLine)


def _print_listing(report: DatasetsReport) -> None:
    from dure.cli.tables import print_table

    if not report.datasets:
        click.echo("no datasets", err=True)
        return
    rows = [
        (
            each.dataset.name,
            each.dataset.owner,
            ",".join(each.dataset.classes),
            ",".join(each.dataset.sites),
            ",".join(each.agreements) or "-",
            ",".join(each.dataset.purposes),
        )
        for each in report.datasets
    ]
    print_table(("NAME", "OWNER", "CLASSES", "SITES", "AGREEMENTS", "PURPOSES"), rows)


def _print_dataset(line: DatasetLine) -> None:
    from dure.intake.datasets import dataset_facts

    click.echo(line.dataset.name + (": restricted" if line.restricted else ""))
    for fact, value in dataset_facts(line.dataset).items():
        if value:
            click.echo(f"  {fact}: {value}")
    if line.agreements:
        click.echo(f"  agreements in force: {', '.join(line.agreements)}")
