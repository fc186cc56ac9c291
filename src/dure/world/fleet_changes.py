"""Nodes change their state and sites are lost and found: what that means for claims, and which nodes are suspected."""

from __future__ import annotations

from dure.model.events import AttemptEnded, NodeChanged, NodeReason, SiteContact, SiteContactChanged
from dure.model.jobs import JobState, Outcome
from dure.world import transitions
from dure.world.atlas import NODE_STATE_CODES
from dure.world.cards import Moment, MomentCode
from dure.world.columns import CLAIMED, NODE_SUSPECT, NODE_UNREACHABLE, NODE_UP
from dure.world.node_states import change_node
from dure.world.state import State
from dure.world.suspicion import forget_failures, note_bad_end, note_good_end, put_on_trial


def note_node_changed(world: State, event: NodeChanged) -> None:
    """Bring a node into its new state, with what follows for claims there and for its probation."""
    node = world.atlas.node_index(event.node)
    state = NODE_STATE_CODES[event.state]
    is_out_of_contact = world.atlas.site_of_node(event.node) in world.lost_sites
    state = NODE_UNREACHABLE if state == NODE_UP and is_out_of_contact else state
    claims = [row for row in world.jobs_on(node) if world.columns.jobs[row].state == CLAIMED]
    change_node(world.columns, node, state, event.at_ms)
    for row in claims if state != NODE_UP else ():
        _note_lost_claim(world, row, event.at_ms)
    world.suspect_until_ms.pop(event.node, None)
    if state == NODE_SUSPECT:
        world.suspect_until_ms[event.node] = event.at_ms + world.nation.timing.probation_ms
    elif event.state == "up" and event.reason is NodeReason.ASKED:
        forget_failures(world.columns, node)
    elif event.reason is NodeReason.PROBATION_OVER:
        put_on_trial(world.columns, node, event.at_ms)


def note_contact_changed(world: State, event: SiteContactChanged) -> None:
    """Take the nodes of a site that cannot be reached out of service, or those back that were up before."""
    is_lost = event.contact is SiteContact.LOST
    if is_lost:
        world.lost_sites[event.site] = event.detail
    else:
        world.lost_sites.pop(event.site, None)
    before, after = (NODE_UP, NODE_UNREACHABLE) if is_lost else (NODE_UNREACHABLE, NODE_UP)
    # A site may have thousands of nodes, so its claims are not looked for on each of them.
    claims = [card.row for card in world.claiming() if card.site == event.site]
    for node in world.atlas.nodes_of_site(event.site):
        if world.columns.nodes[node].state == before:
            change_node(world.columns, node, after, event.at_ms)
    for row in claims:
        if world.columns.jobs[row].state != CLAIMED:
            _note_lost_claim(world, row, event.at_ms)


def judge_nodes(world: State, row: int, event: AttemptEnded) -> None:
    """Count for or against its nodes how an attempt ended."""
    if event.outcome is Outcome.SUCCEEDED:
        note_good_end(world.columns, row)
    elif event.outcome in {Outcome.FAILED, Outcome.NEVER_STARTED}:
        found = note_bad_end(world.columns, row, event.at_ms)
        world.accused.update(dict.fromkeys(world.columns.chosen[:found].tolist()))


def give_up_claim(world: State, row: int, at_ms: int) -> None:
    """A job lets go of the GPUs that it claims, and queues."""
    transitions.dissolve(world.columns, row, at_ms)
    transitions.put_in_queue(world.columns, row)
    _note_lost_claim(world, row, at_ms)


def _note_lost_claim(world: State, row: int, at_ms: int) -> None:
    card = world.card_to_change(world.job_at(row))
    world.look_at_service_of(card, at_ms)
    card.placements = ()
    world.move(card, Moment(at_ms, JobState.QUEUED, MomentCode.LOST_CLAIM))
