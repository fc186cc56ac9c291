"""The readers against the real files, with the counts and sums their publishers and we wrote down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dure.model.units import HOUR_MS
from dure.sources.equal import read_equal
from dure.sources.errors import BadSource
from dure.sources.fleet import parse_fleet, read_fleet, read_node_list
from dure.sources.openb import read_openb
from dure.sources.philly import read_philly
from dure.sources.readers import FORMATS, read_trace
from dure.sources.trace import Trace, unpack_choices

Traces = Callable[[str], Path]

PODS_OF_VARIANT = {"cpu0": 7_064, "cpu300": 10_094, "gpushare100": 8_152, "gpuspec33": 8_152, "multigpu50": 9_061}


def gpus_of_jobs(trace: Trace) -> Counter[int]:
    return Counter((trace.nodes * trace.gpus_milli // 1000).tolist())


def test_the_common_workload_has_the_published_jobs_and_sizes(traces: Traces) -> None:
    trace = read_equal(traces("equal"), 8)
    assert len(trace) == 20_000
    assert gpus_of_jobs(trace) == {1: 19_203, 2: 326, 4: 163, 8: 274, 16: 19, 32: 15}
    assert trace.submit_ms[-1] / HOUR_MS == pytest.approx(262.5, abs=0.05)
    inside = np.minimum(trace.submit_ms + trace.duration_ms, trace.submit_ms[-1]) - trace.submit_ms
    demand_gpus = float((trace.nodes * trace.gpus_milli * inside).sum()) / 1000 / float(trace.submit_ms[-1])
    assert demand_gpus == pytest.approx(459, abs=1)
    assert (trace.limit_ms == trace.duration_ms).all()


def test_philly_has_the_published_jobs_sizes_hours_and_virtual_clusters(traces: Traces) -> None:
    trace = read_philly(traces("philly"), 8)
    assert len(trace) == 82_247
    assert round(trace.gpu_hours) == 978_078
    assert len(trace.shares) == 15
    expected = {1: 76_627, 2: 1_818, 4: 1_870, 8: 1_643, 16: 199, 32: 67, 12: 7, 24: 7, 64: 6, 128: 3}
    assert gpus_of_jobs(trace) == expected
    assert np.bincount(trace.share).min() > 0


def test_the_common_workload_is_cut_from_philly(traces: Traces) -> None:
    philly = read_philly(traces("philly"), 8)
    equal = read_equal(traces("equal"), 8)
    # The first job of Philly was submitted on 2017-09-04 at 10:30:41; the cut begins on 2017-10-02 at midnight.
    start_ms = int((np.datetime64("2017-10-02") - np.datetime64("2017-09-04T10:30:41")).astype("m8[ms]").astype(int))
    first = int(np.searchsorted(philly.submit_ms, start_ms))
    cut = slice(first, first + len(equal))
    assert (philly.submit_ms[cut] - philly.submit_ms[first] == equal.submit_ms).all()
    assert (philly.duration_ms[cut] == equal.duration_ms).all()
    assert (philly.nodes[cut] == equal.nodes).all()
    assert (philly.gpus_milli[cut] == equal.gpus_milli).all()


def test_openb_pods_ask_for_what_their_publishers_say(traces: Traces) -> None:
    trace = read_openb(traces("openb"))
    assert len(trace) == 8_152
    assert int(trace.gpus_milli.sum()) == 6_086_800
    assert (trace.gpus_milli == 0).mean() == pytest.approx(0.133, abs=0.001)
    assert ((trace.gpus_milli > 0) & (trace.gpus_milli < 1000)).mean() == pytest.approx(0.378, abs=0.001)
    assert (trace.gpus_milli == 1000).mean() == pytest.approx(0.480, abs=0.001)
    assert Counter(trace.gpus_milli[trace.gpus_milli > 1000].tolist()) == {2000: 16, 4000: 15, 8000: 44}
    assert ((trace.choices == 0) == (trace.gpus_milli == 0)).all()
    assert trace.duration_ms.min() == 1000


@pytest.mark.parametrize("variant", sorted(PODS_OF_VARIANT))
def test_every_kind_of_openb_variant_runs_on_the_real_nodes(traces: Traces, variant: str) -> None:
    fleet = read_node_list(traces("openb-nodes"))
    path = traces(f"alibaba_gpu_v2023/openb_pod_list_{variant}.csv.gz")
    trace = read_trace(path, "openb", fleet)
    assert trace.gpu_classes == fleet.gpu_classes
    assert len(trace) + trace.refused == PODS_OF_VARIANT[variant]
    # A few resampled pods want more cores than any node with their GPUs has.
    assert trace.refused < 40


def test_openb_alternatives_keep_their_order_and_lose_repetitions(traces: Traces) -> None:
    trace = read_openb(traces("alibaba_gpu_v2023/openb_pod_list_gpuspec33.csv.gz"))
    chosen = Counter(
        "|".join(trace.gpu_classes[index] for index in unpack_choices(choices)) for choices in trace.choices.tolist()
    )
    # 141 pods write V100M16|V100M32, and 22 write V100M16|V100M32|V100M32.
    assert chosen["V100M16|V100M32"] == 141 + 22
    assert chosen["T4"] == 1_291


def test_the_openb_node_lists_have_the_published_nodes(traces: Traces) -> None:
    fleet = read_node_list(traces("openb-nodes"))
    by_class = {name: fleet.gpus_of_class(index) for index, name in enumerate(fleet.gpu_classes)}
    expected = {"G2": 4392, "T4": 842, "G3": 312, "P100": 265, "V100M32": 204, "V100M16": 195, "A10": 2}
    assert by_class == expected
    assert fleet.nodes == 1_213
    every_node = read_fleet(str(traces("alibaba_gpu_v2023/openb_node_list_all_node.csv")))
    assert (every_node.nodes, every_node.gpus) == (1_523, 6_212)


def test_any_gpu_class_becomes_every_class_of_the_fleet_that_can_hold_the_job(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text("job_id,submit,duration,num_gpus\n1,0,10,4\n2,5,10,8\n")
    trace = read_trace(path, "equal", parse_fleet("2x8:H100+2x4:B200"))
    assert [unpack_choices(choices) for choices in trace.choices.tolist()] == [(0, 1), (0,)]


def test_rows_are_sorted_by_submission_and_ties_keep_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text("job_id,submit,duration,num_gpus\n1,70,1,1\n2,50,2,1\n3,70,3,1\n4,50.5,4,1\n")
    trace = read_equal(path, 8)
    assert trace.submit_ms.tolist() == [0, 500, 20_000, 20_000]
    assert trace.duration_ms.tolist() == [2_000, 4_000, 1_000, 3_000]


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="'swf' is not a trace format; choose one of equal, openb, philly"):
        read_trace(tmp_path / "jobs.swf", "swf", parse_fleet("72x8"))
    assert FORMATS == ("equal", "openb", "philly")
