"""A plausible national workload where no trace is at hand.

Two kinds of jobs are mixed: everyday jobs, sized and timed as Philly's were, and the training of large models, which
Philly lacks. The more GPU time is wanted per job, the more of the jobs are large, within bounds; what is still missing
or too much is met by running every job longer or shorter by one factor, which the trace's origin states. Submissions
follow the hours of the day and the days of the week. `data/workload.toml` holds every number, with its source and how
far to trust it.

The same arguments give the same bytes on every machine: see `dure.sources.streams` and `dure.sources.draws`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dure.model.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, WHOLE_GPU_MILLI, format_duration
from dure.sources.calibration import calibration
from dure.sources.draws import from_quantiles, mean_of_quantiles, picked
from dure.sources.errors import BadWorkload
from dure.sources.fleet import TwinFleet
from dure.sources.limits import LONGEST_TRACE_S, MOST_GPUS_PER_JOB, MOST_JOBS
from dure.sources.shapes import shapes_on
from dure.sources.share_tree import GeneratedNation, generate_nation
from dure.sources.streams import uniforms
from dure.sources.trace import Column, Trace, arranged

OWNERS = 5
ORGANISATIONS_PER_OWNER = 8
SHORTEST_RUN_MS = SECOND_MS
LONGEST_RUN_MS = 60 * DAY_MS
LOAD_TOLERANCE = 0.001
HIGHEST_LOAD = 100.0
_MOST_ROUNDS = 200


@dataclass(frozen=True)
class Sizes:
    """Numbers of GPUs, their weights, and the mean GPU time in milliseconds of a job drawn from them."""

    gpus: tuple[int, ...]
    weights: tuple[int, ...]
    mean_gpu_ms: float


def generate(
    seed: int,
    jobs: int,
    fleet: TwinFleet,
    load: float,
    span_ms: int,
    nation: GeneratedNation | None = None,
    *,
    most_gpus: int = MOST_GPUS_PER_JOB,
    parts: float = 0.0,
) -> Trace:
    """A workload of `jobs` jobs submitted within `span_ms` (which starts on a Monday at midnight).

    `load` is the GPU time of all jobs divided by what the fleet offers within the span; it is met within 0.1%. Without
    a `nation`, five owners with eight organisations each are generated from the same seed. No job has more than
    `most_gpus` GPUs, and of those that would have one, so many (`parts`, 0 to 1) want less. Raises `BadWorkload` when
    these wishes contradict each other.
    """
    _check(seed, jobs, load, span_ms, most_gpus, parts)
    nation = nation or generate_nation(seed, OWNERS, ORGANISATIONS_PER_OWNER, fleet)
    target_gpu_ms = load * fleet.gpus * span_ms
    everyday, large = _sizes_that_fit(fleet, most_gpus)
    large_jobs = _number_of_large_jobs(jobs, target_gpu_ms / jobs, everyday, large)
    gpus = _drawn_sizes(seed, jobs, large_jobs, everyday, large)
    part_milli = _part_sizes(seed, gpus, parts)
    durations = _durations(seed, gpus, large_jobs)
    if part_milli.any():
        wanted_milli = np.where(part_milli > 0, part_milli, gpus * WHOLE_GPU_MILLI)
        duration_ms, factor = _scaled(durations, wanted_milli, target_gpu_ms * WHOLE_GPU_MILLI)
    else:
        duration_ms, factor = _scaled(durations, gpus, target_gpu_ms)
    nodes, gpus_milli, choices = _gangs(seed, gpus, large_jobs, fleet)
    gpus_milli = np.where(part_milli > 0, part_milli, gpus_milli)
    cpus_milli, memory_mib = _host(seed, gpus_milli, fleet)
    return arranged(
        name=f"generated-{seed}",
        origin=(
            f"synthetic: seed {seed}, {jobs:,} jobs in {format_duration(span_ms)} at load {load:g}, {large_jobs:,} of "
            f"them training of large models; running times are {factor:.3g} times the calibration's"
        ),
        gpu_classes=fleet.gpu_classes,
        shares=tuple(member.name for member in nation.members),
        submit_ms=_submissions(seed, jobs, span_ms),
        duration_ms=duration_ms,
        limit_ms=_limits(seed, duration_ms),
        nodes=nodes,
        gpus_milli=gpus_milli,
        cpus_milli=cpus_milli,
        memory_mib=memory_mib,
        choices=choices,
        share=_shares(seed, jobs, large_jobs, nation),
    )


def _check(seed: int, jobs: int, load: float, span_ms: int, most_gpus: int, parts: float) -> None:
    if seed < 0:
        raise BadWorkload(f"seed {seed}: a seed is a whole number that is not negative")
    if not 1 <= jobs <= MOST_JOBS:
        raise BadWorkload(f"{jobs:,} jobs: the number of jobs lies between 1 and {MOST_JOBS:,}")
    if not 0 < load <= HIGHEST_LOAD:
        raise BadWorkload(
            f"a load of {load:g}: the load lies above 0 and not above {HIGHEST_LOAD:g} (1 fills the fleet)"
        )
    if not MINUTE_MS <= span_ms <= LONGEST_TRACE_S * SECOND_MS:
        raise BadWorkload(f"a span of {span_ms} ms: the span lies between a minute and twenty years")
    if not 1 <= most_gpus <= MOST_GPUS_PER_JOB:
        raise BadWorkload(f"{most_gpus:,} GPUs: the largest job has between 1 and {MOST_GPUS_PER_JOB:,} GPUs")
    if not 0 <= parts <= 1:
        raise BadWorkload(f"parts {parts:g}: of the jobs of one GPU, between 0 (none) and 1 (all) want less")


def _sizes_that_fit(fleet: TwinFleet, most_gpus: int) -> tuple[Sizes, Sizes]:
    """Everyday and large sizes of at most so many GPUs for which some GPU class of the fleet has room."""
    numbers = calibration()
    sizes, large = numbers.everyday_sizes, numbers.foundation
    return (
        _sizes(
            [
                (gpus, weight)
                for gpus, weight in zip(sizes.gpus, sizes.jobs, strict=True)
                if gpus <= most_gpus and shapes_on(fleet, gpus, 1)
            ],
            [(group.most_gpus, group.seconds) for group in numbers.everyday_durations.group],
            numbers.everyday_durations.probabilities,
        ),
        _sizes(
            [
                (gpus, weight)
                for gpus, weight in zip(large.gpus, large.weights, strict=True)
                if gpus <= most_gpus and shapes_on(fleet, gpus, large.least_class_to_gang)
            ],
            [(large.gpus[-1], large.seconds)],
            large.probabilities,
        ),
    )


def _sizes(
    weighted: Sequence[tuple[int, int]],
    groups: Sequence[tuple[int, Sequence[int]]],
    probabilities: Sequence[float],
) -> Sizes:
    gpu_ms = 0.0
    for gpus, weight in weighted:
        seconds = next(seconds for most_gpus, seconds in groups if gpus <= most_gpus)
        gpu_ms += weight * gpus * mean_of_quantiles(probabilities, seconds) * SECOND_MS
    total = sum(weight for _, weight in weighted)
    return Sizes(
        gpus=tuple(gpus for gpus, _ in weighted),
        weights=tuple(weight for _, weight in weighted),
        mean_gpu_ms=gpu_ms / total if total else 0.0,
    )


def _number_of_large_jobs(jobs: int, wanted_gpu_ms: float, everyday: Sizes, large: Sizes) -> int:
    """As many large jobs as bring the mean GPU time per job closest to what is wanted, within bounds."""
    if not large.gpus:
        return 0
    bounds = calibration().foundation
    share = (wanted_gpu_ms - everyday.mean_gpu_ms) / (large.mean_gpu_ms - everyday.mean_gpu_ms)
    return round(jobs * min(max(share, bounds.least_of_jobs), bounds.most_of_jobs))


def _drawn_sizes(seed: int, jobs: int, large_jobs: int, everyday: Sizes, large: Sizes) -> Column:
    """GPUs of every job, large ones first; the order of jobs comes later from the times of submission."""
    gpus = np.empty(jobs, dtype=np.int64)
    for rows, sizes, purpose in (
        (slice(0, large_jobs), large, "size of large jobs"),
        (slice(large_jobs, jobs), everyday, "size of everyday jobs"),
    ):
        count = rows.stop - rows.start
        if count:
            gpus[rows] = np.array(sizes.gpus, dtype=np.int64)[picked(uniforms(seed, purpose, count), sizes.weights)]
    return gpus


def _durations(seed: int, gpus: Column, large_jobs: int) -> NDArray[np.float64]:
    """Running times in milliseconds, before they are scaled to the load."""
    numbers = calibration()
    seconds = np.empty(len(gpus), dtype=np.float64)
    seconds[:large_jobs] = from_quantiles(
        uniforms(seed, "duration of large jobs", large_jobs),
        numbers.foundation.probabilities,
        numbers.foundation.seconds,
    )
    everyday = gpus[large_jobs:]
    chances = uniforms(seed, "duration of everyday jobs", len(everyday))
    fewest = 0
    for group in numbers.everyday_durations.group:
        rows = np.flatnonzero((everyday > fewest) & (everyday <= group.most_gpus))
        seconds[large_jobs + rows] = from_quantiles(
            chances[rows], numbers.everyday_durations.probabilities, group.seconds
        )
        fewest = group.most_gpus
    return seconds * SECOND_MS


def _scaled(drawn_ms: NDArray[np.float64], gpus: Column, target_gpu_ms: float) -> tuple[Column, float]:
    """Running times multiplied by the one factor that meets the target, and that factor.

    GPUs may be in thousandths if the target is.

    Times stay between a second and sixty days, so the factor is found step by step: each step makes up for what these
    bounds cut off in the step before.
    """
    factor = 1.0
    for _ in range(_MOST_ROUNDS):
        duration_ms = np.clip(np.rint(drawn_ms * factor), SHORTEST_RUN_MS, LONGEST_RUN_MS).astype(np.int64)
        gpu_ms = int((gpus * duration_ms).sum())
        if abs(gpu_ms - target_gpu_ms) <= LOAD_TOLERANCE * target_gpu_ms:
            return duration_ms, factor
        if duration_ms.min() == LONGEST_RUN_MS or duration_ms.max() == SHORTEST_RUN_MS:
            break
        factor *= target_gpu_ms / gpu_ms
    remedy = "more jobs, a shorter span" if gpu_ms < target_gpu_ms else "fewer jobs, a longer span"
    raise BadWorkload(
        f"{len(gpus):,} jobs cannot make this load: running times would leave the bounds of "
        f"{format_duration(SHORTEST_RUN_MS)} to {format_duration(LONGEST_RUN_MS)}; ask for {remedy} or another load"
    )


def _gangs(seed: int, gpus: Column, large_jobs: int, fleet: TwinFleet) -> tuple[Column, Column, Column]:
    """Nodes, GPUs per node and choices of each job; first choices fall on classes in proportion to their GPUs."""
    nodes, gpus_milli, choices = np.empty((3, len(gpus)), dtype=np.int64)
    chances = uniforms(seed, "first choice of GPU class", len(gpus))
    picky = uniforms(seed, "acceptance of other GPU classes", len(gpus)) >= calibration().requests.any_class
    is_large = np.arange(len(gpus)) < large_jobs
    for large, least_class_to_gang in ((False, 1), (True, calibration().foundation.least_class_to_gang)):
        for size in np.unique(gpus[is_large == large]).tolist():
            rows = np.flatnonzero((gpus == size) & (is_large == large))
            shapes = shapes_on(fleet, size, least_class_to_gang)
            shape = picked(chances[rows], [float(fleet.gpus_of_class(each.class_index)) for each in shapes])
            nodes[rows] = np.array([each.nodes for each in shapes])[shape]
            gpus_milli[rows] = np.array([each.gpus_milli for each in shapes])[shape]
            only_this = np.array([each.only_this for each in shapes])[shape]
            this_first = np.array([each.this_first for each in shapes])[shape]
            choices[rows] = np.where(picky[rows] | large, only_this, this_first)
    return nodes, gpus_milli, choices


def _part_sizes(seed: int, gpus: Column, parts: float) -> Column:
    """Thousandths of a GPU for the jobs that want less than one; 0 for the others."""
    sizes = calibration().part_sizes
    drawn = np.array(sizes.milli, dtype=np.int64)[picked(uniforms(seed, "part of a GPU", len(gpus)), sizes.jobs)]
    wants_less = (gpus == 1) & (uniforms(seed, "wants less than a GPU", len(gpus)) < parts)
    return np.where(wants_less, drawn, 0)


def _host(seed: int, gpus_milli: Column, fleet: TwinFleet) -> tuple[Column, Column]:
    """Cores and memory per node: some quarters of what belongs to that many GPUs on the least equipped node."""
    requests = calibration().requests
    chosen = picked(uniforms(seed, "cores and memory", len(gpus_milli)), requests.quarter_weights)
    quarters = np.array(requests.quarters, dtype=np.int64)[chosen]
    gpu_groups = [group for group in fleet.groups if group.gpus]
    cpus_milli_per_gpu = min(group.cpus_milli // group.gpus for group in gpu_groups)
    memory_mib_per_gpu = min(group.memory_mib // group.gpus for group in gpu_groups)
    share = gpus_milli * quarters
    return share * cpus_milli_per_gpu // (4 * WHOLE_GPU_MILLI), share * memory_mib_per_gpu // (4 * WHOLE_GPU_MILLI)


def _submissions(seed: int, jobs: int, span_ms: int) -> Column:
    """Times of submission, denser where day and hour are busier and even within each hour."""
    hours = np.arange(-(-span_ms // HOUR_MS))
    per_day = np.array(calibration().weekly.per_day)
    per_hour = np.array(calibration().daily.per_hour, dtype=np.float64)
    weights = per_day[hours // 24 % 7] * per_hour[hours % 24]
    weights[-1] *= (span_ms - int(hours[-1]) * HOUR_MS) / HOUR_MS
    edges_ms = np.minimum(np.arange(len(hours) + 1) * HOUR_MS, span_ms)
    cumulative = np.concatenate((np.zeros(1), np.cumsum(weights)))
    at_ms = from_quantiles(
        uniforms(seed, "time of submission", jobs) * cumulative[-1], cumulative.tolist(), edges_ms.tolist()
    )
    return at_ms.astype(np.int64)


def _limits(seed: int, duration_ms: Column) -> Column:
    """What jobs ask for: more than they run, in full ten minutes, at most the longest a job may run."""
    limits = calibration().limits
    ratios = from_quantiles(uniforms(seed, "asked time", len(duration_ms)), limits.probabilities, limits.ratios)
    tens = np.ceil(duration_ms * ratios / (10 * MINUTE_MS)).astype(np.int64)
    asked: Column = np.minimum(tens * 10 * MINUTE_MS, LONGEST_RUN_MS)
    return asked


def _shares(seed: int, jobs: int, large_jobs: int, nation: GeneratedNation) -> Column:
    """Whose each job is: large ones by guarantee, everyday ones by activity."""
    activity = [member.activity for member in nation.members]
    guarantees = [float(member.guaranteed_gpus) for member in nation.members]
    large_weights = guarantees if any(guarantees) else activity
    return np.concatenate(
        (
            picked(uniforms(seed, "owner of large jobs", large_jobs), large_weights),
            picked(uniforms(seed, "owner of everyday jobs", jobs - large_jobs), activity),
        )
    )
