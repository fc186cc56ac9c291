"""The lender's ledger says what was lent and taken back, adds up, and can be made anew from the events."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from msgspec.structs import replace

from dure.model.events import AttemptEnded, FleetEvent, NationApplied, Planned, decode_fleet_event, encode
from dure.model.fleet import GpuClass, Timing
from dure.model.jobs import Outcome
from dure.model.nation import Nation
from dure.model.plan import Start
from dure.model.units import DAY_MS, HOUR_MS
from dure.reports.lending import LendingLine, LendingReport, lending_report
from dure.reports.lending_totals import LendingTotals
from dure.reports.viewer import EVERYTHING, PUBLIC, Viewer
from tests.kernel.nations import MINUTE, TIMING, job, nation, share
from tests.kernel.story import Story
from tests.kernel.test_properties import ACTIONS, play, trees

OWNERS = [share("owner", guarantee=24), share("lab", guarantee=8), share("startup")]


def totals_of(events: list[FleetEvent]) -> LendingTotals:
    totals = LendingTotals()
    for event in events:
        totals.apply(event)
    return totals


def report_of(
    story: Story, viewer: Viewer = EVERYTHING, from_ms: int = 0, until_ms: int | None = None
) -> LendingReport:
    days = totals_of(story.events).days(story.now_ms)
    until_ms = story.now_ms if until_ms is None else until_ms
    return lending_report(story.world.nation, days, from_ms, until_ms, story.now_ms, viewer)


def line(report: LendingReport, lender: str, borrower: str) -> LendingLine:
    (found,) = [each for each in report.lines if (each.lender, each.borrower) == (lender, borrower)]
    return found


def lent_for_three_hours_then_taken_back() -> Story:
    """The startup borrows 16 GPUs; after three hours the owner wants all of its 24 back and has them a minute later."""
    story = Story(nation(OWNERS))
    story.submit(job("s", "startup", 8, nodes=2, time_ms=9 * HOUR_MS))
    story.submit(job("l", "lab", 8, time_ms=HOUR_MS))
    story.pass_time(HOUR_MS)
    story.pass_time(2 * HOUR_MS)
    story.submit(job("o", "owner", 8, nodes=3, time_ms=2 * HOUR_MS))
    story.pass_time(HOUR_MS)
    return story


def test_gpu_hours_are_lent_in_proportion_to_what_is_idle() -> None:
    report = report_of(lent_for_three_hours_then_taken_back())
    # The lab uses all of its own for an hour; then 32 GPUs are idle of which it has a quarter. The startup holds its
    # 16 a minute longer than three hours: it is lent to until it has gone.
    assert line(report, "owner", "startup").lent_gpu_hours == round(16 + 12 * (2 + 1 / 60), 6)
    assert line(report, "lab", "startup").lent_gpu_hours == round(4 * (2 + 1 / 60), 6)
    assert report.lent_gpu_hours == round(16 * (3 + 1 / 60), 6)


def test_a_reclaim_counts_from_demand_to_gpus() -> None:
    report = report_of(lent_for_three_hours_then_taken_back())
    found = line(report, "owner", "startup")
    assert (found.reclaims, found.mean_reclaim_ms, found.longest_reclaim_ms) == (1, MINUTE, MINUTE)
    assert (report.reclaims, report.late_reclaims) == (1, 0)
    assert found.longest_reclaim_ms is not None
    assert found.longest_reclaim_ms <= report.warning_and_grace_ms
    # 16 of its 24 GPUs came from the startup, and its job has run for 59 minutes.
    assert found.got_back_gpu_hours == round(16 * 59 / 60, 6)


def test_a_demand_that_meets_a_protected_borrower_began_when_it_was_made() -> None:
    story = Story(nation(OWNERS))
    story.submit(job("s", "startup", 8, nodes=4, time_ms=9 * HOUR_MS))
    story.pass_time(4 * MINUTE)
    story.submit(job("o", "owner", 8))
    story.pass_time(HOUR_MS)
    report = report_of(story)
    assert report.longest_reclaim_ms == TIMING.protected_ms - 4 * MINUTE + TIMING.warning_ms
    assert report.late_reclaims == 0


def test_waiting_behind_ones_own_jobs_is_no_demand() -> None:
    story = Story(nation([share("owner", guarantee=16), share("startup")]))
    story.submit(job("own", "owner", 8, nodes=2, time_ms=HOUR_MS))
    story.submit(job("s", "startup", 8, nodes=2, time_ms=9 * HOUR_MS))
    story.submit(job("next", "owner", 8, nodes=2, time_ms=HOUR_MS))
    story.pass_time(30 * MINUTE)
    story.set_node("s0-h100-0000", "drained")
    story.set_node("s0-h100-0001", "drained")
    story.finish("own")
    story.pass_time(HOUR_MS)
    assert report_of(story).longest_reclaim_ms == TIMING.warning_ms


def test_a_claim_that_is_given_up_is_no_reclaim() -> None:
    story = Story(nation(OWNERS))
    story.submit(job("s", "startup", 8, nodes=4, time_ms=9 * HOUR_MS))
    story.pass_time(HOUR_MS)
    story.submit(job("o", "owner", 8))
    story.cancel("o")
    story.pass_time(HOUR_MS)
    report = report_of(story)
    assert report.reclaims == 0
    assert report.lent_gpu_hours == 32 * 2


def test_a_reclaim_after_protection_warning_and_grace_is_late() -> None:
    story = Story(nation(OWNERS))
    story.submit(job("s", "startup", 8, nodes=4, time_ms=9 * HOUR_MS))
    story.pass_time(HOUR_MS)
    story.submit(job("o", "owner", 8))
    story.wait(HOUR_MS)
    story.finish("s", outcome=Outcome.PREEMPTED)
    report = report_of(story)
    assert (report.reclaims, report.late_reclaims, report.longest_reclaim_ms) == (1, 1, HOUR_MS)


def test_inside_a_parent_its_children_lend_to_each_other_and_beyond_it_the_parents_do() -> None:
    shares = [
        share("samsung", guarantee=16),
        share("chips", "samsung", guarantee=8),
        share("phones", "samsung", guarantee=8),
        share("naver", guarantee=16),
    ]
    story = Story(nation(shares))
    story.submit(job("p", "phones", 8, nodes=3, time_ms=9 * HOUR_MS))
    story.pass_time(HOUR_MS)
    report = report_of(story)
    inner, outer = line(report, "chips", "phones"), line(report, "naver", "samsung")
    assert (inner.parent, inner.lent_gpu_hours) == ("samsung", 8)
    assert (outer.parent, outer.lent_gpu_hours) == ("", 8)
    assert len(report.lines) == 2


def test_what_is_undivided_has_no_lender_and_is_not_in_the_sum() -> None:
    story = Story(nation([share("owner", guarantee=8), share("startup")]))
    story.submit(job("s", "startup", 8, nodes=4, time_ms=9 * HOUR_MS))
    story.pass_time(HOUR_MS)
    report = report_of(story)
    assert (line(report, "", "startup").lent_gpu_hours, line(report, "owner", "startup").lent_gpu_hours) == (24, 8)
    assert report.lent_gpu_hours == 8


def test_reference_gpu_hours_use_the_exchange_factor() -> None:
    story = Story(replace(nation(OWNERS), gpu_classes=(GpuClass(name="H100", exchange_milli=2_500),)))
    story.submit(job("s", "startup", 8, time_ms=9 * HOUR_MS))
    story.pass_time(HOUR_MS)
    report = report_of(story)
    assert (report.lent_gpu_hours, report.reference_gpu_hours) == (8, 20)


def test_a_period_is_whole_days_and_days_add_up() -> None:
    story = Story(nation(OWNERS))
    story.wait(20 * HOUR_MS)
    story.submit(job("s", "startup", 8, nodes=2, time_ms=90 * HOUR_MS))
    story.pass_time(52 * HOUR_MS)
    first, second, third = (
        report_of(story, from_ms=day * DAY_MS + HOUR_MS, until_ms=(day + 1) * DAY_MS - HOUR_MS) for day in range(3)
    )
    assert [each.lent_gpu_hours for each in (first, second, third)] == [4 * 16, 24 * 16, 24 * 16]
    assert (second.from_ms, second.until_ms) == (DAY_MS, 2 * DAY_MS)
    assert report_of(story).lent_gpu_hours == 52 * 16


def test_days_on_which_nothing_was_lent_are_skipped() -> None:
    story = Story(nation(OWNERS))
    story.wait(400 * DAY_MS)
    story.submit(job("s", "startup", 8, time_ms=HOUR_MS))
    story.pass_time(2 * HOUR_MS)
    totals = totals_of(story.events)
    assert len(totals.days(story.now_ms + 1_000 * DAY_MS)) == 2
    assert report_of(story).from_ms == 400 * DAY_MS


def test_an_owner_sees_its_own_lines_and_nobody_else_sees_any() -> None:
    story = lent_for_three_hours_then_taken_back()
    assert {each.lender for each in report_of(story, Viewer(organisation="owner")).lines} == {"owner"}
    assert {each.lender for each in report_of(story, Viewer(organisation="startup")).lines} == {"owner", "lab"}
    assert report_of(story, PUBLIC).lines == ()
    lab = report_of(story, Viewer(organisation="lab"))
    assert (lab.lent_gpu_hours, lab.reclaims) == (line(report_of(story), "lab", "startup").lent_gpu_hours, 0)


def test_a_new_nation_goes_on_with_what_is_held() -> None:
    story = Story(nation(OWNERS))
    story.submit(job("s", "startup", 8, nodes=2, time_ms=9 * HOUR_MS))
    story.pass_time(HOUR_MS)
    story.declare(nation([share("owner", guarantee=24), share("lab", guarantee=0), share("startup", guarantee=8)]))
    story.pass_time(HOUR_MS)
    report = report_of(story)
    assert (line(report, "owner", "startup").lent_gpu_hours, line(report, "lab", "startup").lent_gpu_hours) == (20, 4)


def test_jobs_that_are_over_are_forgotten() -> None:
    story = Story(nation(OWNERS))
    story.submit(*[job(f"j{number}", "lab", 8) for number in range(6)])
    story.cancel("j5")
    story.finish("j0", "j1")
    story.finish("j2", outcome=Outcome.FAILED)
    story.cancel("j3")
    story.finish_stopping()
    assert set(totals_of(story.events)._jobs) == {"j4"}


@settings(max_examples=60, deadline=None)
@given(trees(), ACTIONS)
def test_what_was_lent_adds_up_to_what_was_borrowed_at_every_instant(
    declared: Nation, actions: list[tuple[Any, ...]]
) -> None:
    story = play(declared, actions)
    story.now_ms += MINUTE
    sums: Counter[str] = Counter()
    for day in totals_of(story.events).days(story.now_ms):
        for pair, found in day.pairs.items():
            sums[pair.parent] += found.lent
    assert +sums == +covered_by_hand(declared, story.events, story.now_ms)


@settings(max_examples=60, deadline=None)
@given(trees(), ACTIONS)
def test_totals_made_anew_from_the_ledgers_bytes_are_the_same(declared: Nation, actions: list[tuple[Any, ...]]) -> None:
    story = play(declared, actions)
    again = totals_of([decode_fleet_event(encode(event)) for event in story.events])
    assert again.days(story.now_ms) == totals_of(story.events).days(story.now_ms)


def covered_by_hand(declared: Nation, events: list[FleetEvent], until_ms: int) -> Counter[str]:
    """By parent: GPU time its children borrowed, as far as it was nobody's or idle and lent; instant by instant."""
    covered: Counter[str] = Counter()
    held: dict[str, tuple[str, int]] = {}
    projects: dict[str, str] = {}
    before_ms = 0
    for event in [*events, NationApplied(at_ms=until_ms, by="", nation=declared)]:
        for parent in {"", *(each.name for each in declared.shares)}:
            covered[parent] += _covered_now(declared, parent, held) * (event.at_ms - before_ms)
        before_ms = event.at_ms
        projects.update({event.job: event.project} if hasattr(event, "project") and hasattr(event, "job") else {})
        if isinstance(event, AttemptEnded):
            held.pop(event.job, None)
        for start in event.plan.decisions if isinstance(event, Planned) else ():
            if isinstance(start, Start):
                milli = sum(len(each.gpus) * each.milli for each in start.placements)
                held[start.job] = (projects[start.job.partition("_")[0]].removesuffix("-project"), milli)
    return covered


def _covered_now(declared: Nation, parent: str, held: dict[str, tuple[str, int]]) -> int:
    parents = {each.name: each.parent or "" for each in declared.shares}
    below: Counter[str] = Counter()
    for owner, milli in held.values():
        while owner:
            below[owner] += milli
            owner = parents[owner]
    children = [(each.name, each.amounts[0]) for each in declared.shares if (each.parent or "") == parent]
    whole = next((each.amounts[0].guarantee_milli for each in declared.shares if each.name == parent), None)
    whole = declared.capacity_milli("H100") if whole is None else whole
    borrowed = sum(max(0, below[name] - amount.guarantee_milli) for name, amount in children)
    idle = sum(max(0, min(amount.guarantee_milli - below[name], amount.lend_milli)) for name, amount in children)
    unowned = max(0, whole - sum(amount.guarantee_milli for _, amount in children))
    return min(borrowed, unowned + idle) if children else 0


def test_the_time_promised_is_the_nations() -> None:
    story = Story(nation(OWNERS, timing=Timing(protected_ms=5, warning_ms=3, grace_ms=4)))
    report = report_of(story)
    assert (report.protected_ms, report.warning_and_grace_ms, report.mean_reclaim_ms) == (5, 7, None)
