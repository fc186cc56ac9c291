"""Nation documents: what applying one would change, and applying it as a whole or not at all."""

from __future__ import annotations

from dure.control.draft import Draft
from dure.control.memory import Memory
from dure.control.requests import ApplyNation, NationStands
from dure.intake.nation_changes import difference, refuse_nation_change
from dure.intake.refusals import Refusal
from dure.model.events import NationApplied
from dure.model.nation import Nation
from dure.world.world import World


def compare_nation(wanted: Nation, world: World) -> NationStands | Refusal:
    """What applying this would change, or why it cannot be applied now."""
    refusal = refuse_nation_change(world.nation, wanted, world.jobs.values())
    if refusal is not None:
        return refusal
    changes = difference(world.nation, wanted)
    return NationStands(changes=tuple(str(change) for change in changes), applied=False)


def apply_nation(request: ApplyNation, memory: Memory, draft: Draft) -> NationStands | Refusal:
    """Make it the declared state. What changes nothing is not written."""
    compared = compare_nation(request.nation, draft.world)
    if isinstance(compared, Refusal):
        return compared
    if compared.changes:
        draft.record(NationApplied(at_ms=draft.now_ms, by=request.caller.id, nation=request.nation))
        memory.bind_nation()
    return NationStands(changes=compared.changes, applied=True)
