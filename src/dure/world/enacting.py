"""Decisions of recorded plans: a replay puts them into effect in the columns, as the kernel did when it made them."""

from __future__ import annotations

from typing import assert_never

from dure.model.plan import Claim, Decision, Placement, Spare, Start, Stop, StopReason, Warn
from dure.world import templates, transitions
from dure.world.capacity import hold, hold_part
from dure.world.columns import (
    CLAIMED,
    STOP_CANCELLED,
    STOP_DRAINED,
    STOP_NODE_LOST,
    STOP_RECLAIMED,
    STOP_RESERVED,
    STOP_RESIZED,
    STOP_SCALED_DOWN,
    STOP_TIME_LIMIT,
)
from dure.world.state import State

STOP_CODES = {
    StopReason.RECLAIMED: STOP_RECLAIMED,
    StopReason.TIME_LIMIT: STOP_TIME_LIMIT,
    StopReason.CANCELLED: STOP_CANCELLED,
    StopReason.NODE_LOST: STOP_NODE_LOST,
    StopReason.RESERVED: STOP_RESERVED,
    StopReason.SCALED_DOWN: STOP_SCALED_DOWN,
    StopReason.DRAINED: STOP_DRAINED,
    StopReason.RESIZED: STOP_RESIZED,
}


def enact(world: State, decision: Decision, at_ms: int) -> None:
    """Put one decision of a recorded plan into effect in the columns, as the kernel did when it made it."""
    row = world.row_of(decision)
    match decision:
        case Start():
            if world.columns.jobs[row].state == CLAIMED:
                transitions.start_claimed(world.columns, row, at_ms)
            else:
                hold_placements(world, row, decision.placements)
                transitions.start(world.columns, row, class_at(world, decision.placements[0]), at_ms)
        case Claim():
            hold_placements(world, row, decision.placements)
            counters = world.columns.counters[0]
            expected_ms = at_ms + int(counters.warning_ms) + int(counters.grace_ms)
            gpu_class = class_at(world, decision.placements[0])
            transitions.claim(world.columns, row, gpu_class, expected_ms, at_ms)
        case Warn() if decision.resizes:
            transitions.warn_of_resize(world.columns, row, decision.stop_at_ms)
        case Warn() if decision.reservation:
            transitions.warn_of_booking(world.columns, row, decision.stop_at_ms)
        case Warn():
            claimant = world.jobs[decision.claimant].row
            transitions.warn(world.columns, row, claimant, decision.stop_at_ms, at_ms)
        case Spare():
            transitions.spare(world.columns, row, at_ms)
        case Stop(reason=StopReason.SCALED_DOWN):
            templates.scale_down(world.columns, row, at_ms)
        case Stop():
            transitions.stop(world.columns, row, STOP_CODES[decision.reason], at_ms)
        case _:
            assert_never(decision)


def class_at(world: State, placement: Placement) -> int:
    """The class a job is counted under: that of its nodes, also when it uses none of their GPUs."""
    node = world.atlas.node_index(placement.node)
    return int(world.columns.pools[world.columns.nodes[node].pool].gpu_class)


def hold_placements(world: State, row: int, placements: tuple[Placement, ...]) -> None:
    """Have the job in a row hold the GPUs that its placements name."""
    wanted = -(-int(world.columns.jobs[row].gpus_milli) // 1000)
    world.columns.jobs[row].nodes = len(placements)
    for placement in reversed(placements):
        node = world.atlas.node_index(placement.node)
        if placement.gpus and placement.milli < 1000:
            slices = sum(1 << each for each in placement.slices)
            hold_part(world.columns, row, node, placement.gpus[0], slices)
        else:
            mask = sum(1 << gpu for gpu in placement.gpus)
            hold(world.columns, row, node, mask, placement.milli, wanted)
