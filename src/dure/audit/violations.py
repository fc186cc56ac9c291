"""What a plan can do wrong."""

from __future__ import annotations

from msgspec import Struct


class Violation(Struct, frozen=True, kw_only=True):
    """A rule that a plan breaks. `rule` is stable; `detail` is for people."""

    rule: str
    job: str
    detail: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.rule}: {self.job}: {self.detail}"
