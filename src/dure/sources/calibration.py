"""The numbers behind the generator, read from `data/workload.toml`, where each states its source, date and grade."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct


class Provenance(Struct, frozen=True, kw_only=True):
    """Where numbers come from. `grade` is `measured`, `published` or `assumed`."""

    source: str
    date: str
    grade: str


class Weekly(Provenance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Submissions on each day of the week, Monday first, relative to each other."""

    per_day: tuple[float, ...]


class Daily(Provenance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Submissions in each hour of the day, relative to each other."""

    per_hour: tuple[int, ...]


class Sizes(Provenance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many jobs wanted how many GPUs."""

    gpus: tuple[int, ...]
    jobs: tuple[int, ...]


class DurationGroup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Quantiles in seconds for jobs of at most `most_gpus`, and more than the group before."""

    most_gpus: int
    seconds: tuple[int, ...]


class Durations(Provenance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Quantiles of running times by size."""

    probabilities: tuple[float, ...]
    group: tuple[DurationGroup, ...]


class FoundationBounds(Provenance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The largest and longest training seen."""

    most_gpus: int
    longest_seconds: int


class Foundation(Provenance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Training of large models."""

    gpus: tuple[int, ...]
    weights: tuple[int, ...]
    probabilities: tuple[float, ...]
    seconds: tuple[int, ...]
    least_of_jobs: float
    most_of_jobs: float
    least_class_to_gang: int


class Limits(Provenance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much longer than they run jobs ask for."""

    probabilities: tuple[float, ...]
    ratios: tuple[float, ...]


class Requests(Provenance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What else jobs ask for."""

    any_class: float
    quarters: tuple[int, ...]
    quarter_weights: tuple[int, ...]


class PartSizes(Provenance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many jobs wanted which part of one GPU, in thousandths."""

    milli: tuple[int, ...]
    jobs: tuple[int, ...]


class Owners(Provenance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a nation's GPUs are divided between owners."""

    parts: tuple[int, ...]


class Members(Provenance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the organisations of an owner differ."""

    laboratory_part: float
    activity_exponent: float


class Calibration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything in the file."""

    weekly: Weekly
    daily: Daily
    everyday_sizes: Sizes
    everyday_durations: Durations
    foundation_bounds: FoundationBounds
    foundation: Foundation
    limits: Limits
    requests: Requests
    part_sizes: PartSizes
    owners: Owners
    members: Members


@cache
def calibration() -> Calibration:
    """The numbers, read once."""
    text = files("dure.sources").joinpath("data/workload.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Calibration)
