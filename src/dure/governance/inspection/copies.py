"""Bytes that a result has from the data, found by the fingerprints of short windows of both.

The results are indexed and the data is read past them once, so memory depends on the results alone. Of all windows only
those count whose fingerprint ends in so many zeros (sampling as in Broder, "On the resemblance and containment of
documents", 1997): a passage is found wherever it stands in either. As long as one window in 32 counts, one of 512 bytes
is missed less than once in a million times. Fingerprints are polynomials modulo 2^64, made for all windows at once from
running sums, then mixed so that their low bits are as good as their high ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

WINDOW_BYTES = 32
"""What is shorter is not taken for a copy: names of columns and common words are in everything."""
_USUAL_SAMPLING = 32
_MOST_FINGERPRINTS = 4_000_000
_BLOCK_BYTES = 1 << 16
_LEAST_CHANGES = 8
"""A window that is nearly all one byte says nothing: padding and zeros are in everything."""
_FARTHEST_HITS = 16
"""Hits closer than so many samplings belong to one passage."""

_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_SPAN = _BLOCK_BYTES + WINDOW_BYTES

_Words = NDArray[np.uint64]


def _powers(base: int) -> _Words:
    factors = np.full(_SPAN, base, dtype=np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


_POWERS = _powers(_BASE)
_INVERSE_POWERS = _powers(_INVERSE)


class Copies:
    """Results, and how much of each was found in the data. `result_bytes` is the size of all results together."""

    def __init__(self, result_bytes: int) -> None:
        self._sampling = _USUAL_SAMPLING
        while result_bytes // self._sampling > _MOST_FINGERPRINTS:
            self._sampling *= 2
        self._results: dict[int, tuple[NDArray[np.int64], _Words]] = {}
        self._known: _Words | None = None
        self._found = np.zeros(0, dtype=np.bool_)

    def add(self, result: int, chunks: Iterable[bytes]) -> None:
        """Take in one result. All of them come before the first of the data."""
        assert self._known is None, "the data has been looked through without it"
        places, prints = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.uint64)]
        for start, block in _blocks(chunks):
            where, what = self._sampled(block)
            places.append(where + start)
            prints.append(what)
        self._results[result] = np.concatenate(places), np.concatenate(prints)

    def look_in(self, chunks: Iterable[bytes]) -> Iterator[int]:
        """Look through one file of the data. Yields how many bytes it has read, now and then."""
        if self._known is None:
            every = [prints for _, prints in self._results.values()] or [np.zeros(0, dtype=np.uint64)]
            self._known = np.unique(np.concatenate(every))
            self._found = np.zeros(len(self._known), dtype=np.bool_)
        for start, block in _blocks(chunks):
            if len(self._known):
                _, prints = self._sampled(block)
                at = np.minimum(np.searchsorted(self._known, prints), len(self._known) - 1)
                self._found[at[self._known[at] == prints]] = True
            yield start + len(block)

    def copied_bytes(self, result: int) -> int:
        """About how many bytes of a result stand in the data as they stand in it."""
        if self._known is None or not len(self._known):
            return 0
        places, prints = self._results[result]
        hits = places[self._found[np.searchsorted(self._known, prints)]]
        if not len(hits):
            return 0
        gaps = np.diff(hits)
        joined = gaps[gaps <= _FARTHEST_HITS * self._sampling].sum()
        passages = 1 + int((gaps > _FARTHEST_HITS * self._sampling).sum())
        return int(joined) + passages * WINDOW_BYTES

    def _sampled(self, block: NDArray[np.uint8]) -> tuple[NDArray[np.int64], _Words]:
        """Where the windows that count begin in a block, and their fingerprints."""
        prints = fingerprints(block)
        where = np.flatnonzero((prints & np.uint64(self._sampling - 1)) == 0)
        changes = np.concatenate(([0], np.cumsum(block[1:] != block[:-1])))
        where = where[changes[where + WINDOW_BYTES - 1] - changes[where] >= _LEAST_CHANGES]
        return where, prints[where]


def fingerprints(block: NDArray[np.uint8]) -> _Words:
    """The fingerprint of every window of a block, by its beginning: sum of b(i+j) B^(W-1-j), mixed."""
    count = len(block)
    if count < WINDOW_BYTES:
        return np.zeros(0, dtype=np.uint64)
    sums = np.zeros(count + 1, dtype=np.uint64)
    np.cumsum((block.astype(np.uint64) + np.uint64(1)) * _INVERSE_POWERS[:count], out=sums[1:])
    prints = (sums[WINDOW_BYTES:] - sums[:-WINDOW_BYTES]) * _POWERS[WINDOW_BYTES - 1 : count]
    prints ^= prints >> np.uint64(33)
    prints *= np.uint64(0xFF51AFD7ED558CCD)
    return prints ^ (prints >> np.uint64(33))


def _blocks(chunks: Iterable[bytes]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Content in blocks, each with where it starts, such that every window is whole in exactly one of them."""
    held, start = b"", 0
    for chunk in chunks:
        held += chunk
        while len(held) >= _SPAN - 1:
            block = held[: _SPAN - 1]
            yield start, np.frombuffer(block, dtype=np.uint8)
            held = held[len(block) - WINDOW_BYTES + 1 :]
            start += len(block) - WINDOW_BYTES + 1
    if held:
        yield start, np.frombuffer(held, dtype=np.uint8)
