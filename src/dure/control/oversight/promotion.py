"""The promotion gate: what a version must show before two people may put it to use. Without a gate none is promoted."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from dure.control.draft import Draft
from dure.control.oversight.assessing import assess
from dure.governance.assessment import Status
from dure.model.model_versions import Bound, ModelVersion, PromotionGate, VersionName, VersionState

FULFILLED = frozenset(
    {
        Status.EVIDENCE_HELD,
        Status.NOT_APPLICABLE,
        Status.NO_LONGER_IN_FORCE,
        Status.NOT_YET_IN_FORCE,
        Status.FOR_INFORMATION,
    }
)
"""Where a duty may stand that a gate names. Not knowing whether it applies is not among them."""


def why_not_promoted(name: VersionName, draft: Draft) -> str:
    """Everything that keeps a version from being promoted; empty when nothing does."""
    models = draft.register.models
    version = models.version(name)
    if version is None:
        return f"There is no model {name}."
    if version.state is not VersionState.REGISTERED:
        return f"{name} is {version.state.value} already."
    withdrawn = models.withdrawn_ancestors(name)
    if withdrawn:
        return f"{name} descends from {', '.join(map(str, withdrawn))}, which was withdrawn."
    gate = models.models[name.of].gate
    if gate is None:
        return f"{name.of} has no promotion gate; set one with `dure model gate`."
    failures = [*_bounds_not_met(gate, version), *_duties_not_shown(gate, version, draft)]
    return f"{name} does not pass its gate: {'; '.join(failures)}." if failures else ""


def _bounds_not_met(gate: PromotionGate, version: ModelVersion) -> Iterator[str]:
    for bound in gate.bounds:
        value = version.metrics.get(bound.metric)
        if value is None:
            yield f"{bound.metric} was not measured"
        elif not _is_within(Decimal(value), bound):
            limit = f"at least {bound.at_least}" if bound.at_least else f"at most {bound.at_most}"
            limit = f"{bound.at_least} to {bound.at_most}" if bound.at_least and bound.at_most else limit
            yield f"{bound.metric} is {value} and must be {limit}"


def _is_within(value: Decimal, bound: Bound) -> bool:
    is_enough = not bound.at_least or value >= Decimal(bound.at_least)
    return is_enough and (not bound.at_most or value <= Decimal(bound.at_most))


def _duties_not_shown(gate: PromotionGate, version: ModelVersion, draft: Draft) -> Iterator[str]:
    if not gate.duties:
        return
    standing = {each.id: each.status for each in assess(version, draft).provisions}
    for duty in gate.duties:
        status = standing.get(duty)
        if status is None:
            yield f"no rule pack has {duty}"
        elif status not in FULFILLED:
            yield f"{duty} is {status.value}"
