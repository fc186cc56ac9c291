"""Why a job waits: every blocker is produced by some situation, and says how much, who holds it and until when."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dure.kernel import decide, explain, explain_all
from dure.kernel.blockers import FINDING, SHAPE, first_blockers
from dure.kernel.explaining import CODES
from dure.model.blockers import Blocker, BlockerCode
from dure.model.fleet import Topology
from dure.model.jobs import Outcome
from dure.reports.wording import unblock
from dure.world.columns import records
from tests.kernel.nations import HOUR, MINUTE, TIMING, job, nation, reservation, share
from tests.kernel.story import Story

GUEST = [share("guest")]
OWNED = [share("owner", guarantee=8), share("guest")]
NODE = "s0-h100-0000"


def dependency() -> Story:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("a", "guest"), job("j", "guest", depends=("a",)))
    return story


def backoff() -> Story:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", retry_limit=1))
    story.finish("j", outcome=Outcome.FAILED)
    return story


def its_time() -> Story:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", not_before_ms=HOUR))
    return story


def limit() -> Story:
    story = Story(nation([share("firm", limit=4), share("team", "firm")], nodes=1))
    story.submit(job("small", "team", 1), job("large", "team", 2), job("j", "team", 3))
    return story


def not_lent() -> Story:
    story = Story(nation([share("owner", guarantee=6, lend=0), share("guest")], nodes=1))
    story.submit(job("g", "guest", 1), job("o", "owner", 2), job("j", "guest", 3))
    return story


def unpreemptible() -> Story:
    story = Story(nation([share("owner", guarantee=2), share("guest")], nodes=1))
    story.submit(job("j", "owner", 5, preemptible=False))
    return story


def too_large() -> Story:
    story = Story(nation(GUEST, nodes=2))
    story.submit(job("r", "guest", 8), job("j", "guest", 8, nodes=2))
    story.declare(nation(GUEST, nodes=1))
    return story


def set_aside() -> Story:
    story = Story(nation(GUEST, nodes=2))
    story.set_node(NODE, "suspect")
    story.submit(job("j", "guest", 8, nodes=2))
    return story


def full() -> Story:
    story = Story(nation([share("a"), share("b"), share("c")], nodes=1))
    story.submit(job("two", "a", 2), job("five", "b", 5), job("j", "c", 3))
    return story


def scattered() -> Story:
    story = Story(nation(GUEST, nodes=2))
    story.submit(job("x", "guest", 5), job("y", "guest", 5), job("j", "guest", 6))
    return story


def no_cpus() -> Story:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("x", "guest", 0, cpus=60), job("j", "guest", 1, cpus=5))
    return story


def victims() -> Story:
    story = Story(nation(OWNED, nodes=1))
    story.submit(job("g", "guest", 6, time_ms=8 * HOUR))
    story.wait(TIMING.protected_ms)
    story.submit(job("j", "owner", 8))
    return story


def protected() -> Story:
    story = Story(nation(OWNED, nodes=1))
    story.submit(job("g", "guest", 8))
    story.wait(1_000)
    story.submit(job("j", "owner", 8))
    return story


def reclaimed() -> Story:
    """The owner's job borrowed, gave its GPUs back, and would now be within its owner's guarantee."""
    tree = [share("owner", guarantee=4), share("second", guarantee=4), share("guest")]
    story = Story(nation(tree, nodes=2, gpus=4, timing=replace(TIMING, protected_ms=0)))
    story.submit(job("own", "owner", 4), job("j", "owner", 4))
    story.wait(MINUTE)
    story.submit(job("s", "second", 4))
    story.pass_time(TIMING.warning_ms)
    story.submit(job("g", "guest", 4))
    story.finish("s")
    story.set_node(NODE, "drained")
    story.finish("own")
    return story


def not_due() -> Story:
    """There is room for it, but the first that does not fit came before it, a moment ago."""
    declared = nation(GUEST, nodes=1)
    story = Story(replace(declared, timing=replace(declared.timing, backfill_interval_ms=30_000)))
    story.submit(job("r", "guest", 4, time_ms=HOUR), job("first", "guest", 8))
    story.wait(1_000)
    story.submit(job("j", "guest", 1, time_ms=MINUTE))
    return story


def reserved() -> Story:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("r", "guest", 4, time_ms=HOUR), job("head", "guest", 8), job("j", "guest", 4, time_ms=2 * HOUR))
    return story


def behind() -> Story:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("r", "guest", 8), job("first", "guest", 8), job("second", "guest", 8), job("j", "guest", 8))
    return story


def no_site() -> Story:
    story = Story(nation(GUEST, nodes=1))
    story.submit(job("j", "guest", sites=[]))
    return story


def reclaim_rate() -> Story:
    story = Story(nation([share("owner", guarantee=8, reclaim_per_hour=8), share("guest")], nodes=1))
    story.submit(*[job(f"g{number}", "guest", 4) for number in range(2)])
    story.wait(TIMING.protected_ms)
    story.submit(job("first", "owner", 4), job("j", "owner", 4))
    return story


def reserved_in_advance() -> Story:
    kept = reservation("cooling", HOUR, 3 * HOUR, 0)
    story = Story(nation(GUEST, nodes=1, reservations=[kept]))
    story.submit(job("j", "guest", time_ms=2 * HOUR))
    return story


STOPPED_AT = TIMING.protected_ms + TIMING.warning_ms + TIMING.grace_ms
SITUATIONS: list[tuple[Callable[[], Story], Blocker]] = [
    (dependency, Blocker(code=BlockerCode.HELD_BY_DEPENDENCY, holders=("a",))),
    (backoff, Blocker(code=BlockerCode.HELD_BY_BACKOFF, until_ms=1_000)),
    (its_time, Blocker(code=BlockerCode.HELD_UNTIL_ITS_TIME, until_ms=HOUR)),
    (limit, Blocker(code=BlockerCode.SHARE_LIMIT, share="firm", short_milli=2000, holders=("large", "small"))),
    (not_lent, Blocker(code=BlockerCode.NOT_LENT, share="guest", short_milli=2000, holders=("owner", "guest"))),
    (no_site, Blocker(code=BlockerCode.NO_SITE_ALLOWED)),
    (unpreemptible, Blocker(code=BlockerCode.BORROWING_NEEDS_PREEMPTIBLE, share="owner", short_milli=3000)),
    (too_large, Blocker(code=BlockerCode.NO_NODE_LARGE_ENOUGH)),
    (set_aside, Blocker(code=BlockerCode.NODES_OUT_OF_SERVICE, until_ms=TIMING.probation_ms)),
    (full, Blocker(code=BlockerCode.NOT_ENOUGH_GPUS, short_milli=2000, holders=("b", "a"), until_ms=HOUR)),
    (scattered, Blocker(code=BlockerCode.SCATTERED, holders=("guest",), until_ms=HOUR)),
    (no_cpus, Blocker(code=BlockerCode.NOT_ENOUGH_CPU_OR_MEMORY)),
    (victims, Blocker(code=BlockerCode.WAITING_FOR_VICTIMS, short_milli=6000, holders=("g",), until_ms=STOPPED_AT)),
    (protected, Blocker(code=BlockerCode.VICTIMS_PROTECTED, holders=("g",), until_ms=TIMING.protected_ms)),
    (
        reclaim_rate,
        Blocker(code=BlockerCode.RECLAIM_RATE, share="owner", until_ms=TIMING.protected_ms + HOUR // 2),
    ),
    (reclaimed, Blocker(code=BlockerCode.RECLAIMED_BEFORE, share="owner")),
    (
        reserved_in_advance,
        Blocker(code=BlockerCode.RESERVED_IN_ADVANCE, holders=("cooling",), until_ms=3 * HOUR),
    ),
    (not_due, Blocker(code=BlockerCode.BACKFILL_NOT_DUE, until_ms=30_000)),
    (reserved, Blocker(code=BlockerCode.RESERVED_FOR_HEAD, holders=("head",), until_ms=HOUR)),
    (behind, Blocker(code=BlockerCode.BEHIND_IN_QUEUE, share="guest", holders=("second", "first"))),
]


@pytest.mark.parametrize(("situation", "expected"), SITUATIONS, ids=[each.code.value for _, each in SITUATIONS])
def test_a_blocker_says_how_much_who_and_until_when(situation: Callable[[], Story], expected: Blocker) -> None:
    found = situation().blocker("j", expected.code)
    assert (found.share, found.short_milli, found.holders, found.until_ms) == (
        expected.share,
        expected.short_milli,
        expected.holders,
        expected.until_ms,
    )
    assert unblock(found).endswith(".")


def test_blockers_are_listed_in_the_order_of_their_codes() -> None:
    order = list(BlockerCode)
    for situation, _ in SITUATIONS:
        codes = [order.index(each.code) for each in situation().why("j").blockers]
        assert codes == sorted(codes)


@pytest.mark.parametrize("situation", [each for each, _ in SITUATIONS])
def test_explaining_changes_nothing(situation: Callable[[], Story]) -> None:
    story = situation()
    fork = story.world.fork()
    explain(story.world, "j", story.now_ms)
    later_ms = story.now_ms + HOUR
    assert story.world.next_wake_ms() == fork.next_wake_ms()
    assert decide(story.world, later_ms) == decide(fork, later_ms)


def test_position_counts_the_jobs_of_the_same_share() -> None:
    story = behind()
    assert [story.why(name).position for name in ("first", "second", "j")] == [1, 2, 3]
    assert (story.why("r").position, story.why("r").blockers) == (0, ())
    story.cancel("first")
    assert story.why("j").position == 2


def test_a_held_or_claiming_job_has_no_position() -> None:
    assert dependency().why("j").position == 0
    assert victims().why("j").position == 0


def test_missing_gpus_come_by_the_limits_of_what_runs_at_the_latest() -> None:
    story = Story(nation(GUEST, nodes=3))
    for number, hours in enumerate((3, 1, 2)):
        story.submit(job(f"r{number}", "guest", 8, time_ms=hours * HOUR))
    story.submit(job("j", "guest", 8, nodes=2))
    assert story.blocker("j", BlockerCode.NOT_ENOUGH_GPUS).until_ms == 2 * HOUR


def test_a_guarantee_that_has_to_wait_says_that_it_takes_gpus_back() -> None:
    tree = [share("owner", guarantee=4), share("keeper", guarantee=4, lend=0), share("guest")]
    story = Story(nation(tree, nodes=2))
    story.submit(job("g", "guest", 8), job("h", "guest", 4))
    story.submit(job("o", "owner", 4), job("other", "guest", 4))
    assert story.blocker("o", BlockerCode.NOT_LENT).guaranteed
    assert not story.blocker("other", BlockerCode.NOT_LENT).guaranteed


def test_reasons_are_given_for_every_class_a_job_accepts() -> None:
    tree = [share("guest", limit=1, gpu_class="H100")]
    story = Story(nation(tree, nodes=1, gpus=2, classes=("H100", "H200")))
    story.submit(job("x", "guest", 2, classes=("H200",)))
    story.submit(job("j", "guest", 2, classes=("H100", "H200")))
    blockers = {each.code: each.gpu_class for each in story.why("j").blockers}
    assert blockers[BlockerCode.SHARE_LIMIT] == "H100"
    assert blockers[BlockerCode.NOT_ENOUGH_GPUS] == "H200"


@pytest.mark.parametrize("situation", [each for each, _ in SITUATIONS])
def test_the_first_blockers_of_all_are_the_first_of_each(situation: Callable[[], Story]) -> None:
    story = situation()
    firsts = explain_all(story.world, story.now_ms)
    waiting = {card.job for card in story.world.queue() if story.why(card.job).blockers}
    assert set(firsts) == waiting
    for name in waiting:
        assert firsts[name].code is story.why(name).blockers[0].code
        assert firsts[name].short_milli in (0, story.why(name).blockers[0].short_milli)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30))
def test_in_any_nation_the_first_blockers_of_all_are_the_first_of_each(seed: int) -> None:
    dice = random.Random(seed)
    tree = [share("a", guarantee=6, lend=4, limit=14), share("b", guarantee=4), share("c", limit=dice.randint(1, 9))]
    story = Story(nation(tree, nodes=2, gpus=4, sites=2, classes=("H100", "H200")))
    for number in range(24):
        gpus = dice.choice((0, 0.5, 1, 2, 4, 5))
        story.submit(
            job(
                f"j{number}",
                dice.choice("abc"),
                gpus,
                nodes=1 if gpus == 0.5 else dice.choice((1, 1, 2)),
                cpus=dice.choice((0, 30, 60)),
                preemptible=dice.random() < 0.8,
                sites=dice.choice((["site0"], ["site1"], ["site0", "site1"], [])),
                classes=dice.choice((["H100"], ["H200", "H100"])),
            )
        )
    firsts = explain_all(story.world, story.now_ms)
    for card in story.world.queue():
        reasons = story.why(card.job).blockers
        assert reasons
        assert firsts[card.job].code is reasons[0].code
        assert (firsts[card.job].gpu_class, firsts[card.job].share) == (reasons[0].gpu_class, reasons[0].share) or (
            reasons[0].code in {BlockerCode.BEHIND_IN_QUEUE, BlockerCode.WAITING_FOR_VICTIMS}
        )


def test_numbers_of_blockers_are_in_the_order_of_their_codes() -> None:
    order = list(BlockerCode)
    assert [order.index(CODES[number]) for number in sorted(CODES)] == sorted(
        order.index(code) for code in CODES.values()
    )


def test_shapes_that_fall_on_one_place_of_the_table_do_not_answer_for_each_other() -> None:
    story = Story(nation([share("a"), share("b")], nodes=1))
    story.submit(job("r", "a", 8), job("one", "a", 1), job("many", "b", 3), job("again", "b", 1))
    columns, found, firsts = story.world.columns, records(FINDING, 64), records(FINDING, 2_000)
    first_blockers(columns, story.world.rows, records(SHAPE, 1), found, firsts)
    short = {story.world.job_at(row): int(firsts[row].short_milli) for row in range(story.world.rows)}
    assert (short["one"], short["many"], short["again"]) == (1000, 3000, 1000)


def test_what_is_known_of_a_shape_is_not_told_of_another_with_more_cpus() -> None:
    story = Story(nation([share("a"), share("b")], nodes=1))
    story.submit(job("x", "a", 1, cpus=60))
    story.submit(job("few", "a", 9), job("some", "b", 1, cpus=5), job("many", "b", 1, cpus=65))
    columns, found, firsts = story.world.columns, records(FINDING, 64), records(FINDING, story.world.rows)
    first_blockers(columns, story.world.rows, records(SHAPE, 1), found, firsts)
    codes = {story.world.job_at(row): CODES.get(int(firsts[row].code)) for row in range(story.world.rows)}
    assert codes["some"] is BlockerCode.NOT_ENOUGH_CPU_OR_MEMORY
    assert codes["many"] is BlockerCode.NO_NODE_LARGE_ENOUGH


def test_a_gang_that_finds_enough_nodes_but_not_near_enough_says_so() -> None:
    racks = Topology(domain=4, rack=4, block=8)
    story = Story(nation(GUEST, nodes=8, topology=racks))
    story.submit(*[job(f"filler-{number}", "guest", 8, nodes=3, within="domain") for number in range(2)])
    story.submit(*[job(name, "guest", 8, nodes=2, within="domain") for name in ("near", "next")])
    assert [each.code for each in story.why("near").blockers] == [BlockerCode.SCATTERED]
    codes = [each.code for each in story.why("next").blockers]
    assert codes == [BlockerCode.SCATTERED, BlockerCode.BEHIND_IN_QUEUE]
    story.submit(job("wide", "guest", 8, nodes=5, within="domain"))
    assert story.why("wide").blockers[0].code is BlockerCode.NO_NODE_LARGE_ENOUGH


def test_protected_borrowers_are_those_where_the_job_may_run() -> None:
    story = Story(nation([share("owner", guarantee=16), share("guest")], nodes=1, sites=2))
    story.submit(job("here", "guest", 8, sites=["site0"]), job("there", "guest", 8, sites=["site1"]))
    story.submit(job("j", "owner", 8, sites=["site1"]))
    assert story.blocker("j", BlockerCode.VICTIMS_PROTECTED).holders == ("there",)


def test_a_reservation_is_only_named_when_nothing_else_is_in_the_way() -> None:
    story = reserved()
    story.submit(job("large", "guest", 6))
    codes = [each.code for each in story.why("large").blockers]
    assert codes == [BlockerCode.NOT_ENOUGH_GPUS, BlockerCode.BEHIND_IN_QUEUE]


def test_rows_that_were_given_back_wait_for_nothing_after_a_new_declaration() -> None:
    story = behind()
    story.finish("r")
    story.declare(nation(GUEST, nodes=1))
    assert [card.job for card in story.world.queue()] == ["second", "j"]
    assert set(explain_all(story.world, story.now_ms)) == {"second", "j"}


def test_every_code_has_its_situation() -> None:
    assert {each.code for _, each in SITUATIONS} == set(BlockerCode)
