"""Nodes that are reserved ahead of time: who is kept off, who must leave, and whose jobs start there."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dure.kernel import decide
from dure.kernel.backfill import shadow_ms
from dure.model.blockers import BlockerCode
from dure.model.fleet import Timing
from dure.model.jobs import JobState, Outcome
from dure.model.nation import Nation
from dure.model.plan import Stop, StopReason, Warn
from dure.world.cards import MomentCode
from tests.kernel.nations import HOUR, MINUTE, TIMING, job, nation, reservation, share
from tests.kernel.story import Story, decision, started, warned

GRACE = TIMING.grace_ms
NOTICE = TIMING.warning_ms + TIMING.grace_ms
COURSE = [share("course"), share("guest")]
FIRST, SECOND = "s0-h100-0000", "s0-h100-0001"


def maintained(from_ms: int = 2 * HOUR, until_ms: int = 4 * HOUR, *, nodes: int = 1) -> Nation:
    """The first node is out for maintenance for a while."""
    return nation(COURSE, nodes=nodes, reservations=[reservation("cooling", from_ms, until_ms, 0)])


def taught(from_ms: int = HOUR, until_ms: int = 3 * HOUR, *, nodes: int = 2, booked: int = 1) -> Nation:
    """The last nodes are kept for a course."""
    numbers = range(nodes - booked, nodes)
    return nation(
        COURSE, nodes=nodes, reservations=[reservation("lesson", from_ms, until_ms, *numbers, share="course")]
    )


def surely_free_ms(story: Story, name: str) -> int:
    """The shadow time of a job in the only pool there is."""
    return int(shadow_ms(story.world.columns, story.card(name).row, 0, story.now_ms))


def test_a_job_that_is_surely_gone_before_maintenance_starts() -> None:
    story = Story(maintained())
    assert started(story.submit(job("j", "guest", 8, time_ms=2 * HOUR - GRACE))) == ["j"]


def test_a_job_that_might_still_run_waits_until_it_is_over() -> None:
    story = Story(maintained())
    story.submit(job("j", "guest", 8, time_ms=2 * HOUR - GRACE + 1))
    blocker = story.blocker("j", BlockerCode.RESERVED_IN_ADVANCE)
    assert (blocker.holders, blocker.until_ms) == (("cooling",), 4 * HOUR)
    assert surely_free_ms(story, "j") == 4 * HOUR
    story.pass_time(4 * HOUR - 1)
    assert story.card("j").state is JobState.QUEUED
    story.pass_time(1)
    assert story.holds("j")


def test_a_node_drains_by_itself_as_time_limits_pass() -> None:
    story = Story(maintained())
    story.submit(*[job(f"j{hours}", "guest", 1, time_ms=hours * HOUR) for hours in (1, 2, 3)])
    assert story.holding() == {"j1"}
    story.pass_time(30 * MINUTE)
    story.submit(job("late", "guest", 1, time_ms=HOUR))
    story.pass_time(90 * MINUTE - 1)
    assert story.world.running() == []


def test_other_nodes_are_used_meanwhile() -> None:
    story = Story(maintained(nodes=2))
    story.submit(job("j", "guest", 8, time_ms=9 * HOUR))
    assert story.nodes_of("j") == [SECOND]


def test_a_gang_is_kept_off_by_one_of_its_nodes() -> None:
    story = Story(maintained(nodes=2))
    story.submit(job("gang", "guest", 8, nodes=2, time_ms=3 * HOUR))
    story.pass_time(4 * HOUR)
    assert story.card("gang").started_at_ms == 4 * HOUR


def test_a_part_of_a_gpu_is_kept_off_too() -> None:
    story = Story(maintained())
    story.submit(job("whole", "guest", 0.5, time_ms=HOUR), job("long", "guest", 0.5, time_ms=3 * HOUR))
    assert story.holding() == {"whole"}


def test_reserved_nodes_are_for_the_share_while_it_lasts() -> None:
    story = Story(taught())
    story.pass_time(HOUR)
    story.submit(job("g0", "guest", 8, time_ms=8 * HOUR), job("g1", "guest", 8, time_ms=MINUTE))
    assert story.nodes_of("g0") == [FIRST]
    assert not story.holds("g1")
    story.submit(job("c", "course", 8))
    assert story.nodes_of("c") == [SECOND]


def test_a_job_of_the_share_starts_on_the_reserved_nodes_first() -> None:
    """A shared node would be the better fit, but others may use that one."""
    story = Story(taught())
    story.submit(job("g", "guest", 4, time_ms=8 * HOUR))
    assert story.nodes_of("g") == [FIRST]
    story.pass_time(HOUR)
    story.submit(job("c", "course", 4))
    assert story.nodes_of("c") == [SECOND]


def test_jobs_of_the_share_find_their_nodes_however_many_others_wait() -> None:
    declared = replace(taught(), timing=replace(TIMING, backfill_depth=2))
    story = Story(declared)
    story.pass_time(HOUR)
    story.submit(job("g0", "guest", 8, time_ms=8 * HOUR))
    story.submit(*[job(f"g{number}", "guest", 8) for number in range(1, 9)])
    plan = story.submit(job("c", "course", 8))
    assert started(plan) == ["c"]


def test_a_share_below_the_one_it_is_for_may_use_it() -> None:
    tree = [share("school"), share("course", "school"), share("guest")]
    lesson = reservation("lesson", HOUR, 3 * HOUR, 0, share="school")
    story = Story(nation(tree, nodes=1, reservations=[lesson]))
    story.pass_time(HOUR)
    story.submit(job("g", "guest", 1, time_ms=MINUTE), job("c", "course", 1, time_ms=MINUTE))
    assert story.holding() == {"c"}


def test_the_share_may_be_there_before_and_after() -> None:
    story = Story(taught(nodes=1))
    story.submit(job("c", "course", 8, time_ms=8 * HOUR))
    story.pass_time(4 * HOUR)
    assert story.holds("c")


def test_when_it_is_over_the_nodes_are_everybodys() -> None:
    story = Story(taught(nodes=1))
    story.pass_time(HOUR)
    story.submit(job("g", "guest", 8))
    story.pass_time(2 * HOUR)
    assert story.card("g").started_at_ms == 3 * HOUR


def test_a_limit_still_limits_inside_a_reservation() -> None:
    """A reservation gives place, not quota."""
    tree = [share("course", limit=4), share("guest")]
    story = Story(nation(tree, nodes=1, reservations=[reservation("lesson", 0, HOUR, 0, share="course")]))
    story.submit(job("a", "course", 4), job("b", "course", 1))
    assert story.holding() == {"a"}
    story.blocker("b", BlockerCode.SHARE_LIMIT)


def running_before() -> Story:
    """A long job runs, and then its node is reserved from the second hour on."""
    story = Story(nation(COURSE, nodes=1))
    story.submit(job("g", "guest", 8, time_ms=9 * HOUR))
    story.wait(MINUTE)
    return story


def test_who_would_still_be_there_is_warned_and_gone_when_it_begins() -> None:
    story = running_before()
    assert story.declare(maintained()).decisions == ()
    story.pass_time(2 * HOUR - NOTICE - story.now_ms - 1)
    assert story.holds("g")
    warning = decision(story.wait(1), "g")
    assert isinstance(warning, Warn)
    assert (warning.reservation, warning.claimant, warning.stop_at_ms) == ("cooling", "", 2 * HOUR - GRACE)
    assert story.card("g").timeline[-1].what is MomentCode.MUST_LEAVE
    stop = decision(story.wait(TIMING.warning_ms), "g")
    assert isinstance(stop, Stop)
    assert stop.reason is StopReason.RESERVED
    story.finish("g", outcome=Outcome.PREEMPTED)
    story.blocker("g", BlockerCode.RESERVED_IN_ADVANCE)
    story.pass_time(4 * HOUR - story.now_ms)
    assert story.holds("g")


def test_who_left_for_a_reservation_may_still_take_a_guarantee_back() -> None:
    tree = [share("owner", guarantee=8), share("guest")]
    story = Story(nation(tree, nodes=2, timing=Timing(protected_ms=0, warning_ms=MINUTE, grace_ms=30_000)))
    story.submit(job("o", "owner", 8, time_ms=9 * HOUR), job("g", "guest", 8, time_ms=9 * HOUR))
    story.wait(MINUTE)
    number = int(story.nodes_of("o")[0][-1])
    kept = reservation("cooling", HOUR, 20 * HOUR, number)
    story.declare(replace(story.world.nation, reservations=(kept,)))
    story.pass_time(HOUR - story.now_ms + 5 * MINUTE)
    assert story.holds("o")
    assert story.card("g").preemptions == 1


def test_it_keeps_its_quota_until_it_has_left() -> None:
    story = running_before()
    story.declare(maintained())
    story.pass_time(2 * HOUR - NOTICE - story.now_ms)
    assert story.card("g").state is JobState.WARNED
    assert {card.name: card.used_milli for card in story.world.shares()} == {"course": 0, "guest": 8000}


def test_what_may_not_be_preempted_runs_to_its_limit() -> None:
    tree = [share("course"), share("guest", guarantee=8)]
    story = Story(nation(tree, nodes=1))
    story.submit(job("g", "guest", 8, time_ms=3 * HOUR, preemptible=False))
    story.declare(replace(story.world.nation, reservations=(reservation("cooling", 2 * HOUR, 4 * HOUR, 0),)))
    story.pass_time(2 * HOUR + MINUTE)
    assert story.holds("g")
    story.pass_time(HOUR)
    assert story.card("g").stop_reason is StopReason.TIME_LIMIT


def test_a_time_limit_that_comes_first_is_what_stops_it() -> None:
    story = Story(nation(COURSE, nodes=1))
    story.submit(job("g", "guest", 8, time_ms=2 * HOUR - GRACE + 1))
    story.declare(maintained())
    story.pass_time(2 * HOUR - GRACE + 1)
    assert story.card("g").stop_reason is StopReason.RESERVED
    other = Story(nation(COURSE, nodes=1))
    other.submit(job("g", "guest", 8, time_ms=HOUR))
    other.declare(maintained(HOUR - 1_000))
    other.pass_time(HOUR - GRACE - 1_000)
    assert other.card("g").stop_reason is StopReason.RESERVED


def test_a_reservation_that_begins_at_once_warns_at_once() -> None:
    story = running_before()
    plan = story.declare(maintained(story.now_ms, 4 * HOUR))
    assert warned(plan) == ["g"]
    assert story.card("g").stop_at_ms == story.now_ms + TIMING.warning_ms


def test_a_reservation_that_is_withdrawn_spares_who_was_warned() -> None:
    story = running_before()
    story.declare(maintained())
    story.pass_time(2 * HOUR - NOTICE - story.now_ms)
    assert story.card("g").state is JobState.WARNED
    story.declare(nation(COURSE, nodes=1))
    assert story.holds("g")
    story.pass_time(4 * HOUR)
    assert story.holds("g")


def test_a_reservation_that_stands_keeps_its_warning_through_a_new_declaration() -> None:
    story = running_before()
    story.declare(maintained())
    story.pass_time(2 * HOUR - NOTICE - story.now_ms)
    stop_at_ms = story.card("g").stop_at_ms
    story.wait(1_000)
    story.declare(maintained())
    assert (story.card("g").state, story.card("g").stop_at_ms) == (JobState.WARNED, stop_at_ms)
    story.pass_time(TIMING.warning_ms)
    assert story.card("g").preemptions == 1


def test_a_cancelled_job_that_was_to_leave_is_stopped_as_cancelled() -> None:
    story = running_before()
    story.declare(maintained())
    story.pass_time(2 * HOUR - NOTICE - story.now_ms)
    story.cancel("g")
    assert story.card("g").stop_reason is StopReason.CANCELLED


def test_an_owner_does_not_claim_a_node_that_will_be_reserved() -> None:
    owned = nation([share("owner", guarantee=16), share("guest")], nodes=2)
    story = Story(owned)
    story.submit(*[job(f"g{number}", "guest", 8, time_ms=HOUR) for number in range(2)])
    story.wait(TIMING.protected_ms)
    story.declare(replace(owned, reservations=(reservation("cooling", 3 * HOUR, 4 * HOUR, 0),)))
    story.submit(job("long", "owner", 8, time_ms=8 * HOUR), job("short", "owner", 8, time_ms=HOUR))
    assert (story.nodes_of("long"), story.nodes_of("short")) == ([SECOND], [FIRST])


def test_a_claim_counts_the_time_its_victims_have_to_leave() -> None:
    """Claimed at ten minutes, it would begin when warning and grace are over: so much less time is left."""
    owned = nation([share("owner", guarantee=8), share("guest")], nodes=1)
    for late_ms, state in ((0, JobState.CLAIMED), (1, JobState.QUEUED)):
        story = Story(owned)
        story.submit(job("g", "guest", 8, time_ms=HOUR))
        story.wait(TIMING.protected_ms)
        story.declare(replace(owned, reservations=(reservation("cooling", 3 * HOUR, 4 * HOUR, 0),)))
        left_ms = 3 * HOUR - story.now_ms - NOTICE - GRACE
        story.submit(job("d", "owner", 8, time_ms=left_ms + late_ms))
        assert story.card("d").state is state


def test_a_vain_reclaim_of_a_long_job_does_not_stop_a_shorter_one() -> None:
    owned = nation([share("owner", guarantee=8), share("guest")], nodes=1)
    story = Story(owned)
    story.submit(job("g", "guest", 8, time_ms=90 * MINUTE))
    story.wait(TIMING.protected_ms)
    story.declare(replace(owned, reservations=(reservation("cooling", 3 * HOUR, 4 * HOUR, 0),)))
    story.submit(job("long", "owner", 8, time_ms=8 * HOUR), job("short", "owner", 8, time_ms=HOUR))
    assert (story.card("long").state, story.card("short").state) == (JobState.QUEUED, JobState.CLAIMED)


def test_the_head_of_the_line_counts_reserved_nodes_as_not_ready() -> None:
    """Node 0 is idle but reserved in an hour; node 1 is free in two. The head wants both for long: after four hours."""
    story = Story(maintained(HOUR, 4 * HOUR, nodes=2))
    story.submit(job("r", "guest", 8, time_ms=2 * HOUR))
    assert story.nodes_of("r") == [SECOND]
    story.submit(job("head", "guest", 8, nodes=2, time_ms=2 * HOUR))
    assert surely_free_ms(story, "head") == 4 * HOUR
    plan = story.submit(
        job("brief", "guest", 8, time_ms=HOUR - GRACE), job("too-long", "guest", 8, time_ms=HOUR - GRACE + 1)
    )
    assert started(plan) == ["brief"]


def test_a_short_head_fits_in_before_the_reservation() -> None:
    story = Story(maintained(3 * HOUR, 4 * HOUR, nodes=2))
    story.submit(job("r", "guest", 8, time_ms=HOUR), job("head", "guest", 8, nodes=2, time_ms=2 * HOUR - GRACE))
    assert surely_free_ms(story, "head") == HOUR
    story.submit(job("next", "guest", 8, nodes=2, time_ms=2 * HOUR))
    assert surely_free_ms(story, "next") == 4 * HOUR


def test_the_kernel_wakes_for_what_a_reservation_changes_and_for_nothing_else() -> None:
    story = Story(maintained())
    story.decide()
    wakes = []
    while (wake_ms := story.world.next_wake_ms()) is not None:
        wakes.append(wake_ms)
        story.now_ms = wake_ms
        story.decide()
    assert wakes == [2 * HOUR - NOTICE, 2 * HOUR, 4 * HOUR]


def test_a_replayed_world_knows_who_must_leave() -> None:
    story = running_before()
    story.declare(maintained())
    story.pass_time(2 * HOUR - NOTICE - story.now_ms)
    other = Story(nation(COURSE, nodes=1))
    for event in story.events[1:]:
        other.world.apply(event)
    assert other.world.jobs == story.world.jobs
    later_ms = story.now_ms + TIMING.warning_ms
    assert decide(other.world, later_ms) == decide(story.world, later_ms)


LINES = st.lists(
    st.tuples(st.integers(0, 90), st.integers(1, 4), st.integers(1, 3), st.integers(1, 60)), min_size=2, max_size=14
)
WINDOWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 120), st.integers(1, 60), st.booleans()), min_size=1, max_size=4
)


def booked(windows: list[tuple[int, int, int, bool]]) -> Nation:
    """Reservations of single nodes that do not overlap, half of them for the course."""
    kept, ends = [], {0: 0, 1: 0, 2: 0}
    for number, (node, begins, minutes, is_course) in enumerate(windows):
        from_ms = max(ends[node], begins * MINUTE)
        ends[node] = from_ms + minutes * MINUTE
        kept.append(reservation(f"r{number}", from_ms, ends[node], node, share="course" if is_course else ""))
    return nation(COURSE, nodes=3, gpus=4, reservations=kept, timing=Timing(protected_ms=0, warning_ms=0, grace_ms=0))


@settings(max_examples=80, deadline=None)
@given(LINES, WINDOWS)
def test_the_head_never_starts_later_than_promised_beside_reservations(
    line: list[tuple[int, int, int, int]], windows: list[tuple[int, int, int, bool]]
) -> None:
    """With exact durations, and nobody of the reservations' share about: the audit looks on, and promises are kept."""
    story = Story(booked(windows))
    arrivals = sorted((minute * MINUTE, number) for number, (minute, *_) in enumerate(line))
    promised: dict[str, int] = {}
    while arrivals or story.world.queue() or story.world.running():
        ends = [(card.started_at_ms or 0) + card.submitted.time_ms for card in story.world.running()]
        wake_ms = story.world.next_wake_ms()
        times = [*ends, *(at_ms for at_ms, _ in arrivals), *([] if wake_ms is None else [wake_ms])]
        story.now_ms = max(story.now_ms, min(times))
        for card in story.world.running():
            if (card.started_at_ms or 0) + card.submitted.time_ms == story.now_ms:
                story.end(card.job, Outcome.SUCCEEDED)
        while arrivals and arrivals[0][0] == story.now_ms:
            _, number = arrivals.pop(0)
            _, gpus, nodes, minutes = line[number]
            story.happen(job(f"j{number}", "guest", gpus, nodes=nodes, at_ms=story.now_ms, time_ms=minutes * MINUTE))
        story.decide()
        for card in story.world.running():
            assert story.now_ms <= promised.get(card.job, story.now_ms)
            promised.pop(card.job, None)
        if waiting := story.world.queue():
            head = waiting[0].job
            earliest_ms = surely_free_ms(story, head)
            assert earliest_ms <= promised.setdefault(head, earliest_ms)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.integers(1, 2), st.integers(1, 90)), max_size=14), WINDOWS
)
def test_nobody_else_is_on_a_reserved_node(
    jobs: list[tuple[bool, int, int, int]], windows: list[tuple[int, int, int, bool]]
) -> None:
    story = Story(booked(windows))
    for number, (is_course, gpus, nodes, minutes) in enumerate(jobs):
        owner = "course" if is_course else "guest"
        story.submit(job(f"j{number}", owner, gpus, nodes=nodes, time_ms=minutes * MINUTE))
        story.pass_time(7 * MINUTE)
        for each in story.world.nation.reservations:
            if each.from_ms <= story.now_ms < each.until_ms:
                there = [card for card in story.world.running() if set(story.nodes_of(card.job)) & set(each.chosen)]
                assert all(each.share and card.submitted.project == "course-project" for card in there)
