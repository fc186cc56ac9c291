"""Every test that the page about complaints names exists, in the file it names."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.pages import ROOT, text_of

PAGE = ROOT / "docs" / "concepts" / "complaints.md"
NAMED = [
    (file, name)
    for file, names in re.findall(r"`(tests/\S+?\.py)`: ((?:`test_\w+`(?:, )?)+)", text_of(PAGE))
    for name in re.findall(r"test_\w+", names)
]


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_the_test_exists(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}


def test_every_complaint_names_a_test() -> None:
    rows = [line for line in text_of(PAGE).splitlines() if line.startswith("| ") and "What they say" not in line]
    assert len(rows) >= 15
    assert all("`tests/" in row for row in rows)
    assert len(NAMED) == text_of(PAGE).count("`test_")
