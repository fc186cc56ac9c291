"""One figure that a benchmark measured, and what it is held against; or why it could not be measured here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measurement:
    """`must` is the promise, `aim` what we would like, None where there is none; `compared_to` is a peer's figure."""

    name: str
    value: float
    unit: str
    must: float | None
    aim: float | None
    better: Literal["more", "less"]
    compared_to: str

    @property
    def keeps_promise(self) -> bool:
        """True when the figure is at least as good as it must be."""
        if self.must is None:
            return True
        return self.value >= self.must if self.better == "more" else self.value <= self.must


@dataclass(frozen=True)
class Skipped:
    """A figure that needs something which is not on this machine."""

    name: str
    reason: str


Figure = Measurement | Skipped
