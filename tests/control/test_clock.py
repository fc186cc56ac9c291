"""Time goes on, whatever is done to the machine's clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dure.control.clock import SteadyClock


class Machine:
    """A wall clock that is set, and a counter that is not."""

    def __init__(self) -> None:
        self.wall = 1_000_000
        self.counter = 7

    def passes(self, ms: int) -> None:
        self.wall += ms
        self.counter += ms

    def clock(self, at_least_ms: int = 0) -> SteadyClock:
        return SteadyClock(lambda: self.wall, lambda: self.counter, at_least_ms)


def test_it_shows_the_wall_clock_and_follows_it_ahead() -> None:
    machine = Machine()
    clock = machine.clock()
    assert clock.now_ms() == 1_000_000
    machine.wall += 60_000
    assert clock.now_ms() == 1_060_000


def test_a_clock_that_is_set_back_neither_goes_back_nor_stands_still() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall -= 3_600_000
    assert clock.now_ms() == 1_000_000
    machine.passes(5_000)
    assert clock.now_ms() == 1_005_000


def test_a_new_process_goes_on_where_the_ledger_ends() -> None:
    machine = Machine()
    clock = machine.clock(at_least_ms=1_500_000)
    assert clock.now_ms() == 1_500_000
    machine.passes(2_000)
    assert clock.now_ms() == 1_502_000
    machine.passes(3_600_000)
    machine.wall += 500_000
    assert clock.now_ms() == machine.wall


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(-10_000_000, 10_000_000))))
def test_it_never_goes_slower_than_the_counter_and_is_never_behind_the_wall(steps: list[tuple[int, int]]) -> None:
    machine = Machine()
    clock = machine.clock()
    before = clock.now_ms()
    for passed, moved in steps:
        machine.passes(passed)
        machine.wall += moved
        now = clock.now_ms()
        assert now >= before + passed
        assert now >= machine.wall
        before = now
