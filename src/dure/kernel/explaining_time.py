"""Blockers that a date ends: what a job waits for although GPUs could be had."""

from __future__ import annotations

from collections.abc import Iterator

from dure.model.blockers import Blocker, BlockerCode
from dure.world.quota import reclaim_allowed_at_ms
from dure.world.world import World


def until_its_time(not_before_ms: int) -> Blocker:
    """The job itself says when it may start."""
    return Blocker(
        code=BlockerCode.HELD_UNTIL_ITS_TIME,
        until_ms=not_before_ms,
    )


def reclaim_pause(world: World, gpu_class: int, share: int, now_ms: int) -> Iterator[Blocker]:
    """The share in this row, or one above it, took back as many GPUs as it may for now."""
    allowed_at_ms = int(reclaim_allowed_at_ms(world.columns.shares, share))
    if allowed_at_ms > now_ms:
        yield Blocker(
            code=BlockerCode.RECLAIM_RATE,
            gpu_class=world.atlas.class_name(gpu_class),
            share=world.atlas.share_name(share, world.columns),
            until_ms=allowed_at_ms,
        )
