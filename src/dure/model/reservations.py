"""Nodes that are kept for somebody, or for nobody, during a time ahead: a class, a hackathon, maintenance."""

from __future__ import annotations

from msgspec import Struct


class Reservation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Nodes on which, from `from_ms` until `until_ms`, nobody else's jobs run.

    They are named by `nodes`, or else are `count` (0: all) of those at `site`, in `group` and with `gpu_class`, as far
    as these are given.
    """

    name: str
    from_ms: int
    until_ms: int
    share: str = ""
    """Whose jobs may use the nodes meanwhile, with everyone below; empty for maintenance: nobody's."""
    nodes: tuple[str, ...] = ()
    site: str = ""
    group: str = ""
    gpu_class: str = ""
    count: int = 0
    chosen: tuple[str, ...] = ()
    """The nodes it got when it was applied, in placement order."""

    @property
    def chooses(self) -> bool:
        """True when it leaves the choice of nodes to the platform."""
        return self.count > 0

    def overlaps(self, from_ms: int, until_ms: int) -> bool:
        """True when some of the time is its own."""
        return self.from_ms < until_ms and from_ms < self.until_ms
