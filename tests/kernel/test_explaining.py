"""Why a job waits: every blocker is produced by some situation, and says how much, who holds it and until when."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dure.kernel import decide, explain
from dure.model.blockers import Blocker, BlockerCode
from dure.model.jobs import Outcome
from tests.kernel.nations import HOUR, TIMING, job, nation, share
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
    story.set_node(NODE, "down")
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
    (full, Blocker(code=BlockerCode.NOT_ENOUGH_GPUS, short_milli=2000, holders=("b", "a"))),
    (scattered, Blocker(code=BlockerCode.SCATTERED)),
    (no_cpus, Blocker(code=BlockerCode.NOT_ENOUGH_CPU_OR_MEMORY)),
    (victims, Blocker(code=BlockerCode.WAITING_FOR_VICTIMS, short_milli=6000, holders=("g",), until_ms=STOPPED_AT)),
    (protected, Blocker(code=BlockerCode.VICTIMS_PROTECTED, holders=("g",), until_ms=TIMING.protected_ms)),
    (
        reclaim_rate,
        Blocker(code=BlockerCode.RECLAIM_RATE, share="owner", until_ms=TIMING.protected_ms + HOUR // 2),
    ),
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
    assert found.unblock.endswith(".")


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


def test_the_earliest_start_is_when_enough_nodes_are_surely_free() -> None:
    story = Story(nation(GUEST, nodes=3))
    for number, hours in enumerate((3, 1, 2)):
        story.submit(job(f"r{number}", "guest", 8, time_ms=hours * HOUR))
    story.submit(job("j", "guest", 8, nodes=2))
    assert story.why("j").earliest_start_ms == 2 * HOUR
    assert "time limit" in story.why("j").method


def test_no_start_is_promised_to_a_job_that_more_than_nodes_keep_waiting() -> None:
    for situation in (limit, unpreemptible, too_large, no_site, dependency, backoff, victims):
        why = situation().why("j")
        assert (why.earliest_start_ms, why.method) == (None, "")


def test_reasons_are_given_for_every_class_a_job_accepts() -> None:
    tree = [share("guest", limit=1, gpu_class="H100")]
    story = Story(nation(tree, nodes=1, gpus=2, classes=("H100", "H200")))
    story.submit(job("x", "guest", 2, classes=("H200",)))
    story.submit(job("j", "guest", 2, classes=("H100", "H200")))
    blockers = {each.code: each.gpu_class for each in story.why("j").blockers}
    assert blockers[BlockerCode.SHARE_LIMIT] == "H100"
    assert blockers[BlockerCode.NOT_ENOUGH_GPUS] == "H200"


def test_every_code_has_its_situation() -> None:
    assert {each.code for _, each in SITUATIONS} == set(BlockerCode)
