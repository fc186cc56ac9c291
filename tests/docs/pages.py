"""The pages that people read, and what is quoted in them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def linked_files(page: Path) -> list[Path]:
    """The files that a page links to, as paths; links into the web are left out."""
    links = [link.partition("#")[0] for link in _LINK.findall(text_of(page)) if "://" not in link]
    return [(page.parent / link).resolve() for link in links if link]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
