"""Nation documents: what applying one would change, and applying it as a whole or not at all."""

from __future__ import annotations

from dure.control.draft import Draft
from dure.control.memory import Memory
from dure.control.requests import ApplyNation, NationStands
from dure.governance.register import Register
from dure.intake.nation_changes import difference, refuse_nation_change, refuse_new_copies
from dure.intake.refusals import Refusal
from dure.intake.reservations import reservation_notes, settle_for_now
from dure.model.events import NationApplied
from dure.model.nation import Nation
from dure.world.world import World


def compare_nation(wanted: Nation, world: World, register: Register, now_ms: int) -> NationStands | Refusal:
    """What applying this would change, or why it cannot be applied now."""
    settled = settle_nation(wanted, world, register, now_ms)
    return settled if isinstance(settled, Refusal) else _standing(settled, world, now_ms, applied=False)


def apply_nation(request: ApplyNation, memory: Memory, draft: Draft) -> NationStands | Refusal:
    """Make it the declared state. What changes nothing is not written."""
    settled = settle_nation(request.nation, draft.world, draft.register, draft.now_ms)
    if isinstance(settled, Refusal):
        return settled
    stands = _standing(settled, draft.world, draft.now_ms, applied=True)
    if stands.changes:
        draft.record(NationApplied(at_ms=draft.now_ms, by=request.caller.id, nation=settled))
    return stands


def settle_nation(wanted: Nation, world: World, register: Register, now_ms: int) -> Nation | Refusal:
    """The nation with the nodes of its reservations, as it would be written; or why it cannot replace what is."""
    refusal = refuse_nation_change(world.nation, wanted, world.jobs.values()) or refuse_new_copies(
        world.nation, wanted, register.agreements_in_force(now_ms)
    )
    return refusal if refusal is not None else settle_for_now(wanted, world.nation, now_ms)


def _standing(settled: Nation, world: World, now_ms: int, *, applied: bool) -> NationStands:
    return NationStands(
        changes=tuple(str(change) for change in difference(world.nation, settled)),
        applied=applied,
        notes=reservation_notes(world.nation, settled, world.jobs.values(), now_ms),
    )
