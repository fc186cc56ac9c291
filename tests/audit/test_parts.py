"""Each rule about parts of GPUs by itself: a plan that breaks exactly this one, and a lawful twin that passes."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from dure.audit import Books
from dure.model.events import AttemptEnded, NationApplied, Planned
from dure.model.fleet import GpuClass
from dure.model.jobs import Outcome
from dure.model.mig import MigProfile, profiles_of
from dure.model.plan import Placement, Plan, Start
from tests.kernel.nations import job, nation, share

DECLARED = nation([share("guest")], nodes=2)


def slice_at(start: int, profile: str = "3g.40gb", *, gpu: int = 0, **changes: Any) -> Placement:
    known = next(each for each in profiles_of("H100") if each.name == profile)
    lawful = Placement(
        node="s0-h100-0000",
        gpus=(gpu,),
        milli=known.milli,
        profile=profile,
        slices=tuple(range(start, start + known.memory_slices)),
    )
    return replace(lawful, **changes)


def part(milli: int, gpu: int = 0) -> Placement:
    return Placement(node="s0-h100-0000", gpus=(gpu,), milli=milli)


def start(name: str, *placements: Placement) -> Start:
    return Start(job=name, attempt=1, site="site0", gpu_class="H100", placements=placements, borrowed=True)


def books(*starts: Start, declared: Any = DECLARED, **jobs: Any) -> Books:
    """Books with jobs of these wishes, some of which run."""
    found = Books()
    found.apply(NationApplied(at_ms=0, by="test", nation=declared))
    for name, want in jobs.items():
        found.apply(job(name, "guest", **want))
    for each in starts:
        found.apply(Planned(at_ms=0, plan=Plan(at_ms=0, decisions=(each,))))
    return found


def broken(found: Books, *starts: Start) -> list[str]:
    return [each.rule for each in found.check(Plan(at_ms=0, decisions=starts), 0)]


HALF = {"profile": "3g.40gb"}
SMALL = {"profile": "1g.10gb"}


def test_slices_lie_where_their_profile_may_begin() -> None:
    found = books(a=HALF)
    assert broken(found, start("a", slice_at(4))) == []
    assert broken(found, start("a", slice_at(2))) == ["slice-misplaced"]
    assert broken(found, start("a", slice_at(0, slices=(0, 1, 2)))) == ["slice-misplaced"]


def test_slices_never_overlap() -> None:
    found = books(start("a", slice_at(4)), a=HALF, b=SMALL)
    assert broken(found, start("b", slice_at(0, "1g.10gb"))) == []
    assert broken(found, start("b", slice_at(6, "1g.10gb"))) == ["slices-overlap"]
    assert broken(found, start("b", slice_at(6, "1g.10gb", gpu=1))) == []


def test_slices_are_free_again_when_their_job_is_over() -> None:
    found = books(start("a", slice_at(4)), a=HALF, b=SMALL)
    found.apply(AttemptEnded(at_ms=0, job="a", attempt=1, outcome=Outcome.SUCCEEDED, exit_code=0))
    assert broken(found, start("b", slice_at(6, "1g.10gb"))) == []


def test_a_gpu_is_not_cut_and_shared_at_once() -> None:
    found = books(start("a", slice_at(4)), start("b", part(300, 1)), a=HALF, b={"gpus": 0.3}, c={"gpus": 0.3}, d=HALF)
    assert broken(found, start("c", part(300, 1))) == []
    assert broken(found, start("c", part(300, 0))) == ["gpu-in-two-modes"]
    assert broken(found, start("d", slice_at(0, gpu=1))) == ["gpu-in-two-modes"]


def test_a_job_gets_the_profile_it_asked_for() -> None:
    found = books(a=HALF, b={"gpus": 0.5}, c={"gpus": 1})
    assert broken(found, start("a", slice_at(0, "4g.40gb"))) == ["wrong-profile"]
    assert broken(found, start("b", slice_at(4))) == ["wrong-profile", "wrong-profile"]
    assert broken(found, start("b", part(500))) == []
    assert broken(found, start("c", replace(part(1000), slices=tuple(range(8))))) == ["wrong-profile"]


def test_only_profiles_that_are_offered_are_given() -> None:
    without = replace(DECLARED, gpu_classes=(GpuClass(name="H100", mig=profiles_of("H100")[:2]),))
    assert broken(books(a=HALF, declared=without), start("a", slice_at(4))) == ["profile-not-offered"]
    assert broken(books(a=SMALL, declared=without), start("a", slice_at(6, "1g.10gb"))) == []


def test_a_slice_counts_an_eighth_for_each_memory_slice() -> None:
    """The ledger may hold a job that counts too little: its start is what is wrong."""
    found = books(a=HALF)
    found.apply(replace(job("cheap", "guest", profile="3g.40gb"), gpus=(("H100", 100),)))
    assert broken(found, start("cheap", slice_at(4, milli=100))) == ["slice-charged-wrongly"]
    assert broken(found, start("a", slice_at(4, milli=428))) == ["wrong-amount", "slice-charged-wrongly"]


def test_slices_want_no_more_compute_than_there_is() -> None:
    """Four memory slices that come with six compute slices each: a GPU no maker offers."""
    odd = MigProfile(name="3g.40gb", memory_slices=4, compute_slices=6, starts=(0, 4))
    declared = replace(DECLARED, gpu_classes=(GpuClass(name="H100", mig=(odd,)),))
    found = books(start("a", slice_at(4)), a=HALF, b=HALF, declared=declared)
    assert broken(found, start("b", slice_at(0))) == ["compute-overcommitted"]
    assert broken(found, start("b", slice_at(0, gpu=1))) == []


def test_a_part_is_of_one_gpu_and_for_one_rank() -> None:
    found = books(a={"gpus": 0.5}, b={"gpus": 0.5, "nodes": 2})
    two = replace(part(250), gpus=(0, 1))
    assert broken(found, start("a", two)) == ["part-of-several"]
    other = replace(part(500), node="s0-h100-0001")
    assert broken(found, start("b", part(500), other)) == ["gang-of-parts", "gang-of-parts"]
