"""Bars say what the numbers say, and no two organisations look alike."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dure.model.nation import Nation
from dure.model.organisations import Organisation, OrganisationKind
from dure.portal.drawing import Owners, share_bars
from dure.reports.shares import ShareLine

amount = st.integers(0, 400_000)


def share_line(own: int, idle: int, lent: int, borrowed: int, depth: int = 1) -> ShareLine:
    """A share that uses `own` of its guarantee; only one that uses all of it borrows."""
    return ShareLine(
        name="share",
        parent="nation",
        depth=depth,
        gpu_class="H100",
        weight=1,
        guarantee_milli=own + idle + lent,
        limit_milli=None,
        lend_milli=None,
        used_milli=own + borrowed,
        borrowed_milli=borrowed,
        lent_milli=lent,
        idle_guarantee_milli=idle,
        waiting_jobs=0,
    )


@given(own=amount, idle=amount, lent=amount, borrowed=amount)
def test_a_bar_is_as_long_as_its_amounts(own: int, idle: int, lent: int, borrowed: int) -> None:
    line = share_line(own, idle, lent, borrowed)
    (bar,) = share_bars((line,))
    scale = max(line.guarantee_milli + borrowed, line.used_milli, 1)
    drawn = {segment.kind: segment.length for segment in bar.segments}
    for kind, milli in {"own": own, "idle": idle, "lent": lent, "borrowed": borrowed}.items():
        assert abs(drawn.get(kind, 0.0) - 100 * milli / scale) < 0.02


@given(st.lists(st.tuples(amount, amount, amount, amount), min_size=1, max_size=6))
def test_stretches_follow_each_other_and_stay_on_the_bar(amounts: list[tuple[int, int, int, int]]) -> None:
    for bar in share_bars(tuple(share_line(*each) for each in amounts)):
        end = 0.0
        for segment in bar.segments:
            assert segment.start >= end - 0.03
            end = segment.start + segment.length
        assert end <= 100.03
        assert bar.marker is None or 0 < bar.marker <= 100


@given(own=amount, idle=amount, lent=amount, borrowed=st.integers(1_000, 400_000))
def test_what_is_borrowed_starts_at_the_guarantee(own: int, idle: int, lent: int, borrowed: int) -> None:
    (bar,) = share_bars((share_line(own, idle, lent, borrowed),))
    start = next(segment.start for segment in bar.segments if segment.kind == "borrowed")
    assert abs(start - (bar.marker or 0.0)) < 0.02


def test_shares_of_a_class_are_drawn_to_one_scale_beside_the_root() -> None:
    root, small, large = share_bars(
        (share_line(64_000, 0, 0, 0, depth=0), share_line(4_000, 0, 0, 0), share_line(16_000, 0, 0, 0))
    )
    assert [bar.segments[0].length for bar in (root, small, large)] == [100.0, 25.0, 100.0]


@given(st.lists(st.from_regex(r"[a-z][a-z0-9]{2,6}(-[a-z]{1,4})?", fullmatch=True), unique=True, max_size=12))
def test_organisations_differ_in_colour_and_monogram(names: list[str]) -> None:
    organisations = tuple(
        Organisation(name=name, kind=OrganisationKind.SME, country="KR", parent_country="KR", projects=())
        for name in names
    )
    owners = Owners(Nation(organisations=organisations), "en")
    shown = [owners[name] for name in names]
    assert len({owner.colour for owner in shown}) == len(names)
    assert all(1 <= len(owner.monogram) <= 2 for owner in shown)


def test_similar_names_get_different_monograms() -> None:
    names = ("samsung", "sanyang", "sa-corp")
    organisations = tuple(
        Organisation(name=name, kind=OrganisationKind.SME, country="KR", parent_country="KR", projects=())
        for name in names
    )
    owners = Owners(Nation(organisations=organisations), "en")
    assert len({owners[name].monogram for name in names}) == 3


def test_an_organisation_that_left_is_still_shown() -> None:
    owner = Owners(Nation(), "en")["gone"]
    assert (owner.title, owner.colour) == ("gone", "owner-none")
