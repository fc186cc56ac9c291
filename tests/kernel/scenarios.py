"""A property that fails prints the smallest example as a file that `dure twin replay-scenario` plays again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import note

from dure.twin.scenario import scenario_text
from tests.kernel.story import Story


class _Told:
    """Made into text only if Hypothesis prints it, which it does for the smallest example."""

    def __init__(self, story: Story) -> None:
        self._story = story

    def __repr__(self) -> str:
        heading = "# Scenario: save from here on, and run `dure twin replay-scenario FILE`"
        return f"{heading}\n{scenario_text(self._story.steps)}"


@contextmanager
def retold(story: Story) -> Iterator[Story]:
    """Whatever fails in here is told as a scenario."""
    try:
        yield story
    except BaseException:
        note(_Told(story))
        raise
