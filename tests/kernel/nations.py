"""Short builders of small nations and jobs."""

from __future__ import annotations

from collections.abc import Sequence

from dure.model.events import JobSubmitted, NationApplied
from dure.model.fleet import GpuClass, NodeGroup, Site, Timing, Topology
from dure.model.jobs import ArrayRange, Replicas
from dure.model.mig import profiles_of
from dure.model.nation import Nation
from dure.model.organisations import UNLIMITED_MILLI, Organisation, OrganisationKind, Share, ShareAmount
from dure.model.reservations import Reservation
from dure.world.world import World

WHOLE = 1000
MINUTE = 60_000
HOUR = 60 * MINUTE
NO_TOPOLOGY = Topology()
SLICES = {profile.name: profile for profile in profiles_of("H100")}

TIMING = Timing(protected_ms=10 * MINUTE, warning_ms=MINUTE, grace_ms=30_000)


def share(
    name: str,
    parent: str | None = None,
    *,
    guarantee: int = 0,
    limit: int | None = None,
    lend: int | None = None,
    weight: int = 1,
    gpu_class: str = "H100",
    reclaim_per_hour: int | None = None,
) -> Share:
    """A share with amounts in whole GPUs of one class."""
    amount = ShareAmount(
        gpu_class=gpu_class,
        guarantee_milli=guarantee * WHOLE,
        limit_milli=UNLIMITED_MILLI if limit is None else limit * WHOLE,
        lend_milli=UNLIMITED_MILLI if lend is None else lend * WHOLE,
        reclaim_per_hour_milli=UNLIMITED_MILLI if reclaim_per_hour is None else reclaim_per_hour * WHOLE,
    )
    return Share(name=name, parent=parent, weight=weight, amounts=(amount,))


def nation(
    shares: Sequence[Share],
    *,
    nodes: int = 4,
    gpus: int = 8,
    sites: int = 1,
    timing: Timing = TIMING,
    classes: Sequence[str] = ("H100",),
    cpus: int = 64,
    reservations: Sequence[Reservation] = (),
    topology: Topology = NO_TOPOLOGY,
) -> Nation:
    """`nodes` nodes of each class at each site; every leaf share is an organisation with one project of its name.

    Every class offers all parts in thousandths, and the MIG profiles of an H100.
    """
    parents = {each.parent for each in shares}
    leaves = [each.name for each in shares if each.name not in parents]
    return Nation(
        gpu_classes=tuple(GpuClass(name=name, mig=profiles_of("H100")) for name in classes),
        sites=tuple(_site(number, nodes, gpus, classes, cpus, topology) for number in range(sites)),
        organisations=tuple(_organisation(name) for name in leaves),
        shares=tuple(shares),
        timing=timing,
        reservations=tuple(reservations),
    )


def reservation(name: str, from_ms: int, until_ms: int, *nodes: int, share: str = "") -> Reservation:
    """Some H100 nodes of the first site, by number, for a share or for maintenance."""
    names = tuple(f"s0-h100-{number:04d}" for number in nodes)
    return Reservation(name=name, from_ms=from_ms, until_ms=until_ms, share=share, nodes=names, chosen=names)


def _site(number: int, nodes: int, gpus: int, classes: Sequence[str], cpus: int, topology: Topology) -> Site:
    groups = tuple(
        NodeGroup(
            name=f"s{number}-{name.lower()}",
            count=nodes,
            gpu_class=name,
            gpus=gpus,
            cpus=cpus,
            memory_mib=1 << 20,
            topology=topology,
        )
        for name in classes
    )
    return Site(name=f"site{number}", country="KR", owner="", nodes=groups)


def _organisation(name: str) -> Organisation:
    return Organisation(
        name=name, kind=OrganisationKind.SME, country="KR", parent_country="KR", projects=(f"{name}-project",)
    )


def world_of(declared: Nation) -> World:
    """A world with this nation and no jobs."""
    world = World()
    world.apply(NationApplied(at_ms=0, by="test", nation=declared))
    return world


def job(
    name: str,
    owner: str,
    gpus: float = 1,
    *,
    nodes: int = 1,
    at_ms: int = 0,
    time_ms: int = HOUR,
    priority: int = 0,
    preemptible: bool = True,
    checkpoint_every_ms: int = 0,
    saves_when_warned: bool = False,
    retry_limit: int = 0,
    depends: tuple[str, ...] = (),
    sites: Sequence[str] = ("site0", "site1"),
    classes: Sequence[str] = ("H100",),
    cpus: int = 0,
    memory_mib: int = 0,
    not_before_ms: int = 0,
    not_after_ms: int = 0,
    deadline_ms: int = 0,
    profile: str = "",
    tasks: int = 0,
    first_task: int = 0,
    replicas: int | Sequence[tuple[int, int]] = 0,
    within: str = "site",
    min_nodes: int = 0,
) -> JobSubmitted:
    """A submission of `nodes` x `gpus` GPUs, or of one MIG slice, by the project of organisation `owner`.

    With `min_nodes` it is elastic; with `tasks` it is an array; with `replicas` a service, always of that many, or from
    times of the day (UTC) on.
    """
    milli = SLICES[profile].milli if profile else round(gpus * WHOLE)
    steps = ((0, replicas),) if isinstance(replicas, int) else tuple(replicas)
    return JobSubmitted(
        at_ms=at_ms,
        job=name,
        project=f"{owner}-project",
        by="test",
        commitment="",
        gpus=tuple((each, milli) for each in classes) if milli else (),
        mig=(profile,) * len(classes) if profile else (),
        nodes=nodes,
        min_nodes=min_nodes,
        cpus=cpus,
        memory_mib=memory_mib,
        time_ms=0 if replicas else time_ms,
        within=within,
        priority=priority,
        preemptible=preemptible,
        checkpoint_every_ms=checkpoint_every_ms,
        saves_when_warned=saves_when_warned,
        retry_limit=retry_limit,
        retry_backoff_ms=1_000,
        depends=depends,
        data=(),
        purpose="research",
        sites=tuple(sites),
        not_before_ms=not_before_ms,
        not_after_ms=not_after_ms,
        deadline_ms=deadline_ms,
        array=ArrayRange(first=first_task, last=first_task + tasks - 1) if tasks else None,
        replicas=Replicas(steps=steps) if replicas else None,
    )
