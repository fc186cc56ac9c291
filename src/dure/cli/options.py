"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def as_json(command: Command) -> Command:
    """Add `--json`, which prints exactly what the API answers."""
    return click.option("--json", "json_wanted", is_flag=True, help="Print the API's JSON.")(command)


def with_language(command: Command) -> Command:
    """Add `--lang`, for commands that tell what laws or people wrote."""
    choice = click.Choice(["ko", "en"])
    return click.option("--lang", "language", type=choice, default="en", show_default=True, help="Language.")(command)


def with_pack_folder(command: Command) -> Command:
    """Add `--folder`, which brings rule packs besides those that come with Dure."""
    text = "Folder with rule packs of your own, on top of those that come with Dure."
    return click.option("--folder", metavar="FOLDER", help=text)(command)


def without_eta(command: Command) -> Command:
    """Add `--no-eta`, for those who ask often and need only the reasons."""
    text = "Leave out the expected start, which takes longest to find."
    return click.option("--no-eta", is_flag=True, help=text)(command)


def eta_wanted(no_eta: bool) -> dict[str, str]:
    """The query parameter for `without_eta`."""
    return {"eta": "false" if no_eta else "true"}


def with_database(command: Command) -> Command:
    """Add `--database`, which says where the ledger is when it is not in the state folder."""
    text = (
        "PostgreSQL database that holds the ledger: postgresql://USER@HOST/NAME, or @FILE with that in the file.  "
        "[default: what the state folder was first started with, else SQLite in it]"
    )
    return click.option(
        "--database", metavar="URL", envvar="DURE_DATABASE", callback=_without_shown_password, help=text
    )(command)


def _without_shown_password(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Other users of a machine can read what is typed after a command."""
    from click.core import ParameterSource

    assert option.name is not None
    if value is None or context.get_parameter_source(option.name) is not ParameterSource.COMMANDLINE:
        return value
    from dure.ledger.location import has_password

    if has_password(value):
        raise click.BadParameter(
            "a password given here can be seen by everybody on this machine; put the URL in a file and name it as "
            "@FILE, or put the password in a password file (PGPASSFILE)"
        )
    return value


class _Duration(click.ParamType[int]):
    """A duration as people write it, in milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from dure.model.units import UnitError, parse_duration

        try:
            return parse_duration(value)
        except UnitError as error:
            self.fail(str(error), param, ctx)


DURATION = _Duration()
"""The type of an option like `--span 7d`."""


def quoted(name: str) -> str:
    """A name as one segment of a path: whatever is typed stays inside its place in the address."""
    return quote(name, safe="")
