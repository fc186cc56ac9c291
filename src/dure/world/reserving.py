"""Starts that are reserved for waiting jobs, in the model's words and back: plans tell them, a replay lays them down.

A reservation stands from one decision to the next, so whoever makes the world again from a ledger needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dure.model.plan import Reserved
from dure.world.atlas import Atlas
from dure.world.columns import NONE, QUEUED, WHOLE, Columns


def reserved_in(columns: Columns, atlas: Atlas, job_at: Callable[[int], str]) -> tuple[Reserved, ...]:
    """Every start that is reserved, in order of time, then of submission."""
    found = []
    for row in columns.reservations[columns.reservations["pool"] != NONE]:
        job = columns.jobs[row.job]
        if job.state == QUEUED and job.sequence == row.sequence:
            reserved = Reserved(
                job=job_at(int(row.job)),
                at_ms=int(row.shadow_ms),
                first_node=atlas.node_name(int(row.first_node)),
                last_node=atlas.node_name(int(row.last_node) - 1),
            )
            found.append((reserved.at_ms, int(row.sequence), reserved))
    return tuple(reserved for *_, reserved in sorted(found, key=lambda each: each[:2]))


def lay_reservations(
    columns: Columns, atlas: Atlas, reserved: Sequence[Reserved], row_of: Callable[[str], int]
) -> None:
    """Have just these starts reserved. What they can spare is worked out when the next pass begins."""
    columns.reservations["job"] = columns.reservations["pool"] = NONE
    columns.pools["first_reservation"], columns.pools["reservations"] = NONE, 0
    columns.classes["reserved"] = columns.classes["renewed"] = 0
    for each in reserved:
        job = row_of(each.job)
        if columns.jobs[job].state == QUEUED:
            _lay(columns, atlas, each, job)


def _lay(columns: Columns, atlas: Atlas, reserved: Reserved, job: int) -> None:
    counters, waiting = columns.counters[0], columns.jobs[job]
    gpu_class = columns.classes[waiting.queue // counters.shares]
    row = int(waiting.queue // counters.shares * counters.backfill_reservations + gpu_class.reserved)
    laid = columns.reservations[row]
    laid.job, laid.sequence = job, waiting.sequence
    laid.first_node, laid.last_node = atlas.node_index(reserved.first_node), atlas.node_index(reserved.last_node) + 1
    laid.gpus, laid.nodes = -(-waiting.gpus_milli // WHOLE), waiting.nodes
    laid.shadow_ms, laid.ends_ms = reserved.at_ms, reserved.at_ms + waiting.limit_ms
    laid.pool, laid.spare, laid.renewed = columns.nodes[laid.first_node].pool, 0, 0
    pool = columns.pools[laid.pool]
    laid.next_of_pool, pool.first_reservation = pool.first_reservation, row
    pool.reservations += 1
    gpu_class.reserved += 1
