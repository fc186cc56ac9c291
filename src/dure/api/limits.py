"""How much anybody may ask: token buckets in memory, forgotten with the process.

A bucket holds ten seconds' worth, so that bursts pass; what is taken beyond it is a debt that the next ask waits for.
"""

from __future__ import annotations

import ipaddress

from dure.control.access import ROLES_IN_ORGANISATIONS, Caller
from dure.identity.settings import RateLimits

BURST_S = 10
FAILURES_PER_S = 1
MOST_FAILURES = 60
MOST_ADDRESSES = 10_000
MOST_BUCKETS = 50_000


class Bucket:
    """So much a second, and at most so much saved up."""

    __slots__ = ("_at_ms", "_left", "_most", "_per_ms")

    def __init__(self, per_s: int, most: int, now_ms: int) -> None:
        self._per_ms = per_s / 1000
        self._most = self._left = float(most)
        self._at_ms = now_ms

    def take(self, amount: int, now_ms: int) -> int:
        """Take an amount if anything is left, and return 0; else return how many milliseconds to wait."""
        self._left = min(self._most, self._left + (now_ms - self._at_ms) * self._per_ms)
        self._at_ms = now_ms
        if self._left > 0:
            self._left -= amount
            return 0
        return max(1, round(-self._left / self._per_ms))


class Limits:
    """The buckets of all tokens and organisations."""

    def __init__(self, rates: RateLimits) -> None:
        self._rates = rates
        self._buckets: dict[str, Bucket] = {}

    def take(self, caller: Caller, amount: int, now_ms: int) -> int:
        """Count requests or jobs of a caller. Returns 0, or how many milliseconds to wait before asking again."""
        if caller.role not in ROLES_IN_ORGANISATIONS:
            return self._take(caller.id, self._rates.operator, amount, now_ms)
        wait_ms = self._take(caller.id, self._rates.token, amount, now_ms)
        # Ids of tokens have no slash, so an organisation is never taken for a token.
        return wait_ms or self._take(f"/{caller.organisation}", self._rates.organisation, amount, now_ms)

    def _take(self, name: str, per_s: int, amount: int, now_ms: int) -> int:
        if not per_s:
            return 0
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket(per_s, per_s * BURST_S, now_ms)
            if len(self._buckets) > MOST_BUCKETS:
                del self._buckets[next(iter(self._buckets))]
        return bucket.take(amount, now_ms)


class Failures:
    """How often each address failed to say who it is. Of too many, those that failed longest ago are forgotten."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}

    def count(self, address: str, now_ms: int, most: int = MOST_FAILURES) -> int:
        """Count a failure. Returns 0, or how many milliseconds to wait: there were too many."""
        network = network_of(address)
        bucket = self._buckets.pop(network, None) or Bucket(FAILURES_PER_S, most, now_ms)
        self._buckets[network] = bucket
        if len(self._buckets) > MOST_ADDRESSES:
            del self._buckets[next(iter(self._buckets))]
        return bucket.take(1, now_ms)


def network_of(address: str) -> str:
    """What one sender has: an address of IPv4, or 64 bits of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if parsed.version == 4:
        return address
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
