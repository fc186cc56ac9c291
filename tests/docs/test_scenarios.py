"""The scenario on its page plays as the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from dure.cli.main import main
from tests.docs.pages import ROOT, text_of


def test_the_scenario_on_the_page_is_decided_as_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, told = re.findall(
        r"```(?:yaml|console)\n(.*?)```", text_of(ROOT / "docs/reference/scenarios.md"), re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenario.yaml").write_text(scenario)
    command, _, expected = told.partition("\n")
    assert CliRunner().invoke(main, command.removeprefix("$ dure ").split()).stdout == expected
