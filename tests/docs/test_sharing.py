"""The worked examples about sharing are what the kernel does. `DURE_UPDATE=1` writes them into the page."""

from __future__ import annotations

import os
import re

import pytest

from tests.docs.examples import EXAMPLES
from tests.docs.pages import ROOT, text_of

PAGE = ROOT / "docs" / "concepts" / "sharing.md"


def block_of(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- example: {name} -->\n```text\n)(.*?)(```)", re.DOTALL)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_is_what_the_kernel_does(name: str) -> None:
    played = "\n".join(EXAMPLES[name]()) + "\n"
    page = text_of(PAGE)
    if os.environ.get("DURE_UPDATE"):
        PAGE.write_text(block_of(name).sub(lambda found: found[1] + played + found[3], page), encoding="utf-8")
        return
    found = block_of(name).search(page)
    assert found, f"the page has no example {name}"
    assert found[2] == played


def test_every_example_on_the_page_is_played() -> None:
    assert set(re.findall(r"<!-- example: (\w+) -->", text_of(PAGE))) == set(EXAMPLES)
