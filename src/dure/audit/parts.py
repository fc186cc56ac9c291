"""Judging parts of GPUs: what was offered and asked for, where a MIG slice may lie, and one use of a GPU at a time.

Straight from the nation's declaration; nothing here knows how the kernel looks for a place.
"""

from __future__ import annotations

from collections.abc import Iterator

from dure.audit.page import WHOLE, Entry, Page
from dure.model.mig import COMPUTE_SLICES, MEMORY_SLICES, MigProfile
from dure.model.plan import Placement

Findings = Iterator[tuple[str, str]]


def judge_parts(page: Page, entry: Entry, gpu_class: str, placements: tuple[Placement, ...]) -> Findings:
    """Every rule about parts that a start would break."""
    for placement in placements:
        if placement.milli < WHOLE and len(placements) > 1:
            yield "gang-of-parts", f"{placement.node}: a part of a GPU is for one rank"
        if placement.milli < WHOLE and len(placement.gpus) != 1:
            yield "part-of-several", f"{placement.node}: {placement.milli} of GPUs {placement.gpus}"
            continue
        yield from _judge_profile(page, entry, gpu_class, placement)
        if placement.milli < WHOLE or placement.slices:
            yield from _judge_neighbours(page, gpu_class, placement)


def _judge_profile(page: Page, entry: Entry, gpu_class: str, placement: Placement) -> Findings:
    submitted = entry.submitted
    wanted = dict(zip((name for name, _ in submitted.gpus), submitted.mig, strict=False)).get(gpu_class, "")
    if placement.profile != wanted:
        yield "wrong-profile", f"{placement.node}: {placement.profile or 'no slice'}, wanted {wanted or 'none'}"
    if not wanted:
        if placement.slices:
            yield "wrong-profile", f"{placement.node}: slices {placement.slices} of a job without MIG"
        return
    profile = _offered(page, gpu_class, wanted)
    if profile is None:
        yield "profile-not-offered", f"{gpu_class} does not offer {wanted}"
        return
    if placement.milli * MEMORY_SLICES != WHOLE * profile.memory_slices:
        yield "slice-charged-wrongly", f"{wanted} counts {placement.milli} thousandths"
    places = [tuple(range(start, start + profile.memory_slices)) for start in profile.starts]
    if placement.slices not in places:
        yield "slice-misplaced", f"{placement.node}: {wanted} on memory slices {placement.slices}"


def _judge_neighbours(page: Page, gpu_class: str, placement: Placement) -> Findings:
    gpu = placement.gpus[0]
    others = page.parts.get((placement.node, gpu), ())
    if any(bool(other.slices) != bool(placement.slices) for other in others):
        yield "gpu-in-two-modes", f"GPU {gpu} of {placement.node} is shared by MIG and in thousandths"
    taken = {each for other in others for each in other.slices}
    if taken.intersection(placement.slices):
        yield "slices-overlap", f"GPU {gpu} of {placement.node}: {placement.slices} beside {sorted(taken)}"
    profiles = [_offered(page, gpu_class, each.profile) for each in (*others, placement) if each.profile]
    compute = sum(profile.compute_slices for profile in profiles if profile)
    if compute > COMPUTE_SLICES:
        yield "compute-overcommitted", f"GPU {gpu} of {placement.node}: {compute} compute slices"


def _offered(page: Page, gpu_class: str, name: str) -> MigProfile | None:
    declared = page.nation.gpu_class(gpu_class)
    return declared.mig_profile(name) if declared else None
