"""Guarantees never add up to more than there is, on any level and for any class."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.model.organisations import OrganisationKind, Share
from dure.model.units import DAY_MS
from dure.sources.errors import BadWorkload
from dure.sources.fleet import TwinFleet, parse_fleet
from dure.sources.generator import generate
from dure.sources.share_tree import generate_nation, shares_by_demand


def check_guarantees(shares: tuple[Share, ...], fleet: TwinFleet) -> None:
    guarantees = {
        (share.name, amount.gpu_class): amount.guarantee_milli for share in shares for amount in share.amounts
    }
    children: dict[tuple[str | None, str], int] = defaultdict(int)
    for share in shares:
        for amount in share.amounts:
            children[share.parent, amount.gpu_class] += amount.guarantee_milli
    for (parent, gpu_class), total in children.items():
        capacity = fleet.gpus_of_class(fleet.gpu_classes.index(gpu_class)) * 1000
        assert total <= (capacity if parent is None else guarantees[parent, gpu_class])


@given(
    seed=st.integers(0, 2**32),
    owners=st.integers(1, 12),
    organisations=st.integers(1, 20),
    fleet=st.sampled_from(["1x1", "3x8", "72x8:H100+18x4:B200", "46800x4:GB200+15600x8:H100"]),
)
def test_guarantees_of_children_never_exceed_their_parents(
    seed: int, owners: int, organisations: int, fleet: str
) -> None:
    made_of = parse_fleet(fleet)
    nation = generate_nation(seed, owners, organisations, made_of)
    names = [share.name for share in nation.shares]
    assert len(set(names)) == len(names) == owners * (1 + organisations)
    assert len(nation.members) == owners * organisations
    for place, share in enumerate(nation.shares):
        assert share.parent is None or share.parent in names[:place]
    check_guarantees(nation.shares, made_of)


def test_the_nation_divides_as_announced_and_partners_have_no_guarantee() -> None:
    nation = generate_nation(1, 5, 8, parse_fleet("32500x8"))
    owners = [share for share in nation.shares if share.parent is None]
    gpus = [share.amounts[0].guarantee_milli // 1000 for share in owners]
    assert gpus == [50_000, 50_000, 50_000, 50_000, 60_000]
    partners = [member for member in nation.members if member.kind is OrganisationKind.PARTNER]
    assert partners
    assert all(partner.guaranteed_gpus == 0 for partner in partners)


def test_activity_follows_zipf_and_the_seed() -> None:
    fleet = parse_fleet("72x8")
    activity = [member.activity for member in generate_nation(1, 5, 8, fleet).members]
    assert sorted(activity, reverse=True) == pytest.approx([1 / rank for rank in range(1, 41)])
    assert activity != [member.activity for member in generate_nation(2, 5, 8, fleet).members]


def test_a_trace_without_a_tree_gets_guarantees_by_demand() -> None:
    fleet = parse_fleet("72x8:H100+18x4:B200")
    trace = generate(1, 2_000, fleet, 0.8, 30 * DAY_MS)
    shares = shares_by_demand(trace, fleet)
    assert [share.name for share in shares] == list(trace.shares)
    check_guarantees(shares, fleet)
    guaranteed = sum(share.amounts[0].guarantee_milli for share in shares) // 1000
    assert 576 - len(shares) < guaranteed <= 576


@pytest.mark.parametrize(("owners", "organisations"), [(0, 3), (3, 0), (-1, 1), (1_000, 1_000)])
def test_a_nation_of_nobody_or_of_everybody_is_refused(owners: int, organisations: int) -> None:
    with pytest.raises(BadWorkload, match="both must be 1 or more"):
        generate_nation(1, owners, organisations, parse_fleet("1x8"))
