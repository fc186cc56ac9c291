"""What goes wrong: which kinds of faults a seed has, how often each strikes, and when they stop."""

from __future__ import annotations

import random
from collections.abc import Mapping

RATES: Mapping[str, float] = {
    # Each time the ledger appends.
    "write-interrupted": 0.03,
    "disk-full": 0.01,
    "power-cut-in-append": 0.01,
    "answer-lost-by-ledger": 0.01,
    "slow-disk": 0.02,
    # Each time an attempt is taken by its engine.
    "refused": 0.03,
    "false-start": 0.06,
    "slow-start": 0.1,
    "rank-dies": 0.05,
    "vanishes": 0.04,
    # Each time an order reaches an engine.
    "order-not-taken": 0.05,
    "order-taken-but-not-answered": 0.05,
    # Each time an engine reports something.
    "report-late": 0.1,
    "report-repeated": 0.1,
    # Each time a member is answered.
    "answer-lost-by-network": 0.1,
    # Each time the story throws the dice for what happens next.
    "killed": 0.06,
    "stopped": 0.02,
    "contact-lost": 0.05,
    "agent-restarted": 0.04,
    "node-fails": 0.04,
    "stray-attempt": 0.02,
    "clock-steps-back": 0.02,
    "clock-jumps-ahead": 0.015,
    "engine-clock-wrong": 0.04,
}
"""How often each kind strikes where it can, in a seed that has it."""

CALM = 0.1
"""How many seeds have no faults at all; there the platform has no excuse."""


class Faults:
    """The faults of one seed. Half of all kinds are missing from each, so that the others get far."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        is_calm = chance.random() < CALM
        self.kinds = frozenset(kind for kind in RATES if not is_calm and chance.random() < 0.5)
        self.are_over = False

    def strikes(self, kind: str) -> bool:
        """Throw the dice for one kind of fault."""
        return kind in self.kinds and not self.are_over and self._chance.random() < RATES[kind]
