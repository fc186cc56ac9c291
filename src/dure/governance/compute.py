"""Training compute in floating-point operations: what the hardware can have done, and what its developer says.

Both ways are those that the European Commission's guidelines of July 2025 and Epoch AI ("Estimation", documentation of
its data) describe. A multiply-add counts two; no precision counts more than another. All arithmetic is exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from fractions import Fraction
from math import ceil, floor

from msgspec import Struct

from dure.governance.accelerators import Catalogue, Precision, UnknownPeak

WHOLE = 1_000_000
"""A utilisation of one, in millionths."""
LARGEST_RATIO = 2
"""How far claim and measurement may be apart before somebody should look."""
_GPU_MILLI_MS_PER_GPU_SECOND = 1_000 * 1_000


class Method(StrEnum):
    """Where a utilisation comes from."""

    MEASURED = "measured"
    DECLARED = "declared"
    ASSUMED = "assumed"


class Utilisation(Struct, frozen=True, kw_only=True):
    """The part of the dense peak that was used, in millionths, with the bounds it is known to lie between.

    It is model FLOP utilisation. What a driver calls utilisation (the time in which any kernel ran) is not it.
    """

    least: int
    likely: int
    most: int
    method: Method

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.likely <= self.most <= WHOLE:
            raise ValueError("a utilisation lies between 0 and 1, with least <= likely <= most")


ASSUMED_UTILISATION = Utilisation(least=300_000, likely=400_000, most=500_000, method=Method.ASSUMED)
"""Where nothing was measured or declared. Published are 0.38 (Llama 3 405B), 0.40 (H100 clusters) and 0.46 (PaLM)."""


class FlopRange(Struct, frozen=True, kw_only=True):
    """Floating-point operations between two bounds. `most` is None when a part is not known at all."""

    least: int
    likely: int
    most: int | None

    def __add__(self, other: FlopRange) -> FlopRange:
        most = None if self.most is None or other.most is None else self.most + other.most
        return FlopRange(least=self.least + other.least, likely=self.likely + other.likely, most=most)

    def recorded(self) -> RecordedRange:
        """As it is written down: all digits, because no 64-bit integer holds them."""
        most = "" if self.most is None else str(self.most)
        return RecordedRange(least=str(self.least), likely=str(self.likely), most=most)


class RecordedRange(Struct, frozen=True, kw_only=True):
    """Floating-point operations in decimal digits. `most` is empty when a part is not known."""

    least: str
    likely: str
    most: str


NO_FLOP = FlopRange(least=0, likely=0, most=0)
UNKNOWN_FLOP = FlopRange(least=0, likely=0, most=None)
"""Compute of which nothing is known, such as that of a base model whose maker does not tell."""


class HardwareTime(Struct, frozen=True, kw_only=True):
    """Time on GPUs of one class: thousandths of a GPU times milliseconds, as the platform counts it."""

    gpu_class: str
    precision: Precision
    gpu_milli_ms: int
    utilisation: Utilisation = ASSUMED_UTILISATION


class MeteredTime(Struct, frozen=True, kw_only=True):
    """One line of a compute statement; from it, anyone can compute its operations again."""

    time: HardwareTime
    peak_flop_per_s: str
    """Empty where no peak is recorded."""
    flop: RecordedRange


class Metered(Struct, frozen=True, kw_only=True):
    """Compute from hardware time. `unknown` says for which lines no peak is recorded: they count as 0 or more."""

    flop: FlopRange
    lines: tuple[MeteredTime, ...]
    unknown: tuple[str, ...] = ()


class Comparison(StrEnum):
    """Whether measurement and claim tell the same story."""

    AGREES = "agrees"
    DIFFERS = "differs"
    """They are more than a factor of two apart: an alarm."""
    NOT_COMPARABLE = "not-comparable"
    """Too little is known to say."""


class ComputeStatement(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is said about the compute of one model version: measured and claimed side by side, never mixed."""

    measured: RecordedRange
    lines: tuple[MeteredTime, ...]
    comparison: Comparison
    claimed: str = ""
    unknown: tuple[str, ...] = ()
    catalogue_version: str = ""


def metered(times: Iterable[HardwareTime], catalogue: Catalogue) -> Metered:
    """Accelerators x seconds x peak dense FLOP/s x utilisation, added up exactly and rounded once, outwards."""
    sums = [Fraction(0)] * 3
    lines, unknown = [], []
    for time in times:
        try:
            peak = catalogue.peak_flop_per_s(time.gpu_class, time.precision)
        except UnknownPeak as error:
            unknown.append(str(error))
            lines.append(MeteredTime(time=time, peak_flop_per_s="", flop=UNKNOWN_FLOP.recorded()))
            continue
        parts = [_operations(time, peak, part) for part in _parts(time.utilisation)]
        sums = [total + part for total, part in zip(sums, parts, strict=True)]
        lines.append(MeteredTime(time=time, peak_flop_per_s=str(peak), flop=_rounded(parts).recorded()))
    flop = _rounded(sums)
    if unknown:
        flop = FlopRange(least=flop.least, likely=flop.likely, most=None)
    return Metered(flop=flop, lines=tuple(lines), unknown=tuple(unknown))


def claimed_flop(active_parameters: int, tokens: int, *, is_fully_recomputed: bool = False) -> int:
    """6 x N x D for a dense transformer, with the active parameters of a mixture of experts.

    With all activations computed again in the backward pass the hardware does 8 x N x D (Narayanan et al., 2021); that
    counts only where operations of the hardware are meant.
    """
    if active_parameters < 0 or tokens < 0:
        raise ValueError("parameters and tokens cannot be negative")
    return (8 if is_fully_recomputed else 6) * active_parameters * tokens


def compare(measured: FlopRange, claimed: int) -> Comparison:
    """Whether the claim and the likely measurement are within a factor of two of each other.

    Where part of the hardware has no known peak, only a claim below half of what is surely known is seen to differ.
    """
    if measured.most is None:
        return Comparison.DIFFERS if claimed * LARGEST_RATIO < measured.least else Comparison.NOT_COMPARABLE
    low, high = sorted((measured.likely, claimed))
    return Comparison.DIFFERS if high > low * LARGEST_RATIO else Comparison.AGREES


def compute_statement(times: Iterable[HardwareTime], catalogue: Catalogue, claimed: int | None) -> ComputeStatement:
    """Measured from hardware time, beside what the developer claims, if it does."""
    measured = metered(times, catalogue)
    return ComputeStatement(
        measured=measured.flop.recorded(),
        lines=measured.lines,
        comparison=Comparison.NOT_COMPARABLE if claimed is None else compare(measured.flop, claimed),
        claimed="" if claimed is None else str(claimed),
        unknown=measured.unknown,
        catalogue_version=catalogue.version,
    )


def _operations(time: HardwareTime, peak_flop_per_s: int, utilisation: int) -> Fraction:
    return Fraction(time.gpu_milli_ms * peak_flop_per_s * utilisation, _GPU_MILLI_MS_PER_GPU_SECOND * WHOLE)


def _parts(utilisation: Utilisation) -> tuple[int, int, int]:
    return utilisation.least, utilisation.likely, utilisation.most


def _rounded(parts: Iterable[Fraction]) -> FlopRange:
    least, likely, most = parts
    return FlopRange(least=floor(least), likely=floor(likely), most=ceil(most))
