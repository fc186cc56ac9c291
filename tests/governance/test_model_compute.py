"""The compute behind registered versions: metered over lineages, each job once, and never zero for what is unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dure.governance.accelerators import shipped_catalogue
from dure.governance.compute import Comparison, Method
from dure.governance.forecast import thresholds
from dure.governance.library import shipped_library
from dure.governance.model_compute import Standing, VersionCompute, cumulative, used, version_compute
from dure.governance.models import ModelRegister
from dure.model.model_events import ModelRegistered
from dure.model.model_versions import (
    BaseModel,
    ComputeClaim,
    HardwareTime,
    JobRun,
    Making,
    Precision,
    Utilisation,
    VersionName,
)
from tests.governance.test_models import run_of, version

DAY_MS = 24 * 3_600_000
PEAK = 989 * 10**12
"""Dense FLOP/s of an H100 in bf16."""
CATALOGUE = shipped_catalogue()


def held(job: str, gpu_days: int, gpu_class: str = "H100", precision: Precision | None = Precision.BF16) -> JobRun:
    time = HardwareTime(gpu_class=gpu_class, gpu_milli_ms=gpu_days * 1000 * DAY_MS)
    return replace(run_of(job), hardware=(time,), precision=precision)


def likely(gpu_days: int) -> int:
    """At a utilisation of 0.4, which is assumed where nobody declares one."""
    return gpu_days * 86_400 * PEAK * 4 // 10


def register(register: ModelRegister, name: VersionName, making: Making) -> None:
    register.apply(ModelRegistered(at_ms=1, version=name, making=making, by="t1"))


def computed(*makings: Making) -> VersionCompute:
    """The compute of the last of these versions of one model."""
    made = ModelRegister()
    for number, making in enumerate(makings, 1):
        register(made, version(number), making)
    return version_compute(version(len(makings)), made, CATALOGUE, thresholds(shipped_library()))


def test_hardware_time_times_peak_times_assumed_utilisation() -> None:
    stated = computed(Making(jobs=(held("j1", 100),)))
    assert int(stated.own.measured.likely) == likely(100)
    assert int(stated.own.measured.least) == likely(100) * 3 // 4
    assert int(stated.own.measured.most) == likely(100) * 5 // 4
    assert stated.cumulative == stated.own.measured


def test_a_lineage_adds_up_and_counts_a_job_that_two_versions_name_once() -> None:
    first, second = held("j1", 10), held("j2", 5)
    stated = computed(
        Making(jobs=(first,)),
        Making(jobs=(first, second), parents=(version(1),)),
        Making(jobs=(first,), parents=(version(1),)),
        Making(parents=(version(2), version(3))),
    )
    assert int(stated.cumulative.likely) == likely(15)
    assert int(stated.own.measured.likely) == 0
    assert stated.base == stated.cumulative


@pytest.mark.parametrize(
    "making",
    [
        Making(jobs=(held("j1", 1, precision=None),)),
        Making(jobs=(held("j1", 1, gpu_class="X9000"),)),
        Making(jobs=(held("j1", 1),), bases=(BaseModel(name="llama"),)),
        Making(source="https://mlflow.example/models/a/1"),
    ],
    ids=["no precision", "no peak", "base of unknown compute", "imported"],
)
def test_what_is_unknown_leaves_the_total_open_and_is_never_below_a_threshold(making: Making) -> None:
    stated = computed(making)
    assert stated.cumulative.most == ""
    assert {line.standing for line in stated.thresholds} == {Standing.POSSIBLY_CROSSED}


def test_a_base_counts_with_what_is_said_of_it() -> None:
    stated = computed(Making(jobs=(held("j1", 1),), bases=(BaseModel(name="llama", flop="3.8e25"),)))
    assert int(stated.cumulative.likely) == 38 * 10**24 + likely(1)
    assert [line.standing for line in stated.thresholds] == [Standing.CROSSED, Standing.CROSSED, Standing.BELOW]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(10**12, Comparison.AGREES), (10**13, Comparison.DIFFERS), (10**11, Comparison.DIFFERS)],
)
def test_a_claim_more_than_twice_or_less_than_half_of_what_was_metered_is_an_alarm(
    tokens: int, expected: Comparison
) -> None:
    claim = ComputeClaim(parameters=10**11, active_parameters=8 * 10**9, tokens=tokens)
    gpu_days = 6 * 8 * 10**9 * 10**12 // likely(1)
    assert computed(Making(jobs=(held("j1", gpu_days),), claim=claim)).own.comparison is expected


def test_counters_of_the_gpus_bound_the_utilisation_from_above() -> None:
    declared = Utilisation(least_permille=350, most_permille=450)
    assert used(declared, None).likely == 400_000
    assert used(declared, 90) == used(declared, None)
    idle = used(declared, 20)
    assert (idle.least, idle.likely, idle.most, idle.method) == (200_000, 200_000, 200_000, Method.MEASURED)


@given(st.lists(st.tuples(st.sets(st.integers(0, 9), max_size=3), st.integers(0, 5)), min_size=1, max_size=10))
def test_the_total_is_that_of_all_distinct_jobs_of_all_ancestors(made: list[tuple[set[int], int]]) -> None:
    known = ModelRegister()
    jobs_behind: list[set[int]] = []
    for number, (chosen, job) in enumerate(made, 1):
        parents = sorted(each for each in chosen if each < number - 1)
        jobs_behind.append({job}.union(*(jobs_behind[each] for each in parents)))
        making = Making(jobs=(held(f"j{job}", job + 1),), parents=tuple(version(each + 1) for each in parents))
        register(known, version(number), making)
    expected = sum(likely(job + 1) for job in jobs_behind[-1])
    assert cumulative(version(len(made)), known, CATALOGUE).likely == expected
