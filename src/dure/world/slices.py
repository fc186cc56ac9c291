"""Where on a cut GPU a MIG slice goes: where the most places for later slices are left."""

from __future__ import annotations

import numpy as np

from dure.world.columns import NONE
from dure.world.compiled import compiled, entry_point
from dure.world.parts import ALL_SLICES, SLICES

PLACES = (
    (1, (0, 1, 2, 3, 4, 5, 6)),
    (2, (0, 2, 4, 6)),
    (2, (0, 2, 4)),
    (4, (0, 4)),
    (4, (0,)),
    (8, (0,)),
)
"""Memory slices and starts of every profile: as in `dure.model.mig`, which is not compiled; a test holds them equal."""


def _count_places(used: int) -> int:
    taken = [((1 << count) - 1) << start for count, starts in PLACES for start in starts]
    return sum(mask & used == 0 for mask in taken)


_PLACES_LEFT = np.array([_count_places(used) for used in range(ALL_SLICES + 1)], dtype=np.int64)


@entry_point
def places_left(used: int) -> int:
    """How many places, over all profiles, are left on a GPU with these memory slices in use: 18 on an empty one."""
    return _PLACES_LEFT[used]


@compiled
def best_slices(used: int, count: int, starts: int) -> int:
    """Which `count` memory slices a profile takes of a GPU: those that leave the most places; ties: the lowest start.

    `starts` has a bit per allowed start. 0 when none of them is free.
    """
    best = 0
    best_left = NONE
    for start in range(SLICES):
        mask = ((1 << count) - 1) << start
        if starts >> start & 1 == 0 or used & mask != 0:
            continue
        left = places_left(used | mask)
        if left > best_left:
            best = mask
            best_left = left
    return best
