"""How much of a fleet a placement rule can hand out: the procedure of the FGD paper's table, on a list of pods.

Pods are drawn from the list, uniformly and with replacement, until the next would ask for more than 1.3 times the GPUs
of the fleet (from a longer list, pods are left out at random until it fits); all are shuffled; they arrive one at a
time and never leave, and one that fits nowhere is dropped. What is handed out and what is fragmented is noted after
each arrival and averaged over the arrivals at which the same per cent of the fleet had been asked for. (Weng et al.,
"Beware of Fragmentation", USENIX ATC 2023; `-tune 1.3 --shuffle-pod=true` of its simulator.)

The simulator settles ties by the lowest node name after putting a shuffled number in front of each name, so ties follow
an order of nodes that is drawn anew for each seed. So do ours.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from msgspec import Struct

from dure.kernel.packing.rules import RULES, SLOTS
from dure.model.units import WHOLE_GPU_MILLI
from dure.sources.errors import BadSource, BadWorkload
from dure.sources.fit import gpu_classes_of
from dure.sources.fleet import TwinFleet, TwinNodes, parse_fleet
from dure.sources.streams import uniforms
from dure.sources.trace import Column, Trace
from dure.twin.packing_loop import DICE_BITS, Packing, new_packing, pack
from dure.world import building
from dure.world.columns import SHAPE, Columns, Integers, records
from dure.world.mix import accepted_classes, count_shape, renew_mix

TUNE_PERCENT = 130
REPORTED_PERCENT = tuple(range(5, TUNE_PERCENT + 1, 5))
TIE_RULE = "nodes: an order drawn from the seed; GPUs of a node: lowest number"


class PackReport(Struct, frozen=True, kw_only=True):
    """What came of it. The percentages are of the fleet's GPUs, by the per cent of them that had been asked for."""

    trace: str
    fleet: str
    policy: str
    seed: int
    allocation_pct: dict[str, float]
    frag_pct: dict[str, float]
    placed: int
    dropped: int
    wall_s: float
    tie_rule: str
    assumptions: str


@dataclass(frozen=True, eq=False)
class Pods:
    """A list of pods ready to be drawn from: one value per pod."""

    name: str
    cpus_milli: Column
    memory_mib: Column
    gpus_milli: Column
    choices: Column

    def __len__(self) -> int:
        """Number of pods."""
        return len(self.gpus_milli)


def pods_for(trace: Trace, fleet: TwinFleet) -> Pods:
    """The pods of a trace with the fleet's GPU classes.

    Raises `BadWorkload` when a class is not in the fleet, or when no pod wants a GPU.
    """
    if not trace.gpus_milli.any():
        raise BadWorkload(f"{trace.name}: no pod asks for a GPU, so there is nothing to fill the fleet with")
    choices = gpu_classes_of(trace, fleet)
    return Pods(trace.name, trace.cpus_milli, trace.memory_mib, trace.gpus_milli, choices)


def run_pack(pods: Pods, fleet: TwinFleet, policy: str, seed: int, *, given_mix: bool = False) -> PackReport:
    """Pack a fleet once. With `given_mix`, the rule `dure` is told the list's shapes instead of learning them."""
    if policy not in RULES:
        raise BadSource(f"{policy!r} is not a placement rule; choose one of {', '.join(RULES)}")
    columns, packing, jobs = set_up(pods, fleet, policy, seed, given_mix=given_mix)
    began = time.perf_counter()
    pack(columns, packing, jobs)
    wall_s = time.perf_counter() - began
    return _report(pods, fleet, policy, seed, packing, wall_s, _assumptions(policy, given_mix))


def set_up(pods: Pods, fleet: TwinFleet, policy: str, seed: int, *, given_mix: bool) -> tuple[Columns, Packing, int]:
    """The empty fleet, what the loop keeps beside it, and how many pods are about to arrive."""
    order = arrivals(pods, fleet.gpus * WHOLE_GPU_MILLI, seed)
    columns = _columns(pods, fleet, order)
    packing = _packing(columns, pods, fleet, order, seed)
    state = packing.state[0]
    state.rule = RULES[policy]
    # A rule that looks at no mix learns none.
    state.learns = int(not given_mix and state.rule == SLOTS)
    _give_mix(columns, packing, pods)
    if state.learns == 1:
        _forget_mix(columns)
    return columns, packing, len(order)


def warm_up() -> None:
    """Compile the loop and all rules, or load them from the cache."""
    one = np.ones(1, dtype=np.int64)
    fleet = parse_fleet("1x1")
    pods = Pods(name="one", cpus_milli=one, memory_mib=one, gpus_milli=one * WHOLE_GPU_MILLI, choices=one)
    run_pack(pods, fleet, "dure", 0)


def arrivals(pods: Pods, fleet_milli: int, seed: int) -> Column:
    """The pods that arrive, by their place in the list, in order of arrival."""
    wanted = TUNE_PERCENT * fleet_milli // 100
    asked = int(pods.gpus_milli.sum())
    order = _thinned(pods, wanted, seed) if asked > wanted else _padded(pods, wanted - asked, seed)
    shuffled: Column = order[np.argsort(uniforms(seed, "pack: order of arrival", len(order)), kind="stable")]
    return shuffled


def _padded(pods: Pods, room_milli: int, seed: int) -> Column:
    """The whole list and drawn pods that together ask for no more than `room_milli`."""
    likely = 1 + 2 * len(pods) * room_milli // int(pods.gpus_milli.sum())
    while True:
        drawn = (uniforms(seed, "pack: drawn pods", likely) * len(pods)).astype(np.int64)
        asked = np.cumsum(pods.gpus_milli[drawn])
        if asked[-1] > room_milli:
            return np.concatenate([np.arange(len(pods)), drawn[: int(np.argmax(asked > room_milli))]])
        likely *= 2


def _thinned(pods: Pods, wanted_milli: int, seed: int) -> Column:
    """The list without as many pods, taken out one by one at random, as it takes to ask for no more than wanted."""
    taken = np.argsort(uniforms(seed, "pack: left out", len(pods)), kind="stable")
    left = pods.gpus_milli.sum() - np.cumsum(pods.gpus_milli[taken])
    kept: Column = np.sort(taken[int(np.argmax(left <= wanted_milli)) + 1 :])
    return kept


def _columns(pods: Pods, fleet: TwinFleet, order: Column) -> Columns:
    columns = building.build(_shape_of(fleet), len(order))
    jobs = columns.jobs[: len(order)]
    for name in ("cpus_milli", "memory_mib", "gpus_milli", "choices"):
        jobs[name] = getattr(pods, name)[order]
    jobs["nodes"] = 1
    columns.counters["nobody_leaves"] = 1
    return columns


def _packing(columns: Columns, pods: Pods, fleet: TwinFleet, order: Column, seed: int) -> Packing:
    wishes, wish_of_pod = np.unique(pods.choices, return_inverse=True)
    accepts = np.array([accepted_classes(int(choices)) for choices in wishes], dtype=np.int64)
    packing = new_packing(
        typical=records(SHAPE, len(columns.mix)),
        kind=_kinds(pods)[order],
        accepts=accepts[wish_of_pod][order],
        ranked=np.argsort(uniforms(seed, "pack: order of nodes", fleet.nodes), kind="stable"),
        node_dice=_dice(seed, "pack: node", len(order)),
        gpu_dice=_dice(seed, "pack: GPU", len(order)),
    )
    packing.state[0].fleet_milli = fleet.gpus * WHOLE_GPU_MILLI
    return packing


def _shape_of(fleet: TwinFleet) -> building.Shape:
    """Nodes of one shape as one pool, classes in the fleet's order; nodes without GPUs come first."""
    counts: dict[TwinNodes, int] = {}
    for group in fleet.groups:
        kind = TwinNodes(
            class_index=group.class_index,
            gpus=group.gpus,
            count=1,
            cpus_milli=group.cpus_milli,
            memory_mib=group.memory_mib,
        )
        counts[kind] = counts.get(kind, 0) + group.count
    pools = [
        building.PoolShape(
            gpu_class=max(0, kind.class_index),
            site=0,
            gpus=kind.gpus,
            cpus_milli=kind.cpus_milli,
            memory_mib=kind.memory_mib,
            nodes=count,
        )
        for kind, count in sorted(counts.items(), key=lambda pair: pair[0].class_index)
    ]
    return building.Shape(classes=len(fleet.gpu_classes), pools=pools)


def _kinds(pods: Pods) -> Column:
    """A number for each distinct request."""
    number = np.zeros(len(pods), dtype=np.int64)
    for column in (pods.cpus_milli, pods.memory_mib, pods.gpus_milli, pods.choices):
        values, value_of_pod = np.unique(column, return_inverse=True)
        number = np.unique(number * len(values) + value_of_pod, return_inverse=True)[1]
    return number.astype(np.int64)


def _dice(seed: int, purpose: str, count: int) -> Integers:
    return (uniforms(seed, purpose, count) * (1 << DICE_BITS)).astype(np.int64)


def _give_mix(columns: Columns, packing: Packing, pods: Pods) -> None:
    """Count the whole list, as the published rules are told it."""
    for row in range(len(pods)):
        milli = int(pods.gpus_milli[row])
        count_shape(
            columns,
            int(pods.cpus_milli[row]),
            int(pods.memory_mib[row]),
            -(-milli // WHOLE_GPU_MILLI),
            min(milli, WHOLE_GPU_MILLI),
            accepted_classes(int(pods.choices[row])),
            1,
        )
    renew_mix(columns)
    packing.typical[:] = columns.mix
    packing.state[0].typical = columns.counters[0].mix
    packing.state[0].typical_arrivals = columns.mix["count"][: columns.counters[0].mix].sum()


def _forget_mix(columns: Columns) -> None:
    columns.mix[:] = np.zeros(1, dtype=SHAPE)
    columns.classes["scarcity"] = 0
    counters = columns.counters[0]
    counters.shapes = counters.mix = counters.wide = counters.arrivals = counters.mix_due = 0


def _report(
    pods: Pods, fleet: TwinFleet, policy: str, seed: int, packing: Packing, wall_s: float, assumptions: str
) -> PackReport:
    noted = _noted_at(packing)
    whole = fleet.gpus * WHOLE_GPU_MILLI

    def mean(sums: Integers, per_cent: int) -> float:
        return round(100 * int(sums[per_cent]) / (int(packing.moments[per_cent]) * whole), 2)

    return PackReport(
        trace=pods.name,
        fleet=fleet.name,
        policy=policy,
        seed=seed,
        allocation_pct={str(k): mean(packing.allocated_sum, at) for k, at in noted.items()},
        frag_pct={str(k): mean(packing.fragmented_sum, at) for k, at in noted.items()},
        placed=int(packing.state[0].placed),
        dropped=int(packing.state[0].dropped),
        wall_s=round(wall_s, 4),
        tie_rule=TIE_RULE,
        assumptions=assumptions,
    )


def _noted_at(packing: Packing) -> dict[int, int]:
    """For each reported per cent that was reached, the last one up to it at which a pod arrived."""
    seen = np.flatnonzero(packing.moments)
    return {k: int(seen[seen <= k][-1]) for k in REPORTED_PERCENT if seen.size and seen[0] <= k <= seen[-1]}


def _assumptions(policy: str, given_mix: bool) -> str:
    told = "fragmentation is measured by the typical shapes of the whole list"
    if policy == "fgd":
        return f"{told}, which the rule is told"
    if policy != "dure":
        return told
    return (
        f"{told}; the rule {'is told how often each shape comes' if given_mix else 'learns the shapes as they arrive'}"
    )
