"""Jobs that train a model: what that adds to its lineage, and which thresholds of the law it may cross.

A national pool crosses the highest of them within two weeks, and some duties begin with knowing that it will be
crossed (EU AI Act 52(1)). So whoever submits such a job is told before it starts, and somebody gets a task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from dure.control.draft import Draft
from dure.control.memory import Memory
from dure.control.oversight.job_runs import attempts_of, card_of, hardware_time
from dure.control.oversight.tasks import open_task
from dure.governance import compute, model_compute
from dure.governance.accelerators import Catalogue, UnknownPeak, shipped_catalogue
from dure.governance.compute import NO_FLOP, FlopRange
from dure.governance.forecast import Crossing, Load, Threshold, forecast, thresholds
from dure.governance.library import shipped_library
from dure.governance.packs import Library
from dure.governance.periods import Period, end_of
from dure.model.dates import format_moment, parse_moment
from dure.model.events import JobSubmitted
from dure.model.jobs import JobSpec
from dure.model.model_events import TrainingAccepted
from dure.model.model_versions import ModelName, Precision, TaskKind, VersionName
from dure.model.units import DAY_MS
from dure.reports.wording import rough_duration

ASSUMED_PRECISION = Precision.BF16


class Foreseen(Struct, frozen=True, kw_only=True):
    """What a training job may lead to: thresholds that it may cross while it runs, and what to tell its member."""

    crossings: tuple[Crossing, ...] = ()
    warnings: tuple[str, ...] = ()


def foresee(spec: JobSpec, event: JobSubmitted, memory: Memory, now_ms: int) -> Foreseen:
    """Which thresholds the model's lineage may cross by this job, were it to start now and run to its limit."""
    name = trained_model(spec, memory)
    if name is None or not event.gpus:
        return Foreseen()
    catalogue, lines = shipped_catalogue(), thresholds(shipped_library())
    assumed = () if spec.precision else (f"{name}: no precision is named, so {ASSUMED_PRECISION.value} is assumed",)
    try:
        load = _heaviest(spec, event, now_ms, catalogue)
    except UnknownPeak as error:
        return Foreseen(warnings=(f"{name}: its computing cannot be foreseen: {error}",))
    before = lineage_so_far(name, memory, now_ms, catalogue)
    crossings = tuple(each for each in forecast(load, lines, catalogue, before) if not each.is_behind)
    warnings = tuple(_wording(name, each, now_ms) for each in crossings)
    return Foreseen(crossings=crossings, warnings=(*warnings, *(assumed if warnings else ())))


def note_training(spec: JobSpec, event: JobSubmitted, memory: Memory, draft: Draft) -> tuple[str, ...]:
    """Record that an accepted job trains a model, and open a task for each threshold that it will likely cross.

    Returns what to tell its member.
    """
    name = trained_model(spec, memory)
    if name is None:
        return ()
    foreseen = foresee(spec, event, memory, draft.now_ms)
    draft.record(TrainingAccepted(at_ms=draft.now_ms, model=name, job=event.job, precision=spec.precision))
    for each in foreseen.crossings:
        if each.likely_ms is not None:
            open_threshold_task(TaskKind.THRESHOLD_EXPECTED, name, each.threshold, draft)
    return foreseen.warnings


def open_threshold_task(kind: TaskKind, model: ModelName, line: Threshold, draft: Draft, version: int = 0) -> str:
    """A task about a threshold, due when the first deadline that begins with knowing of it ends."""
    about = f"{line.written} FLOP ({', '.join(line.provisions)})"
    due_at_ms = _due(line, shipped_library(), draft.now_ms)
    return open_task(kind, model, draft, version=version, about=about, due_at_ms=due_at_ms)


def trained_model(spec: JobSpec, memory: Memory) -> ModelName | None:
    """The model that a job trains, if it says so: one of its own organisation."""
    if not spec.trains:
        return None
    owner = memory.nation_index.organisation_of(spec.project)
    return ModelName(owner.name, spec.trains) if owner is not None else None


def lineage_so_far(name: ModelName, memory: Memory, now_ms: int, catalogue: Catalogue) -> FlopRange:
    """What the latest version took with its lineage, and what jobs take that train the model since."""
    model = memory.register.models.models.get(name)
    if model is None:
        return NO_FLOP
    total = NO_FLOP
    if model.latest is not None:
        total = model_compute.cumulative(model.latest.name, memory.register.models, catalogue)
    for job, precision in model.training.items():
        total += _training(job, precision or ASSUMED_PRECISION, memory, now_ms, catalogue)
    return total


def open_tasks_of_new_version(name: VersionName, draft: Draft) -> tuple[str, ...]:
    """Tasks for what the version's compute shows: thresholds newly crossed, and a claim that does not fit."""
    catalogue, register = shipped_catalogue(), draft.register.models
    before = model_compute.before_own(name, register, catalogue).likely
    total = model_compute.cumulative(name, register, catalogue).likely
    tasks = [
        open_threshold_task(TaskKind.THRESHOLD_CROSSED, name.of, line, draft, name.version)
        for line in thresholds(shipped_library())
        if before < int(line.reached_at) <= total
    ]
    stated = model_compute.own_statement(name, register, catalogue)
    if stated.comparison is compute.Comparison.DIFFERS:
        about = f"claimed {_short(stated.claimed)}, metered {_short(stated.measured.likely)} FLOP"
        tasks.append(open_task(TaskKind.COMPUTE_DIFFERS, name.of, draft, version=name.version, about=about))
    return tuple(tasks)


def _training(job: str, precision: Precision, memory: Memory, now_ms: int, catalogue: Catalogue) -> FlopRange:
    """What a job held up to now at least; if it is not over, what it may hold up to its limit at most."""
    card = card_of(job, memory)
    if card is None:
        return NO_FLOP
    utilisation = model_compute.used(None, None)
    so_far = [
        compute.HardwareTime(
            gpu_class=held.gpu_class,
            precision=model_compute.catalogued(precision),
            gpu_milli_ms=held.gpu_milli_ms,
            utilisation=utilisation,
        )
        for held in hardware_time(attempts_of(job, memory), now_ms)
    ]
    held = compute.metered(so_far, catalogue).flop
    asked = card.submitted
    if card.state.is_final or not asked.gpus:
        return held
    gpu_class = card.gpu_class or _fastest(asked, precision, catalogue)
    whole = compute.HardwareTime(
        gpu_class=gpu_class,
        precision=model_compute.catalogued(precision),
        gpu_milli_ms=_gpu_milli(asked) * asked.time_ms,
        utilisation=utilisation,
    )
    at_most = compute.metered([whole], catalogue).flop
    most = None if held.most is None or at_most.most is None else max(held.most, at_most.most)
    return FlopRange(least=held.least, likely=max(held.likely, at_most.likely), most=most)


def _heaviest(spec: JobSpec, event: JobSubmitted, now_ms: int, catalogue: Catalogue) -> Load:
    """The job on that of its GPU classes on which it computes most. Raises `UnknownPeak`."""
    precision = model_compute.catalogued(spec.precision or ASSUMED_PRECISION)
    peaks = {name: catalogue.peak_flop_per_s(name, precision) * milli for name, milli in event.gpus}
    gpu_class = max(peaks, key=lambda name: peaks[name])
    return Load(
        gpu_class=gpu_class,
        gpu_milli=dict(event.gpus)[gpu_class] * event.nodes * _copies(event),
        start_ms=now_ms,
        end_ms=now_ms + event.time_ms,
        precision=precision,
    )


def _fastest(event: JobSubmitted, precision: Precision, catalogue: Catalogue) -> str:
    """Of the classes that a job accepts, the one with the highest peak; the first if none has one."""

    def peak(name: str) -> int:
        try:
            return catalogue.peak_flop_per_s(name, model_compute.catalogued(precision))
        except UnknownPeak:
            return 0

    return max((name for name, _ in event.gpus), key=peak)


def _gpu_milli(event: JobSubmitted) -> int:
    return max(milli for _, milli in event.gpus) * event.nodes * _copies(event)


def _copies(event: JobSubmitted) -> int:
    if event.array is not None:
        return event.array.last - event.array.first + 1
    return event.replicas.most if event.replicas is not None else 1


def _wording(name: ModelName, crossing: Crossing, now_ms: int) -> str:
    line = crossing.threshold
    drawn_by = f"{line.written} FLOP ({', '.join(line.provisions)})"
    earliest_ms = crossing.earliest_ms or now_ms
    if crossing.likely_ms is None:
        return f"{name}: this job may take its training over {drawn_by}, {_when(earliest_ms, now_ms)} at the earliest"
    return (
        f"{name}: this job likely takes its training over {drawn_by}, {_when(crossing.likely_ms, now_ms)}, or "
        f"{_when(earliest_ms, now_ms)} at the earliest"
    )


def _when(at_ms: int, now_ms: int) -> str:
    return f"{rough_duration(at_ms - now_ms)} after its start" if at_ms > now_ms else "at its start"


def _due(line: Threshold, library: Library, now_ms: int) -> int:
    day = format_moment(now_ms)[:10]
    ends = [end_of(each, day) for each in _periods(line.provisions, library)]
    return parse_moment(f"{min(ends)}T00:00:00Z") + DAY_MS if ends else 0


def _periods(ids: Iterable[str], library: Library) -> Iterator[Period]:
    wanted = set(ids)
    for _, provision in library.provisions():
        if provision.id in wanted and provision.deadline is not None:
            yield provision.deadline.within


def _short(digits: str) -> str:
    return f"{float(digits):.3g}"
