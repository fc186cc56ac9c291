"""Whole stories of the platform under faults: each seed is another one."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dure.bootstrap import make_policy_set
from dure.policy import PolicySet
from tests.simulation.faults import RATES
from tests.simulation.mutants import mutants, planted, seed_that_finds
from tests.simulation.story import play

SEEDS = 300
SEEDS_AT_ONCE = 10
FOUND = tomllib.loads(Path(__file__).with_name("seeds.toml").read_text("utf-8"))["seed"]
SAMPLE = ("members are answered", "engines are told", "ids of jobs", "a borrower gets")
MEMORY = Path("/dev/shm")
"""Where files cost nothing, if there is such a place."""


@pytest.fixture(scope="session")
def policy_set() -> PolicySet:
    return make_policy_set()


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)
    gc.collect()  # Worlds are large, and what is over hangs together in circles.


def assert_sound(seed: int, folder: Path, policy_set: PolicySet) -> None:
    outcome = play(seed, folder, policy_set)
    assert not outcome.problem, f"{outcome.problem}; to see it: python -m tests.simulation {seed}"


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_AT_ONCE))
def test_nothing_that_must_never_be_happens(first: int, folder: Path, policy_set: PolicySet) -> None:
    for seed in range(first, first + SEEDS_AT_ONCE):
        assert_sound(seed, folder, policy_set)


@pytest.mark.parametrize("seed", [each["number"] for each in FOUND], ids=[each["found"] for each in FOUND])
def test_what_was_once_wrong_stays_right(seed: int, folder: Path, policy_set: PolicySet) -> None:
    assert_sound(seed, folder, policy_set)


def test_the_same_seed_is_the_same_story_in_any_process(folder: Path, policy_set: PolicySet) -> None:
    here = play(5, folder, policy_set)
    command = [sys.executable, "-m", "tests.simulation", "5", "--count", "1"]
    other = os.environ | {"PYTHONHASHSEED": "17"}
    there = subprocess.run(command, env=other, capture_output=True, text=True, check=True).stdout
    assert there.strip() == str(here)


def test_another_seed_is_another_story(folder: Path, policy_set: PolicySet) -> None:
    assert play(5, folder, policy_set).digest != play(6, folder, policy_set).digest


def test_every_kind_of_fault_strikes_and_guarantees_are_put_to_the_test(folder: Path, policy_set: PolicySet) -> None:
    outcomes = [play(seed, folder, policy_set) for seed in range(1_000, 1_040)]
    assert not [outcome.problem for outcome in outcomes if outcome.problem]
    assert {kind for outcome in outcomes for kind in outcome.faults} == set(RATES)
    assert sum(outcome.guarantees_kept for outcome in outcomes) >= 10


@pytest.mark.parametrize("words", SAMPLE)
def test_a_bug_in_the_platform_is_found(words: str, policy_set: PolicySet) -> None:
    (mutant,) = [each for each in mutants() if each.bug.startswith(words)]
    assert seed_that_finds(mutant, policy_set) is not None


def test_every_bug_on_the_list_can_be_put_in() -> None:
    for mutant in mutants():
        with planted(mutant):
            pass
