"""Whole stories of the platform under faults: each seed is another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dure.bootstrap import make_policy_set
from dure.policy import PolicySet
from tests.simulation.story import Outcome, Story

SEEDS = 300
SEEDS_AT_ONCE = 10
MEMORY = Path("/dev/shm")
"""Where files cost nothing, if there is such a place."""


@pytest.fixture(scope="session")
def policy_set() -> PolicySet:
    return make_policy_set()


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


def play(seed: int, folder: Path, policy_set: PolicySet) -> Outcome:
    return Story(seed, folder / str(seed), policy_set).play()


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_AT_ONCE))
def test_nothing_that_must_never_be_happens(first: int, folder: Path, policy_set: PolicySet) -> None:
    for seed in range(first, first + SEEDS_AT_ONCE):
        outcome = play(seed, folder, policy_set)
        assert not outcome.problem, f"{outcome.problem}; to see it: python -m tests.simulation {seed}"


def test_the_same_seed_is_the_same_story(folder: Path, policy_set: PolicySet) -> None:
    first, again = (Story(5, folder / name, policy_set).play() for name in ("first", "again"))
    assert first.digest == again.digest
    assert first == again


def test_another_seed_is_another_story(folder: Path, policy_set: PolicySet) -> None:
    assert play(5, folder, policy_set).digest != play(6, folder, policy_set).digest
