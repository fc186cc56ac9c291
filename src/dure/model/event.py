"""What every entry of the ledger has."""

from __future__ import annotations

from msgspec import Struct


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event"):
    """Something that happened at `at_ms` (milliseconds since the epoch; in the twin, since the start of the run)."""

    at_ms: int
