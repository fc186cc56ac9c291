"""From uniform numbers to what is wanted, with plain arithmetic only, so that every machine draws the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import fsum

import numpy as np
from numpy.typing import NDArray

from dure.sources.streams import Uniforms
from dure.sources.trace import Column

Weights = Sequence[float] | NDArray[np.float64]


def picked(numbers: Uniforms, weights: Weights) -> Column:
    """An index into `weights` for each number, each index as often as its weight says."""
    cumulative = np.cumsum(np.asarray(weights, dtype=np.float64))
    index: Column = np.searchsorted(cumulative, numbers * cumulative[-1], side="right").astype(np.int64)
    return np.minimum(index, len(cumulative) - 1)


def from_quantiles(numbers: Uniforms, probabilities: Sequence[float], values: Sequence[float]) -> NDArray[np.float64]:
    """Values distributed by their quantiles, evenly between each two; `probabilities` rise strictly."""
    edges = np.asarray(probabilities, dtype=np.float64)
    levels = np.asarray(values, dtype=np.float64)
    place = np.searchsorted(edges[1:-1], numbers, side="right")
    slopes = np.diff(levels) / np.diff(edges)
    return levels[place] + (numbers - edges[place]) * slopes[place]


def mean_of_quantiles(probabilities: Sequence[float], values: Sequence[float]) -> float:
    """The mean of what `from_quantiles` draws."""
    return fsum(
        (low + high) / 2 * (upper - lower)
        for (low, high), (lower, upper) in zip(pairwise(values), pairwise(probabilities), strict=True)
    )
