"""Who may use how much, and whose turn it is."""

from __future__ import annotations

from dure.model.blockers import BlockerCode
from dure.model.fleet import Timing
from dure.world.columns import NONE
from tests.kernel.nations import HOUR, MINUTE, job, nation, share
from tests.kernel.story import Story, started

SHORT_MEMORY = Timing(half_life_ms=HOUR)
DAY = 24 * HOUR


def test_idle_gpus_of_an_owner_are_borrowed() -> None:
    story = Story(nation([share("owner", guarantee=8), share("guest")], nodes=1))
    story.submit(job("g", "guest", 8))
    assert story.holds("g")
    assert story.card("g").borrowed


def test_what_a_guarantee_covers_is_not_borrowed() -> None:
    story = Story(nation([share("owner", guarantee=6), share("guest")], nodes=1))
    story.submit(job("exactly", "owner", 6), job("above", "owner", 1))
    assert not story.card("exactly").borrowed
    assert story.card("above").borrowed


def test_a_childs_job_within_its_parents_guarantee_is_not_borrowed() -> None:
    tree = [share("firm", guarantee=4), share("team", "firm"), share("guest")]
    story = Story(nation(tree, nodes=1))
    story.submit(job("t", "team", 4))
    assert not story.card("t").borrowed


def test_an_owner_that_lends_nothing_keeps_its_idle_gpus() -> None:
    story = Story(nation([share("owner", guarantee=6, lend=0), share("guest")], nodes=1))
    story.submit(job("two", "guest", 2), job("third", "guest", 1))
    assert story.holding() == {"two"}
    assert story.blocker("third", BlockerCode.NOT_LENT).short_milli == 1000
    story.submit(job("own", "owner", 6))
    assert story.holds("own")


def test_an_owner_lends_up_to_its_lending_limit() -> None:
    story = Story(nation([share("owner", guarantee=6, lend=3), share("guest")], nodes=1))
    story.submit(*[job(f"g{number}", "guest", 1) for number in range(8)])
    assert len(story.holding()) == 5


def test_what_an_owner_keeps_it_may_use_while_others_hold_all_that_is_lent() -> None:
    story = Story(nation([share("owner", guarantee=6, lend=3), share("guest")], nodes=1))
    story.submit(*[job(f"g{number}", "guest", 1) for number in range(8)])
    story.submit(*[job(f"o{number}", "owner", 1) for number in range(3)])
    assert {"o0", "o1", "o2"} <= story.holding()


def test_a_child_keeps_what_it_does_not_lend_from_its_siblings_and_from_strangers() -> None:
    tree = [
        share("firm", guarantee=6),
        share("kept", "firm", guarantee=2, lend=0),
        share("open", "firm"),
        share("guest"),
    ]
    story = Story(nation(tree, nodes=1))
    story.submit(*[job(f"g{number}", "guest", 1) for number in range(4)])
    story.submit(*[job(f"o{number}", "open", 1) for number in range(4)])
    assert len(story.holding()) == 6
    story.submit(job("k", "kept", 2))
    assert story.holds("k")


def test_a_share_never_exceeds_its_limit() -> None:
    story = Story(nation([share("guest", limit=3)], nodes=1))
    story.submit(job("three", "guest", 3), job("more", "guest", 1))
    assert story.holding() == {"three"}
    blocker = story.blocker("more", BlockerCode.SHARE_LIMIT)
    assert (blocker.share, blocker.short_milli, blocker.holders) == ("guest", 1000, ("three",))


def test_a_parents_limit_binds_its_children_together() -> None:
    tree = [share("firm", limit=3), share("a", "firm"), share("b", "firm")]
    story = Story(nation(tree, nodes=1))
    story.submit(job("a2", "a", 2))
    story.submit(job("b2", "b", 2))
    assert story.blocker("b2", BlockerCode.SHARE_LIMIT).share == "firm"
    story.finish("a2")
    assert story.holds("b2")


def test_what_waits_at_its_own_limit_does_not_hold_up_others() -> None:
    story = Story(nation([share("small", limit=1), share("guest")], nodes=1))
    story.submit(job("s0", "small", 1), job("s1", "small", 1), job("g", "guest", 7))
    assert story.holding() == {"s0", "g"}


def test_only_preemptible_jobs_borrow() -> None:
    story = Story(nation([share("owner", guarantee=2), share("guest")], nodes=1))
    story.submit(job("own", "owner", 2, preemptible=False), job("above", "owner", 1, preemptible=False))
    assert story.holding() == {"own"}
    assert story.blocker("above", BlockerCode.BORROWING_NEEDS_PREEMPTIBLE).short_milli == 1000


def test_a_share_below_its_guarantee_goes_first_whoever_asked_earlier() -> None:
    story = Story(nation([share("guest"), share("owner", guarantee=8)], nodes=1))
    story.submit(job("running", "guest", 8))
    story.submit(job("g", "guest", 8))
    story.submit(job("o", "owner", 8))
    assert started(story.finish("running")) == ["o"]


def test_the_share_that_used_a_lot_lately_waits() -> None:
    story = Story(nation([share("heavy"), share("light")], nodes=1))
    story.submit(job("h", "heavy", 8))
    story.wait(HOUR)
    story.submit(job("h-next", "heavy", 8), job("l", "light", 8))
    assert started(story.finish("h")) == ["l"]


def test_usage_fades_so_that_old_use_weighs_less_than_new_use() -> None:
    declared = nation([share("early"), share("late")], nodes=1, timing=SHORT_MEMORY)
    story = Story(declared)
    story.submit(job("e", "early", 8, time_ms=DAY))
    story.wait(4 * HOUR)
    story.submit(job("l", "late", 8, time_ms=DAY))
    story.finish("e")
    story.wait(2 * HOUR)
    story.submit(job("l-next", "late", 8), job("e-next", "early", 8))
    # Early used twice as many hours, but they have halved twice since.
    assert started(story.finish("l")) == ["e-next"]


def test_usage_is_halved_every_half_life() -> None:
    story = Story(nation([share("guest")], nodes=1, timing=SHORT_MEMORY))
    story.submit(job("g", "guest", 8))
    story.wait(HOUR)
    story.finish("g")
    row = int(story.world.columns.classes[0].root) + 1
    story.submit(job("look", "guest", 0))
    before = int(story.world.columns.shares[row].usage)
    story.wait(HOUR)
    story.finish("look")
    story.submit(job("g2", "guest", 8))
    after = int(story.world.columns.shares[row].usage)
    assert abs(after / before - 0.5) < 0.001


def test_a_long_idle_share_wins_no_more_than_its_turn() -> None:
    """Usage is compared, not saved up: after its first turns an idle share is treated like everybody else."""
    story = Story(nation([share("idle"), share("busy")], nodes=1, gpus=1, timing=SHORT_MEMORY))
    story.submit(job("b", "busy", 1, time_ms=3 * DAY))
    story.wait(2 * DAY)
    story.submit(*[job(f"{who}{number}", who, 1) for number in range(20) for who in ("idle", "busy")])
    order = []
    running = "b"
    for _ in range(16):
        (running,) = started(story.finish(running))
        order.append(running[:4])
        story.now_ms += HOUR
    assert order[0] == "idle"
    assert 6 <= order.count("busy") <= 8


def test_who_was_idle_is_not_punished_later() -> None:
    story = Story(nation([share("idle"), share("busy")], nodes=1, timing=SHORT_MEMORY))
    story.submit(job("b", "busy", 8, time_ms=3 * DAY))
    story.wait(2 * DAY)
    story.submit(job("b-next", "busy", 8), job("i", "idle", 8))
    assert started(story.finish("b")) == ["i"]


def test_surplus_is_divided_by_weight() -> None:
    story = Story(nation([share("one"), share("three", weight=3)], nodes=1))
    story.submit(*[job(f"{who}-{n}", who, 1, time_ms=DAY) for n in range(200) for who in ("one", "three")])
    for _ in range(120):
        story.now_ms += 5 * MINUTE
        oldest = story.world.running()[0].job
        story.finish(oldest)
    done = [card.job for card in story.world.jobs.values() if card.state.is_final]
    three = sum(name.startswith("three") for name in done)
    assert 0.7 <= three / len(done) <= 0.8


def test_siblings_share_below_their_parent_before_the_parent_meets_its_own_siblings() -> None:
    tree = [share("big"), share("team1", "big"), share("team2", "big"), share("small")]
    story = Story(nation(tree, nodes=1))
    story.submit(*[job(f"{who}-{number}", who, 1) for number in range(8) for who in ("team1", "team2", "small")])
    story.pass_time(1)
    # What a share uses now counts up to the end of the period, so even at one instant everyone gets a turn.
    teams = {f"{team}-{number}" for team in ("team1", "team2") for number in range(2)}
    assert story.holding() == teams | {f"small-{number}" for number in range(4)}


def test_ties_go_to_the_share_that_comes_first_in_the_document() -> None:
    for first, second in (("a", "z"), ("z", "a")):
        story = Story(nation([share(first), share(second)], nodes=1))
        assert started(story.submit(job("j2", second, 8), job("j1", first, 8))) == ["j1"]


def test_ties_between_owners_within_guarantee_go_to_the_one_that_comes_first_in_the_document() -> None:
    story = Story(nation([share("a", guarantee=1), share("b", guarantee=1)], nodes=1))
    assert started(story.submit(job("b", "b", 1), job("a", "a", 1))) == ["a", "b"]


def test_within_a_share_priority_goes_first_then_the_order_of_submission() -> None:
    story = Story(nation([share("guest")], nodes=1))
    story.submit(job("running", "guest", 8))
    story.submit(job("first", "guest", 8), job("second", "guest", 8), job("urgent", "guest", 8, priority=5))
    assert [story.why(name).position for name in ("urgent", "first", "second")] == [1, 2, 3]
    assert [card.job for card in story.world.queue()] == ["urgent", "first", "second"]
    assert started(story.finish("running")) == ["urgent"]
    assert started(story.finish("urgent")) == ["first"]


def test_a_share_at_its_limit_lets_nobody_pass_its_own_head() -> None:
    story = Story(nation([share("guest", limit=4)], nodes=1))
    story.submit(job("running", "guest", 2), job("head", "guest", 4), job("behind", "guest", 1))
    assert story.holding() == {"running"}
    story.submit(job("late", "guest", 1))
    assert story.holding() == {"running"}
    assert started(story.finish("running")) == ["head"]


def test_a_new_job_of_another_share_is_tried_although_a_closed_share_still_waits() -> None:
    story = Story(nation([share("closed", limit=1), share("other")], nodes=1))
    story.submit(job("c0", "closed", 1), job("c1", "closed", 1))
    story.submit(job("c2", "closed", 1))
    story.submit(job("o", "other", 1))
    assert story.holding() == {"c0", "o"}


def test_share_cards_say_what_is_used_borrowed_lent_and_waiting() -> None:
    story = Story(nation([share("owner", guarantee=6), share("guest")], nodes=1))
    story.submit(job("g", "guest", 5), job("own", "owner", 2), job("waits", "guest", 2))
    cards = {card.name: card for card in story.world.shares()}
    assert (cards["guest"].used_milli, cards["guest"].borrowed_milli, cards["guest"].waiting_jobs) == (5000, 5000, 1)
    assert (cards["owner"].used_milli, cards["owner"].borrowed_milli, cards["owner"].lent_milli) == (2000, 0, 3000)


def test_a_job_that_arrives_at_a_closed_share_is_not_tried() -> None:
    story = Story(nation([share("closed", limit=1), share("other")], nodes=1))
    story.submit(job("c0", "closed", 1), job("c1", "closed", 1))
    story.happen(job("c2", "closed", 1))
    closed = story.world.columns.shares[int(story.world.columns.classes[0].root) + 1]
    assert (closed.waiting, closed.cursor) == (2, NONE)


def test_a_share_below_its_guarantee_goes_first_even_with_a_job_that_exceeds_it() -> None:
    story = Story(nation([share("guest"), share("owner", guarantee=4)], nodes=1))
    story.submit(job("used", "owner", 8))
    story.wait(HOUR - MINUTE)
    story.submit(job("g", "guest", 6), job("o", "owner", 6))
    assert started(story.finish("used")) == ["o"]


def test_a_share_whose_turn_comes_first_is_not_held_up_by_the_reservation_of_another() -> None:
    story = Story(nation([share("heavy"), share("light")], nodes=1))
    story.submit(job("running", "heavy", 4))
    story.wait(MINUTE)
    story.submit(job("head", "heavy", 8))
    story.submit(job("first", "light", 4, time_ms=9 * HOUR))
    assert story.holding() == {"running", "first"}
