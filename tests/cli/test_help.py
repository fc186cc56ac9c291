"""The command line answers at once, and its reference page is what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dure.cli.access import ROLES
from dure.cli.main import main
from dure.control.access import Role

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
HEAVY = ("numba", "numpy", "httpx", "rich", "yaml", "msgspec", "starlette", "asyncio")
PREFACE = """# The `dure` command

Every command as `--help` shows it. This page is checked against the program: `DURE_UPDATE=1 make test
ARGS=tests/cli/test_help.py` rewrites it.

**Where the server is.** `DURE_URL` (default `http://127.0.0.1:7474`); `DURE_CA` is a PEM file of the authority that
signed its certificate, when browsers do not know it. **Who you are.** `DURE_TOKEN`, else what `dure login` stored for
this server (`~/.config/dure/tokens.json`), else the file `operator.token` in the state folder (`DURE_STATE`, default
`.dure`), which `dure up` writes for whoever started it.

**Exit codes.** 0: done. 1: understood and refused, or no server answered. 2: the request itself is wrong (option, file,
field). `dure run` ends with the code of the job; 130 after Ctrl-C.

**For programs.** Every listing has `--json`, which prints exactly what the API answers (see the OpenAPI document at
`/openapi.json`).
"""


def every_command(command: click.Command, path: str = "dure") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from every_command(child, f"{path} {name}")


def help_text(path: str, command: click.Command) -> str:
    # Children inherit what the program says of itself, as they do when it runs.
    program = click.Context(main, info_name="dure", terminal_width=100, **main.context_settings)
    context = (
        program if command is main else click.Context(command, info_name=path.removeprefix("dure "), parent=program)
    )
    return command.get_help(context)


def reference_page() -> str:
    sections = [f"## `{path}`\n\n```text\n{help_text(path, each)}\n```\n" for path, each in every_command(main)]
    return "\n".join([PREFACE, *sections])


def test_the_reference_page_is_what_the_commands_say() -> None:
    if os.environ.get("DURE_UPDATE"):
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(reference_page())
    assert PAGE.read_text() == reference_page()


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from dure.cli.main import main\n"
        "main(['--help'], prog_name='dure', standalone_mode=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: dure")
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    "module",
    ["dure.cli.client", "dure.reports.jobs", "dure.reports.shares", "dure.control.requests", "dure.ledger.verify"],
)
def test_what_listings_need_does_not_bring_the_compiler(module: str) -> None:
    program = f"import sys, {module}\nsys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(("path", "command"), list(every_command(main)), ids=lambda value: str(value))
def test_every_command_and_option_says_what_it_is_for(path: str, command: click.Command) -> None:
    assert command.help, f"{path} has no help"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.opts[0]} has no help"


def test_roles_are_those_that_the_platform_knows() -> None:
    assert set(ROLES) == set(Role)
