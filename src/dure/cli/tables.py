"""Tables for terminals and for pipes: compact, aligned, numbers to the right, ids never broken."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

NUMBER = ">"
TIME = "~"
TIME_WIDTH = 10
"""Room for any time as it is told (`59m59s ago`), so that a listing that is watched does not jump."""
WIDE = 10_000
"""Columns of a pipe, where nothing is ever wrapped or cut."""


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under headings. A heading with `>` makes its column right-aligned; one with `~` is for times.

    On a terminal the last column, which holds free text, is wrapped to fit; everything else keeps its line.
    """
    from rich.console import Console
    from rich.table import Table

    on_terminal = sys.stdout.isatty()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold" if on_terminal else "")
    for index, heading in enumerate(headings):
        table.add_column(
            heading.lstrip(NUMBER + TIME),
            min_width=TIME_WIDTH if heading.startswith(TIME) else None,
            justify="right" if heading.startswith(NUMBER) else "left",
            no_wrap=index < len(headings) - 1 or not on_terminal,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    console = Console(width=None if on_terminal else WIDE, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def _plain(cell: str) -> str:
    # Names come from users: a control character must not move the reader's cursor.
    return "".join(character if character.isprintable() else "?" for character in cell)


def print_json(body: bytes) -> None:
    """Exactly what the API answered."""
    click.echo(body.decode())
