"""What the compiled world knows of MIG is what the model says."""

from __future__ import annotations

from dure.model import mig
from dure.world import parts, slices


def test_the_places_are_those_of_the_model() -> None:
    assert tuple((memory, starts) for _, memory, starts in mig.PLACES) == slices.PLACES
    assert parts.SLICES == mig.MEMORY_SLICES


def test_an_empty_gpu_has_eighteen_places_and_a_full_one_none() -> None:
    assert slices.places_left(0) == 18
    assert slices.places_left(parts.ALL_SLICES) == 0
    assert slices.places_left(0b0111_1111) == 0


def test_no_layout_wants_more_compute_slices_than_there_are() -> None:
    """Whatever memory slices allow, compute slices do: else a free place could not be used."""
    places = [(((1 << memory) - 1) << start, compute) for compute, memory, starts in mig.PLACES for start in starts]

    def most(used: int) -> int:
        return max((compute + most(used | mask) for mask, compute in places if mask & used == 0), default=0)

    assert most(0) == mig.COMPUTE_SLICES
