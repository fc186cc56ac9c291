"""How a story went. Known without the platform, so that who only counts stories need not load it."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct


class Outcome(Struct, frozen=True, kw_only=True):
    """How a story went."""

    seed: int
    problem: str
    digest: str
    events: int
    entries: int
    jobs: int
    lives: int
    simulated_s: float
    guarantees_kept: int
    faults: Counter[str]

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.problem or 'sound'} ({self.simulated_s:.0f} s, {self.lives} lives,"
            f" {self.jobs} jobs, {self.entries} entries, {self.events} events, {self.faults.total()} faults,"
            f" {self.guarantees_kept} guarantees kept, {self.digest[:12]})"
        )
