"""Whose turn it is, found by looking at everyone."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from dure.kernel.order import next_share
from dure.model.nation import Nation
from dure.world.columns import NEVER, NONE
from dure.world.quota import remember
from dure.world.world import World
from tests.kernel.test_properties import ACTIONS, RUNS, play, trees

FIVE_MINUTES = 300_000
NOBODY_WAITS, AT_GUARANTEE, BELOW_GUARANTEE, COVERED = range(4)


class Scan:
    """What every share of a class is compared by, from the definitions, in plain Python."""

    def __init__(self, world: World, now_ms: int) -> None:
        self.columns = world.columns
        self.shares = world.columns.shares
        self.root = int(world.columns.classes[0].root)
        half_life_ms = int(world.columns.classes[0].half_life_ms)
        self.period_end_ms = next_period_ms(half_life_ms, now_ms)
        self.now_ms = now_ms

    def children(self, share: int) -> list[int]:
        rows = range(self.root, self.root + int(self.columns.counters[0].shares))
        return [row for row in rows if self.shares[row].parent == share]

    def smallest(self, share: int) -> int:
        below = self.children(share)
        if below:
            return min(self.smallest(child) for child in below)
        job = self._next_job(share)
        return NEVER if job == NONE else int(self.columns.jobs[job].nodes * self.columns.jobs[job].gpus_milli)

    def _next_job(self, share: int) -> int:
        this_pass = self.columns.classes[0].pass_number
        record = self.shares[share]
        return int(record.cursor if record.cursor_pass == this_pass else record.queue_first)

    def standing(self, share: int) -> int:
        smallest = self.smallest(share)
        record = self.shares[share]
        if smallest == NEVER:
            return NOBODY_WAITS
        covered = [self.standing(child) == COVERED for child in self.children(share)]
        if record.used + smallest <= record.guarantee or any(covered):
            return COVERED
        return BELOW_GUARANTEE if record.used < record.guarantee else AT_GUARANTEE

    def usage(self, share: int) -> int:
        remember(self.columns, share, self.now_ms)
        record = self.shares[share]
        return int((record.usage + record.used * (self.period_end_ms - self.now_ms)) // record.weight)

    def next_share(self) -> int:
        at = self.root
        while below := self.children(at):
            at = min(below, key=lambda child: (-self.standing(child), self.usage(child), child))
            if self.standing(at) == NOBODY_WAITS:
                return NONE
        return at if self.smallest(at) != NEVER else NONE


def next_period_ms(half_life_ms: int, now_ms: int) -> int:
    """The first of the equal parts of a half-life's 64 steps, each of five minutes or a little more, after `now_ms`."""
    step_ms = max(1, half_life_ms // 64)
    parts = max(1, step_ms // FIVE_MINUTES)
    begin_ms = now_ms // step_ms * step_ms
    ends = (begin_ms + -(-part * step_ms // parts) for part in range(1, parts + 1))
    return next(end for end in ends if end > now_ms)


@RUNS
@given(trees(), ACTIONS)
def test_the_winner_trees_agree_with_looking_at_every_share(declared: Nation, actions: list[tuple[Any, ...]]) -> None:
    story = play(declared, actions)
    scan = Scan(story.world, story.now_ms)
    assert next_share(story.world.columns, 0, story.now_ms) == scan.next_share()
    for row in range(scan.root, scan.root + int(story.world.columns.counters[0].shares)):
        record = story.world.columns.shares[row]
        assert (record.smallest, record.standing) == (scan.smallest(row), scan.standing(row))
