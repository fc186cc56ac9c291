"""Operations on the ledger: its last signed statement, and its entries."""

from __future__ import annotations

from dure.api.operations import Call
from dure.api.platform import Health, Platform
from dure.reports.ledger import LedgerEntries, LedgerReport

MOST_ENTRIES = 1_000


async def health(platform: Platform, _: Call) -> Health:
    """Whether the platform works."""
    return platform.health()


async def checkpoint(platform: Platform, _: Call) -> LedgerReport:
    """The ledger's last signed checkpoint."""
    return platform.ledger()


async def entries(platform: Platform, call: Call) -> LedgerEntries:
    """Entries by position, as the very bytes that were hashed."""
    start = call.number("start", 0, 1 << 53)
    return platform.ledger_entries(start, call.number("limit", 100, MOST_ENTRIES))
