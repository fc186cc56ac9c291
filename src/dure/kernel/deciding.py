"""The kernel's decision in the model's words: plan rows become a `Plan`."""

from __future__ import annotations

from dure.kernel.decide import decide_columns
from dure.model.plan import Claim, Decision, Plan, Spare, Start, Stop, StopReason, Warn
from dure.world.columns import DO_CLAIM, DO_SPARE, DO_START, DO_STOP, DO_WARN, DO_WARN_OF_RESIZE, NONE
from dure.world.enacting import STOP_CODES
from dure.world.world import World

_REASONS: dict[int, StopReason] = {code: reason for reason, code in STOP_CODES.items()}


def decide(world: World, now_ms: int) -> Plan:
    """Decide every queued job against one world. Same world and time, same plan.

    Works in place: when this returns, columns and cards already are as the plan says.
    """
    decisions: list[Decision] = []
    while True:
        rows = decide_columns(world.columns, now_ms)
        decisions.extend(_decision(world, row) for row in range(rows))
        if world.columns.counters[0].plan_full == 0:
            break
        if world.columns.counters[0].needs_room == 1:
            world.grow()
    plan = Plan(at_ms=now_ms, decisions=tuple(decisions), reserved=world.newly_reserved())
    world.record(plan)
    return plan


def warm_up() -> None:
    """Compile everything `decide` needs, or load it from the cache."""
    decide_columns(World().columns, 0)


def _decision(world: World, index: int) -> Decision:
    row = world.columns.plan[index]
    job = int(row.job)
    world.begin_copy(job)
    name = world.job_at(job)
    kind = int(row.kind)
    if kind == DO_START:
        return _start(world, job, name, int(row.attempt))
    if kind == DO_CLAIM:
        return _claim(world, job, name)
    if kind in (DO_WARN, DO_WARN_OF_RESIZE):
        return _warn(world, index, name)
    if kind == DO_SPARE:
        return Spare(job=name, attempt=int(row.attempt))
    assert kind == DO_STOP
    grace_ms = int(world.columns.counters[0].grace_ms)
    return Stop(job=name, attempt=int(row.attempt), reason=_REASONS[int(row.reason)], grace_ms=grace_ms)


def _start(world: World, job: int, name: str, attempt: int) -> Start:
    placements = world.placements_of(job)
    return Start(
        job=name,
        attempt=attempt,
        site=world.atlas.site_of_node(placements[0].node),
        gpu_class=_class_used(world, job),
        placements=placements,
        borrowed=bool(world.columns.jobs[job].borrowed),
    )


def _warn(world: World, index: int, name: str) -> Warn:
    row = world.columns.plan[index]
    if row.kind == DO_WARN_OF_RESIZE:
        return Warn(job=name, attempt=int(row.attempt), claimant="", stop_at_ms=int(row.at_ms), resizes=True)
    claimant = world.job_at(int(row.other)) if row.other != NONE else ""
    reservation = "" if claimant else world.nation.reservations[int(row.reason)].name
    return Warn(
        job=name, attempt=int(row.attempt), claimant=claimant, stop_at_ms=int(row.at_ms), reservation=reservation
    )


def _claim(world: World, job: int, name: str) -> Claim:
    placements = world.placements_of(job)
    return Claim(
        job=name,
        site=world.atlas.site_of_node(placements[0].node),
        gpu_class=_class_used(world, job),
        placements=placements,
    )


def _class_used(world: World, job: int) -> str:
    """The GPU class a job got; empty for a job without GPUs, though the kernel counts it under one."""
    record = world.columns.jobs[job]
    return world.atlas.class_name(int(record.gpu_class)) if record.gpus_milli > 0 else ""
