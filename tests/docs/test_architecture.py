"""What the pages say about the source is so: files, functions and tests they name exist, and no room is left out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, text_of

PACKAGE = ROOT / "src" / "dure"
_PATH = re.compile(r"`((?:src|tests|benchmarks|docs|changelog\.d)/[\w./<>*-]*)(?:::([\w.]+))?`")


def named_on(page: Path) -> list[tuple[str, str]]:
    """Paths in the project that a page names, each with a function or class in it, or nothing."""
    return [(path, name) for path, name in _PATH.findall(text_of(page)) if "<" not in path and "*" not in path]


def names_in(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from names_in(node.body, f"{prefix}{node.name}.")


def is_there(path: str, name: str) -> bool:
    """True when the file (or folder) exists and has this function, class or method."""
    file = ROOT / path
    if not name:
        return file.exists()
    return file.is_file() and name in names_in(ast.parse(text_of(file)).body)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_everything_a_page_names_in_the_project_exists(page: Path) -> None:
    assert [f"{path}::{name}" for path, name in named_on(page) if not is_there(path, name)] == []


def test_a_function_that_is_gone_is_missed() -> None:
    assert is_there("src/dure/world/world.py", "World.apply")
    assert not is_there("src/dure/world/world.py", "World.undo")
    assert not is_there("src/dure/nowhere", "")


def test_every_room_is_named_in_the_architecture() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    table = text_of(ROOT / "ARCHITECTURE.md").partition("## The house")[2].partition("## ")[0]
    assert rooms == set(re.findall(r"`src/dure/(\w+)`", table))
