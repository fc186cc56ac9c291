"""The order in which the waiting are listed, against the same rule written job by job."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from dure.model.jobs import JobState
from dure.world.cards import JobCard
from dure.world.quota import within_guarantee
from dure.world.world import World
from tests.kernel.nations import MINUTE, job, nation, share
from tests.kernel.story import Story

STAGES = {JobState.CLAIMED: 0, JobState.QUEUED: 1, JobState.HELD: 2}


def turn(world: World, card: JobCard) -> tuple[int, ...]:
    """The same rule for one job."""
    record, shares = world.columns.jobs[card.row], world.columns.shares
    row = max(0, (int(record.choices) & 255) - 1) * int(world.columns.counters[0].shares) + int(record.share)
    borrows = not within_guarantee(shares, row, int(record.nodes * record.gpus_milli))
    usage = int(shares[row].usage) // int(shares[row].weight)
    return (STAGES[card.state], int(borrows), usage, row, -int(record.priority), int(record.sequence))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 30))
def test_the_queue_is_in_the_order_of_the_rule(seed: int) -> None:
    dice = random.Random(seed)
    tree = [share("firm", guarantee=8), share("a", "firm", guarantee=4, weight=2), share("b", "firm"), share("c")]
    story = Story(nation(tree, nodes=2, gpus=4, classes=("H100", "H200")))
    for number in range(20):
        story.now_ms += dice.choice((0, MINUTE))
        depends = (f"j{number - 1}",) if number and dice.random() < 0.2 else ()
        classes = dice.choice((["H100"], ["H200", "H100"]))
        asked = job(
            f"j{number}", dice.choice("abc"), dice.choice((1, 2, 4)), priority=dice.choice((0, 0, 5)), depends=depends
        )
        story.submit(asked if classes == ["H100"] else job(f"j{number}", "c", 2, classes=classes))
    waiting = [card for card in story.world.jobs.values() if card.state.is_waiting]
    assert story.world.queue() == sorted(waiting, key=lambda card: turn(story.world, card))
