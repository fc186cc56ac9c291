"""MIG: into which slices NVIDIA's data-centre GPUs can be cut in hardware, and where on a GPU each may begin.

Such a GPU has eight memory slices, numbered 0 to 7, and seven compute slices. A profile takes a run of memory slices
that begins at one of a few places, and the compute slices that go with them. Whatever memory slices are free decides
what still fits: at every layout that the places allow, compute slices suffice.

The places are the same on all boards here; only the names differ, because they tell how much memory a slice has.

Read on 2026-11-22:

| What | Source | Grade |
|---|---|---|
| profiles of A100, H100, H200, B200 | NVIDIA, Multi-Instance GPU User Guide v580, "Supported Profiles" | published |
| profiles of GB200 | the names that AWS SageMaker and Google's GPU device plugin accept | published |
| places on A100 and H100 | `nvidia-smi mig -lgipp`, as the guide and users of both boards print it | published |
| places on H200, B200 and GB200 | those of A100 and H100: the guide's counts of instances agree | assumed |

Profiles with media engines (`+me`) are left out.
"""

from __future__ import annotations

from msgspec import Struct

MEMORY_SLICES = 8
COMPUTE_SLICES = 7
SLICE_MILLI = 125
"""What a memory slice counts: an eighth of a GPU."""


class MigProfile(Struct, frozen=True, kw_only=True):
    """One size of slice. `starts` are the memory slices at which one may begin."""

    name: str
    memory_slices: int
    compute_slices: int
    starts: tuple[int, ...]

    @property
    def milli(self) -> int:
        """What it counts against quota, in thousandths of a GPU: an eighth for each memory slice.

        Memory slices are what a job keeps from everybody else, so all jobs of a GPU together never count more than it.
        """
        return self.memory_slices * SLICE_MILLI


PLACES: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (1, 1, (0, 1, 2, 3, 4, 5, 6)),
    (1, 2, (0, 2, 4, 6)),
    (2, 2, (0, 2, 4)),
    (3, 4, (0, 4)),
    (4, 4, (0,)),
    (7, 8, (0,)),
)
"""Compute slices, memory slices and starts of each size, smallest first."""

BOARDS: dict[str, tuple[str, ...]] = {
    "A100-40GB": ("1g.5gb", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"),
    "A100-80GB": ("1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"),
    "H100": ("1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"),
    "H200": ("1g.18gb", "1g.35gb", "2g.35gb", "3g.71gb", "4g.71gb", "7g.141gb"),
    "B200": ("1g.23gb", "1g.45gb", "2g.45gb", "3g.90gb", "4g.90gb", "7g.180gb"),
    "GB200": ("1g.23gb", "1g.47gb", "2g.47gb", "3g.93gb", "4g.93gb", "7g.186gb"),
}
"""The names of the profiles of each board, in the order of `PLACES`."""


def profiles_of(board: str) -> tuple[MigProfile, ...]:
    """Every profile of a board, smallest first."""
    return tuple(
        MigProfile(name=name, memory_slices=memory, compute_slices=compute, starts=starts)
        for name, (compute, memory, starts) in zip(BOARDS[board], PLACES, strict=True)
    )


def boards_of(gpu_class: str) -> tuple[str, ...]:
    """The boards that a GPU class may mean: `h100-sxm` means H100, `A100` both A100s, and `A100-40GB` one of them."""
    words = gpu_class.lower().replace("_", "-").replace(".", "-").split("-")
    by_model = [board for board in BOARDS if board.lower().split("-")[0] == words[0]]
    exact = [board for board in by_model if set(board.lower().split("-")) <= set(words)]
    return tuple(exact or by_model)
