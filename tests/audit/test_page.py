"""What the books keep by the way is what the definitions say, made anew."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from dure.audit.page import WARNED, Page
from dure.audit.tree import ROOT
from dure.model.nation import Nation
from tests.audit.definitions import overdraft
from tests.kernel.story import Story
from tests.kernel.test_properties import ACTIONS, play, trees


def page_of(story: Story) -> Page:
    return story.books._page


@settings(max_examples=60, deadline=None)
@given(trees(), ACTIONS)
def test_what_is_overdrawn_and_who_holds_what(declared: Nation, actions: list[tuple[Any, ...]]) -> None:
    page = page_of(play(declared, actions))
    assert page.overdraft("H100") == overdraft(declared, "H100", page.charged)
    charged = sum(entry.amount for entry in page.jobs.values() if entry.charged)
    assert page.charged.get(("H100", ROOT), 0) == charged
    held = {
        (placement.node, job)
        for job, entry in page.jobs.items()
        if entry.state in ("running", WARNED, "stopping")
        for placement in entry.placements
    }
    assert {(node, job) for node, jobs in page.holders.items() for job in jobs} == held
    assert page.running == sum(entry.state in ("running", WARNED, "stopping") for entry in page.jobs.values())
