"""When a node is suspect, told with a world and events: by whose fault, how often, and within what time."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dure.model.events import NodeChanged, NodeReason
from dure.model.jobs import Outcome
from dure.model.nation import Nation
from tests.kernel.nations import HOUR, TIMING, job, nation, share
from tests.kernel.story import Story

NODE = "s0-h100-0000"
WINDOW = 24 * HOUR
NEVER_STARTED, FAILED, SUCCEEDED = Outcome.NEVER_STARTED, Outcome.FAILED, Outcome.SUCCEEDED


def shared(nodes: int = 1, suspect_after: int = 3) -> Nation:
    timing = replace(TIMING, suspect_after=suspect_after, suspect_window_ms=WINDOW, probation_ms=HOUR)
    return nation([share(name) for name in "abcd"], nodes=nodes, timing=timing)


class Watched:
    """A nation on whose first node one attempt after another ends."""

    def __init__(self, declared: Nation) -> None:
        self.story = Story(declared)
        self._count = 0

    def ends(self, owner: str, outcome: Outcome, nodes: int = 1) -> None:
        name = f"{owner}{self._count}"
        self._count += 1
        self.story.submit(job(name, owner, 8, nodes=nodes))
        self.story.end(name, outcome)
        if self.story.world.jobs[name].state.is_waiting:
            self.story.cancel(name)

    @property
    def suspects(self) -> list[str]:
        return self.story.world.suspects()

    def changes(self, state: str, reason: NodeReason = NodeReason.ASKED) -> None:
        at_ms = self.story.now_ms
        self.story.happen(NodeChanged(at_ms=at_ms, node=NODE, state=state, by="test", reason=reason))


@pytest.mark.parametrize("outcome", [FAILED, NEVER_STARTED])
def test_attempts_of_several_shares_that_end_badly_in_a_row_make_a_node_suspect(outcome: Outcome) -> None:
    watched = Watched(shared())
    watched.ends("a", outcome)
    watched.ends("b", outcome)
    assert watched.suspects == []
    watched.ends("c", outcome)
    assert watched.suspects == [NODE]


def test_a_broken_program_does_not_make_its_node_suspect() -> None:
    watched = Watched(shared())
    for _ in range(6):
        watched.ends("a", FAILED)
    assert watched.suspects == []


def test_two_shares_that_take_turns_at_failing_count_each_time() -> None:
    watched = Watched(shared())
    for owner in "aba":
        watched.ends(owner, FAILED)
    assert watched.suspects == [NODE]


def test_a_success_starts_the_count_anew() -> None:
    watched = Watched(shared())
    for owner, outcome in (("a", FAILED), ("b", FAILED), ("c", SUCCEEDED), ("a", FAILED), ("b", FAILED)):
        watched.ends(owner, outcome)
    assert watched.suspects == []


def test_what_is_no_fault_of_the_node_does_not_count() -> None:
    watched = Watched(shared())
    for owner, outcome in zip(
        "abcd", (Outcome.PREEMPTED, Outcome.CANCELLED, Outcome.TIME_LIMIT, Outcome.DRAINED), strict=True
    ):
        watched.ends(owner, outcome)
    assert watched.suspects == []


@pytest.mark.parametrize(("later_ms", "suspects"), [(WINDOW, [NODE]), (WINDOW + 1, [])])
def test_failures_further_apart_than_the_window_are_forgotten(later_ms: int, suspects: list[str]) -> None:
    watched = Watched(shared())
    watched.ends("a", FAILED)
    watched.ends("b", FAILED)
    watched.story.now_ms += later_ms
    watched.ends("c", FAILED)
    assert watched.suspects == suspects


def test_a_gang_counts_on_each_of_its_nodes_until_something_succeeds_there() -> None:
    watched = Watched(shared(nodes=20))
    watched.ends("a", FAILED, nodes=2)
    watched.ends("b", FAILED, nodes=2)
    watched.ends("c", SUCCEEDED)
    watched.ends("d", FAILED, nodes=2)
    assert watched.suspects == ["s0-h100-0001"]


def test_a_node_that_goes_down_again_and_again_is_suspect_whatever_succeeds_between() -> None:
    watched = Watched(shared())
    for _ in range(3):
        assert not watched.story.world.columns.nodes[0].downs >= 3
        watched.changes("down", NodeReason.FAILED)
        watched.changes("up", NodeReason.REPAIRED)
        watched.ends("a", SUCCEEDED)
    assert watched.story.world.columns.nodes[0].downs == 3


def test_an_operator_who_resumes_a_node_vouches_for_it() -> None:
    watched = Watched(shared())
    for owner in "abc":
        watched.ends(owner, FAILED)
    watched.changes("suspect", NodeReason.REPEATED_FAILURES)
    watched.changes("up")
    assert watched.suspects == []
    watched.ends("d", FAILED)
    assert watched.suspects == []


def test_after_its_probation_a_node_is_on_trial() -> None:
    watched = Watched(shared())
    for owner in "abc":
        watched.ends(owner, FAILED)
    watched.changes("suspect", NodeReason.REPEATED_FAILURES)
    world = watched.story.world
    assert world.next_wake_ms() == watched.story.now_ms + HOUR
    assert (world.over_probation(watched.story.now_ms + HOUR - 1), world.over_probation(HOUR)) == ([], [NODE])
    watched.story.now_ms += HOUR
    watched.changes("up", NodeReason.PROBATION_OVER)
    assert (watched.suspects, world.over_probation(watched.story.now_ms)) == ([], [])
    watched.ends("a", FAILED)
    assert watched.suspects == [NODE]


def test_no_more_than_a_tenth_of_the_nodes_is_set_aside() -> None:
    watched = Watched(shared(nodes=20))
    for owner in "abc":
        watched.ends(owner, FAILED, nodes=20)
    assert watched.suspects == [NODE, "s0-h100-0001"]
    watched.changes("suspect", NodeReason.REPEATED_FAILURES)
    assert watched.suspects == ["s0-h100-0001"]


def test_nobody_is_suspect_where_the_nation_says_so() -> None:
    watched = Watched(shared(suspect_after=0))
    for owner in "abcd":
        watched.ends(owner, FAILED)
    assert watched.suspects == []


def test_a_new_declaration_keeps_what_was_counted_and_the_probation() -> None:
    watched = Watched(shared(nodes=2))
    watched.ends("a", FAILED)
    watched.ends("b", FAILED)
    watched.story.declare(shared(nodes=3))
    watched.ends("c", FAILED)
    assert watched.suspects == [NODE]
    watched.changes("suspect", NodeReason.REPEATED_FAILURES)
    watched.story.declare(shared(nodes=2))
    assert watched.story.world.node(NODE).state == "suspect"
    assert watched.story.world.node(NODE).until_ms == watched.story.now_ms + HOUR
