"""Tests find the bugs they are there for. `make mutants` tries the whole list; here a few, and that the rest fits."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.kernel.mutants import ROOT, SOURCES, Mutant, copied_sources, mutants, passes, survives

SAMPLE = ("share tie", "limit off by one", "unneeded victims")


def test_every_bug_can_be_put_in_and_has_a_test() -> None:
    for mutant in mutants():
        assert (SOURCES / mutant.file).read_text("utf-8").count(mutant.old) == 1, f"{mutant.bug}: {mutant.old}"
        assert mutant.old != mutant.new
        file, _, name = mutant.test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text("utf-8"), f"{mutant.bug}: there is no {mutant.test}"


def test_no_bug_is_listed_twice_and_there_are_enough_of_them() -> None:
    listed = mutants()
    assert max(Counter(each.bug for each in listed).values()) == 1
    assert len(listed) >= 50


@pytest.mark.parametrize("words", SAMPLE)
def test_a_bug_is_found(words: str) -> None:
    (mutant,) = [each for each in mutants() if each.bug.startswith(words)]
    with copied_sources() as copy:
        assert not survives(mutant, copy)


def test_a_change_that_is_no_bug_is_not_found() -> None:
    harmless = Mutant(
        bug="none",
        file="world/quota.py",
        old="STEPS_PER_HALF_LIFE = 64",
        new="STEPS_PER_HALF_LIFE = 32 * 2",
        test="tests/kernel/test_sharing.py::test_a_share_never_exceeds_its_limit",
    )
    with copied_sources() as copy:
        assert survives(harmless, copy)
        assert passes(copy, [harmless.test])


def test_a_test_that_does_not_exist_is_no_verdict() -> None:
    with copied_sources() as copy, pytest.raises(RuntimeError, match="no verdict"):
        passes(copy, ["tests/kernel/test_sharing.py::test_nothing"])
