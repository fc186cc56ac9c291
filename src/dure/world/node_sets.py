"""Sets of a pool's nodes as hierarchical bitsets: add, remove, and "the lowest member from here on" in a few steps.

A set does not depend on the order in which nodes came and went, so two worlds with the same facts choose the same node.
Each level has one bit per word of the level below that is not empty; 32-bit words keep every product below 2**63.
"""

from __future__ import annotations

import numpy as np

from dure.world.columns import NONE, WORD_BITS, Integers
from dure.world.compiled import compiled, entry_point

# Position of the only bit of a 32-bit word, by multiplication with a de Bruijn sequence.
_DE_BRUIJN = 0x077CB531
_LOWEST = np.zeros(32, dtype=np.int64)
for _bit in range(32):
    _LOWEST[(((1 << _bit) * _DE_BRUIJN) & 0xFFFFFFFF) >> 27] = _bit


@compiled
def lowest_bit(word: int) -> int:
    """Position of the lowest bit set in a word that is not zero."""
    return _LOWEST[(((word & -word) * _DE_BRUIJN) & 0xFFFFFFFF) >> 27]


@entry_point
def add(words: Integers, base: int, sizes: tuple[int, int, int, int], position: int) -> None:
    """Put a node into the set whose words begin at `base`; `sizes` are the words of its four levels."""
    start = base
    for level in range(4):
        word = position // WORD_BITS
        before = words[start + word]
        words[start + word] = before | (1 << (position % WORD_BITS))
        if before != 0:
            return
        start += sizes[level]
        position = word


@compiled
def remove(words: Integers, base: int, sizes: tuple[int, int, int, int], position: int) -> None:
    """Take a node out of the set."""
    start = base
    for level in range(4):
        word = position // WORD_BITS
        after = words[start + word] & ~(1 << (position % WORD_BITS))
        words[start + word] = after
        if after != 0:
            return
        start += sizes[level]
        position = word


@compiled
def first_from(words: Integers, base: int, sizes: tuple[int, int, int, int], position: int) -> int:
    """The lowest member at or after `position`, or NONE."""
    start = base
    level = 0
    while level < 4:
        word = position // WORD_BITS
        if word >= sizes[level]:
            return NONE
        rest = words[start + word] >> (position % WORD_BITS)
        if rest != 0:
            position += lowest_bit(rest)
            break
        start += sizes[level]
        position = word + 1
        level += 1
    if level == 4:
        return NONE
    while level > 0:
        level -= 1
        start -= sizes[level]
        position = position * WORD_BITS + lowest_bit(words[start + position])
    return position
