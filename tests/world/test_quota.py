"""The share tree's running totals against the audit's recursive definitions, over random trees."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dure.audit.tree import ROOT, Tree
from dure.model.fleet import Timing
from dure.model.nation import Nation
from dure.world.quota import NOT_LENT, OVER_LIMIT, ROOM, remember, shortage, within_guarantee
from dure.world.transitions import set_charged
from dure.world.world import World
from tests.audit.definitions import overdraft as overdraft_by_definition
from tests.kernel.nations import HOUR, job, nation, share, world_of


@st.composite
def deep_trees(draw: st.DrawFn) -> Nation:
    """Up to three levels below the root, children within their parents' guarantees, on one node of 16 GPUs."""
    shares = []

    def plant(parent: str | None, left: int, depth: int) -> None:
        for number in range(draw(st.integers(1 if depth == 0 else 0, 3))):
            name = f"{parent or 's'}{number}"
            guarantee = draw(st.integers(0, left))
            left -= guarantee
            shares.append(
                share(
                    name,
                    parent,
                    guarantee=guarantee,
                    lend=draw(st.none() | st.integers(0, 16)),
                    limit=draw(st.none() | st.integers(guarantee, 16)),
                )
            )
            if depth < 2:
                plant(name, guarantee, depth + 1)

    plant(None, 16, 0)
    return nation(shares, nodes=1, gpus=16)


def verdict_by_definition(declared: Nation, used: dict[tuple[str, str], int], share_name: str, amount: int) -> int:
    tree = Tree(declared)
    after = dict(used)
    for name in tree.path(share_name):
        after["H100", name] = after.get(("H100", name), 0) + amount
        if after["H100", name] > tree.amount("H100", name).limit_milli:
            return OVER_LIMIT
    before = overdraft_by_definition(declared, "H100", used)
    overdraft = overdraft_by_definition(declared, "H100", after)
    return ROOM if overdraft <= 0 or overdraft <= before else NOT_LENT


def row_of(world: World, name: str) -> int:
    names = [each.name for each in world.nation.shares]
    return int(world.columns.classes[0].root) + (0 if name == ROOT else names.index(name) + 1)


@settings(max_examples=200, deadline=None)
@given(deep_trees(), st.lists(st.tuples(st.integers(0, 20), st.sampled_from([500, 1000, 3000])), max_size=30))
def test_running_totals_agree_with_the_definitions(declared: Nation, demands: list[tuple[int, int]]) -> None:
    world = world_of(declared)
    tree = Tree(declared)
    used: dict[tuple[str, str], int] = {}
    leaves = [each.name for each in declared.organisations]
    charged: dict[int, tuple[str, int]] = {}
    for number, (which, amount) in enumerate(demands):
        name = leaves[which % len(leaves)]
        row = row_of(world, name)
        assert shortage(world.columns.shares, row, amount) == verdict_by_definition(declared, used, name, amount)
        assert within_guarantee(world.columns.shares, row, amount) == bool(tree.covered("H100", name, amount, used))
        world.apply(job(f"j{number}", name, amount / 1000))
        at = world.jobs[f"j{number}"].row
        world.columns.jobs[at].gpu_class = 0
        if which % 3 == 0 and charged:
            gone, (gone_name, gone_amount) = charged.popitem()
            set_charged(world.columns, gone, 0, 0)
            change(tree, used, gone_name, -gone_amount)
        elif shortage(world.columns.shares, row, amount) == ROOM:
            set_charged(world.columns, at, 1, 0)
            charged[at] = (name, amount)
            change(tree, used, name, amount)
        for each in [ROOT, *(each.name for each in declared.shares)]:
            assert world.columns.shares[row_of(world, each)].used == used.get(("H100", each), 0)
    borrowers = [
        each.name
        for each in declared.shares
        if used.get(("H100", each.name), 0) > tree.amount("H100", each.name).guarantee_milli
    ]
    assert world.columns.classes[0].borrowing == len(borrowers)


def change(tree: Tree, used: dict[tuple[str, str], int], name: str, amount: int) -> None:
    for each in tree.path(name):
        used["H100", each] = used.get(("H100", each), 0) + amount


@settings(max_examples=200, deadline=None)
@given(deep_trees())
def test_all_that_is_kept_and_all_that_is_open_make_the_fleet(declared: Nation) -> None:
    world = world_of(declared)
    shares = world.columns.shares
    assert shares["kept"].sum() + shares[0].pool == 16_000
    assert (shares["kept"] >= 0).all()
    assert (shares["pool"] >= 0).all()


def memory_of(looks: list[int], until_ms: int) -> int:
    world = world_of(nation([share("guest")], nodes=1, timing=Timing(half_life_ms=HOUR)))
    world.apply(job("j", "guest", 3))
    world.columns.jobs[0].gpu_class = 0
    set_charged(world.columns, 0, 1, 0)
    for at_ms in sorted(looks):
        remember(world.columns, 1, at_ms)
    remember(world.columns, 1, until_ms)
    return int(world.columns.shares[1].usage)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5 * HOUR), max_size=8))
def test_usage_does_not_depend_on_when_it_is_looked_at(looks: list[int]) -> None:
    assert memory_of(looks, 5 * HOUR) == memory_of([], 5 * HOUR)


def test_a_gpu_class_may_remember_longer_than_the_nation() -> None:
    declared = nation([share("guest")], nodes=1, timing=Timing(half_life_ms=HOUR), classes=("H100", "B200"))
    slow, quick = declared.gpu_classes
    world = world_of(replace(declared, gpu_classes=(replace(slow, half_life_ms=2 * HOUR), quick)))
    per_class = int(world.columns.counters[0].shares)
    for row in (1, per_class + 1):
        world.columns.shares[row].usage = 1 << 40
        remember(world.columns, row, 2 * HOUR)
    halved, halved_twice = (int(world.columns.shares[row].usage) for row in (1, per_class + 1))
    assert abs(halved / (1 << 39) - 1) < 0.001
    assert abs(halved_twice / (1 << 38) - 1) < 0.001


def test_usage_settles_where_a_half_life_forgets_as_much_as_is_used() -> None:
    steady = memory_of([], 100 * HOUR)
    # The integral of 3000 milli-GPUs that halve every hour: 3000 x 1 h / ln 2, less what a step of 1/64 rounds away.
    assert abs(steady / (3000 * HOUR / 0.693147) - 1) < 0.01


def test_what_is_very_old_is_forgotten_altogether() -> None:
    assert memory_of([], 1_000 * HOUR) == memory_of([], 100 * HOUR)
