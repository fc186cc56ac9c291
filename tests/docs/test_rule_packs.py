"""What the page on rule packs shows is what the program has."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from dure.cli.main import main
from dure.governance.assessment import Status
from dure.governance.condition_reader import OPERATORS
from dure.governance.library import read_library, shipped_library
from dure.governance.pack_reader import PROVISION_FIELDS
from dure.governance.packs import Kind
from tests.docs.pages import ROOT, blocks, text_of

PAGE = text_of(ROOT / "docs" / "reference" / "rule-packs.md")


def test_every_pack_status_kind_field_and_operator_is_on_the_page() -> None:
    names = [*(pack.name for pack in shipped_library().packs), *Status, *Kind, *PROVISION_FIELDS, *OPERATORS]
    assert [name for name in names if f"`{name}`" not in PAGE] == []


def test_the_example_is_a_pack() -> None:
    (example,) = blocks(PAGE, "yaml")
    library = read_library({"programme.yaml": example}, shipped_library())
    pack = library.pack("programme-rules")
    assert pack is not None
    assert [each.id for each in pack.provisions] == ["PR-1"]


def test_the_commands_run_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "held.yaml").write_text("- {kind: kept-documents, reference: shelf 3, since: 2026-03-01}\n")
    commands = [line.split("   ")[0].split()[1:] for line in blocks(PAGE, "text")[0].splitlines()]
    assert len(commands) == 7
    for command in commands:
        arguments, _, written = " ".join(command).partition(" > ")
        result = CliRunner().invoke(main, arguments.split())
        assert result.exit_code == 0, (command, result.output)
        if written:
            (tmp_path / written).write_text(result.output)
