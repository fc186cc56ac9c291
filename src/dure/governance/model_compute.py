"""The training compute of registered versions: metered from what their jobs held, beside what developers claim.

A job that several versions of a lineage name counts once. What is not known (a precision that nobody named, a GPU class
without a recorded peak, a base model whose maker does not tell) leaves the total open upwards, and is never zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal, localcontext
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from dure.governance import compute, lineage
from dure.governance.accelerators import Catalogue
from dure.governance.accelerators import Precision as CataloguePrecision
from dure.governance.compute import ASSUMED_UTILISATION, UNKNOWN_FLOP, ComputeStatement, FlopRange, RecordedRange
from dure.governance.facts import FactValue
from dure.governance.forecast import Threshold
from dure.governance.models import ModelRegister
from dure.model.model_versions import BaseModel, ComputeClaim, JobRun, ModelVersion, Precision, VersionName
from dure.model.model_versions import Utilisation as DeclaredUtilisation

_PER_PERMILLE = compute.WHOLE // 1000
_PER_PERCENT = compute.WHOLE // 100


class Standing(StrEnum):
    """Where a total is to a threshold."""

    CROSSED = "crossed"
    """Even the least that it can be is above."""
    PROBABLY_CROSSED = "probably-crossed"
    POSSIBLY_CROSSED = "possibly-crossed"
    """The most that it can be is above, or the most is not known."""
    BELOW = "below"


class ThresholdStanding(Struct, frozen=True, kw_only=True):
    """A threshold of the law, the provisions that draw it, and where the total is to it."""

    threshold: str
    provisions: tuple[str, ...]
    standing: Standing


class VersionCompute(Struct, frozen=True, kw_only=True):
    """The compute behind a version. Operations in decimal digits; `own` is without what it was made from."""

    version: str
    own: ComputeStatement
    cumulative: RecordedRange
    base: RecordedRange
    """Of everything that it was made from."""
    pre_training: RecordedRange
    fine_tuning: RecordedRange
    thresholds: tuple[ThresholdStanding, ...]


def version_compute(
    name: VersionName, register: ModelRegister, catalogue: Catalogue, lines: Iterable[Threshold]
) -> VersionCompute:
    """Everything that is known of the training compute of one version."""
    everything = lineage.lineage(str(name), made_of(name, register, catalogue))
    return VersionCompute(
        version=str(name),
        own=own_statement(name, register, catalogue),
        cumulative=everything.cumulative.recorded(),
        base=everything.base.recorded(),
        pre_training=everything.pre_training.recorded(),
        fine_tuning=everything.fine_tuning.recorded(),
        thresholds=tuple(standings(everything.cumulative, lines)),
    )


def own_statement(name: VersionName, register: ModelRegister, catalogue: Catalogue) -> ComputeStatement:
    """The version's own training, without the jobs that its ancestors already count."""
    version = register.known(name)
    before = {run.job for each in register.lineage(name)[1:] for run in each.making.jobs}
    runs = [run for run in version.making.jobs if run.job not in before]
    return statement(runs, version, catalogue)


def statement(runs: Iterable[JobRun], version: ModelVersion, catalogue: Catalogue) -> ComputeStatement:
    """What these jobs can have computed, beside the claim of the version."""
    making = version.making
    times: list[compute.HardwareTime] = []
    unknown: list[str] = []
    for run in runs:
        if run.precision is None and run.hardware:
            unknown.append(f"{run.job}: nobody named its precision")
            continue
        times.extend(_times(run, making.utilisation))
    claimed = claimed_flop(making.claim) if making.claim else None
    stated = compute.compute_statement(times, catalogue, claimed)
    if making.source:
        unknown.append(f"imported from {making.source}")
    return _with_unknown(stated, unknown, claimed) if unknown else stated


def claimed_flop(claim: ComputeClaim) -> int:
    """6 x N x D, with the active parameters of a mixture of experts."""
    return compute.claimed_flop(claim.active_parameters or claim.parameters, claim.tokens)


def made_of(name: VersionName, register: ModelRegister, catalogue: Catalogue) -> dict[str, lineage.Version]:
    """The version and its ancestors as the arithmetic of lineages wants them, each job in one of them only."""
    found: dict[str, lineage.Version] = {}
    seen: set[str] = set()
    # Ancestors first, so that what a job did counts where it was first registered.
    for version in sorted(register.lineage(name), key=lambda each: (each.name == name, each.registered_at_ms)):
        runs = [run for run in version.making.jobs if run.job not in seen]
        seen.update(run.job for run in runs)
        bases = {f"base {base.name}": _base(base) for base in version.making.bases}
        parents = (*(str(each) for each in version.making.parents), *bases)
        found |= bases
        found[str(version.name)] = lineage.Version(
            id=str(version.name),
            organisation=version.name.organisation,
            own=_measured(statement(runs, version, catalogue)),
            stage=lineage.Stage.FINE_TUNING if parents else lineage.Stage.PRE_TRAINING,
            parents=parents,
        )
    return found


def facts_of(name: VersionName, register: ModelRegister, catalogue: Catalogue) -> dict[str, FactValue]:
    """What the platform itself declares about a version's compute to an assessment."""
    return lineage.compute_facts(str(name), made_of(name, register, catalogue))


def cumulative(name: VersionName, register: ModelRegister, catalogue: Catalogue) -> FlopRange:
    """The total over its lineage."""
    return lineage.lineage(str(name), made_of(name, register, catalogue)).cumulative


def before_own(name: VersionName, register: ModelRegister, catalogue: Catalogue) -> FlopRange:
    """The total of what it was made from."""
    return lineage.lineage(str(name), made_of(name, register, catalogue)).base


def standings(total: FlopRange, lines: Iterable[Threshold]) -> Iterator[ThresholdStanding]:
    """Where a total is to each threshold, the lowest first."""
    for line in lines:
        yield ThresholdStanding(
            threshold=line.written, provisions=line.provisions, standing=_standing(total, int(line.reached_at))
        )


def used(declared: DeclaredUtilisation | None, busy_percent: int | None) -> compute.Utilisation:
    """The part of the peak that counts.

    What the counters of the GPUs say is the time in which any kernel ran: no utilisation, but a bound of it from above.
    """
    if declared is None:
        known = ASSUMED_UTILISATION
    else:
        least, most = declared.least_permille * _PER_PERMILLE, declared.most_permille * _PER_PERMILLE
        known = compute.Utilisation(least=least, likely=(least + most) // 2, most=most, method=compute.Method.DECLARED)
    if busy_percent is None:
        return known
    bound = min(100, busy_percent) * _PER_PERCENT
    return compute.Utilisation(
        least=min(known.least, bound),
        likely=min(known.likely, bound),
        most=min(known.most, bound),
        method=compute.Method.MEASURED if bound < known.likely else known.method,
    )


def _times(run: JobRun, declared: DeclaredUtilisation | None) -> Iterator[compute.HardwareTime]:
    utilisation = used(declared, run.busy_percent)
    for held in run.hardware:
        yield compute.HardwareTime(
            gpu_class=held.gpu_class,
            precision=catalogued(run.precision or Precision.BF16),
            gpu_milli_ms=held.gpu_milli_ms,
            utilisation=utilisation,
        )


def catalogued(precision: Precision) -> CataloguePrecision:
    """The same precision in the words of the catalogue of peaks."""
    return CataloguePrecision(precision.value)


def _with_unknown(stated: ComputeStatement, unknown: list[str], claimed: int | None) -> ComputeStatement:
    measured = replace(stated.measured, most="")
    comparison = stated.comparison if claimed is None else compute.compare(_range(measured), claimed)
    return replace(stated, measured=measured, unknown=(*stated.unknown, *unknown), comparison=comparison)


def _measured(stated: ComputeStatement) -> FlopRange:
    return _range(stated.measured)


def _range(recorded: RecordedRange) -> FlopRange:
    most = int(recorded.most) if recorded.most else None
    return FlopRange(least=int(recorded.least), likely=int(recorded.likely), most=most)


def _base(base: BaseModel) -> lineage.Version:
    """A model from elsewhere is nobody's here, so what is said of it counts as another organisation's."""
    return lineage.Version(
        id=f"base {base.name}", organisation="", own=_claimed_base(base.flop), stage=lineage.Stage.PRE_TRAINING
    )


def _claimed_base(flop: str) -> FlopRange:
    if not flop:
        return UNKNOWN_FLOP
    with localcontext() as context:
        context.prec = 100
        whole = int(Decimal(flop))
    return FlopRange(least=whole, likely=whole, most=whole)


def _standing(total: FlopRange, reached_at: int) -> Standing:
    if total.least >= reached_at:
        return Standing.CROSSED
    if total.likely >= reached_at:
        return Standing.PROBABLY_CROSSED
    if total.most is None or total.most >= reached_at:
        return Standing.POSSIBLY_CROSSED
    return Standing.BELOW
