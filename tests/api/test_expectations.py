"""Expected starts beside a real loop's world: when they are worked out, shared, refused and forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from dure.api import expectations as module
from dure.api.expectations import Expectations
from dure.control.control import Control
from dure.model.blockers import Eta, NoEta
from dure.twin.forecast import Moment, moment_of
from dure.world.cards import JobCard
from dure.world.world import World
from tests.control.builders import START_MS, small_control, spec, submit

HOUR_MS = 3_600_000


class Clock:
    """Stands where it is put."""

    at_ms = START_MS

    def now_ms(self) -> int:
        return self.at_ms


def full_control() -> Control:
    """Eight GPUs in use for an hour, and two jobs that wait."""
    control = small_control()
    for _ in range(4):
        submit(control, spec(gpus=4))
    return control


def asking(story: Callable[[Expectations], Coroutine[Any, Any, None]], control: Control) -> None:
    expectations = Expectations(control, Clock())
    expectations.is_prepared = True

    async def told() -> None:
        try:
            await story(expectations)
        finally:
            expectations.close()

    asyncio.run(told())


def card(control: Control, job: str) -> JobCard:
    return control.world.jobs[job]


def test_a_start_is_expected_without_touching_the_platforms_world() -> None:
    control = full_control()
    before = [column.tobytes() for column in control.world.columns]

    async def story(expectations: Expectations) -> None:
        eta = await expectations.of(card(control, "j3"))
        assert isinstance(eta, Eta)
        assert (eta.earliest_ms, eta.latest_ms) == (START_MS + HOUR_MS // 2, START_MS + HOUR_MS)

    asking(story, control)
    assert [column.tobytes() for column in control.world.columns] == before


def test_nothing_is_expected_where_nothing_can_be_said() -> None:
    control = full_control()
    held = submit(control, spec(depends=("j1",)))

    async def story(expectations: Expectations) -> None:
        assert await expectations.of(card(control, "j1")) is NoEta.NOT_WAITING
        assert await expectations.of(card(control, held)) is NoEta.HELD
        expectations.is_prepared = False
        assert await expectations.of(card(control, "j3")) is NoEta.PREPARING
        control.halted = "for a reason"
        assert await expectations.of(card(control, "j3")) is NoEta.HALTED

    asking(story, control)


def test_whoever_comes_to_a_long_line_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_LINE", 2)
    control = full_control()

    async def story(expectations: Expectations) -> None:
        answers = await asyncio.gather(*(expectations.of(card(control, "j3")) for _ in range(4)))
        assert [answer is NoEta.BUSY for answer in answers] == [False, False, True, True]
        assert isinstance(await expectations.of(card(control, "j3")), Eta)

    asking(story, control)


def test_one_copy_serves_those_who_ask_together_and_a_later_job_gets_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    control = full_control()
    monkeypatch.setattr(module, "SHARE_OF_LOOP", 1_000_000)
    copies: list[int] = []

    def counted(world: World, now_ms: int) -> Moment:
        copies.append(now_ms)
        return moment_of(world, now_ms)

    monkeypatch.setattr(module, "moment_of", counted)

    async def story(expectations: Expectations) -> None:
        for job in ("j3", "j4", "j3"):
            assert isinstance(await expectations.of(card(control, job)), Eta)
        assert len(copies) == 1
        later = submit(control, spec(gpus=4))
        eta = await expectations.of(card(control, later))
        assert isinstance(eta, Eta)
        assert eta.latest_ms == START_MS + 2 * HOUR_MS
        assert len(copies) == 2

    asking(story, control)


def test_an_old_copy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARE_OF_LOOP", 0)
    control = full_control()
    clock = Clock()
    expectations = Expectations(control, clock)
    expectations.is_prepared = True

    async def told() -> None:
        first = await expectations.of(card(control, "j3"))
        clock.at_ms += 1_000
        second = await expectations.of(card(control, "j3"))
        assert isinstance(first, Eta)
        assert isinstance(second, Eta)
        assert second.at_ms - first.at_ms == 1_000
        expectations.close()

    asyncio.run(told())
