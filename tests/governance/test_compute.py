"""Operations are counted exactly, from hardware and from claims, once over a lineage, and ahead of time."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.governance.accelerators import Precision, UnknownPeak, read_catalogue, shipped_catalogue
from dure.governance.answers import Answer
from dure.governance.compute import (
    ASSUMED_UTILISATION,
    UNKNOWN_FLOP,
    Comparison,
    FlopRange,
    HardwareTime,
    Method,
    Utilisation,
    claimed_flop,
    compare,
    compute_statement,
    metered,
)
from dure.governance.forecast import Load, forecast, thresholds
from dure.governance.library import shipped_library
from dure.governance.lineage import LineageError, Stage, Version, compute_facts, lineage, modification
from dure.intake.refusals import BadInput

CATALOGUE = shipped_catalogue()
LINES = thresholds(shipped_library())
DAY_MS = 86_400_000
EXACT = Utilisation(least=400_000, likely=400_000, most=400_000, method=Method.MEASURED)


def hours(gpu_class: str, gpus: int, hours: int, utilisation: Utilisation = EXACT) -> HardwareTime:
    return HardwareTime(
        gpu_class=gpu_class,
        precision=Precision.BF16,
        gpu_milli_ms=gpus * 1_000 * hours * 3_600_000,
        utilisation=utilisation,
    )


def flop(least: int, likely: int | None = None, most: int | None = None) -> FlopRange:
    likely = least if likely is None else likely
    return FlopRange(least=least, likely=likely, most=likely if most is None else most)


def version(id: str, *parents: str, own: FlopRange | None = None, by: str = "lab", tuned: bool = False) -> Version:
    stage = Stage.FINE_TUNING if tuned else Stage.PRE_TRAINING
    return Version(id=id, organisation=by, own=own or flop(10**24), stage=stage, parents=parents)


def family(*versions: Version) -> dict[str, Version]:
    return {each.id: each for each in versions}


def test_a_published_model_is_counted_as_its_maker_and_epoch_do() -> None:
    """Llama 3.1 405B: 405e9 parameters and 15.6e12 tokens make 3.79e25; Epoch AI lists 3.8e25."""
    assert claimed_flop(405 * 10**9, 156 * 10**11) == 37_908 * 10**21
    assert claimed_flop(405 * 10**9, 156 * 10**11, is_fully_recomputed=True) * 6 == 37_908 * 10**21 * 8


def test_one_gpu_for_one_second_does_its_dense_peak() -> None:
    full = Utilisation(least=1_000_000, likely=1_000_000, most=1_000_000, method=Method.MEASURED)
    second = HardwareTime(gpu_class="H100", precision=Precision.BF16, gpu_milli_ms=1_000_000, utilisation=full)
    assert metered([second], CATALOGUE).flop == flop(989 * 10**12)


@pytest.mark.parametrize(
    ("gpus", "written", "days", "rounded_to"),
    [(260_000, "1e26", "11.3", "0.1"), (10_000, "1e25", "29", "1"), (1_000, "1e23", "2.9", "0.1")],
)
def test_a_national_pool_crosses_a_threshold_in_days(gpus: int, written: str, days: str, rounded_to: str) -> None:
    """The figures of a national pool of GPUs at 0.989e15 dense FLOP/s and 40% of it."""
    load = Load(gpu_class="H100", gpu_milli=gpus * 1_000, start_ms=0, end_ms=60 * DAY_MS, utilisation=EXACT)
    crossings = {each.threshold.written: each for each in forecast(load, LINES, CATALOGUE)}
    likely_ms = crossings[written].likely_ms
    assert likely_ms is not None
    assert abs(Fraction(likely_ms, DAY_MS) - Fraction(days)) <= Fraction(rounded_to) / 2


def test_the_thresholds_are_those_of_the_packs() -> None:
    assert [(each.written, each.reached_at) for each in LINES] == [
        ("1e23", str(10**23 + 1)),
        ("1e25", str(10**25 + 1)),
        ("1e26", str(10**26)),
    ]
    assert "KR-AIBA-32" in LINES[2].provisions
    assert "EU-52" in LINES[1].provisions


GPUS = st.integers(1, 400_000_000)
PARTS = st.lists(st.integers(1, 1_000_000), min_size=3, max_size=3).map(sorted)


@given(GPUS, PARTS, st.integers(0, 10**26), st.integers(1, 400 * DAY_MS))
def test_a_forecast_is_the_very_millisecond_that_metering_finds(
    gpu_milli: int, parts: list[int], already: int, length_ms: int
) -> None:
    utilisation = Utilisation(least=parts[0], likely=parts[1], most=parts[2], method=Method.DECLARED)
    load = Load(gpu_class="B200", gpu_milli=gpu_milli, start_ms=5, end_ms=5 + length_ms, utilisation=utilisation)

    def done(at_ms: int) -> FlopRange:
        time = HardwareTime(
            gpu_class="B200",
            precision=Precision.BF16,
            gpu_milli_ms=gpu_milli * (at_ms - load.start_ms),
            utilisation=utilisation,
        )
        return metered([time], CATALOGUE).flop + flop(already)

    found = {each.threshold.written: each for each in forecast(load, LINES, CATALOGUE, flop(already))}
    for line in LINES:
        reached_at, crossing = int(line.reached_at), found.get(line.written)
        if crossing is None or crossing.likely_ms is None:
            assert done(load.end_ms).likely < reached_at
            continue
        assert done(crossing.likely_ms).likely >= reached_at
        assert crossing.likely_ms == load.start_ms or done(crossing.likely_ms - 1).likely < reached_at
        assert crossing.earliest_ms is not None
        assert crossing.earliest_ms <= crossing.likely_ms <= (crossing.latest_ms or load.end_ms)
        assert crossing.is_behind is (already >= reached_at)


def test_a_lineage_with_an_unknown_part_may_cross_everything_at_once() -> None:
    load = Load(gpu_class="H100", gpu_milli=1_000, start_ms=7, end_ms=DAY_MS)
    crossings = forecast(load, LINES, CATALOGUE, UNKNOWN_FLOP)
    assert [(each.earliest_ms, each.likely_ms, each.is_behind) for each in crossings] == [(7, None, False)] * 3


@given(st.lists(st.tuples(st.sampled_from(["H100", "A100", "B200"]), st.integers(0, 10**18)), max_size=6))
def test_metering_adds_up_whatever_the_split(parts: list[tuple[str, int]]) -> None:
    times = [
        HardwareTime(gpu_class=name, precision=Precision.BF16, gpu_milli_ms=amount, utilisation=ASSUMED_UTILISATION)
        for name, amount in parts
    ]
    whole = metered(times, CATALOGUE).flop
    pieces = [metered([time], CATALOGUE).flop for time in times]
    assert 0 <= whole.likely - sum(piece.likely for piece in pieces) <= len(times)
    assert whole.most is not None
    assert whole.least <= whole.likely <= whole.most


def test_hardware_without_a_known_peak_bounds_nothing_above() -> None:
    result = metered([hours("H100", 8, 24), hours("Z9000", 1, 1)], CATALOGUE)
    assert result.flop.most is None
    assert result.flop.least == metered([hours("H100", 8, 24)], CATALOGUE).flop.least
    assert "no peak is recorded for GPU class Z9000" in result.unknown[0]
    assert result.lines[1].peak_flop_per_s == ""


@pytest.mark.parametrize(
    ("measured", "claimed", "said"),
    [
        (flop(100), 200, Comparison.AGREES),
        (flop(100), 201, Comparison.DIFFERS),
        (flop(100), 50, Comparison.AGREES),
        (flop(100), 49, Comparison.DIFFERS),
        (flop(0), 1, Comparison.DIFFERS),
        (flop(0), 0, Comparison.AGREES),
        (FlopRange(least=100, likely=100, most=None), 60, Comparison.NOT_COMPARABLE),
        (FlopRange(least=100, likely=100, most=None), 49, Comparison.DIFFERS),
        (FlopRange(least=100, likely=100, most=None), 10**9, Comparison.NOT_COMPARABLE),
    ],
)
def test_more_than_a_factor_of_two_is_an_alarm(measured: FlopRange, claimed: int, said: Comparison) -> None:
    assert compare(measured, claimed) is said


def test_a_statement_holds_both_and_can_be_computed_again_from_its_lines() -> None:
    statement = compute_statement([hours("H100", 8, 24), hours("B200", 4, 10)], CATALOGUE, claimed=10**21)
    assert statement.claimed == str(10**21)
    again = sum(
        line.time.gpu_milli_ms * int(line.peak_flop_per_s) * line.time.utilisation.likely // 10**12
        for line in statement.lines
    )
    assert int(statement.measured.likely) == again == 8 * 24 * 3600 * 989 * 4 * 10**11 + 4 * 36000 * 2250 * 4 * 10**11
    assert b"." not in msgspec.json.encode([statement.measured, statement.claimed])


def test_a_claim_that_is_not_made_is_not_compared() -> None:
    statement = compute_statement([hours("H100", 1, 1)], CATALOGUE, claimed=None)
    assert (statement.claimed, statement.comparison) == ("", Comparison.NOT_COMPARABLE)


@pytest.mark.parametrize("parts", [(0, 500_000, 400_000), (-1, 0, 0), (0, 0, 1_000_001)])
def test_a_utilisation_lies_between_nothing_and_all(parts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Utilisation(least=parts[0], likely=parts[1], most=parts[2], method=Method.DECLARED)


def test_each_ancestor_counts_once() -> None:
    """Two models of one base, merged: the base is not counted twice."""
    versions = family(
        version("base", own=flop(10**25)),
        version("left", "base", own=flop(10**23), tuned=True),
        version("right", "base", own=flop(10**22), tuned=True),
        version("merged", "left", "right", own=flop(10**20), tuned=True),
    )
    found = lineage("merged", versions)
    assert found.cumulative == flop(10**25 + 10**23 + 10**22 + 10**20)
    assert (found.own, found.base) == (flop(10**20), flop(10**25 + 10**23 + 10**22))
    assert (found.pre_training, found.fine_tuning) == (flop(10**25), flop(10**23 + 10**22 + 10**20))
    assert set(found.ancestors) == {"base", "left", "right"}


@given(st.lists(st.sets(st.integers(0, 11), max_size=3), min_size=1, max_size=12))
def test_cumulative_compute_is_that_of_a_plain_walk(drawn: list[set[int]]) -> None:
    versions = family(
        *(
            version(f"v{n}", *(f"v{m}" for m in sorted(parents) if m < n), own=flop(10**20 + 3**n))
            for n, parents in enumerate(drawn)
        )
    )
    last = f"v{len(drawn) - 1}"

    def ancestors(id: str) -> set[str]:
        return {id}.union(*(ancestors(parent) for parent in versions[id].parents))

    expected = sum(versions[id].own.likely for id in ancestors(last))
    found = lineage(last, versions)
    assert found.cumulative.likely == expected
    position = {id: n for n, id in enumerate([*found.ancestors, last])}
    assert all(position[parent] < position[id] for id in position for parent in versions[id].parents)


def test_a_long_lineage_is_no_deep_recursion() -> None:
    chain = [version("v0"), *(version(f"v{n + 1}", f"v{n}") for n in range(5_000))]
    assert lineage("v5000", family(*chain)).cumulative.likely == 5_001 * 10**24


def test_a_lineage_without_a_beginning_is_refused() -> None:
    with pytest.raises(LineageError, match="a would be made from itself: a <- b <- a"):
        lineage("a", family(version("a", "b"), version("b", "a")))
    with pytest.raises(LineageError, match="lost is a parent in the lineage of a and is not declared"):
        lineage("a", family(version("a", "lost")))


@pytest.mark.parametrize(
    ("own", "original", "answer"),
    [
        (flop(10), flop(30), Answer.NO),
        (flop(11), flop(30), Answer.YES),
        (flop(9, 10, 11), flop(30), Answer.UNKNOWN),
        (flop(1), UNKNOWN_FLOP, Answer.UNKNOWN),
        (flop(9, 9, 9), flop(27, 30, 40), Answer.NO),
    ],
)
def test_above_one_third_of_the_original_a_modifier_becomes_a_provider(
    own: FlopRange, original: FlopRange, answer: Answer
) -> None:
    versions = family(version("base", own=original, by="maker"), version("mine", "base", own=own, by="modifier"))
    assert modification("mine", versions).is_above_one_third is answer


def test_the_original_makers_later_training_is_no_modification() -> None:
    versions = family(version("base", own=flop(10)), version("next", "base", own=flop(100)))
    assert modification("next", versions).modifies_others is False
    assert compute_facts("next", versions)["modifies-a-model-of-others"] == "no"


def test_what_a_modifier_adds_in_steps_counts_together() -> None:
    versions = family(
        version("base", own=flop(30), by="maker"),
        version("one", "base", own=flop(6), by="modifier"),
        version("two", "one", own=flop(6), by="modifier"),
    )
    assert modification("one", versions).is_above_one_third is Answer.NO
    assert modification("two", versions).is_above_one_third is Answer.YES


def test_facts_of_compute_leave_unknown_what_is_not_sure() -> None:
    versions = family(version("base", own=UNKNOWN_FLOP, by="maker"), version("mine", "base", own=flop(7), by="us"))
    facts = compute_facts("mine", versions)
    assert "modification-above-a-third" not in facts
    assert facts["training-compute"] == msgspec.convert({"least": 7, "most": None}, type(facts["training-compute"]))


def test_no_peak_is_one_with_sparsity() -> None:
    """Vendors print the sparse figure first; these are half of it."""
    for gpu_class, dense in {"A100": 312, "H100": 989, "H200": 989, "B200": 2250, "GB200": 2500, "L40S": 362}.items():
        assert CATALOGUE.peak_flop_per_s(gpu_class, Precision.BF16) == dense * 10**12
    for each in CATALOGUE.accelerators:
        half, full = each.peaks.get(Precision.BF16), each.peaks.get(Precision.FP8)
        if half and full:
            assert 2 * half <= full + 10**12 <= 2 * half + 10**13


def test_a_class_or_precision_without_a_peak_is_never_guessed() -> None:
    with pytest.raises(UnknownPeak, match="did you mean H100"):
        CATALOGUE.peak_flop_per_s("H100x", Precision.BF16)
    with pytest.raises(UnknownPeak, match="no bf16 peak is recorded for NVIDIA V100 SXM2; known: fp16"):
        CATALOGUE.peak_flop_per_s("V100", Precision.BF16)
    assert CATALOGUE.peak_flop_per_s("h100", Precision.BF16) == 989 * 10**12


GOOD = """
version: "1.0"
sources: {sheet: {title: data sheet, note: paper only}}
accelerators:
  - {device: One, gpu_classes: [ONE], peaks: {bf16: 1e15}, source: sheet, checked: {by: me, on: '2026-11-01', mark: V}}
"""


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("1e15", "989", "has no exponent"),
        ("1e15", "989e3", "is not a peak of one accelerator"),
        ("bf16", "bf17", "accelerators[0].peaks.bf17: is not a precision; did you mean"),
        ("source: sheet", "source: shet", "is not a source of this file"),
        ("mark: V", "mark: A", "must be one of V, S, M"),
        ("device: One", "devise: One", "is not a known field"),
    ],
)
def test_a_catalogue_is_read_strictly(before: str, after: str, said: str) -> None:
    assert read_catalogue("own.yaml", GOOD).peak_flop_per_s("one", Precision.BF16) == 10**15
    with pytest.raises(BadInput) as caught:
        read_catalogue("own.yaml", GOOD.replace(before, after))
    assert "own.yaml: " in str(caught.value)
    assert said in str(caught.value)


def test_thresholds_come_in_order() -> None:
    assert all(int(low.reached_at) < int(high.reached_at) for low, high in pairwise(LINES))
