"""The plot is drawn from its data, and what the README says of it is in the data."""

from __future__ import annotations

import re

import pytest

from benchmarks.sharing import PROMISED_S, Outcome, fewest_nodes_that_do, guaranteed_nodes, read_outcomes
from benchmarks.sharing_plot import HEADLINE_GPUS, drawn, fewest_gpus
from dure.model.units import HOUR_MS
from tests.docs.pages import ROOT, text_of
from tests.twin.scenes import Told, told_scene

DATA = ROOT / "docs" / "sharing-pays.csv"


def outcome(policy: str, gpus: int) -> Outcome:
    return next(each for each in read_outcomes(DATA) if (each.policy, each.gpus) == (policy, gpus))


def readme() -> str:
    section = text_of(ROOT / "README.md").partition("## Sharing pays")[2].partition("## ")[0]
    return re.sub(r"\s+", " ", section)


def test_the_plot_is_drawn_from_its_data() -> None:
    assert text_of(DATA.with_suffix(".svg")) == drawn(read_outcomes(DATA))


def test_the_readme_says_what_is_in_the_data() -> None:
    shared, alone = outcome("dure", HEADLINE_GPUS), outcome("silo", HEADLINE_GPUS)
    gpus = fewest_gpus(read_outcomes(DATA), lambda run: run.avg_wait_s)
    hours = [each / (HOUR_MS / 1000) for each in (outcome("dure", gpus).avg_wait_s, alone.avg_wait_s)]
    assert f"{gpus} GPUs that Dure shares make jobs wait no longer than {HEADLINE_GPUS:,} GPUs in silos" in readme()
    assert f"{hours[0]:.1f} against {hours[1]:.1f} hours on average ({1 - gpus / HEADLINE_GPUS:.0%} fewer" in readme()
    assert f"{fewest_gpus(read_outcomes(DATA), lambda run: run.p99_wait_s)} do for the 99th" in readme()
    assert f"falls from {hours[1]:.1f} hours to {shared.avg_wait_s:.0f} seconds" in readme()
    assert f"from {alone.p99_wait_s / 3600:.1f} hours to {shared.p99_wait_s:.0f} seconds" in readme()
    assert f"the promised {PROMISED_S:.0f} seconds" in readme()


def test_guarantees_were_kept_on_every_fleet_of_the_plot() -> None:
    assert {each.gpus for each in read_outcomes(DATA) if each.p99_guarantee_delay_s > PROMISED_S} == set()


def test_every_owner_is_guaranteed_its_largest_job_and_then_by_gpu_time() -> None:
    jobs = [Told("small", 0, 10, 8, 2), Told("large", 0, 300), Told("idle", 0, 1, 1)]
    trace = told_scene("dure", "9x8", {"small": 0, "large": 0, "idle": 0}, jobs).trace
    assert guaranteed_nodes(trace, 4).tolist() == [2, 1, 1]
    assert guaranteed_nodes(trace, 9).tolist() == [2, 6, 1]


@pytest.mark.parametrize("slower_s", [0, 20])
def test_the_search_finds_the_very_node_that_is_enough(slower_s: int) -> None:
    def outcome_of(policy: str, nodes: int) -> Outcome:
        return Outcome(policy, nodes, 50 if policy == "silo" else 100 - nodes + slower_s, 0, 0, 0)

    assert fewest_nodes_that_do(outcome_of, 10, lambda run: run.avg_wait_s) == 50 + slower_s
