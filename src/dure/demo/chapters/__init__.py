"""The chapters of the story: each does something as members would, and says what it must find."""

from __future__ import annotations

from collections.abc import Callable

from dure.demo.chapters.gang import start_whole
from dure.demo.chapters.proof import verify_ledger
from dure.demo.chapters.rules import refuse_by_rule
from dure.demo.chapters.sharing import Sharing
from dure.demo.story import Proof, Story

Act = Callable[[], Proof]


def acts(story: Story) -> list[tuple[str, Act]]:
    """Titles of the chapters and what plays them, in order."""
    sharing = Sharing(story)
    return [
        ("Idle GPUs are lent", sharing.lend),
        ("Their owner takes them back", sharing.take_back),
        ("The borrower goes on", sharing.resume),
        ("A gang starts whole", lambda: start_whole(story)),
        ("Data stays home", lambda: refuse_by_rule(story)),
        ("The ledger proves it", lambda: verify_ledger(story)),
    ]
