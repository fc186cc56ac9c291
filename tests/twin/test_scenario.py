"""A scenario file says what happened; played again, the kernel decides the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dure.model.nation import Nation
from dure.sources.errors import BadSource
from dure.twin.scenario import read_scenario, replay, scenario_text
from tests.kernel.nations import MINUTE, TIMING, job, nation, share
from tests.kernel.scenarios import retold
from tests.kernel.story import Story
from tests.kernel.test_properties import ACTIONS, play, trees


def taken_back() -> Story:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=1))
    story.submit(job("borrowed", "guest", 8))
    story.wait(TIMING.protected_ms)
    story.submit(job("own", "owner", 8))
    story.pass_time(2 * MINUTE)
    return story


@settings(max_examples=40, deadline=None)
@given(trees(), ACTIONS)
def test_a_story_written_down_and_read_again_is_decided_alike(declared: Nation, actions: list[tuple[Any, ...]]) -> None:
    story = play(declared, actions)
    text = scenario_text(story.steps)
    steps = read_scenario(text, "story.yaml")
    assert steps == story.steps
    assert scenario_text(steps) == text
    decided = list(replay(steps, "story.yaml"))
    assert [each.plan for each in decided] == story.plans
    assert not any(each.violations for each in decided)


def test_a_property_that_fails_is_told_as_a_scenario() -> None:
    @settings(phases=[Phase.generate, Phase.shrink], database=None)
    @given(st.integers(1, 8))
    def nobody_ever_starts(gpus: int) -> None:
        with retold(Story(nation([share("guest")], nodes=1))) as story:
            story.submit(job("j", "guest", gpus))
            assert not story.holds("j")

    with pytest.raises(AssertionError) as failed:
        nobody_ever_starts()
    (told,) = [text for text in failed.value.__notes__ if text.startswith("# Scenario")]
    steps = read_scenario(told, "failed.yaml")
    assert [len(each.plan.decisions) for each in replay(steps, "failed.yaml")] == [1]
    assert "- [H100, 1000]" in told, "the smallest example is told"


MISTAKES = {
    "": "step 0 must declare the nation",
    "a: [": "not YAML",
    "- {event: decide}": "`at_ms`",
    "- {event: eaten, at_ms: 0}": "eaten",
    "- {event: decide, at_ms: 0}": "step 0 must declare the nation",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_what_is_no_scenario_is_refused_with_the_place(text: str) -> None:
    with pytest.raises(BadSource, match=r"story\.yaml") as refused:
        read_scenario(text, "story.yaml")
    assert MISTAKES[text] in str(refused.value)


def test_time_does_not_go_back_and_plans_are_not_written() -> None:
    story = taken_back()
    with pytest.raises(BadSource, match="before the step above"):
        read_scenario(scenario_text([story.steps[0], *reversed(story.steps[1:])]), "story.yaml")
    with pytest.raises(BadSource, match="plans are the kernel's"):
        read_scenario(scenario_text(story.events), "story.yaml")


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("{event: cancel-requested, at_ms: 0, job: j9, by: me}", "there is no job j9"),
        ("{event: node-changed, at_ms: 0, node: n9, state: down, by: me}", "there is no node n9"),
    ],
)
def test_what_is_not_there_is_named(step: str, problem: str) -> None:
    text = scenario_text(taken_back().steps[:1]) + f"- {step}\n"
    with pytest.raises(BadSource, match=f"step 1: {problem}"):
        list(replay(read_scenario(text, "story.yaml"), "story.yaml"))
