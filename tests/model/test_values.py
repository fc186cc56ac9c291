"""Values that everyone shares: events keep their bytes, states their order, nations their answers."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from dure.model.events import AnyEvent, CancelRequested, NationApplied, Planned, decode, encode, encode_all
from dure.model.jobs import NEXT_STATES, JobState
from dure.model.nation import Nation
from dure.model.plan import Plan, Stop, StopReason
from tests.kernel.nations import job, nation, share

EVENTS: list[AnyEvent] = [
    NationApplied(at_ms=1, by="op", nation=nation([share("a", guarantee=1)], nodes=1)),
    job("j", "a", 0.5, depends=("i",)),
    CancelRequested(at_ms=2, job="j", by="op"),
    Planned(
        at_ms=3, plan=Plan(at_ms=3, decisions=(Stop(job="j", attempt=1, reason=StopReason.CANCELLED, grace_ms=5),))
    ),
]


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_reads_back_and_has_one_spelling(event: AnyEvent) -> None:
    assert decode(encode(event)) == event
    assert encode(decode(encode(event))) == encode(event)
    assert encode_all([event]) == [encode(event)]


def test_the_bytes_of_an_event_are_sorted_and_leave_defaults_out() -> None:
    assert encode(EVENTS[2]) == b'{"at_ms":2,"by":"op","event":"cancel-requested","job":"j"}'
    assert b"guarantee_milli" not in encode(NationApplied(at_ms=1, by="op", nation=nation([share("a")], nodes=1)))


@pytest.mark.parametrize("entry", [b"", b"{}", b"[]", b'{"event":"cancel-requested"}', b'{"event":"unheard-of"}'])
def test_foreign_bytes_are_no_event(entry: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(entry)


def test_final_states_lead_nowhere_and_every_other_state_leads_on() -> None:
    assert set(NEXT_STATES) == set(JobState)
    for state, following in NEXT_STATES.items():
        assert state.is_final == (not following)
        assert state not in following
        assert not (state.is_final and state.is_waiting)


def test_every_state_can_be_reached_from_the_first_two() -> None:
    reached = {JobState.HELD, JobState.QUEUED}
    for _ in JobState:
        reached |= {after for state in reached for after in NEXT_STATES[state]}
    assert reached == set(JobState)


def test_a_life_is_a_path_through_the_states() -> None:
    queued, warned = JobState.QUEUED, JobState.WARNED
    life = [
        JobState.HELD,
        queued,
        JobState.CLAIMED,
        JobState.STARTING,
        JobState.RUNNING,
        warned,
        JobState.STOPPING,
        queued,
    ]
    assert all(after in NEXT_STATES[before] for before, after in pairwise(life))


def test_a_project_runs_under_its_own_share_or_its_organisations() -> None:
    declared = nation([share("firm"), share("firm-project", "firm")], nodes=1)
    own = Nation(organisations=nation([share("firm")]).organisations, shares=declared.shares)
    assert [
        each.name for each in (own.share_of("firm-project"), declared.share_of("firm-project-project")) if each
    ] == [
        "firm-project",
        "firm-project",
    ]
    assert own.share_of("nobody") is None


def test_a_silent_share_has_no_guarantee_and_no_limit() -> None:
    declared = nation([share("a", gpu_class="H100")], classes=("H100", "B200"))
    amount = declared.amount(declared.shares[0], "B200")
    assert (amount.guarantee_milli, amount.limit_milli > 1 << 50) == (0, True)
    assert declared.capacity_milli("B200") == 4 * 8 * 1000
