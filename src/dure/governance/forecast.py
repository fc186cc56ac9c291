"""Which thresholds of the law a reservation or a job would cross, and when.

A national pool crosses 10^26 within two weeks, and some duties begin with knowing that a threshold will be reached (EU
AI Act 52(1)). So the question is asked before the GPUs are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

from msgspec import Struct

from dure.governance.accelerators import Catalogue, Precision
from dure.governance.compute import ASSUMED_UTILISATION, NO_FLOP, WHOLE, FlopRange, Utilisation
from dure.governance.expressions import AtLeast, MoreThan, parts_of
from dure.governance.packs import Library

COMPUTE_FACT = "training-compute"
_PER_GPU_MS = 1_000 * 1_000 * WHOLE
"""Thousandths of a GPU, milliseconds and millionths of the peak in one GPU-second at full peak."""


class Threshold(Struct, frozen=True, kw_only=True):
    """A line that training compute crosses. `reached_at` is the first number of operations that has, in digits."""

    written: str
    reached_at: str
    provisions: tuple[str, ...]


class Load(Struct, frozen=True, kw_only=True):
    """GPUs that compute for a model from one instant to another; `gpu_milli` are thousandths of a GPU."""

    gpu_class: str
    gpu_milli: int
    start_ms: int
    end_ms: int
    precision: Precision = Precision.BF16
    utilisation: Utilisation = ASSUMED_UTILISATION


class Crossing(Struct, frozen=True, kw_only=True):
    """When a load crosses a threshold: at the earliest, likely, at the latest. None: not while it runs.

    `is_behind` says that the model surely crossed it before the load begins.
    """

    threshold: Threshold
    earliest_ms: int | None
    likely_ms: int | None
    latest_ms: int | None
    is_behind: bool = False


def thresholds(library: Library) -> tuple[Threshold, ...]:
    """Every line of training compute that some provision draws, the lowest first."""
    lines: dict[int, tuple[str, set[str]]] = {}
    for _, provision in library.provisions():
        for part in parts_of(provision.applies_when):
            if isinstance(part, AtLeast | MoreThan) and part.fact == COMPUTE_FACT and part.amount is not None:
                reached_at = part.amount if isinstance(part, AtLeast) else part.amount + 1
                lines.setdefault(reached_at, (part.written, set()))[1].add(provision.id)
    return tuple(
        Threshold(written=written, reached_at=str(reached_at), provisions=tuple(sorted(provisions)))
        for reached_at, (written, provisions) in sorted(lines.items())
    )


def forecast(
    load: Load, lines: Sequence[Threshold], catalogue: Catalogue, before: FlopRange = NO_FLOP
) -> tuple[Crossing, ...]:
    """The thresholds that the load may cross, or that are behind it, the lowest first.

    `before` is what the model's lineage took until the load begins. Raises `UnknownPeak` when no peak is recorded for
    the GPU class: then nothing can be foreseen, and whoever asks should be told so.
    """
    peak = catalogue.peak_flop_per_s(load.gpu_class, load.precision)
    crossings = (_crossing(load, line, peak, before) for line in lines)
    return tuple(each for each in crossings if each.is_behind or each.earliest_ms is not None)


def _crossing(load: Load, line: Threshold, peak_flop_per_s: int, before: FlopRange) -> Crossing:
    reached_at = int(line.reached_at)

    def instant(already: int, utilisation: int) -> int | None:
        return _instant(load, reached_at - already, load.gpu_milli * peak_flop_per_s * utilisation)

    # A lineage with an unknown part may have crossed everything already.
    most = reached_at if before.most is None else before.most
    return Crossing(
        threshold=line,
        earliest_ms=instant(most, load.utilisation.most),
        likely_ms=instant(before.likely, load.utilisation.likely),
        latest_ms=instant(before.least, load.utilisation.least),
        is_behind=before.least >= reached_at,
    )


def _instant(load: Load, missing: int, rate: int) -> int | None:
    """The first millisecond by which the missing operations are done; `rate` is in `_PER_GPU_MS` of an operation."""
    if missing <= 0:
        return load.start_ms
    if rate == 0:
        return None
    at_ms = load.start_ms + ceil(Fraction(missing * _PER_GPU_MS, rate))
    return at_ms if at_ms <= load.end_ms else None
