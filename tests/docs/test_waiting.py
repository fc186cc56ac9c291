"""The page on waiting names every code, and the figures it gives are those of the source."""

from __future__ import annotations

from dure.model.blockers import BlockerCode
from dure.twin import forecast
from tests.docs.pages import ROOT, text_of

PAGE = ROOT / "docs" / "concepts" / "waiting.md"


def test_the_page_lists_every_blocker_in_order() -> None:
    lines = text_of(PAGE).splitlines()
    listed = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert listed == [code.value for code in BlockerCode]


def test_the_page_gives_the_figures_of_the_source() -> None:
    text = text_of(PAGE)
    assert f"{forecast.LATEST_TO_LEARN_FROM:,} ended jobs" in text.replace("\n", " ")
    assert f"it is {forecast.DEFAULT_PERMILLE // 10}%" in text
    assert f"more than {forecast.EXACT_UP_TO_JOBS:,} jobs" in text
    assert f"{forecast.MOST_EVENTS:,} ends of jobs" in text
