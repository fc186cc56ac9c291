"""Where jobs go: gangs, best fit, parts of GPUs, CPUs and memory, classes and sites."""

from __future__ import annotations

import pytest

from dure.model.blockers import BlockerCode
from dure.model.plan import Placement
from tests.kernel.nations import job, nation, share
from tests.kernel.story import Story

GUEST = [share("guest")]


def node(number: int, site: int = 0, gpu_class: str = "h100") -> str:
    return f"s{site}-{gpu_class}-{number:04d}"


def filled(*used: int, gpus: int = 8, sites: int = 1) -> Story:
    """Nodes of one class, of which so many GPUs each are in use by jobs `used-0`, `used-1`, ..."""
    story = Story(nation(GUEST, nodes=len(used) // sites, gpus=gpus, sites=sites))
    names = [node(number % (len(used) // sites), number // (len(used) // sites)) for number in range(len(used))]
    for name in names:
        story.happen_to(name, "drained")
    for number, (name, count) in enumerate(zip(names, used, strict=True)):
        story.set_node(name, "up")
        if count:
            story.submit(job(f"used-{number}", "guest", count))
            assert story.nodes_of(f"used-{number}") == [name]
        story.set_node(name, "drained")
    for name in names:
        story.set_node(name, "up")
    return story


def test_a_gang_starts_all_or_nothing() -> None:
    story = filled(0, 0, 1)
    story.submit(job("gang", "guest", 8, nodes=3))
    assert story.card("gang").placements == ()
    story.finish("used-2")
    assert story.nodes_of("gang") == [node(0), node(1), node(2)]


def test_a_gang_gets_distinct_nodes_although_one_could_hold_two_ranks() -> None:
    story = filled(0, 0)
    story.submit(job("gang", "guest", 4, nodes=2))
    assert story.nodes_of("gang") == [node(0), node(1)]


def test_a_gang_stays_at_one_site() -> None:
    story = filled(0, 8, 0, 8, sites=2)
    story.submit(job("gang", "guest", 8, nodes=2))
    assert story.card("gang").placements == ()
    story.blocker("gang", BlockerCode.SCATTERED)
    story.finish("used-3")
    assert story.nodes_of("gang") == [node(0, 1), node(1, 1)]
    assert story.card("gang").site == "site1"


def test_twelve_gpus_go_as_two_times_six() -> None:
    story = filled(0, 0)
    story.submit(job("gang", "guest", 6, nodes=2))
    assert [len(placement.gpus) for placement in story.card("gang").placements] == [6, 6]


def test_a_gang_goes_to_the_site_where_the_fewest_nodes_would_do() -> None:
    story = filled(0, 0, 0, 0, 0, 8, sites=2)
    story.submit(job("gang", "guest", 8, nodes=2))
    assert story.card("gang").site == "site1"


def test_equal_sites_are_settled_for_a_gang_by_the_first() -> None:
    story = filled(0, 0, 0, 0, 0, 0, 0, 0, 0, sites=3)
    story.submit(job("gang", "guest", 8, nodes=2))
    assert story.card("gang").site == "site0"


def test_a_gang_tries_the_next_site_when_cpus_are_in_use_at_the_best_one() -> None:
    story = filled(0, 0, 0, 0, 0, 8, sites=2)
    story.submit(*[job(f"cpus{number}", "guest", 0, cpus=64, sites=["site1"]) for number in range(2)])
    story.submit(job("gang", "guest", 8, nodes=2, cpus=1))
    assert story.card("gang").site == "site0"


def test_a_job_takes_the_node_with_the_fewest_idle_gpus_that_fits() -> None:
    story = filled(0, 3, 5)
    story.submit(job("j", "guest", 4))
    assert story.nodes_of("j") == [node(1)]
    story.submit(job("exact", "guest", 3))
    assert story.nodes_of("exact") == [node(2)]


def test_equal_nodes_are_settled_by_the_lowest_number_and_first_site() -> None:
    story = filled(8, 2, 2, 0, 2, 2, sites=2)
    story.submit(job("j", "guest", 2))
    assert story.nodes_of("j") == [node(1)]


def test_the_lowest_idle_gpus_of_a_node_are_taken() -> None:
    story = filled(0)
    story.submit(job("a", "guest", 2), job("b", "guest", 2))
    story.finish("a")
    story.submit(job("c", "guest", 3))
    assert story.card("c").placements == (Placement(node=node(0), gpus=(0, 1, 4), milli=1000),)


def test_ranks_are_numbered_from_the_fullest_node() -> None:
    story = filled(0, 4)
    story.submit(job("gang", "guest", 4, nodes=2))
    assert story.nodes_of("gang") == [node(1), node(0)]


def test_parts_share_the_fullest_gpu_that_still_fits() -> None:
    story = filled(0, gpus=4)
    story.submit(job("third", "guest", 0.3), job("rest", "guest", 0.8), job("half", "guest", 0.6))
    assert [story.card(name).placements[0].gpus for name in ("third", "rest", "half")] == [(0,), (1,), (0,)]
    story.submit(job("small", "guest", 0.1))
    assert story.card("small").placements[0].gpus == (0,)
    story.submit(job("next", "guest", 0.2))
    assert story.card("next").placements[0].gpus == (1,)


def test_a_part_takes_a_fresh_gpu_only_when_no_shared_one_fits() -> None:
    story = filled(0, 7)
    story.submit(job("a", "guest", 0.5))
    assert story.nodes_of("a") == [node(1)]
    story.submit(job("b", "guest", 0.6))
    assert story.nodes_of("b") == [node(0)]
    story.submit(job("c", "guest", 0.4))
    assert story.card("c").placements == (Placement(node=node(0), gpus=(0,), milli=400),)


def test_a_shared_gpu_is_idle_only_when_its_last_part_is_gone() -> None:
    story = filled(0, gpus=1)
    story.submit(job("a", "guest", 0.5), job("b", "guest", 0.5))
    story.submit(job("whole", "guest", 1))
    story.finish("a")
    assert not story.holds("whole")
    story.finish("b")
    assert story.holds("whole")


def test_whole_gpus_never_go_where_a_part_runs() -> None:
    story = filled(0, gpus=2)
    story.submit(job("part", "guest", 0.1), job("two", "guest", 2))
    assert story.holding() == {"part"}
    blocker = story.blocker("two", BlockerCode.NOT_ENOUGH_GPUS)
    assert blocker.short_milli == 1000


def test_parts_charge_their_share_by_the_thousandth() -> None:
    story = Story(nation([share("guest", limit=1)], nodes=1))
    story.submit(job("a", "guest", 0.7), job("b", "guest", 0.3), job("c", "guest", 0.1))
    assert story.holding() == {"a", "b"}
    assert story.blocker("c", BlockerCode.SHARE_LIMIT).short_milli == 100


def test_a_job_without_gpus_runs_beside_full_gpus() -> None:
    story = filled(8)
    story.submit(job("cpu", "guest", 0, cpus=4))
    assert story.card("cpu").placements == (Placement(node=node(0), gpus=(), milli=1000),)
    assert story.world.nodes()[0].free_cpus == 60


@pytest.mark.parametrize(("field", "most"), [("cpus", 64), ("memory_mib", 1 << 20)])
def test_cpus_and_memory_limit_what_fits_on_a_node(field: str, most: int) -> None:
    half = most // 2
    story = filled(0, 0)
    jobs = [job(f"j{number}", "guest", 1, **{field: half + 1}) for number in range(3)]  # type: ignore[arg-type]
    story.submit(*jobs)
    assert story.holding() == {"j0", "j1"}
    assert story.nodes_of("j0") != story.nodes_of("j1")
    story.blocker("j2", BlockerCode.NOT_ENOUGH_CPU_OR_MEMORY)
    assert story.finish("j0").decisions[0].job == "j2"


def test_cpus_of_a_gang_count_on_every_node() -> None:
    story = filled(0, 0)
    story.submit(job("gang", "guest", 1, nodes=2, cpus=40))
    story.submit(job("cpu", "guest", 0, cpus=30))
    assert not story.holds("cpu")
    story.finish("gang")
    assert story.holds("cpu")


def test_gangs_without_gpus_may_hold_more_places_than_there_are_gpus() -> None:
    story = Story(nation(GUEST, nodes=4))
    names = [f"g{number}" for number in range(400)]
    story.submit(*[job(name, "guest", 0, nodes=4) for name in names])
    assert all(len(story.nodes_of(name)) == 4 for name in names)
    story.finish(*names)
    assert all(not each.jobs for each in story.world.nodes())


def test_choices_are_tried_in_order_of_preference() -> None:
    story = Story(nation(GUEST, nodes=1, gpus=2, classes=("H100", "H200")))
    story.submit(*[job(f"j{number}", "guest", 2, classes=("H200", "H100")) for number in range(3)])
    assert [story.card(f"j{number}").gpu_class for number in range(3)] == ["H200", "H100", ""]
    assert started_class(story, "j0", "j2") == "H200"


def started_class(story: Story, ends: str, starts: str) -> str:
    story.finish(ends)
    return story.card(starts).gpu_class


def test_a_class_that_was_not_asked_for_is_never_given() -> None:
    story = Story(nation(GUEST, nodes=1, gpus=2, classes=("H100", "H200")))
    story.submit(job("a", "guest", 2, classes=("H200",)), job("b", "guest", 2, classes=("H200",)))
    assert story.holding() == {"a"}


def test_a_job_waiting_for_its_first_choice_starts_when_its_second_becomes_free() -> None:
    story = Story(nation(GUEST, nodes=1, gpus=2, classes=("H100", "H200")))
    story.submit(job("a", "guest", 2, classes=("H100",)), job("b", "guest", 2, classes=("H200",)))
    story.submit(job("any", "guest", 2, classes=("H100", "H200")))
    story.finish("b")
    assert story.card("any").gpu_class == "H200"


def test_limits_are_per_class() -> None:
    tree = [share("guest", limit=1, gpu_class="H100")]
    story = Story(nation(tree, nodes=1, gpus=2, classes=("H100", "H200")))
    story.submit(*[job(f"j{number}", "guest", 1, classes=("H100", "H200")) for number in range(3)])
    assert [story.card(f"j{number}").gpu_class for number in range(3)] == ["H100", "H200", "H200"]


def test_a_job_runs_only_at_the_sites_policy_allows() -> None:
    story = filled(0, 8, sites=2)
    story.submit(job("j", "guest", 4, sites=["site1"]))
    assert not story.holds("j")
    story.finish("used-1")
    assert story.nodes_of("j") == [node(0, 1)]


def test_a_gang_and_a_part_also_keep_to_their_sites() -> None:
    story = filled(0, 0, 0, 0, sites=2)
    story.submit(job("gang", "guest", 8, nodes=2, sites=["site1"]), job("part", "guest", 0.5, sites=["site1"]))
    assert story.card("gang").site == "site1"
    assert not story.holds("part")
    story.submit(job("other", "guest", 0.5, sites=["site0"]), job("second", "guest", 0.5, sites=["site1"]))
    assert story.holding() == {"gang", "other"}


def test_a_job_that_fitted_nowhere_does_not_spoil_the_chance_of_a_smaller_one() -> None:
    story = filled(4, 4)
    story.submit(job("large", "guest", 6, time_ms=1), job("small", "guest", 4, time_ms=1))
    assert "small" in story.holding()


def test_a_job_that_fitted_nowhere_is_tried_again_when_gpus_come_back() -> None:
    story = filled(4, 4)
    story.submit(job("large", "guest", 6))
    assert story.finish("used-0").decisions[0].job == "large"


def test_a_job_that_fitted_nowhere_is_tried_again_when_a_node_comes_back() -> None:
    story = filled(0, 4)
    story.set_node(node(0), "drained")
    story.submit(job("large", "guest", 6))
    assert not story.holds("large")
    story.set_node(node(0), "up")
    assert story.holds("large")


def test_a_gang_that_no_node_was_left_for_is_tried_again_when_one_comes_back() -> None:
    story = filled(0, 0)
    story.set_node(node(0), "drained")
    story.submit(job("gang", "guest", 3, nodes=2))
    assert not story.holds("gang")
    story.set_node(node(0), "up")
    assert story.holds("gang")


def test_a_job_at_another_site_is_tried_although_one_as_large_fitted_nowhere() -> None:
    story = filled(8, 0, sites=2)
    story.submit(job("here", "guest", 8, sites=["site0"]), job("there", "guest", 8, sites=["site1"]))
    assert "there" in story.holding()


def test_a_job_of_fewer_cpus_is_tried_although_one_as_large_fitted_nowhere() -> None:
    story = filled(0)
    story.submit(job("cpus", "guest", 0, cpus=32))
    story.submit(job("a", "guest", 4, cpus=64, time_ms=1), job("b", "guest", 4, cpus=1, time_ms=1))
    assert "b" in story.holding()


def test_a_gang_of_parts_never_starts_with_fewer_ranks_than_it_wants() -> None:
    story = filled(0, 0)
    story.submit(job("parts", "guest", 0.5, nodes=2), job("next", "guest", 0.5))
    assert story.holding() == {"next"}
