"""Gangs stay as near together as they can, or must: NVLink domains, racks and blocks."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dure.model.fleet import Topology
from dure.model.jobs import Outcome
from dure.model.nation import Nation
from tests.kernel.nations import HOUR, MINUTE, job, nation, share
from tests.kernel.story import Story, claimed, started

RACK = Topology(domain=18, rack=18, block=36)
SPARED = Topology(domain=18, rack=18, block=18, spare=2)
NO_BLOCKS = Topology(domain=18, rack=18, block=18)


def racks(number: int, topology: Topology = RACK, guarantee: int = 0) -> Nation:
    """NVL72 racks: 18 trays with 4 GPUs each."""
    return nation([share("guest"), share("owner", guarantee=guarantee)], nodes=18 * number, gpus=4, topology=topology)


def number_of(node: str) -> int:
    return int(node.rpartition("-")[2])


def parts_of(story: Story, name: str, nodes: int = 18) -> Counter[int]:
    """How many nodes of a job are in each rack (or other unit of so many nodes)."""
    return Counter(number_of(node) // nodes for node in story.nodes_of(name))


def test_a_gang_that_fits_one_domain_goes_into_the_fullest_that_holds_it() -> None:
    story = Story(racks(3, NO_BLOCKS))
    story.submit(job("first", "guest", 4, nodes=10))
    story.submit(job("second", "guest", 4, nodes=12))
    story.submit(job("third", "guest", 4, nodes=6))
    assert [parts_of(story, name) for name in ("first", "second", "third")] == [{0: 10}, {1: 12}, {1: 6}]


def test_a_gang_that_must_span_domains_is_split_evenly() -> None:
    story = Story(racks(4))
    story.submit(job("gang", "guest", 4, nodes=32))
    assert sorted(parts_of(story, "gang").values()) == [16, 16]


def test_ranks_of_one_domain_follow_each_other() -> None:
    story = Story(racks(2))
    story.submit(job("gang", "guest", 4, nodes=33))
    ranks = [number_of(node) // 18 for node in story.nodes_of("gang")]
    assert sorted(Counter(ranks).values()) == [16, 17]
    assert sum(a != b for a, b in pairwise(ranks)) == 1


def test_a_gang_goes_over_three_domains_where_two_cannot_hold_even_parts() -> None:
    story = Story(racks(4))
    story.submit(*[job(f"filler-{n}", "guest", 4, nodes=10, within="domain") for n in range(3)])
    story.submit(job("gang", "guest", 4, nodes=24))
    assert parts_of(story, "gang") == {0: 8, 1: 8, 2: 8}


def test_a_gang_is_split_unevenly_rather_than_left_waiting() -> None:
    story = Story(racks(2))
    story.submit(job("filler", "guest", 4, nodes=16))
    story.submit(job("gang", "guest", 4, nodes=20))
    assert sorted(parts_of(story, "gang").values()) == [2, 18]


def test_a_gang_that_must_be_in_one_domain_waits_for_it() -> None:
    story = Story(racks(2))
    story.submit(*[job(f"filler-{n}", "guest", 4, nodes=10, within="domain", time_ms=HOUR) for n in range(2)])
    story.submit(job("near", "guest", 4, nodes=12, within="domain"), job("anywhere", "guest", 4, nodes=12))
    assert story.holds("anywhere")
    assert not story.holds("near")
    story.finish("anywhere")
    assert started(story.finish("filler-1")) == ["near"]
    assert len(parts_of(story, "near")) == 1


def test_a_gang_within_a_block_is_split_evenly_over_racks_of_one_block() -> None:
    story = Story(racks(4))
    story.submit(job("filler", "guest", 4, nodes=10))
    story.submit(job("gang", "guest", 4, nodes=30, within="block"))
    assert len(parts_of(story, "gang", nodes=36)) == 1
    assert sorted(parts_of(story, "gang").values()) == [15, 15]


def test_no_gang_gets_the_spare_trays_of_a_domain() -> None:
    story = Story(racks(2, SPARED))
    story.submit(job("too-wide", "guest", 4, nodes=17, within="domain"), job("wide", "guest", 4, nodes=16))
    assert story.holding() == {"wide"}


def test_a_gang_is_near_before_it_fits_best() -> None:
    story = Story(racks(4))
    story.submit(*[job(f"f{n}", "guest", 4, nodes=nodes, within="domain") for n, nodes in enumerate((16, 3, 15, 3))])
    story.finish("f0", "f2")
    # The second and third rack have the fewest free trays that suffice, but they are in different blocks.
    story.submit(job("gang", "guest", 4, nodes=30))
    assert parts_of(story, "gang") == {0: 15, 1: 15}


def test_spare_trays_are_left_alone_and_replace_a_tray_that_fails() -> None:
    story = Story(racks(1, SPARED))
    story.submit(job("gang", "guest", 4, nodes=16, within="domain"), job("single", "guest", 4))
    assert story.holding() == {"gang"}
    failed = story.nodes_of("gang")[3]
    story.set_node(failed, "down")
    assert started(story.finish("gang", outcome=Outcome.NODE_LOST)) == ["gang"]
    assert failed not in story.nodes_of("gang")
    assert parts_of(story, "gang") == {0: 16}


def test_spare_trays_are_not_there_to_be_guaranteed() -> None:
    assert racks(2, SPARED).capacity_milli("H100") == 2 * 16 * 4 * 1000


def test_a_domain_is_taken_back_as_a_whole() -> None:
    story = Story(racks(3, NO_BLOCKS, guarantee=16 * 4))
    story.submit(*[job(f"g{n}", "guest", 4, nodes=9, time_ms=9 * HOUR) for n in range(6)])
    story.wait(11 * MINUTE)
    story.finish("g1", "g3")
    # Those that started last lose least, but they are in different domains.
    story.submit(*[job(f"late-{n}", "guest", 4, nodes=9, time_ms=9 * HOUR) for n in range(2)])
    story.wait(11 * MINUTE)
    plan = story.submit(job("own", "owner", 4, nodes=16, within="domain"))
    assert claimed(plan) == ["own"]
    story.wait(MINUTE)
    story.finish_stopping()
    story.decide()
    assert story.holds("own")
    assert len(parts_of(story, "own")) == 1


def test_nobody_delays_a_gang_that_waits_for_one_domain() -> None:
    story = Story(racks(2))
    story.submit(job("short", "guest", 4, nodes=10, time_ms=HOUR), job("long", "guest", 4, nodes=12, time_ms=5 * HOUR))
    assert parts_of(story, "short") != parts_of(story, "long")
    story.submit(job("near", "guest", 4, nodes=16, within="domain"))
    story.submit(job("spoiler", "guest", 4, nodes=8, within="domain", time_ms=3 * HOUR))
    story.submit(job("harmless", "guest", 4, nodes=4, within="domain", time_ms=3 * HOUR))
    assert story.holding() == {"short", "long", "harmless"}
    story.wait(HOUR)
    assert started(story.finish("short")) == ["near"]


GANGS = st.lists(
    st.tuples(
        st.integers(1, 24),
        st.sampled_from([1, 2, 4]),
        st.sampled_from(["site", "site", "block", "rack", "domain"]),
        st.integers(1, 90),
        st.booleans(),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(GANGS, st.sampled_from([(6, 0), (6, 2), (4, 1)]))
def test_the_audit_finds_every_gang_near_and_every_spare_in_place(
    gangs: list[tuple[int, int, str, int, bool]], shape: tuple[int, int]
) -> None:
    """`Story.decide` has the audit judge every plan."""
    domain, spare = shape
    topology = Topology(domain=domain, rack=domain, block=2 * domain, spare=spare)
    together = {"domain": domain - spare, "rack": domain - spare, "block": 2 * (domain - spare), "site": 24}
    story = Story(nation([share("guest"), share("owner", guarantee=32)], nodes=24, gpus=4, topology=topology))
    for number, (nodes, gpus, within, minutes, ends) in enumerate(gangs):
        owner = "owner" if number % 3 == 0 else "guest"
        wanted = min(nodes, together[within])
        story.submit(job(f"j{number}", owner, gpus, nodes=wanted, within=within, time_ms=minutes * MINUTE))
        if ends and story.world.running():
            story.end(story.world.running()[0].job, Outcome.SUCCEEDED)
        story.pass_time(7 * MINUTE)
        story.finish_stopping()


def test_a_gang_that_does_not_fit_leaves_the_spare_nodes_of_a_reservation_to_others() -> None:
    pairs = Topology(domain=2, rack=2, block=2)
    story = Story(nation([share("guest")], nodes=6, gpus=4, topology=pairs))
    story.submit(*[job(f"n{number}", "guest", 4, time_ms=HOUR) for number in range(6)])
    story.finish("n1", "n3", "n5")
    # Of the six nodes that are ready in an hour the head needs five. The gang would take two of them, one per pair.
    story.submit(job("head", "guest", 4, nodes=5), job("gang", "guest", 2, nodes=2, time_ms=2 * HOUR))
    story.submit(job("single", "guest", 4, time_ms=2 * HOUR))
    assert story.holding() == {"n0", "n2", "n4", "single"}
