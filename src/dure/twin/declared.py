"""What a policy makes of a fleet, its shares and a trace before anything is declared to the kernel.

Most policies take them as they are. One without quotas drops every limit and lending limit, but not the guarantees: how
long an owner waits for what it is guaranteed is measured under every policy. Under `silo` the nodes are divided among
the owners: what an owner has of a GPU class becomes a class of its own, so that nothing else in the kernel changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from msgspec.structs import replace as replace_struct

from dure.kernel.policies import Lending, Policy
from dure.model.organisations import Share, ShareAmount
from dure.model.units import WHOLE_GPU_MILLI
from dure.sources.errors import BadWorkload
from dure.sources.fit import fitted
from dure.sources.fleet import TwinFleet, TwinNodes
from dure.sources.trace import Trace, pack_choices, unpack_choices


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What the kernel is told of: the fleet, the shares, and the jobs that could ever run on it."""

    fleet: TwinFleet
    shares: tuple[Share, ...]
    trace: Trace


def declared_under(policy: Policy, fleet: TwinFleet, shares: Sequence[Share], trace: Trace) -> Declared:
    """Fleet, shares and trace as a policy has them. Raises `BadSource` when an owner alone leaves no job that fits."""
    match policy.lending:
        case Lending.BY_TREE:
            return Declared(fleet=fleet, shares=tuple(shares), trace=trace)
        case Lending.NO_QUOTA:
            return Declared(fleet=fleet, shares=tuple(map(_without_limits, shares)), trace=trace)
        case Lending.NOTHING:
            return _alone(fleet, shares, trace)


def _without_limits(share: Share) -> Share:
    amounts = [ShareAmount(gpu_class=each.gpu_class, guarantee_milli=each.guarantee_milli) for each in share.amounts]
    return replace_struct(share, amounts=tuple(amounts))


def _alone(fleet: TwinFleet, shares: Sequence[Share], trace: Trace) -> Declared:
    owner_of = _owners(shares)
    parts = [
        (gpu_class, share.name, amount.guarantee_milli // WHOLE_GPU_MILLI)
        for gpu_class in fleet.gpu_classes
        for share in shares
        for amount in share.amounts
        if share.parent is None and amount.gpu_class == gpu_class and amount.guarantee_milli >= WHOLE_GPU_MILLI
    ]
    own_class = {(gpu_class, owner): f"{gpu_class}@{owner}" for gpu_class, owner, _ in parts}
    divided = replace(
        fleet,
        name=f"{fleet.name}, divided",
        gpu_classes=tuple(own_class.values()),
        groups=tuple(_divided(fleet, parts)),
    )
    own_shares = tuple(_with_own_classes(share, owner_of[share.name], own_class) for share in shares)
    return Declared(fleet=divided, shares=own_shares, trace=_on_own_nodes(trace, divided, owner_of, own_class))


def _owners(shares: Sequence[Share]) -> dict[str, str]:
    """The share at the top of the tree above each share; parents come first in the document."""
    owner_of: dict[str, str] = {}
    for share in shares:
        owner_of[share.name] = share.name if share.parent is None else owner_of[share.parent]
    return owner_of


def _divided(fleet: TwinFleet, parts: Sequence[tuple[str, str, int]]) -> Iterator[TwinNodes]:
    """The fleet's nodes, owner by owner. Nodes without GPUs are everybody's; what nobody is guaranteed is left out."""
    rest = {name: list(fleet.of_class(index)) for index, name in enumerate(fleet.gpu_classes)}
    for index, (gpu_class, _, gpus) in enumerate(parts):
        yield from (replace(group, class_index=index) for group in _taken(rest[gpu_class], gpus))
    yield from (group for group in fleet.groups if not group.gpus)


def _taken(rest: list[TwinNodes], gpus: int) -> Iterator[TwinNodes]:
    """The first `gpus` GPUs of the nodes in `rest`, which loses them; the last node may have to be cut in two."""
    while gpus > 0:
        group = rest.pop(0)
        whole = min(group.count, gpus // group.gpus)
        gpus -= whole * group.gpus
        if whole:
            yield _nodes(group, whole)
        if left := group.count - whole:
            if gpus:
                yield _cut(group, gpus)
                kept = [_cut(group, group.gpus - gpus)]
                rest[:0] = kept + ([_nodes(group, left - 1)] if left > 1 else [])
                return
            rest.insert(0, _nodes(group, left))


def _nodes(group: TwinNodes, count: int) -> TwinNodes:
    return replace(group, count=count, names=())


def _cut(group: TwinNodes, gpus: int) -> TwinNodes:
    """A part of one node, with its part of the cores and the memory."""
    return replace(
        group,
        gpus=gpus,
        count=1,
        cpus_milli=group.cpus_milli * gpus // group.gpus,
        memory_mib=group.memory_mib * gpus // group.gpus,
        names=(),
    )


def _with_own_classes(share: Share, owner: str, own_class: dict[tuple[str, str], str]) -> Share:
    amounts = []
    for amount in share.amounts:
        if name := own_class.get((amount.gpu_class, owner)):
            whole = amount.guarantee_milli // WHOLE_GPU_MILLI * WHOLE_GPU_MILLI
            milli = whole if share.parent is None else amount.guarantee_milli
            amounts.append(replace_struct(amount, gpu_class=name, guarantee_milli=milli))
    return replace_struct(share, amounts=tuple(amounts))


def _on_own_nodes(
    trace: Trace, divided: TwinFleet, owner_of: dict[str, str], own_class: dict[tuple[str, str], str]
) -> Trace:
    """The trace with each job's GPU classes replaced by its owner's; what fits on none of them is refused."""
    index = {name: position for position, name in enumerate(divided.gpu_classes)}
    wishes, wish_of_job = np.unique(np.stack((trace.choices, trace.share)), axis=1, return_inverse=True)
    choices = np.zeros(wishes.shape[1], dtype=np.int64)
    for column, (wanted, share) in enumerate(wishes.T.tolist()):
        owner = owner_of.get(trace.shares[share], "")
        names = [own_class.get((trace.gpu_classes[each], owner)) for each in unpack_choices(wanted)]
        choices[column] = pack_choices([index[name] for name in names if name])
    own = choices[wish_of_job]
    homeless = (own == 0) & (trace.choices != 0)
    moved = replace(trace, gpu_classes=divided.gpu_classes, choices=own)
    if homeless.all():
        raise BadWorkload(f"{trace.name}: no job belongs to an owner who is guaranteed a GPU; alone, nobody could run")
    if homeless.any():
        refused = int(homeless.sum())
        origin = f"{trace.origin}; left out: {refused:,} jobs of owners that are guaranteed no such GPU"
        moved = moved.only(~homeless, refused=trace.refused + refused, origin=origin)
    return fitted(moved, divided)
