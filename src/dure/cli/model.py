"""`dure model` and `dure tasks`: what jobs made, what became of it, and what has to be looked into."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dure.cli.options import as_json

if TYPE_CHECKING:
    from dure.cli.client import Server

PRECISIONS = ("tf32", "fp32", "bf16", "fp16", "fp8", "fp4")


@click.group()
def model() -> None:
    """Register models that jobs made, follow what they descend from, and prove it.

    A model is written MODEL or ORGANISATION/MODEL, a version of it MODEL@3 or MODEL@ALIAS; without `@`, the latest.
    """


@model.command()
@click.argument("name", metavar="MODEL")
@click.option("--job", "jobs", metavar="JOB", multiple=True, help="Job that trained it, which is over; repeatable.")
@click.option("--parent", "parents", metavar="MODEL@V", multiple=True, help="Version it goes on from; repeatable.")
@click.option(
    "--base", "bases", metavar="NAME[=FLOP]", multiple=True, help="Model from elsewhere it goes on from; repeatable."
)
@click.option(
    "--claim", metavar="NUMBERS", help="Your own count: parameters=8e9,tokens=2e12, and active=1e9 for experts."
)
@click.option("--precision", type=click.Choice(PRECISIONS), help="Number format of most of the training.")
@click.option("--utilisation", metavar="PART", help="Part of the peak that was reached: 0.4, or a range 0.35-0.45.")
@click.option("--code", metavar="DIGEST", default="", help="Digest of the source, like gitCommit:1f3a.")
@click.option("--image", metavar="DIGEST", default="", help="Digest of the container image, like sha256:9b1c.")
@click.option(
    "--files",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="The version's files, whose digests are recorded; they go nowhere.",
)
@as_json
def register(
    name: str,
    jobs: tuple[str, ...],
    parents: tuple[str, ...],
    bases: tuple[str, ...],
    claim: str | None,
    precision: str | None,
    utilisation: str | None,
    code: str,
    image: str,
    files: Path | None,
    json_wanted: bool,
) -> None:
    """Register the next version of a model, made by jobs that are over.

    The platform adds what it recorded of the jobs: GPU time by class, data, agreements, sites.
    """
    from dure.cli import model_values
    from dure.cli.client import connect
    from dure.cli.model_names import named

    server = connect()
    place = named(name, server)
    wanted: dict[str, Any] = {
        "jobs": jobs,
        "parents": [_full_name(each, server) for each in parents],
        "bases": [model_values.base(each) for each in bases],
        "claim": model_values.claim(claim) if claim else None,
        "precision": precision,
        "utilisation": model_values.utilisation(utilisation) if utilisation else None,
        "code": code,
        "image": image,
        "files": list(model_values.digests(files)) if files else [],
    }
    _change(server, "POST", f"{place.path}/versions", wanted, json_wanted)


@model.command("list")
@as_json
def list_models(json_wanted: bool) -> None:
    """List models."""
    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json, print_table
    from dure.reports.models import ModelsReport

    body = connect().get("/v1/models")
    if json_wanted:
        print_json(body)
        return
    lines = msgspec.json.decode(body, type=ModelsReport).models
    rows = [(each.model, str(each.latest), each.state, str(each.open_tasks), _aliases(each.aliases)) for each in lines]
    print_table(("MODEL", ">LATEST", "STATE", ">TASKS", "ALIASES"), rows)


@model.command()
@click.argument("name", metavar="MODEL[@V]")
@as_json
def show(name: str, json_wanted: bool) -> None:
    """Show a model with its versions, or one version with all that it was made of."""
    import msgspec

    from dure.cli.client import connect
    from dure.cli.model_names import named
    from dure.cli.model_printing import print_model, print_version
    from dure.cli.tables import print_json
    from dure.reports.models import ModelReport, VersionReport

    server = connect()
    place = named(name, server)
    body = server.get(place.version_path if "@" in name else place.path)
    if json_wanted:
        print_json(body)
    elif "@" in name:
        print_version(msgspec.json.decode(body, type=VersionReport))
    else:
        print_model(msgspec.json.decode(body, type=ModelReport))


@model.command()
@click.argument("name", metavar="MODEL[@V]")
@as_json
def lineage(name: str, json_wanted: bool) -> None:
    """Show what a version descends from, and what descends from it."""
    import msgspec

    from dure.cli.client import connect
    from dure.cli.model_names import named
    from dure.cli.model_printing import print_lineage
    from dure.cli.tables import print_json
    from dure.reports.models import LineageReport

    server = connect()
    body = server.get(f"{named(name, server).version_path}/lineage")
    if json_wanted:
        print_json(body)
    else:
        print_lineage(msgspec.json.decode(body, type=LineageReport))


@model.command()
@click.argument("name", metavar="MODEL@V")
@click.argument("alias_name", metavar="ALIAS")
@click.option("--remove", is_flag=True, help="Let the alias stand for nothing any more.")
@as_json
def alias(name: str, alias_name: str, remove: bool, json_wanted: bool) -> None:
    """Let a name such as `production` stand for a version."""
    import msgspec

    from dure.cli.client import connect
    from dure.cli.model_names import named
    from dure.cli.options import quoted

    server = connect()
    place = named(name, server)
    number = 0
    if not remove:
        shown = msgspec.json.decode(server.get(place.version_path))["model"]
        number = int(shown.rpartition("@")[2])
    _change(server, "PUT", f"{place.path}/aliases/{quoted(alias_name)}", {"version": number}, json_wanted)


@model.command()
@click.argument("name", metavar="MODEL@V")
@click.option("--metric", "results", metavar="NAME=VALUE", multiple=True, required=True, help="A result; repeatable.")
@click.option("--job", metavar="JOB", help="Job that measured it.")
@click.option("--dataset", metavar="NAME", default="", help="What it was measured on.")
@as_json
def evaluate(name: str, results: tuple[str, ...], job: str | None, dataset: str, json_wanted: bool) -> None:
    """Add results of measuring a version."""
    from dure.cli import model_values
    from dure.cli.client import connect
    from dure.cli.model_names import named

    wanted = {"metrics": model_values.metrics(results), "job": job, "dataset": dataset}
    server = connect()
    _change(server, "POST", f"{named(name, server).version_path}/evaluations", wanted, json_wanted)


@model.command()
@click.argument("name", metavar="MODEL")
@click.option(
    "-f", "--file", "file", metavar="FILE", required=True, help="YAML file of facts; `-` reads standard input."
)
@as_json
def facts(name: str, file: str, json_wanted: bool) -> None:
    """Declare what a model is used for, and all else that duties depend on.

    What the file leaves out is unknown from then on. Write no names of people: facts are kept in the ledger.
    """
    from dure.cli.client import connect
    from dure.cli.model_names import named

    document = _document(file)
    declared = document.get("facts", document)
    server = connect()
    _change(server, "PUT", f"{named(name, server).path}/facts", {"facts": declared}, json_wanted)


@model.command()
@click.argument("name", metavar="MODEL")
@click.option(
    "-f", "--file", "file", metavar="FILE", required=True, help="YAML file of the gate; `-` reads standard input."
)
@as_json
def gate(name: str, file: str, json_wanted: bool) -> None:
    """Set what a version must show before it is promoted: bounds of metrics, and duties."""
    from dure.cli.client import connect
    from dure.cli.model_names import named

    server = connect()
    _change(server, "PUT", f"{named(name, server).path}/gate", _document(file), json_wanted)


@model.command()
@click.argument("name", metavar="MODEL")
@click.option("--kind", metavar="KIND", required=True, help="Kind of evidence, like risk-file; see `dure packs`.")
@click.option("--reference", metavar="ID", required=True, help="Number under which it lies elsewhere.")
@as_json
def evidence(name: str, kind: str, reference: str, json_wanted: bool) -> None:
    """Declare that something is held which shows that a duty was done.

    `dure assess MODEL` counts it beside what the platform holds itself.
    """
    from dure.cli.client import connect
    from dure.cli.model_names import named

    server = connect()
    wanted = {"kind": kind, "reference": reference}
    _change(server, "POST", f"{named(name, server).path}/evidence", wanted, json_wanted)


@model.command()
@click.argument("name", metavar="MODEL@V")
@as_json
def promote(name: str, json_wanted: bool) -> None:
    """Propose that a version be put to use, if it passes its gate.

    Somebody else approves it with `dure proposal approve`; then the gate is asked again.
    """
    from dure.cli.client import connect
    from dure.cli.model_names import named

    server = connect()
    _change(server, "POST", f"{named(name, server).version_path}/promotion", None, json_wanted)


@model.command()
@click.argument("name", metavar="MODEL@V")
@click.option("--reason", metavar="TEXT", required=True, help="Why; written to the ledger, so without names of people.")
@as_json
def withdraw(name: str, reason: str, json_wanted: bool) -> None:
    """Withdraw a version for good. What descends from it is flagged, and gets a task each."""
    from dure.cli.client import connect
    from dure.cli.model_names import named

    server = connect()
    _change(server, "POST", f"{named(name, server).version_path}/withdrawal", {"reason": reason}, json_wanted)


@model.command()
@click.argument("name", metavar="MODEL@V")
@click.option("--serious", is_flag=True, help="Harm to life, health, rights, property or infrastructure.")
@click.option("--reference", metavar="ID", required=True, help="Number under which it is described elsewhere.")
@as_json
def incident(name: str, serious: bool, reference: str, json_wanted: bool) -> None:
    """Report that something went wrong with a version in use. Opens a task."""
    from dure.cli.client import connect
    from dure.cli.model_names import named

    wanted = {"kind": "serious" if serious else "other", "reference": reference}
    server = connect()
    _change(server, "POST", f"{named(name, server).version_path}/incidents", wanted, json_wanted)


@model.command()
@click.argument("name", metavar="MODEL@V")
@click.option("-o", "--output", metavar="FILE.zip", required=True, help="File to write.")
def bundle(name: str, output: str) -> None:
    """Write all that is known of a version into one file, which `dure verify` checks offline.

    AI bill of materials, model card, signed provenance, run lineage, compute, agreements, assessment, and the ledger's
    entries behind them with proofs. The ledger records that it was made.
    """
    from dure.cli.client import connect
    from dure.cli.errors import BadInput
    from dure.cli.model_names import named

    server = connect()
    body = server.send("POST", f"{named(name, server).version_path}/bundle")
    try:
        Path(output).write_bytes(body)
    except OSError as error:
        raise BadInput(f"{output}: cannot be written ({error.strerror})") from None
    click.echo(f"{output}: {len(body):,} bytes; check it with: dure verify {output} --key ledger.pub")


@model.command("import-mlflow")
@click.argument("url")
@click.argument("name")
@click.option("--as", "wanted", metavar="MODEL", help="What it is called here.  [default: NAME in lower case]")
@click.option(
    "--token-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File with the registry's token.  [default: MLFLOW_TRACKING_TOKEN]",
)
def import_mlflow(url: str, name: str, wanted: str | None, token_file: Path | None) -> None:
    """Register the versions of a model that an MLflow registry at URL has, with its metrics and aliases.

    What was imported before is left alone. Of a version that no job here made, the compute stays unknown.
    """
    from dure.cli.client import connect
    from dure.cli.mlflow import read_registry, registry_token
    from dure.cli.model_importing import import_versions
    from dure.cli.model_names import named

    versions = read_registry(url, name, registry_token(token_file))
    server = connect()
    place = named(wanted or name.lower().replace(" ", "-"), server)
    imported = import_versions(server, place, versions)
    for line in imported:
        click.echo(line)
    if not imported:
        click.echo("nothing new to import", err=True)


@click.group()
def tasks() -> None:
    """Show what has to be looked into about models, and close what was."""


@tasks.command("list")
@as_json
def list_tasks(json_wanted: bool) -> None:
    """List open tasks, oldest first."""
    import msgspec

    from dure.cli.client import connect
    from dure.cli.model_printing import print_tasks
    from dure.cli.tables import print_json
    from dure.reports.models import TasksReport

    body = connect().get("/v1/tasks")
    if json_wanted:
        print_json(body)
    else:
        print_tasks(msgspec.json.decode(body, type=TasksReport).tasks)


@tasks.command()
@click.argument("task", metavar="TASK")
@click.option("--reference", metavar="ID", default="", help="Number under which it is described what came of it.")
@as_json
def close(task: str, reference: str, json_wanted: bool) -> None:
    """Say that a task was looked into."""
    from dure.cli.client import connect
    from dure.cli.options import quoted

    _change(connect(), "POST", f"/v1/tasks/{quoted(task)}/close", {"reference": reference}, json_wanted)


def _change(server: Server, method: str, path: str, wanted: dict[str, Any] | None, json_wanted: bool) -> None:
    """Ask for a change, and say how the model stands after it."""
    import msgspec

    from dure.cli.tables import print_json

    answer = server.send(method, path, body=None if wanted is None else msgspec.json.encode(wanted))
    if json_wanted:
        print_json(answer)
        return
    stands = msgspec.json.decode(answer)
    for warning in stands["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{stands['model']}: {stands['state']}")
    if stands["proposal"]:
        click.echo(f"{stands['proposal']} waits for a second person: dure proposal approve {stands['proposal']}")
    if stands["tasks"]:
        click.echo(f"see `dure tasks list`: {', '.join(stands['tasks'])}", err=True)


def _document(file: str) -> dict[str, Any]:
    """The mapping in a YAML file."""
    from dure.cli.documents import read_document
    from dure.cli.errors import BadInput
    from dure.intake.documents import read_yaml
    from dure.intake.refusals import BadInput as BadDocument

    try:
        document = read_yaml(read_document(file).decode())
    except BadDocument as bad:
        raise BadInput(f"{file}: {bad}") from None
    if not isinstance(document, dict):
        raise BadInput(f"{file}: must be a mapping of names to values")
    return document


def _full_name(text: str, server: Server) -> str:
    """A version as the interface wants it: with its organisation, and a number instead of an alias."""
    import msgspec

    from dure.cli.model_names import named

    shown = msgspec.json.decode(server.get(named(text, server).version_path))
    return str(shown["model"])


def _aliases(aliases: dict[str, int]) -> str:
    return ", ".join(f"{name}={number}" for name, number in sorted(aliases.items())) or "-"
