"""Dice: one stream of random numbers per purpose, so that a change in one purpose leaves the others as they were.

Only the raw integers of PCG64 are used: NumPy promises that those never change, which it does not promise for anything
drawn from them. This is the one place in the project that touches `numpy.random`.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.random import PCG64, SeedSequence  # noqa: TID251 - streams are made here and handed on as plain columns
from numpy.typing import NDArray

Uniforms = NDArray[np.float64]


def uniforms(seed: int, purpose: str, count: int) -> Uniforms:
    """`count` numbers from 0 up to but not including 1, the same for the same seed and purpose on every machine."""
    generator = PCG64(SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()),)))
    # 53 bits are what a float holds exactly.
    return (generator.random_raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
