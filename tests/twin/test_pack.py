"""`dure twin pack`: the procedure draws as it says, no node is overfull, and the same seed is the same run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from dure.cli.main import main
from dure.cli.twin import PLACEMENT_RULES
from dure.kernel.packing.rules import RULES
from dure.sources.errors import BadSource
from dure.sources.fleet import parse_fleet, read_fleet
from dure.sources.locate import trace_file
from dure.sources.openb import read_openb
from dure.sources.trace import pack_choices
from dure.twin.packing import Pods, arrivals, pods_for, run_pack, set_up
from dure.twin.packing_loop import pack

FLEET = parse_fleet("3x8:A+2x4:B")
"""32 GPUs."""
PUBLISHED = {"random": 86.30, "dotprod": 90.62, "clustering": 91.65, "packing": 91.78, "bestfit": 92.86, "fgd": 95.23}
"""Allocation at 100% on the default trace, mean of ten seeds (Weng et al. 2023, their artifact)."""

HEADER = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n"
ROWS = "a,1000,1000,1,500,\nb,4000,1000,2,1000,A\nc,2000,1000,0,0,\n"


def pods(*gpus: float, cpus: float = 1, classes: tuple[int, ...] = (0, 1)) -> Pods:
    milli = np.array([round(1000 * each) for each in gpus], dtype=np.int64)
    return Pods(
        name="pods",
        cpus_milli=np.full(len(milli), round(1000 * cpus), dtype=np.int64),
        memory_mib=np.ones(len(milli), dtype=np.int64),
        gpus_milli=milli,
        choices=np.where(milli > 0, pack_choices(classes), 0),
    )


def test_the_rules_on_the_command_line_are_those_of_the_kernel() -> None:
    assert tuple(RULES) == PLACEMENT_RULES


def test_pods_are_drawn_until_the_next_would_ask_for_more_than_130_percent() -> None:
    list_of_pods = pods(1, 0.5, 8, 0)
    order = arrivals(list_of_pods, 32_000, seed=1)
    asked = int(list_of_pods.gpus_milli[order].sum())
    assert 41_600 - 8_000 < asked <= 41_600
    assert set(range(4)) <= set(order.tolist())


def test_a_longer_list_is_thinned_until_it_asks_for_130_percent() -> None:
    order = arrivals(pods(*[1] * 50), 32_000, seed=1)
    assert len(order) == 41
    assert len(set(order.tolist())) == 41


def test_another_seed_is_another_order() -> None:
    list_of_pods = pods(*[1, 0.5] * 10)
    assert arrivals(list_of_pods, 32_000, 1).tolist() != arrivals(list_of_pods, 32_000, 2).tolist()
    assert arrivals(list_of_pods, 32_000, 1).tolist() == arrivals(list_of_pods, 32_000, 1).tolist()


def test_pods_of_whole_nodes_fill_the_fleet() -> None:
    report = run_pack(pods(8, classes=(0,)), parse_fleet("4x8:A"), "dure", 42)
    assert report.allocation_pct["100"] == 100.0
    assert report.frag_pct["100"] == 0.0
    assert (report.placed, report.dropped) == (4, 1)


def test_a_pod_that_fits_nowhere_is_dropped_but_counts_as_arrived() -> None:
    report = run_pack(pods(*[1] * 32, cpus=300), FLEET, "bestfit", 42)
    assert (report.placed, report.dropped) == (0, 41)
    assert set(report.allocation_pct.values()) == {0.0}
    assert report.frag_pct["100"] == 100.0


requests = st.lists(st.sampled_from([0, 0.1, 0.25, 0.5, 0.81, 1, 2, 4, 8]), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None)
@given(wanted=requests, rule=st.sampled_from(PLACEMENT_RULES), seed=st.integers(0, 1000), cpus=st.integers(0, 40))
def test_nothing_is_handed_out_twice(wanted: list[float], rule: str, seed: int, cpus: int) -> None:
    list_of_pods = pods(*wanted, 1, cpus=cpus)
    columns, packing, jobs = set_up(list_of_pods, FLEET, rule, seed, given_mix=False)
    pack(columns, packing, jobs)
    nodes = columns.nodes
    assert (nodes["free_cpus_milli"] >= 0).all()
    assert (nodes["free_memory_mib"] >= 0).all()
    assert ((columns.gpu_free_milli >= 0) & (columns.gpu_free_milli <= 1000)).all()
    held = 32_000 - int(columns.gpu_free_milli.sum())
    state = packing.state[0]
    assert held == state.allocated_milli
    assert state.placed + state.dropped == jobs
    assert held == columns.jobs["gpus_milli"][columns.jobs["first_allocation"] >= 0].sum()


@pytest.mark.parametrize("rule", PLACEMENT_RULES)
def test_the_compiled_rules_equal_the_interpreted_ones(rule: str) -> None:
    program = (
        "from tests.twin.test_pack import FLEET, pods; from dure.twin.packing import run_pack; "
        "wanted = pods(*[1, .5, .3, 2, 4, 8, 0, .81] * 4); "
        f"report = run_pack(wanted, FLEET, {rule!r}, 5); "
        "print(report.allocation_pct, report.frag_pct, report.placed, report.dropped)"
    )
    texts = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            env=os.environ | {"NUMBA_DISABLE_JIT": disabled},
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        ).stdout
        for disabled in ("0", "1")
    ]
    assert texts[0] == texts[1] != ""


def openb(name: str) -> Path:
    default = trace_file("openb")
    if default is None:
        pytest.skip("openb is not here: name a folder of traces in DURE_TRACES")
    return default.with_name(f"openb_pod_list_{name}.csv.gz")


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="takes an hour as plain Python")
@pytest.mark.parametrize("rule", PUBLISHED)
def test_the_default_trace_is_packed_as_published(rule: str) -> None:
    path = openb("default")
    fleet = read_fleet(str(path.with_name("openb_node_list_gpu_node.csv")))
    list_of_pods = pods_for(read_openb(path), fleet)
    found = [run_pack(list_of_pods, fleet, rule, seed).allocation_pct["100"] for seed in (42, 43, 44)]
    assert np.mean(found) == pytest.approx(PUBLISHED[rule], abs=0.8)


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="takes an hour as plain Python")
@pytest.mark.parametrize(("name", "published_fgd"), [("default", 95.23), ("multigpu50", 97.09)])
def test_dure_hands_out_more_than_fgd_is_published_to(name: str, published_fgd: float) -> None:
    path = openb(name)
    fleet = read_fleet(str(path.with_name("openb_node_list_gpu_node.csv")))
    report = run_pack(pods_for(read_openb(path), fleet), fleet, "dure", 42)
    assert report.allocation_pct["100"] > published_fgd


def test_an_unknown_rule_is_named_with_those_there_are() -> None:
    with pytest.raises(BadSource, match="'worst' is not a placement rule; choose one of random"):
        run_pack(pods(1), FLEET, "worst", 1)


# As people type it.


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DURE_TRACES", raising=False)
    (tmp_path / "pods.csv").write_text(HEADER + ROWS)
    (tmp_path / "cpus.csv").write_text(HEADER + "c,2000,1000,0,0,\n")
    (tmp_path / "jobs.csv").write_text("job_id,submit,duration,num_gpus\n1,0,60,8\n")
    return tmp_path


def typed(words: str) -> Result:
    return CliRunner().invoke(main, ["twin", "pack", *words.split()])


MISTAKES = {
    "--trace missing.csv --fleet 2x8:A": "missing.csv: expected a file",
    "--trace jobs.csv --fleet 2x8:A": "jobs.csv, line 1",
    "--trace cpus.csv --fleet 2x8:A": "no pod asks for a GPU",
    "--trace pods.csv --fleet 2x8:B": "asks for GPU class A, which fleet 2x8:B has not",
    "--trace pods.csv --fleet missing.csv": "missing.csv: expected a file",
    "--trace pods.csv --fleet jobs.csv": "jobs.csv, line 1",
    "--trace pods.csv --fleet 2x8:A --policy worst": "'worst' is not one of 'random'",
    "--trace pods.csv": "Missing option '--fleet'",
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_message_and_exit_code_2(words: str) -> None:
    result = typed(words)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert MISTAKES[words] in result.output


@pytest.mark.usefixtures("here")
def test_the_report_for_programs_has_what_a_comparison_needs() -> None:
    result = typed("--trace pods.csv --fleet 2x8:A --policy fgd --seed 7 --json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["trace"], report["fleet"], report["policy"], report["seed"]) == ("pods", "2x8:A", "fgd", 7)
    assert {"50", "80", "90", "95", "100"} <= set(report["allocation_pct"])
    assert set(report["allocation_pct"]) == set(report["frag_pct"])
    assert {"tie_rule", "wall_s", "placed", "dropped"} <= set(report)


@pytest.mark.usefixtures("here")
def test_the_report_for_people_is_a_short_table() -> None:
    lines = typed("--trace pods.csv --fleet 2x8:A --seed 7").stdout.splitlines()
    assert lines[0].startswith("pods on 2x8:A, dure, seed 7: ")
    assert lines[1].startswith("Ties: ")
    assert lines[2].split() == ["ASKED", "FOR", "%", "ALLOCATED", "%", "FRAGMENTED", "%"]
    assert "100" in [line.split()[0] for line in lines[3:]]
