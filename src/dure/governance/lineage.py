"""Compute over a model's lineage: its own, that of everything it was made from, and each counted once.

Law counts cumulative training compute, the base model's included (EU AI Act 51(2); decree of the Korean AI Basic Act,
24). What a fine-tune added is recorded apart, because another rule asks for it: the Commission's guidelines of July
2025 make who modifies another's model its provider when its own compute exceeds one third of the original's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from msgspec import Struct

from dure.governance.amounts import Amount
from dure.governance.answers import Answer
from dure.governance.compute import NO_FLOP, FlopRange
from dure.governance.facts import NO, YES, FactValue

ONE_PART_OF = 3
"""A modifier becomes a provider above one third of the original's compute."""


class Stage(StrEnum):
    """What a version's own compute was for."""

    PRE_TRAINING = "pre-training"
    FINE_TUNING = "fine-tuning"


class Version(Struct, frozen=True, kw_only=True):
    """A model version, who made it, from which others, and what that took by itself."""

    id: str
    organisation: str
    own: FlopRange
    stage: Stage
    parents: tuple[str, ...] = ()


class LineageError(ValueError):
    """A lineage that cannot be: a parent that nobody declared, or a version made from itself."""


class Lineage(Struct, frozen=True, kw_only=True):
    """The compute behind a version. `cumulative` is `own` and `base` together, and the sum of both stages."""

    version: str
    cumulative: FlopRange
    own: FlopRange
    base: FlopRange
    """Of everything it was made from."""
    pre_training: FlopRange
    fine_tuning: FlopRange
    ancestors: tuple[str, ...]
    """Each once, in the order in which they can have been made."""


class Modification(Struct, frozen=True, kw_only=True):
    """What the version's organisation did to models of others. Later training of its own models is no modification."""

    modifier: FlopRange
    original: FlopRange
    modifies_others: bool
    is_above_one_third: Answer


def lineage(id: str, versions: Mapping[str, Version]) -> Lineage:
    """The compute behind one version. Raises `LineageError` when its lineage is incomplete or goes in a circle."""
    order = _in_order_of_making(id, versions)
    own = versions[id].own
    before = [versions[each] for each in order[:-1]]
    everything = [versions[each] for each in order]
    return Lineage(
        version=id,
        cumulative=_sum(each.own for each in everything),
        own=own,
        base=_sum(each.own for each in before),
        pre_training=_sum(each.own for each in everything if each.stage is Stage.PRE_TRAINING),
        fine_tuning=_sum(each.own for each in everything if each.stage is Stage.FINE_TUNING),
        ancestors=tuple(order[:-1]),
    )


def modification(id: str, versions: Mapping[str, Version]) -> Modification:
    """What the organisation of this version added to what others had made."""
    organisation = versions[id].organisation
    everything = [versions[each] for each in _in_order_of_making(id, versions)]
    modifier = _sum(each.own for each in everything if each.organisation == organisation)
    others = [each for each in everything if each.organisation != organisation]
    original = _sum(each.own for each in others)
    return Modification(
        modifier=modifier,
        original=original,
        modifies_others=bool(others),
        is_above_one_third=_is_above_one_third(modifier, original) if others else Answer.NO,
    )


def compute_facts(id: str, versions: Mapping[str, Version]) -> dict[str, FactValue]:
    """What the platform itself can declare to an assessment. What it does not know for sure it leaves unknown."""
    total, change = lineage(id, versions).cumulative, modification(id, versions)
    facts: dict[str, FactValue] = {
        "training-compute": Amount(least=total.least, most=total.most),
        "modifies-a-model-of-others": YES if change.modifies_others else NO,
    }
    if change.is_above_one_third is not Answer.UNKNOWN:
        facts["modification-above-a-third"] = YES if change.is_above_one_third is Answer.YES else NO
    return facts


def _is_above_one_third(modifier: FlopRange, original: FlopRange) -> Answer:
    """Yes or no only where the bounds of both leave no doubt."""
    if original.most is not None and modifier.least * ONE_PART_OF > original.most:
        return Answer.YES
    if modifier.most is not None and modifier.most * ONE_PART_OF <= original.least:
        return Answer.NO
    return Answer.UNKNOWN


def _in_order_of_making(id: str, versions: Mapping[str, Version]) -> list[str]:
    """The version and all that it was made from, parents first, each once; the version itself comes last.

    A walk with a stack of its own: a lineage may be longer than Python's.
    """
    order: list[str] = []
    done: set[str] = set()
    open_ids: dict[str, None] = {}
    stack = [(id, False)]
    while stack:
        current, is_left = stack.pop()
        if is_left:
            del open_ids[current]
            done.add(current)
            order.append(current)
        elif current in open_ids:
            raise LineageError(f"{current} would be made from itself: {' <- '.join([*open_ids, current])}")
        elif current not in done:
            if current not in versions:
                raise LineageError(f"{current} is a parent in the lineage of {id} and is not declared")
            open_ids[current] = None
            stack.append((current, True))
            stack.extend((parent, False) for parent in reversed(versions[current].parents))
    return order


def _sum(parts: Iterable[FlopRange]) -> FlopRange:
    return sum(parts, start=NO_FLOP)
