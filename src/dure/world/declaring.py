"""The nation is declared anew: new columns are built for it, and every job and node that goes on is brought over."""

from __future__ import annotations

import numpy as np

from dure.model.events import SitesChanged
from dure.model.nation import Nation
from dure.world import building, templates, transitions
from dure.world.atlas import Atlas
from dure.world.bookings import booked_until
from dure.world.capacity import set_node_state
from dure.world.cards import JobCard
from dure.world.columns import (
    CLAIMED,
    GONE,
    HELD,
    NODE_UNREACHABLE,
    NODE_UP,
    NONE,
    QUEUED,
    RUNNING,
    SPENT,
    STOP_NONE,
    STOP_RESERVED,
    STOP_RESIZED,
    WARNED,
    Columns,
)
from dure.world.enacting import class_at, hold_placements
from dure.world.fleet_changes import give_up_claim
from dure.world.job_records import job_record
from dure.world.running import add_preemptible
from dure.world.state import FIRST_ROOM, State

_TEMPLATE_FIELDS = (
    "template",
    "copies",
    "number",
    "live_copies",
    "first_copy",
    "next_copy",
    "previous_copy",
    "first_skipped",
    "step",
)


def change_sites(world: State, event: SitesChanged) -> None:
    """Have jobs look elsewhere. What was counted on their old sites is given up, as when a nation is declared."""
    unfinished = ((card.job, card.submitted) for card in world.jobs.values() if not card.state.is_final)
    for job, submitted in event.changed(unfinished):
        world.card_to_change(job).submitted = submitted
        world.touched.add(job)
    declare(world, world.nation, event.at_ms)


def declare(world: State, nation: Nation, at_ms: int) -> None:
    """Build new columns for a declaration and bring every job over, as it is."""
    rows = world.taken_rows()
    for row in rows:
        if world.columns.jobs[row].state == CLAIMED:
            give_up_claim(world, row, at_ms)
    old, old_atlas = world.columns, world.atlas
    world.reserved = ()
    world.atlas = Atlas(nation)
    room = max(FIRST_ROOM, len(old.jobs))
    world.columns = building.with_allocations_for(building.build(world.atlas.shape(), room), world.ranks)
    world.columns.jobs[:] = building.empty_jobs(room)
    # A row that was given back stands for a job that is gone, not for one that waits.
    world.columns.jobs["state"] = GONE
    world.atlas.carry_over_usage(old_atlas, old, world.columns)
    _carry_over_nodes(world, old_atlas, old)
    _bring_rows_over(world, rows, old)
    for row in sorted(rows, key=lambda row: int(old.jobs[row].sequence)):
        _bring_over(world, row, old, at_ms)


def _bring_rows_over(world: State, taken: list[int], old: Columns) -> None:
    """Free rows, skipped numbers and load profiles do not depend on what was declared."""
    world.columns = world.columns.replace(steps=old.steps)
    for name in ("first_free_job", "first_free_step"):
        world.columns.counters[name] = old.counters[name]
    free = np.ones(world.rows, dtype=bool)
    free[taken] = False
    world.columns.jobs[free] = old.jobs[free]


def _bring_over(world: State, row: int, old: Columns, at_ms: int) -> None:
    card = world.card_to_change(world.job_at(row))
    before = old.jobs[row]
    world.columns.jobs[row] = job_record(world.atlas, card.submitted, int(before.sequence))
    now = world.columns.jobs[row]
    now.sites = world.atlas.site_mask(card.sites)
    now.attempt, now.times_reclaimed = before.attempt, before.times_reclaimed
    now.first_started_ms, now.submitted_ms = before.first_started_ms, before.submitted_ms
    for name in _TEMPLATE_FIELDS:
        now[name] = before[name]
    now.state = before.state
    if before.state == QUEUED:
        transitions.put_in_queue(world.columns, row)
    if before.step != NONE:
        templates.follow_profile(world.columns, row, at_ms)
    if before.state in (QUEUED, HELD, SPENT, GONE):
        return
    now.gpu_class = class_at(world, card.placements[0])
    hold_placements(world, row, card.placements)
    now.started_ms, now.expected_end_ms = before.started_ms, before.expected_end_ms
    now.borrowed, now.stop_reason = before.borrowed, before.stop_reason
    now.resize_at_ms = before.resize_at_ms
    if before.state == WARNED and before.stop_reason == STOP_RESIZED:
        # Whether it would still grow is asked anew: it is spared first.
        now.stop_reason = STOP_NONE
    now.pool = world.columns.nodes[world.atlas.node_index(card.placements[0].node)].pool
    transitions.set_charged(world.columns, row, int(before.charged), at_ms)
    if before.state == RUNNING and now.preemptible == 1:
        add_preemptible(world.columns, row, transitions.share_row(world.columns, row, int(now.gpu_class)))
    if before.state in (RUNNING, WARNED):
        # A warned job has lost its claimant with the old columns, so it is looked at (and spared) at once.
        at_once = before.state == WARNED or before.stop_reason != STOP_NONE
        due_ms = at_ms if at_once else int(now.expected_end_ms)
        if before.stop_reason == STOP_RESERVED:
            due_ms = _bring_over_leaving(world, card, at_ms)
        transitions.set_timer(world.columns, row, due_ms)


def _bring_over_leaving(world: State, card: JobCard, at_ms: int) -> int:
    """When a job that must leave its node is looked at next: at once, and spared, if it may stay after all."""
    record = world.columns.jobs[card.row]
    limit_ms = int(record.started_ms + record.limit_ms)
    nodes = [world.atlas.node_index(placement.node) for placement in card.placements]
    if any(booked_until(world.columns, card.row, node, at_ms, limit_ms) != NONE for node in nodes):
        return min(limit_ms, card.stop_at_ms or at_ms)
    record.stop_reason = STOP_NONE
    return at_ms


def _carry_over_nodes(world: State, before: Atlas, old: Columns) -> None:
    """Nodes that go on under a new declaration keep their state, and what makes them suspect."""
    world.accused.clear()
    for name, state in before.node_states(old):
        if world.atlas.has_node(name) and state != NODE_UNREACHABLE:
            set_node_state(world.columns, world.atlas.node_index(name), state)
    declared = {site.name for site in world.nation.sites}
    world.lost_sites = {site: detail for site, detail in world.lost_sites.items() if site in declared}
    for site in world.lost_sites:
        for node in world.atlas.nodes_of_site(site):
            if world.columns.nodes[node].state == NODE_UP:
                set_node_state(world.columns, node, NODE_UNREACHABLE)
    for name in [name for name in world.suspect_until_ms if not world.atlas.has_node(name)]:
        del world.suspect_until_ms[name]
    world.atlas.carry_over_failures(before, old, world.columns)
