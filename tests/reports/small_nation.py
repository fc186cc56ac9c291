"""A nation of three organisations on two nodes, and short builders for what happens in it."""

from __future__ import annotations

from collections.abc import Iterable

from dure.kernel import decide, explain
from dure.model.blockers import Why
from dure.model.events import AttemptStarted, FleetEvent, JobSubmitted, NationApplied
from dure.model.fleet import GpuClass, NodeGroup, Site
from dure.model.jobs import JobSpec
from dure.model.nation import Nation
from dure.model.organisations import Organisation, OrganisationKind, Share, ShareAmount
from dure.reports.jobs import ExplainJob
from dure.world.world import World

NOW_MS = 1_800_000_000_000


def nation() -> Nation:
    return Nation(
        gpu_classes=(GpuClass(name="H100"),),
        sites=(
            Site(
                name="seoul",
                country="KR",
                owner="owner",
                nodes=(NodeGroup(name="seoul", count=2, gpu_class="H100", gpus=4, cpus=32, memory_mib=65_536),),
                title_ko="서울",
                title_en="Seoul",
            ),
        ),
        organisations=tuple(
            Organisation(
                name=name,
                kind=kind,
                country="KR",
                parent_country="KR",
                projects=(f"{name}-work",),
                title_ko=title,
                title_en=name.title(),
            )
            for name, kind, title in (
                ("owner", OrganisationKind.ENTERPRISE, "주인"),
                ("startup", OrganisationKind.STARTUP, "새싹"),
                ("school", OrganisationKind.UNIVERSITY, "학교"),
            )
        ),
        shares=(
            Share(name="owner", parent=None, amounts=(ShareAmount(gpu_class="H100", guarantee_milli=6_000),)),
            Share(name="startup", parent=None, amounts=(ShareAmount(gpu_class="H100", guarantee_milli=2_000),)),
            Share(name="school", parent=None),
        ),
    )


def submitted(job: str, project: str, milli: int = 1_000, nodes: int = 1, at_ms: int = NOW_MS) -> JobSubmitted:
    return JobSubmitted(
        at_ms=at_ms,
        job=job,
        project=project,
        by="t1",
        commitment="",
        gpus=(("H100", milli),),
        nodes=nodes,
        cpus=1,
        memory_mib=1_024,
        time_ms=3_600_000,
        within="site",
        priority=0,
        preemptible=True,
        checkpoint_every_ms=0,
        retry_limit=0,
        retry_backoff_ms=0,
        depends=(),
        data=(),
        purpose="research",
        sites=("seoul",),
    )


def world_after(*events: FleetEvent, now_ms: int = NOW_MS) -> World:
    """The world after these events on the small nation, with every start that follows reported as started."""
    world = World()
    world.apply(NationApplied(at_ms=NOW_MS - 1_000, by="operator", nation=nation()))
    for event in events:
        world.apply(event)
    decide(world, now_ms)
    for card in world.running():
        world.apply(AttemptStarted(at_ms=now_ms, job=card.job, attempt=card.attempt))
    return world


def explain_in(world: World, now_ms: int = NOW_MS) -> ExplainJob:
    def explain_job(job: str) -> Why:
        return explain(world, job, now_ms)

    return explain_job


def spec_of(job: str) -> JobSpec:
    return JobSpec(name=f"name-of-{job}", project="unused", command=("python", "train.py"))


def specs_of(jobs: Iterable[str]) -> dict[str, JobSpec]:
    return {job: spec_of(job) for job in jobs}
