"""How long one live decision takes at a nation's size: 300,000 GPUs, 100,000 jobs running, 100,000 waiting.

The world is a real one, made of events as in production. One member in eight has nothing to do, and the others borrow
what it lends. Then something small happens a thousand times (a job ends, or one is submitted), and after each the
kernel decides. Every eighth submission comes from a member that lent its GPUs, and takes some back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from statistics import median

from benchmarks.measurement import Measurement
from dure.audit import Books
from dure.kernel import decide
from dure.model.events import AttemptEnded, FleetEvent, JobSubmitted, NationApplied, Planned, encode
from dure.model.fleet import GpuClass, NodeGroup, Site
from dure.model.jobs import Outcome
from dure.model.nation import Nation
from dure.model.organisations import Organisation, OrganisationKind, Share, ShareAmount
from dure.model.plan import Claim, Plan
from dure.model.units import HOUR_MS, MINUTE_MS
from dure.world.world import World

NODES, GPUS_PER_NODE = 37_500, 8
OWNERS, MEMBERS = 5, 8
BUSY_MEMBERS = MEMBERS - 1
RUNNING = WAITING = 100_000
SIZES = (1, 1, 2, 8, 1, 4, 1, 2, 8, 2)
"""GPUs per job: three on average, so that 100,000 jobs fill 300,000 GPUs but for a hundred or so."""
LEFT_OVER = 200
CHANGES = 1_000
BETWEEN_CHANGES_MS = 1_000


def measure() -> Sequence[Measurement]:
    """Milliseconds of `decide` alone, and of everything a change takes in memory: apply, decide, audit, encode."""
    world, books = World(), Books()
    fill(world, books)
    decisions_ms, paths_ms, reclaims_ms = [], [], []
    for event in islice(_changes(world), CHANGES):
        plan, decided_ms, path_ms = _timed(world, books, event)
        decisions_ms.append(decided_ms)
        paths_ms.append(path_ms)
        if any(isinstance(each, Claim) for each in plan.decisions):
            reclaims_ms.append(decided_ms)
    decisions_ms.sort()
    paths_ms.sort()
    return [
        _figure("one live decision at 300,000 GPUs, p50", decisions_ms[CHANGES // 2], None, None),
        _figure("one live decision at 300,000 GPUs, p99", decisions_ms[CHANGES * 99 // 100], 1.0, 0.2),
        _figure("one live decision at 300,000 GPUs, slowest of 1,000", decisions_ms[-1], None, None),
        _figure("one live decision at 300,000 GPUs that takes GPUs back, median", median(reclaims_ms), None, None),
        _figure(
            "a change at 300,000 GPUs: apply, decide, audit, encode, p99", paths_ms[CHANGES * 99 // 100], 10.0, None
        ),
    ]


def _figure(name: str, value: float, must: float | None, aim: float | None) -> Measurement:
    compared_to = "100,000 jobs running, 100,000 waiting, 45 shares"
    return Measurement(name, value, "ms", must, aim, "less", compared_to)


def fill(world: World, books: Books) -> None:
    """Two plans: the running jobs fill every GPU, then the waiting ones find none."""
    events: list[FleetEvent] = [NationApplied(at_ms=0, by="bench", nation=_nation())]
    events += [_job(number, BUSY_MEMBERS, 0) for number in range(RUNNING)]
    _all_happen(world, books, events)
    waiting = range(RUNNING, RUNNING + WAITING)
    _all_happen(world, books, [_job(number, BUSY_MEMBERS, 1) for number in waiting])
    assert len(world.running()) - RUNNING in range(LEFT_OVER)


def _all_happen(world: World, books: Books, events: Sequence[FleetEvent]) -> None:
    for event in events:
        world.apply(event)
        books.apply(event)
    plan = decide(world, events[-1].at_ms)
    books.apply(Planned(at_ms=plan.at_ms, plan=plan))


def _changes(world: World) -> Iterator[FleetEvent]:
    """By turns, one of the first jobs ends and a new one comes; far enough apart to be decided one by one."""
    at_ms, number = HOUR_MS // 2, RUNNING + WAITING
    for running in [card.job for card in world.running()][::37]:
        at_ms += BETWEEN_CHANGES_MS
        yield AttemptEnded(at_ms=at_ms, job=running, attempt=1, outcome=Outcome.SUCCEEDED, exit_code=0)
        at_ms += BETWEEN_CHANGES_MS
        yield _job(number, MEMBERS, at_ms)
        number += 1


def _timed(world: World, books: Books, event: FleetEvent) -> tuple[Plan, float, float]:
    began = time.perf_counter()
    world.apply(event)
    deciding = time.perf_counter()
    plan = decide(world, event.at_ms)
    decided = time.perf_counter()
    books.apply(event)
    violations = books.check(plan, plan.at_ms)
    planned = Planned(at_ms=plan.at_ms, plan=plan)
    books.apply(planned)
    encode(event)
    encode(planned)
    ended = time.perf_counter()
    assert not violations, violations
    return plan, (decided - deciding) * 1000, (ended - began) * 1000


def _nation() -> Nation:
    """Five owners with eight members each; members have all of their owner's guarantee."""
    milli = NODES * GPUS_PER_NODE * 1000 // OWNERS
    shares: list[Share] = []
    organisations = []
    for owner in range(OWNERS):
        shares.append(_share(f"owner-{owner}", None, milli))
        for member in range(MEMBERS):
            name = f"member-{owner}-{member}"
            shares.append(_share(name, f"owner-{owner}", milli // MEMBERS))
            organisations.append(_organisation(name))
    nodes = NodeGroup(name="n", count=NODES, gpu_class="B200", gpus=GPUS_PER_NODE, cpus=128, memory_mib=1 << 21)
    return Nation(
        gpu_classes=(GpuClass(name="B200"),),
        sites=(Site(name="korea", country="KR", owner="", nodes=(nodes,)),),
        organisations=tuple(organisations),
        shares=tuple(shares),
    )


def _share(name: str, parent: str | None, guarantee_milli: int) -> Share:
    return Share(name=name, parent=parent, amounts=(ShareAmount(gpu_class="B200", guarantee_milli=guarantee_milli),))


def _organisation(name: str) -> Organisation:
    return Organisation(
        name=name, kind=OrganisationKind.STARTUP, country="KR", parent_country="KR", projects=(f"{name}-work",)
    )


def _job(number: int, members: int, at_ms: int) -> JobSubmitted:
    """The first `members` of every owner take turns, and each has jobs of all sizes. No time limit is ever reached."""
    owner, member = number % OWNERS, number // OWNERS % members
    size = SIZES[number // (OWNERS * members) % len(SIZES)]
    return JobSubmitted(
        at_ms=at_ms,
        job=f"j{number}",
        project=f"member-{owner}-{member}-work",
        by="bench",
        commitment="",
        gpus=(("B200", size * 1000),),
        nodes=1,
        cpus=0,
        memory_mib=0,
        time_ms=HOUR_MS + number * 7_919 % 1_000 * MINUTE_MS,
        within="site",
        priority=0,
        preemptible=True,
        checkpoint_every_ms=0,
        retry_limit=0,
        retry_backoff_ms=0,
        depends=(),
        data=(),
        purpose="research",
        sites=("korea",),
    )
