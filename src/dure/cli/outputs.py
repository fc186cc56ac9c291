"""`dure outputs`: what jobs left in their output folders."""

from __future__ import annotations

import os
from typing import Any

import click

from dure.cli.options import as_json, quoted

WHICH_ATTEMPT = click.option("--attempt", type=click.IntRange(min=1), help="Which attempt's.  [default: the latest]")


class _WithoutCommand(click.Group):
    """`dure outputs JOB` lists; `dure outputs get JOB PATH` fetches."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Take a word that is no command for a job."""
        if args and args[0] not in self.commands:
            args = ["list", *args]
        return super().resolve_command(ctx, args)


@click.group(cls=_WithoutCommand)
def outputs() -> None:
    """List or fetch what jobs left in their output folders (DURE_OUTPUT).

    With JOB in place of a command, list what it left.
    """


@outputs.command("list")
@click.argument("job")
@WHICH_ATTEMPT
@as_json
def list_outputs(job: str, attempt: int | None, json_wanted: bool) -> None:
    """List what JOB left."""
    import msgspec

    from dure.cli.client import connect
    from dure.cli.tables import print_json

    answer = connect().get(f"/v1/jobs/{quoted(job)}/outputs", {"attempt": attempt})
    if json_wanted:
        print_json(answer)
    else:
        _print_listing(msgspec.json.decode(answer))


@outputs.command("get")
@click.argument("job")
@click.argument("path")
@WHICH_ATTEMPT
@click.option("--to", "target", metavar="FILE", help="Where to put it.  [default: its own name, in this folder]")
def get_output(job: str, path: str, attempt: int | None, target: str | None) -> None:
    """Fetch the file PATH of JOB. A file that is there already is not overwritten."""
    from dure.cli.client import connect

    target = target or os.path.basename(path)
    size = connect().save(f"/v1/jobs/{quoted(job)}/outputs/file", {"path": path, "attempt": attempt}, target)
    click.echo(f"{target}: {size:,} bytes", err=True)


@outputs.command("view")
@click.argument("job")
@click.argument("path")
@WHICH_ATTEMPT
def view_output(job: str, path: str, attempt: int | None) -> None:
    """Print the beginning of the text PATH of JOB."""
    from dure.cli.client import connect

    text, _ = connect().text(f"/v1/jobs/{quoted(job)}/outputs/view", {"path": path, "attempt": attempt})
    # What a job wrote must not move the reader's cursor.
    click.echo("".join(each if each.isprintable() or each in "\n\t" else "?" for each in text), nl=False)


def _print_listing(report: dict[str, Any]) -> None:
    from dure.cli.tables import print_table

    if report["in_airlock"]:
        click.echo("on restricted data: what was released from the airlock is listed", err=True)
    if not report["files"] and report["in_airlock"]:
        click.echo(f"nothing that {report['job']} left is released")
        return
    if not report["files"]:
        click.echo(f"{report['job']} left nothing in its output folder")
        return
    print_table((">SIZE", "TYPE", "SHA-256", "PATH"), [_row(each) for each in report["files"]])
    if not report["is_complete"]:
        click.echo("there is more, which is not listed", err=True)


def _row(file: dict[str, Any]) -> tuple[str, str, str, str]:
    if problem := file.get("problem"):
        return "", problem, "", file["path"]
    return f"{file.get('size_bytes', 0):,}", file.get("media_type", ""), file.get("sha256", "")[:12], file["path"]
