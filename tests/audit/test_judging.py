"""Each rule of the audit by itself: a plan that breaks exactly this one, and a lawful twin that passes."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from dure.audit import Books
from dure.model.events import (
    AttemptEnded,
    AttemptStarted,
    CancelRequested,
    FleetEvent,
    JobSubmitted,
    NationApplied,
    NodeChanged,
    Planned,
)
from dure.model.jobs import Outcome
from dure.model.nation import Nation
from dure.model.plan import Claim, Decision, Placement, Plan, Spare, Start, Stop, StopReason, Warn
from tests.kernel.nations import HOUR, MINUTE, TIMING, job, nation, reservation, share

OWNED = nation([share("owner", guarantee=8), share("guest", limit=12)], nodes=2, sites=2, classes=("H100", "H200"))
OLD = TIMING.protected_ms
WARNED_AT = OLD + TIMING.warning_ms


def at(number: int, *gpus: int, site: int = 0, gpu_class: str = "h100", milli: int = 1000) -> Placement:
    return Placement(node=f"s{site}-{gpu_class}-{number:04d}", gpus=gpus, milli=milli)


ALL = tuple(range(8))


def start(name: str, *placements: Placement, borrowed: bool = True, **changes: Any) -> Start:
    lawful = Start(job=name, attempt=1, site="site0", gpu_class="H100", placements=placements, borrowed=borrowed)
    return replace(lawful, **changes)


def claim(name: str, *placements: Placement, **changes: Any) -> Claim:
    return replace(Claim(job=name, site="site0", gpu_class="H100", placements=placements), **changes)


def warn(name: str, claimant: str, stop_at_ms: int = WARNED_AT) -> Warn:
    return Warn(job=name, attempt=1, claimant=claimant, stop_at_ms=stop_at_ms)


def stop(name: str, reason: StopReason) -> Stop:
    return Stop(job=name, attempt=1, reason=reason, grace_ms=TIMING.grace_ms)


def books(*happened: FleetEvent | Decision, declared: Nation = OWNED) -> Books:
    """Books after these events; a decision stands for a plan of its own at time 0."""
    found = Books()
    found.apply(NationApplied(at_ms=0, by="test", nation=declared))
    for each in happened:
        if isinstance(each, Start | Claim | Warn | Spare | Stop):
            found.apply(Planned(at_ms=0, plan=Plan(at_ms=0, decisions=(each,))))
        else:
            found.apply(each)
    return found


def broken(found: Books, *decisions: Decision, now_ms: int = 0) -> list[str]:
    """The rules that a plan breaks."""
    return [each.rule for each in found.check(Plan(at_ms=now_ms, decisions=decisions), now_ms)]


def ended(name: str, outcome: Outcome, attempt: int = 1) -> AttemptEnded:
    return AttemptEnded(at_ms=0, job=name, attempt=attempt, outcome=outcome, exit_code=1)


def node(name: Placement, state: str) -> NodeChanged:
    return NodeChanged(at_ms=0, node=name.node, state=state, by="test")


def test_every_decision_is_about_a_job_in_the_books() -> None:
    found = books(job("j", "guest"))
    assert broken(found, start("ghost", at(0, 0))) == ["unknown-job"]
    assert broken(found, start("j", at(0, 0))) == []


def test_a_job_is_started_once() -> None:
    found = books(job("j", "guest"), start("j", at(0, 0)))
    again = start("j", at(0, 1), attempt=2)
    assert broken(found, again) == ["started-twice"]
    found.apply(ended("j", Outcome.NODE_LOST))
    assert broken(found, again) == []


def test_attempts_are_counted_one_by_one() -> None:
    found = books(job("j", "guest"))
    assert broken(found, start("j", at(0, 0), attempt=2)) == ["attempt-skipped"]
    assert broken(found, start("j", at(0, 0))) == []


def test_only_a_class_that_was_asked_for_is_given() -> None:
    found = books(job("j", "guest", classes=("H100",)), job("either", "guest", classes=("H200", "H100")))
    other = at(0, 0, gpu_class="h200")
    assert broken(found, start("j", other, gpu_class="H200")) == ["wrong-class"]
    assert broken(found, start("either", other, gpu_class="H200")) == []


def test_the_nodes_hold_the_class_that_is_named() -> None:
    found = books(job("j", "guest"))
    assert broken(found, start("j", at(0, 0, gpu_class="h200"))) == ["wrong-class"]


def test_a_job_without_gpus_may_use_nodes_of_any_class() -> None:
    found = books(job("j", "guest", 0))
    assert broken(found, start("j", at(0, gpu_class="h200"), gpu_class="")) == []


def test_a_job_runs_where_policy_allows() -> None:
    found = books(job("j", "guest", sites=["site0"]), job("anywhere", "guest"))
    there = at(0, 0, site=1)
    assert broken(found, start("j", there, site="site1")) == ["wrong-site"]
    assert broken(found, start("anywhere", there, site="site1")) == []


def test_a_gang_gets_as_many_nodes_as_it_wants_all_different() -> None:
    found = books(job("gang", "guest", nodes=2))
    assert broken(found, start("gang", at(0, 0))) == ["gang-not-whole"]
    assert broken(found, start("gang", at(0, 0), at(0, 1))) == ["gang-not-whole"]
    assert broken(found, start("gang", at(0, 0), at(1, 0))) == []


def test_a_gang_stays_in_one_group_of_equal_nodes() -> None:
    site = OWNED.sites[0]
    more = replace(site.nodes[0], name="s0-more")
    wider = replace(OWNED, sites=(replace(site, nodes=(*site.nodes, more)), *OWNED.sites[1:]))
    found = books(job("gang", "guest", nodes=2), declared=wider)
    elsewhere = Placement(node="s0-more-0000", gpus=(0,), milli=1000)
    assert broken(found, start("gang", at(0, 0), elsewhere)) == ["gang-over-groups"]
    assert broken(found, start("gang", at(0, 0), at(1, 0))) == []


def test_a_gang_stays_at_one_site() -> None:
    found = books(job("gang", "guest", nodes=2))
    assert broken(found, start("gang", at(0, 0), at(0, 0, site=1))) == ["gang-over-sites"]


@pytest.mark.parametrize("state", ["down", "drained", "cordoned", "suspect"])
def test_nodes_out_of_service_take_nothing(state: str) -> None:
    found = books(job("j", "guest"), node(at(0), state))
    assert broken(found, start("j", at(0, 0))) == ["node-out-of-service"]
    assert broken(found, start("j", at(1, 0))) == []
    found.apply(node(at(0), "up"))
    assert broken(found, start("j", at(0, 0))) == []


def test_every_rank_gets_the_amount_it_asked_for() -> None:
    found = books(job("two", "guest", 2), job("half", "guest", 0.5))
    assert broken(found, start("two", at(0, 0))) == ["wrong-amount"]
    assert broken(found, start("two", at(0, 0, 1, 2))) == ["wrong-amount"]
    assert broken(found, start("two", at(0, 0, 1))) == []
    assert broken(found, start("half", at(0, 0))) == ["wrong-amount"]
    assert broken(found, start("half", at(0, 0, milli=500))) == []


def test_a_gpu_is_named_once() -> None:
    found = books(job("j", "guest", 2))
    assert broken(found, start("j", at(0, 1, 1))) == ["gpu-named-twice"]


@pytest.mark.parametrize("gpu", [-1, 8])
def test_a_gpu_exists(gpu: int) -> None:
    found = books(job("j", "guest"))
    assert broken(found, start("j", at(0, gpu))) == ["no-such-gpu"]
    assert broken(found, start("j", at(0, 7))) == []


def test_a_gpu_is_given_once() -> None:
    found = books(job("a", "guest"), job("b", "guest"), start("a", at(0, 0)))
    assert broken(found, start("b", at(0, 0))) == ["gpu-overcommitted"]
    assert broken(found, start("b", at(0, 1))) == []
    found.apply(ended("a", Outcome.SUCCEEDED))
    assert broken(found, start("b", at(0, 0))) == []


def test_parts_of_a_gpu_make_at_most_one() -> None:
    found = books(job("a", "guest", 0.6), job("b", "guest", 0.4), job("c", "guest", 0.5))
    found.apply(Planned(at_ms=0, plan=Plan(at_ms=0, decisions=(start("a", at(0, 0, milli=600)),))))
    assert broken(found, start("b", at(0, 0, milli=400))) == []
    assert broken(found, start("c", at(0, 0, milli=500))) == ["gpu-overcommitted"]


@pytest.mark.parametrize(
    ("amount", "rule"), [({"cpus": 40}, "cpus-overcommitted"), ({"memory_mib": 600_000}, "memory-overcommitted")]
)
def test_cpus_and_memory_of_a_node_are_enough(amount: dict[str, int], rule: str) -> None:
    submitted: list[JobSubmitted] = [replace(job(name, "guest"), **amount) for name in "ab"]
    found = books(*submitted, start("a", at(0, 0)))
    assert broken(found, start("b", at(0, 1))) == [rule]
    assert broken(found, start("b", at(1, 1))) == []


def test_no_share_exceeds_its_limit() -> None:
    found = books(job("j", "guest", 8), start("j", at(0, *ALL)), job("five", "guest", 5), job("four", "guest", 4))
    assert broken(found, start("five", at(1, *ALL[:5]))) == ["over-limit"]
    assert broken(found, start("four", at(1, *ALL[:4]))) == []


def test_nobody_takes_what_its_owner_does_not_lend() -> None:
    tree = nation([share("owner", guarantee=6, lend=0), share("guest")], nodes=1)
    found = books(job("three", "guest", 3), job("two", "guest", 2), job("own", "owner", 6), declared=tree)
    assert broken(found, start("three", at(0, 0, 1, 2))) == ["overdrawn"]
    assert broken(found, start("two", at(0, 0, 1)), start("own", at(0, *ALL[2:]), borrowed=False)) == []


def test_what_a_grandchild_keeps_is_not_lent_by_its_parent() -> None:
    tree = nation([share("firm", guarantee=6), share("kept", "firm", guarantee=2, lend=0), share("guest")], nodes=1)
    found = books(job("seven", "guest", 7), job("six", "guest", 6), declared=tree)
    assert broken(found, start("seven", at(0, *ALL[:7]))) == ["overdrawn"]
    assert broken(found, start("six", at(0, *ALL[:6]))) == []


def test_a_start_says_truly_whether_it_borrows() -> None:
    found = books(job("g", "guest"), job("o", "owner", 8), job("more", "owner", 8, nodes=2))
    assert broken(found, start("g", at(0, 0), borrowed=False)) == ["borrowed-wrongly-stated"]
    assert broken(found, start("o", at(0, *ALL), borrowed=True)) == ["borrowed-wrongly-stated"]
    assert broken(found, start("o", at(0, *ALL), borrowed=False)) == []


def test_only_preemptible_jobs_borrow() -> None:
    found = books(job("g", "guest", preemptible=False), job("o", "owner", 8, preemptible=False))
    assert broken(found, start("g", at(0, 0))) == ["borrows-unpreemptible"]
    assert broken(found, start("o", at(0, *ALL), borrowed=False)) == []


def lent_out(*, declared: Nation = OWNED, **changes: Any) -> Books:
    """A guest on all of the first node; the owner wants 8."""
    guest = job("g", "guest", 8, **changes)
    return books(guest, start("g", at(0, *ALL)), job("d", "owner", 8), declared=declared)


def test_a_reclaim_by_the_rules_passes() -> None:
    assert broken(lent_out(), claim("d", at(0)), warn("g", "d"), now_ms=OLD) == []


def test_only_waiting_jobs_claim() -> None:
    found = lent_out()
    found.apply(Planned(at_ms=OLD, plan=Plan(at_ms=OLD, decisions=(claim("d", at(0)), warn("g", "d")))))
    rules = broken(found, claim("d", at(0)), now_ms=OLD)
    assert "claims-while-not-waiting" in rules


def test_a_job_that_was_reclaimed_never_reclaims() -> None:
    found = lent_out()
    found.apply(Planned(at_ms=0, plan=Plan(at_ms=0, decisions=(start("d", at(1, *ALL), borrowed=False),))))
    found.apply(ended("d", Outcome.PREEMPTED))
    assert broken(found, claim("d", at(0)), warn("g", "d"), now_ms=OLD) == ["victim-reclaims"]


def test_a_job_that_lost_its_node_may_reclaim() -> None:
    found = lent_out()
    found.apply(Planned(at_ms=0, plan=Plan(at_ms=0, decisions=(start("d", at(1, *ALL), borrowed=False),))))
    found.apply(ended("d", Outcome.NODE_LOST))
    assert broken(found, claim("d", at(0)), warn("g", "d"), now_ms=OLD) == []


def test_only_a_guarantee_claims() -> None:
    tree = nation([share("owner", guarantee=4), share("guest")], nodes=1)
    found = books(job("d", "owner", 5), job("e", "owner", 4), declared=tree)
    assert broken(found, claim("d", at(0))) == ["claims-beyond-guarantee"]
    assert broken(found, claim("e", at(0))) == []


def test_no_victim_is_unneeded() -> None:
    guests = [job("g0", "guest", 4), job("g1", "guest", 4)]
    found = books(*guests, start("g0", at(0, *ALL[:4])), start("g1", at(0, *ALL[4:])), job("d", "owner", 4))
    assert broken(found, claim("d", at(0)), warn("g0", "d"), warn("g1", "d"), now_ms=OLD) == ["victim-unneeded"] * 2
    assert broken(found, claim("d", at(0)), warn("g0", "d"), now_ms=OLD) == []


def test_a_victim_is_needed_for_quota_alone() -> None:
    tree = nation([share("owner", guarantee=8), share("guest")], nodes=1)
    guests = [job("g0", "guest", 4), job("g1", "guest", 4)]
    found = books(
        *guests, start("g0", at(0, *ALL[:4])), start("g1", at(0, *ALL[4:])), job("d", "owner", 4), declared=tree
    )
    assert broken(found, claim("d", at(0)), warn("g0", "d"), now_ms=OLD) == []


def test_a_victim_is_needed_for_cpus_alone() -> None:
    found = books(job("g", "guest", 1, cpus=40), start("g", at(0, 0)), job("d", "owner", 4, cpus=40))
    assert broken(found, claim("d", at(0)), warn("g", "d"), now_ms=OLD) == []


def test_gpus_promised_to_one_claim_are_not_idle_for_another() -> None:
    tree = nation([share("a", guarantee=4), share("b", guarantee=4), share("guest")], nodes=1)
    guests = [job("g0", "guest", 4), job("da", "a", 4), job("db", "b", 4)]
    found = books(*guests, start("g0", at(0, *ALL[:4])), declared=tree)
    both = (claim("da", at(0, *ALL[4:])), claim("db", at(0)), warn("g0", "db"))
    assert broken(found, *both, now_ms=OLD) == []


def test_only_running_jobs_are_warned() -> None:
    found = lent_out()
    found.apply(job("queued", "guest"))
    rules = broken(found, claim("d", at(0)), warn("g", "d"), warn("g", "d"), now_ms=OLD)
    assert "warned-while-not-running" in rules


def test_only_preemptible_jobs_are_warned() -> None:
    tree = nation([share("owner", guarantee=8), share("guest", guarantee=8)], nodes=2)
    smaller = nation([share("owner", guarantee=8), share("guest")], nodes=2)
    for preemptible, rules in ((False, ["victim-not-preemptible"]), (True, [])):
        guest = job("g", "guest", 8, preemptible=preemptible)
        found = books(guest, start("g", at(0, *ALL), borrowed=False), job("d", "owner", 8), declared=tree)
        found.apply(NationApplied(at_ms=0, by="test", nation=smaller))
        assert broken(found, claim("d", at(0)), warn("g", "d"), now_ms=OLD) == rules


def test_a_victim_has_its_protected_runtime() -> None:
    plan = (claim("d", at(0)), warn("g", "d"))
    assert broken(lent_out(), *plan, now_ms=OLD - 1) == ["victim-protected"]
    assert broken(lent_out(), *plan, now_ms=OLD) == []


def test_a_warning_is_as_long_as_promised() -> None:
    assert broken(lent_out(), claim("d", at(0)), warn("g", "d", WARNED_AT - 1), now_ms=OLD) == ["warned-too-late"]
    assert broken(lent_out(), claim("d", at(0)), warn("g", "d", WARNED_AT + 1), now_ms=OLD) == []


def test_a_warning_is_for_a_claim_of_the_same_plan() -> None:
    assert broken(lent_out(), warn("g", "d"), now_ms=OLD) == ["warned-for-nobody"]


@pytest.mark.parametrize(
    ("dates", "now_ms", "rules"),
    [
        ({"not_before_ms": HOUR}, HOUR - 1, ["starts-too-early"]),
        ({"not_before_ms": HOUR}, HOUR, []),
        ({"not_after_ms": HOUR}, HOUR + 1, ["starts-too-late"]),
        ({"not_after_ms": HOUR}, HOUR, []),
        ({"deadline_ms": 2 * HOUR}, HOUR + 1, ["ends-too-late"]),
        ({"deadline_ms": 2 * HOUR}, HOUR, []),
    ],
)
def test_a_job_starts_within_its_dates(dates: dict[str, int], now_ms: int, rules: list[str]) -> None:
    found = books(replace(job("j", "guest", 1, time_ms=HOUR), **dates))
    assert broken(found, start("j", at(0, 0)), now_ms=now_ms) == rules


def test_a_job_that_once_started_in_time_may_start_again_later() -> None:
    found = books(job("j", "guest", 1, not_after_ms=HOUR), start("j", at(0, 0)), ended("j", Outcome.NODE_LOST))
    assert broken(found, start("j", at(0, 0), attempt=2), now_ms=2 * HOUR) == []


KEPT = replace(OWNED, reservations=(reservation("lesson", 2 * HOUR, 3 * HOUR, 0, share="owner"),))
GRACE = TIMING.grace_ms


@pytest.mark.parametrize(
    ("who", "number", "time_ms", "now_ms", "rules"),
    [
        ("guest", 0, 2 * HOUR - GRACE + 1, 0, ["node-reserved"]),
        ("guest", 0, 2 * HOUR - GRACE, 0, []),
        ("guest", 0, HOUR, 3 * HOUR - 1, ["node-reserved"]),
        ("guest", 0, HOUR, 3 * HOUR, []),
        ("guest", 1, 9 * HOUR, 0, []),
        ("owner", 0, 9 * HOUR, 0, []),
    ],
)
def test_nobody_else_is_on_a_reserved_node(who: str, number: int, time_ms: int, now_ms: int, rules: list[str]) -> None:
    found = books(job("j", who, 1, time_ms=time_ms), declared=KEPT)
    assert broken(found, start("j", at(number, 0), borrowed=who == "guest"), now_ms=now_ms) == rules


def test_a_claim_counts_the_time_its_victims_have() -> None:
    kept = replace(OWNED, reservations=(reservation("lesson", 2 * HOUR, 3 * HOUR, 0),))
    latest = 2 * HOUR - TIMING.warning_ms - 2 * GRACE
    for time_ms, rules in ((latest, []), (latest + 1, ["node-reserved"])):
        found = books(job("d", "owner", 8, time_ms=time_ms), declared=kept)
        assert broken(found, claim("d", at(0))) == rules


def leaving(number: int = 0, *, preemptible: bool = True, owner: str = "guest") -> Books:
    """A job that may run for nine hours, on a node that is kept for the owner from the second hour on."""
    asked = job("g", owner, 8, time_ms=9 * HOUR, preemptible=preemptible)
    found = books(asked, start("g", at(number, *ALL), borrowed=owner == "guest"))
    found.apply(NationApplied(at_ms=0, by="test", nation=KEPT))
    return found


NOTICE_AT = 2 * HOUR - TIMING.warning_ms - GRACE


def leave(name: str = "g", stop_at_ms: int = 2 * HOUR - GRACE, reservation: str = "lesson") -> Warn:
    return Warn(job=name, attempt=1, claimant="", stop_at_ms=stop_at_ms, reservation=reservation)


def test_a_job_leaves_for_a_reservation_of_somebody_else_when_it_is_near() -> None:
    assert broken(leaving(), leave(), now_ms=NOTICE_AT) == []
    assert broken(leaving(), leave(), now_ms=NOTICE_AT - 1) == ["warned-too-early"]
    assert broken(leaving(), leave(), now_ms=NOTICE_AT + 1) == ["warned-too-late"]
    assert broken(leaving(number=1), leave(), now_ms=NOTICE_AT) == ["leaves-for-nobody"]
    assert broken(leaving(owner="owner"), leave(), now_ms=NOTICE_AT) == ["leaves-for-nobody"]
    assert broken(leaving(), leave(reservation="other"), now_ms=NOTICE_AT) == ["leaves-for-nobody"]


def test_who_leaves_for_a_reservation_is_stopped_when_its_warning_ends() -> None:
    found = leaving()
    found.apply(Planned(at_ms=NOTICE_AT, plan=Plan(at_ms=NOTICE_AT, decisions=(leave(),))))
    stop_at = 2 * HOUR - GRACE
    assert broken(found, stop("g", StopReason.RESERVED), now_ms=stop_at - 1) == ["stopped-before-warning-ended"]
    assert broken(found, stop("g", StopReason.RESERVED), now_ms=stop_at) == []
    assert broken(leaving(), stop("g", StopReason.RESERVED), now_ms=stop_at) == ["stopped-before-warning-ended"]


def test_who_left_for_a_reservation_may_reclaim_afterwards() -> None:
    found = leaving(owner="owner")
    found.apply(NationApplied(at_ms=0, by="test", nation=replace(KEPT, reservations=())))
    moved = replace(KEPT, reservations=(reservation("lesson", 2 * HOUR, 3 * HOUR, 0),))
    found.apply(NationApplied(at_ms=0, by="test", nation=moved))
    found.apply(Planned(at_ms=NOTICE_AT, plan=Plan(at_ms=NOTICE_AT, decisions=(leave(),))))
    found.apply(ended("g", Outcome.PREEMPTED))
    assert broken(found, claim("g", at(1)), now_ms=NOTICE_AT) == []


def test_a_share_pays_off_what_it_took_back_before_it_takes_more() -> None:
    """It took one GPU back at OLD, and may have two in an hour."""
    owner = share("owner", guarantee=8, reclaim_per_hour=2)
    tree = nation([owner, share("guest")], nodes=1)
    found = books(
        *[each for gpu in (0, 1) for each in (job(f"g{gpu}", "guest", 1), start(f"g{gpu}", at(0, gpu)))],
        job("d0", "owner", 7),
        job("d1", "owner", 1),
        declared=tree,
    )
    first = Plan(at_ms=OLD, decisions=(claim("d0", at(0, 2, 3, 4, 5, 6, 7)), warn("g0", "d0")))
    assert found.check(first, OLD) == []
    found.apply(Planned(at_ms=OLD, plan=first))
    later = OLD + HOUR // 2
    second = (claim("d1", at(0)), warn("g1", "d1", later + TIMING.warning_ms))
    assert broken(found, *second, now_ms=later - 1) == ["reclaims-too-fast"]
    assert broken(found, *second, now_ms=later) == []


def test_a_victim_borrows() -> None:
    tree = nation([share("owner", guarantee=8), share("other", guarantee=8)], nodes=2)
    found = books(job("g", "other", 8), start("g", at(0, *ALL), borrowed=False), job("d", "owner", 8), declared=tree)
    assert broken(found, claim("d", at(0)), warn("g", "d"), now_ms=OLD) == ["victim-within-guarantee"]


def test_a_share_never_reclaims_from_itself() -> None:
    found = books(job("a", "owner", 8), start("a", at(0, *ALL), borrowed=False), job("d", "owner", 8))
    rules = broken(found, claim("d", at(0)), warn("a", "d"), now_ms=OLD)
    assert "victim-within-guarantee" in rules


def test_a_side_takes_back_no_more_than_its_own_guarantee() -> None:
    """The team is within its guarantee, but its firm as a whole would not be."""
    tree = [share("firm", guarantee=8), share("team", "firm", guarantee=4), share("rest", "firm"), share("guest")]
    found = books(
        job("r", "rest", 8),
        start("r", at(0, *ALL), borrowed=False),
        job("g", "guest", 8),
        start("g", at(1, *ALL)),
        job("d", "team", 4),
        declared=nation(tree, nodes=2),
    )
    assert broken(found, claim("d", at(1)), warn("g", "d"), now_ms=OLD) == ["reclaims-beyond-guarantee"]
    assert broken(found, claim("d", at(0)), warn("r", "d"), now_ms=OLD) == []


def warned_books() -> Books:
    found = lent_out()
    found.apply(Planned(at_ms=OLD, plan=Plan(at_ms=OLD, decisions=(claim("d", at(0)), warn("g", "d")))))
    return found


def test_a_warning_is_taken_back_only_when_its_claim_is_gone() -> None:
    found = warned_books()
    assert broken(found, Spare(job="g", attempt=1), now_ms=OLD) == ["spared-wrongly"]
    found.apply(CancelRequested(at_ms=OLD, job="d", by="test"))
    assert broken(found, Spare(job="g", attempt=1), now_ms=OLD) == []


def test_only_running_attempts_are_stopped() -> None:
    found = books(job("j", "guest", time_ms=HOUR))
    assert broken(found, stop("j", StopReason.TIME_LIMIT), now_ms=HOUR) == ["stopped-while-not-running"]


def test_a_borrower_is_not_stopped_before_its_warning_ends() -> None:
    found = warned_books()
    assert broken(found, stop("g", StopReason.RECLAIMED), now_ms=WARNED_AT - 1) == ["stopped-before-warning-ended"]
    assert broken(found, stop("g", StopReason.RECLAIMED), now_ms=WARNED_AT) == []
    assert broken(lent_out(), stop("g", StopReason.RECLAIMED), now_ms=OLD) == ["stopped-before-warning-ended"]


def test_no_attempt_is_stopped_before_its_time_limit() -> None:
    found = books(job("j", "guest", time_ms=HOUR), start("j", at(0, 0)))
    assert broken(found, stop("j", StopReason.TIME_LIMIT), now_ms=HOUR - 1) == ["stopped-before-time-limit"]
    assert broken(found, stop("j", StopReason.TIME_LIMIT), now_ms=HOUR) == []


def test_only_cancelled_jobs_are_stopped_as_cancelled() -> None:
    found = books(job("j", "guest"), start("j", at(0, 0)), AttemptStarted(at_ms=0, job="j", attempt=1))
    assert broken(found, stop("j", StopReason.CANCELLED)) == ["stopped-uncancelled"]
    found.apply(CancelRequested(at_ms=0, job="j", by="test"))
    assert broken(found, stop("j", StopReason.CANCELLED)) == []


def test_only_jobs_whose_node_went_down_are_stopped_for_it() -> None:
    found = books(job("j", "guest"), start("j", at(0, 0)), node(at(1), "down"), node(at(0), "drained"))
    assert broken(found, stop("j", StopReason.NODE_LOST)) == ["stopped-on-healthy-node"]
    found.apply(node(at(0), "down"))
    assert broken(found, stop("j", StopReason.NODE_LOST)) == []
    found.apply(node(at(0), "up"))
    assert broken(found, stop("j", StopReason.NODE_LOST)) == []
    found.apply(ended("j", Outcome.NODE_LOST))
    found.apply(Planned(at_ms=0, plan=Plan(at_ms=0, decisions=(start("j", at(0, 0), attempt=2),))))
    assert broken(found, replace(stop("j", StopReason.NODE_LOST), attempt=2)) == ["stopped-on-healthy-node"]


def test_checking_a_plan_writes_nothing_down() -> None:
    found = books(job("j", "guest"))
    for _ in range(2):
        assert broken(found, start("j", at(0, 0))) == []


def test_a_job_that_is_over_is_not_in_the_books() -> None:
    retried = job("j", "guest", retry_limit=1)
    found = books(retried, start("j", at(0, 0)), ended("j", Outcome.FAILED))
    assert broken(found, start("j", at(0, 0), attempt=2)) == []
    found.apply(Planned(at_ms=0, plan=Plan(at_ms=0, decisions=(start("j", at(0, 0), attempt=2),))))
    found.apply(ended("j", Outcome.FAILED, attempt=2))
    assert broken(found, start("j", at(0, 0), attempt=3)) == ["unknown-job"]


def test_a_claim_that_is_complete_may_start_while_another_waits_for_the_cpus_of_its_victim() -> None:
    """Two claims on one node: the CPUs that the second is promised are in use by its victim, and counted once."""
    found = books(
        *(job(f"g{number}", "guest", 4, cpus=32) for number in range(2)),
        *(start(f"g{number}", at(0, *range(4 * number, 4 * number + 4))) for number in range(2)),
        *(job(f"d{number}", "owner", 4, cpus=32) for number in range(2)),
    )
    for number in range(2):
        plan = Plan(at_ms=OLD, decisions=(claim(f"d{number}", at(0)), warn(f"g{number}", f"d{number}")))
        found.apply(Planned(at_ms=OLD, plan=plan))
    found.apply(ended("g0", Outcome.PREEMPTED))
    assert broken(found, start("d0", at(0, *range(4)), borrowed=False), now_ms=OLD) == []
    found.apply(job("x", "owner", 0, cpus=32))
    assert broken(found, start("x", at(0), gpu_class="H100", borrowed=False), now_ms=OLD) == ["cpus-overcommitted"]


def test_only_who_may_be_preempted_is_stopped_and_only_on_a_drained_node() -> None:
    declared = nation([share("firm", guarantee=8)], nodes=2)
    fixed = job("fixed", "firm", preemptible=False)
    found = books(
        job("j", "firm"), start("j", at(0, 0), borrowed=False), fixed, start("fixed", at(0, 1), borrowed=False),
        node(at(1), "drained"), node(at(0), "cordoned"), declared=declared,
    )  # fmt: skip
    assert broken(found, stop("j", StopReason.DRAINED)) == ["stopped-on-undrained-node"]
    found.apply(node(at(0), "drained"))
    assert broken(found, stop("fixed", StopReason.DRAINED)) == ["stopped-unpreemptible"]
    assert broken(found, stop("j", StopReason.DRAINED)) == []
    found.apply(node(at(0), "up"))
    assert broken(found, stop("j", StopReason.DRAINED)) == [], "it was asked to leave all the same"
    found.apply(ended("j", Outcome.DRAINED))
    found.apply(Planned(at_ms=0, plan=Plan(at_ms=0, decisions=(start("j", at(0, 0), attempt=2, borrowed=False),))))
    assert broken(found, replace(stop("j", StopReason.DRAINED), attempt=2)) == ["stopped-on-undrained-node"]


def test_a_claim_on_a_drained_node_is_no_longer_in_the_books() -> None:
    found = warned_books()
    found.apply(node(at(0), "drained"))
    assert broken(found, Spare(job="g", attempt=1), now_ms=OLD) == []


def test_a_violation_reads_as_one_line() -> None:
    (violation,) = books().check(Plan(at_ms=0, decisions=(stop("ghost", StopReason.CANCELLED),)), 0)
    assert str(violation) == "unknown-job: ghost: it is not in the books"


def test_time_limits_count_from_the_start_of_the_attempt() -> None:
    found = books(job("j", "guest", time_ms=HOUR))
    found.apply(Planned(at_ms=MINUTE, plan=Plan(at_ms=MINUTE, decisions=(start("j", at(0, 0)),))))
    assert broken(found, stop("j", StopReason.TIME_LIMIT), now_ms=HOUR) == ["stopped-before-time-limit"]


def test_a_decision_about_a_running_attempt_names_that_attempt() -> None:
    found = books(job("j", "guest", time_ms=HOUR), start("j", at(0, 0)))
    lawful = stop("j", StopReason.TIME_LIMIT)
    assert broken(found, replace(lawful, attempt=2), now_ms=HOUR) == ["wrong-attempt"]
    assert broken(found, lawful, now_ms=HOUR) == []


def test_a_stopped_attempt_gets_its_whole_grace() -> None:
    found = books(job("j", "guest", time_ms=HOUR), start("j", at(0, 0)))
    lawful = stop("j", StopReason.TIME_LIMIT)
    assert broken(found, replace(lawful, grace_ms=TIMING.grace_ms - 1), now_ms=HOUR) == ["grace-too-short"]


def borrowers() -> Books:
    """Two borrowers of half a node each, of which the second loses less; the owner wants half of the full node."""
    declared = nation([share("owner", guarantee=8), share("guest")], nodes=1)
    found = books(job("dear", "guest", 4), start("dear", at(0, 0, 1, 2, 3)), declared=declared)
    found.apply(job("cheap", "guest", 4, at_ms=MINUTE))
    later = Plan(at_ms=MINUTE, decisions=(start("cheap", at(0, 4, 5, 6, 7)),))
    found.apply(Planned(at_ms=MINUTE, plan=later))
    found.apply(job("owner", "owner", 4, at_ms=MINUTE))
    return found


def test_of_two_victims_of_one_share_the_one_that_loses_less_yields() -> None:
    now_ms = MINUTE + TIMING.protected_ms
    taken, stop_at_ms = claim("owner", at(0)), now_ms + TIMING.warning_ms
    assert broken(borrowers(), taken, warn("cheap", "owner", stop_at_ms), now_ms=now_ms) == []
    assert broken(borrowers(), taken, warn("dear", "owner", stop_at_ms), now_ms=now_ms) == ["victim-loses-more"]


def test_who_is_protected_or_would_not_do_is_no_better_victim() -> None:
    now_ms = TIMING.protected_ms
    taken, stop_at_ms = claim("owner", at(0)), now_ms + TIMING.warning_ms
    assert broken(borrowers(), taken, warn("dear", "owner", stop_at_ms), now_ms=now_ms) == []
    found = borrowers()
    found.apply(job("large", "owner", 8, at_ms=MINUTE))
    later_ms = MINUTE + TIMING.protected_ms
    both = [warn(name, "large", later_ms + TIMING.warning_ms) for name in ("cheap", "dear")]
    assert broken(found, claim("large", at(0)), *both, now_ms=later_ms) == []


def test_a_checkpoint_makes_the_older_job_the_one_that_loses_less() -> None:
    declared = nation([share("owner", guarantee=8), share("guest")], nodes=1)
    saves = job("saves", "guest", 4, checkpoint_every_ms=11 * MINUTE)
    found = books(saves, start("saves", at(0, 0, 1, 2, 3)), declared=declared)
    found.apply(job("new", "guest", 4, at_ms=MINUTE))
    found.apply(Planned(at_ms=MINUTE, plan=Plan(at_ms=MINUTE, decisions=(start("new", at(0, 4, 5, 6, 7)),))))
    found.apply(job("owner", "owner", 4, at_ms=MINUTE))
    now_ms = 11 * MINUTE
    stop_at_ms = now_ms + TIMING.warning_ms
    assert broken(found, claim("owner", at(0)), warn("new", "owner", stop_at_ms), now_ms=now_ms) == [
        "victim-loses-more"
    ]
    assert broken(found, claim("owner", at(0)), warn("saves", "owner", stop_at_ms), now_ms=now_ms) == []


def elastic_books(least: int = 1, most: int = 4, *, has: int = 2, owner: str = "guest", saves: bool = True) -> Books:
    """An elastic job that has some nodes of four since time 0."""
    asked = job("e", owner, 8, nodes=most, min_nodes=least, saves_when_warned=saves)
    return books(asked, start("e", *(at(number, *ALL) for number in range(has))), declared=nation(SHARES, nodes=4))


SHARES = [share("owner"), share("guest")]
GROW = Warn(job="e", attempt=1, claimant="", stop_at_ms=WARNED_AT, resizes=True)


@pytest.mark.parametrize(("has", "rules"), [(1, ["gang-not-whole"]), (2, []), (3, []), (4, ["gang-not-whole"])])
def test_an_elastic_job_has_no_fewer_nodes_than_its_least_and_no_more_than_its_most(has: int, rules: list[str]) -> None:
    asked = job("e", "guest", 8, nodes=3, min_nodes=2)
    found = books(asked, declared=nation(SHARES, nodes=4))
    assert broken(found, start("e", *(at(number, *ALL) for number in range(has)))) == rules


def test_an_elastic_job_is_charged_for_what_it_has() -> None:
    limited = nation([share("owner"), share("guest", limit=16)], nodes=4)
    found = books(job("e", "guest", 8, nodes=4, min_nodes=1), declared=limited)
    assert broken(found, start("e", at(0, *ALL), at(1, *ALL))) == []
    assert broken(found, start("e", at(0, *ALL), at(1, *ALL), at(2, *ALL))) == ["over-limit"]


def test_an_elastic_job_is_asked_to_grow_after_its_protected_time_if_it_saves_and_gains_a_quarter() -> None:
    assert broken(elastic_books(), GROW, now_ms=OLD) == []
    assert broken(elastic_books(), GROW, now_ms=OLD - 1) == ["resized-too-soon"]
    assert broken(elastic_books(saves=False), GROW, now_ms=OLD) == ["resized-without-saving"]
    assert broken(elastic_books(least=0, most=2), GROW, now_ms=OLD) == ["resized-not-elastic", "resized-beyond-most"]
    assert broken(elastic_books(has=4, most=8), GROW, now_ms=OLD) == ["resized-for-nothing"]
    assert broken(elastic_books(has=3, most=4), GROW, now_ms=OLD) == []
    down = elastic_books(has=3)
    down.apply(node(at(3), "drained"))
    assert broken(down, GROW, now_ms=OLD) == ["resized-for-nothing"]


def test_an_elastic_job_is_stopped_to_grow_when_its_warning_ends_and_the_nodes_are_still_idle() -> None:
    found = elastic_books()
    found.apply(Planned(at_ms=OLD, plan=Plan(at_ms=OLD, decisions=(GROW,))))
    assert broken(found, stop("e", StopReason.RESIZED), now_ms=WARNED_AT) == []
    assert broken(found, stop("e", StopReason.RESIZED), now_ms=WARNED_AT - 1) == ["stopped-before-warning-ended"]
    assert broken(elastic_books(), stop("e", StopReason.RESIZED), now_ms=WARNED_AT) == ["stopped-before-warning-ended"]
    found.apply(replace(job("x", "owner", 8, nodes=2), at_ms=OLD))
    taken = start("x", at(2, *ALL), at(3, *ALL), borrowed=True)
    assert broken(found, taken, stop("e", StopReason.RESIZED), now_ms=WARNED_AT) == ["resized-for-nothing"]


def test_who_was_spared_is_left_in_peace_for_another_protected_time() -> None:
    found = elastic_books()
    found.apply(Planned(at_ms=OLD, plan=Plan(at_ms=OLD, decisions=(GROW,))))
    found.apply(Planned(at_ms=WARNED_AT, plan=Plan(at_ms=WARNED_AT, decisions=(Spare(job="e", attempt=1),))))
    again_ms = WARNED_AT + TIMING.protected_ms
    again = replace(GROW, stop_at_ms=again_ms + TIMING.warning_ms)
    assert broken(found, again, now_ms=again_ms - 1) == ["resized-too-soon"]
    assert broken(found, again, now_ms=again_ms) == []
