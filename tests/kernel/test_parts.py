"""Parts of GPUs: MIG slices and where they go, one use of a GPU at a time, and CPUs and memory beside them."""

from __future__ import annotations

import pytest

from dure.model.jobs import Outcome
from dure.model.plan import Placement
from tests.kernel.nations import MINUTE, SLICES, TIMING, job, nation, share
from tests.kernel.story import Story, claimed, warned

GUEST = [share("guest")]


def cut(*profiles: str, gpus: int = 1, nodes: int = 1) -> Story:
    """A small fleet on which jobs `0`, `1`, ... asked for these slices one after the other."""
    story = Story(nation(GUEST, nodes=nodes, gpus=gpus))
    for number, profile in enumerate(profiles):
        story.submit(job(str(number), "guest", profile=profile))
    return story


def place(story: Story, name: str) -> tuple[int, int]:
    """The GPU and the first memory slice of a job that holds a slice."""
    placement = story.card(name).placements[0]
    return placement.gpus[0], placement.slices[0]


def starts(story: Story) -> list[int]:
    return [place(story, name)[1] for name in sorted(story.holding())]


def test_a_slice_names_its_profile_and_its_memory_slices() -> None:
    story = cut("3g.40gb")
    assert story.card("0").placements == (
        Placement(node="s0-h100-0000", gpus=(0,), milli=500, profile="3g.40gb", slices=(4, 5, 6, 7)),
    )


def test_slices_go_where_the_most_places_for_others_are_left() -> None:
    assert starts(cut("1g.10gb")) == [6]
    assert starts(cut("2g.20gb")) == [4]
    assert starts(cut("3g.40gb", "4g.40gb")) == [4, 0]
    assert starts(cut("1g.20gb", "2g.20gb", "4g.40gb")) == [6, 4, 0]


def test_equal_places_are_settled_by_the_lowest() -> None:
    assert starts(cut("1g.10gb", "1g.10gb", "1g.10gb", "1g.10gb")) == [6, 4, 5, 0]


@pytest.mark.parametrize(
    ("profile", "most"),
    [("1g.10gb", 7), ("1g.20gb", 4), ("2g.20gb", 3), ("3g.40gb", 2), ("4g.40gb", 1), ("7g.80gb", 1)],
)
def test_a_gpu_holds_as_many_slices_as_its_maker_says(profile: str, most: int) -> None:
    story = cut(*[profile] * (most + 1))
    assert story.holding() == {str(number) for number in range(most)}
    story.finish("0")
    assert story.holds(str(most))


def test_a_slice_goes_to_the_cut_gpu_that_loses_the_fewest_places() -> None:
    """The first GPU is full but for one memory slice when the second is cut in half."""
    story = cut("3g.40gb", "2g.20gb", "1g.10gb", "3g.40gb", gpus=2)
    assert [place(story, name) for name in "0123"] == [(0, 4), (0, 0), (0, 2), (1, 4)]
    story.submit(job("small", "guest", profile="1g.10gb"))
    assert place(story, "small") == (0, 3)


def test_equal_cut_gpus_are_settled_by_the_lowest_node() -> None:
    """A small slice costs three places on either node, though they are cut differently."""
    story = cut("4g.40gb", "3g.40gb", "3g.40gb", "2g.20gb", nodes=2)
    story.finish("1", "2")
    assert [(story.nodes_of(name), place(story, name)[1]) for name in "03"] == [
        (["s0-h100-0000"], 0),
        (["s0-h100-0001"], 0),
    ]
    story.submit(job("small", "guest", profile="1g.10gb"))
    assert story.nodes_of("small") == ["s0-h100-0000"]


def test_equal_cut_gpus_of_a_node_are_settled_by_the_lowest() -> None:
    story = cut("4g.40gb", "4g.40gb", "1g.10gb", gpus=2)
    assert [place(story, name) for name in "012"] == [(0, 0), (1, 0), (0, 6)]


def test_a_slice_takes_a_fresh_gpu_only_when_no_cut_one_has_a_place() -> None:
    story = cut("4g.40gb", "4g.40gb", "3g.40gb", gpus=3)
    assert [place(story, name) for name in "012"] == [(0, 0), (1, 0), (0, 4)]


def test_a_gpu_is_cut_or_shared_or_whole_but_never_two_at_once() -> None:
    story = cut("1g.10gb", gpus=3)
    story.submit(job("part", "guest", 0.1), job("whole", "guest", 1))
    gpus = [story.card(name).placements[0].gpus for name in ("0", "part", "whole")]
    assert gpus == [(0,), (1,), (2,)]
    story.submit(job("more", "guest", 0.5), job("slice", "guest", profile="2g.20gb"))
    assert [story.card(name).placements[0].gpus for name in ("more", "slice")] == [(1,), (0,)]


def test_a_part_waits_while_every_gpu_is_cut_and_a_slice_while_every_gpu_is_shared() -> None:
    story = cut("1g.10gb")
    story.submit(job("part", "guest", 0.1))
    assert not story.holds("part")
    story.finish("0")
    story.submit(job("slice", "guest", profile="1g.10gb"))
    assert story.holding() == {"part"}


def test_a_cut_gpu_is_whole_again_when_its_last_slice_is_gone() -> None:
    story = cut("1g.10gb", "3g.40gb")
    story.submit(job("whole", "guest", 1))
    story.finish("0")
    assert not story.holds("whole")
    story.finish("1")
    assert story.holds("whole")


def test_a_whole_slice_is_the_whole_gpu() -> None:
    story = cut("7g.80gb", gpus=2)
    assert story.card("0").placements[0].slices == tuple(range(8))
    story.submit(job("two", "guest", 2), job("one", "guest", 1))
    assert story.holding() == {"0", "one"}


def test_a_slice_charges_an_eighth_for_each_memory_slice() -> None:
    story = Story(nation([share("guest", limit=1)], nodes=1))
    story.submit(*[job(f"j{number}", "guest", profile="3g.40gb") for number in range(3)])
    assert story.holding() == {"j0", "j1"}
    assert [each.used_milli for each in story.world.shares()] == [1000]


def test_all_slices_of_a_full_gpu_never_charge_more_than_the_gpu() -> None:
    for profiles in (["4g.40gb", "3g.40gb"], ["2g.20gb"] * 3 + ["1g.20gb"], ["1g.10gb"] * 7, ["3g.40gb"] * 2):
        story = cut(*profiles)
        assert len(story.holding()) == len(profiles)
        assert story.world.shares()[0].used_milli == sum(SLICES[each].milli for each in profiles) <= 1000


def test_slices_stay_where_they_are_through_a_new_declaration() -> None:
    """The small slice would go elsewhere if it came now; another one does."""
    story = cut("1g.10gb", "1g.10gb", "4g.40gb")
    story.finish("0")
    story.declare(nation(GUEST, nodes=2, gpus=1))
    assert [place(story, name) for name in "12"] == [(0, 4), (0, 0)]
    story.submit(job("small", "guest", profile="1g.10gb"), job("next", "guest", profile="1g.20gb"))
    assert [place(story, name)[1] for name in ("small", "next")] == [5, 6]


def test_a_slice_on_a_drained_node_is_left_alone_and_no_other_joins_it() -> None:
    story = cut("1g.10gb", gpus=2, nodes=2)
    story.set_node("s0-h100-0000", "drained")
    story.submit(job("next", "guest", profile="1g.10gb"))
    assert story.nodes_of("next") == ["s0-h100-0001"]
    story.set_node("s0-h100-0000", "up")
    story.submit(job("last", "guest", profile="4g.40gb"))
    assert story.nodes_of("last") == ["s0-h100-0000"]


def test_a_part_on_a_node_that_left_and_came_back_is_found_again() -> None:
    story = Story(nation(GUEST, nodes=2, gpus=2))
    story.submit(job("a", "guest", 0.5))
    story.set_node("s0-h100-0000", "drained")
    story.submit(job("b", "guest", 0.6))
    story.set_node("s0-h100-0000", "up")
    story.submit(job("c", "guest", 0.5), job("d", "guest", 0.4))
    assert [story.nodes_of(name)[0][-1] for name in "abcd"] == ["0", "1", "0", "1"]


def test_of_two_gpus_of_a_node_with_as_much_left_the_second_is_found_when_the_first_is_full() -> None:
    story = Story(nation(GUEST, nodes=1, gpus=3))
    story.submit(*[job(name, "guest", 0.7) for name in "ab"], *[job(name, "guest", 0.3) for name in "cd"])
    assert [story.card(name).placements[0].gpus for name in "abcd"] == [(0,), (1,), (0,), (1,)]


@pytest.mark.parametrize("want", [{"gpus": 0.5}, {"profile": "3g.40gb"}])
def test_cpus_and_memory_count_for_parts_too(want: dict[str, object]) -> None:
    """The second does not fit beside the first, though half of its GPU is free."""
    for beside in ({"cpus": 40}, {"memory_mib": 1 << 19 | 1}):
        story = Story(nation(GUEST, nodes=2, gpus=1))
        story.submit(*[job(name, "guest", **want, **beside) for name in "abc"])  # type: ignore[arg-type]
        assert [story.nodes_of(name) for name in "ab"] == [["s0-h100-0000"], ["s0-h100-0001"]]
        assert not story.holds("c")
        story.finish("a")
        assert story.nodes_of("c") == ["s0-h100-0000"]


@pytest.mark.parametrize("want", [{"gpus": 0.2}, {"profile": "1g.10gb"}])
def test_a_part_does_not_join_a_gpu_that_the_head_of_the_queue_is_to_have(want: dict[str, object]) -> None:
    story = Story(nation(GUEST, nodes=1, gpus=1))
    story.submit(job("first", "guest", **want, time_ms=60 * MINUTE))  # type: ignore[arg-type]
    story.submit(job("head", "guest", 1))
    story.submit(job("long", "guest", **want, time_ms=61 * MINUTE))  # type: ignore[arg-type]
    story.submit(job("short", "guest", **want, time_ms=60 * MINUTE))  # type: ignore[arg-type]
    assert story.holding() == {"first", "short"}
    story.finish("first", "short")
    assert story.holding() == {"head"}


def test_a_part_passes_over_a_full_node_to_the_next_with_as_much_left() -> None:
    story = Story(nation(GUEST, nodes=2, gpus=1))
    story.submit(job("a", "guest", 0.5, cpus=60), job("b", "guest", 0.5, cpus=10))
    story.submit(job("c", "guest", 0.5, cpus=10))
    assert [story.nodes_of(name) for name in "abc"] == [["s0-h100-0000"], ["s0-h100-0001"], ["s0-h100-0001"]]


def lent(profile: str, *, cpus: int = 0) -> Story:
    """One node of two GPUs that are the owner's, both cut for a guest."""
    story = Story(nation([share("owner", guarantee=2), share("guest")], nodes=1, gpus=2))
    story.submit(*[job(f"g{number}", "guest", profile=profile, cpus=cpus) for number in range(2)])
    story.now_ms += TIMING.protected_ms
    return story


def test_an_owner_takes_a_whole_gpu_back_from_slices() -> None:
    story = lent("4g.40gb")
    plan = story.submit(job("mine", "owner", 1))
    assert claimed(plan) == ["mine"]
    assert len(warned(plan)) == 1
    story.pass_time(5 * MINUTE)
    assert story.holds("mine")


def test_an_owner_takes_a_slice_back_and_gets_it_at_the_best_place_of_the_freed_gpu() -> None:
    story = lent("7g.80gb")
    plan = story.submit(job("mine", "owner", profile="3g.40gb"))
    assert claimed(plan) == ["mine"]
    story.pass_time(5 * MINUTE)
    assert place(story, "mine") == (0, 4)
    assert story.card("mine").placements[0].profile == "3g.40gb"


def test_cpus_of_victims_that_hold_slices_count_when_they_are_taken_back() -> None:
    story = lent("4g.40gb", cpus=32)
    plan = story.submit(job("mine", "owner", profile="1g.10gb", cpus=32))
    assert claimed(plan) == ["mine"]
    assert len(warned(plan)) == 1
    story.pass_time(5 * MINUTE)
    assert story.holds("mine")


def test_a_slice_that_fails_is_tried_again_and_may_get_another_place() -> None:
    story = Story(nation(GUEST, nodes=1, gpus=1))
    story.submit(job("a", "guest", profile="1g.10gb", retry_limit=1))
    story.finish("a", outcome=Outcome.FAILED)
    story.submit(job("b", "guest", profile="1g.10gb"))
    story.pass_time(MINUTE)
    assert (place(story, "b"), place(story, "a")) == ((0, 6), (0, 4))
