"""Passwords of local accounts: Argon2id with its library's defaults, a few at a time, and slower after each failure.

A hash takes a sixth of a second and 64 MiB, so whoever may ask for any number of them can stop the platform. Only so
many wait; the rest are told to come again. A name that nobody has takes as long as a wrong password.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from argon2 import PasswordHasher

T = TypeVar("T")

LEAST_PASSWORD = 15
LONGEST_PASSWORD = 1_000
MOST_AT_ONCE = 2
MOST_WAITING = 16
FREE_FAILURES = 3
LONGEST_WAIT_MS = 60_000
MOST_NAMES = 10_000


class TooBusy(Exception):
    """More passwords wait to be checked than is good."""


class Passwords:
    """Hashes and checks passwords on threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, "passwords")
        self._waiting = 0
        self._made: PasswordHasher | None = None
        self._nobodys_hash = ""

    async def hashed(self, password: str) -> str:
        """What is kept of a password. Raises `TooBusy`."""
        return await self._in_turn(partial(self._hash, password))

    async def is_right(self, password: str, password_hash: str) -> bool:
        """True when this is the password; never with an empty hash, though that takes as long. Raises `TooBusy`."""
        return await self._in_turn(partial(self._check, password, password_hash))

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_turn(self, work: partial[T]) -> T:
        if self._waiting >= MOST_WAITING:
            raise TooBusy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def _hash(self, password: str) -> str:
        return self._hasher.hash(password)

    def _check(self, password: str, password_hash: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        if not self._nobodys_hash:
            self._nobodys_hash = self._hash("the password of nobody")
        try:
            return self._hasher.verify(password_hash or self._nobodys_hash, password) and bool(password_hash)
        except (VerificationError, InvalidHashError):
            return False

    @property
    def _hasher(self) -> PasswordHasher:
        if self._made is None:
            from argon2 import PasswordHasher

            self._made = PasswordHasher()
        return self._made


class Backoff:
    """After a few failures each name has to wait, twice as long each time, up to a minute.

    Not for ever: whoever knows a name could lock its owner out of the way in that is there for emergencies.
    """

    def __init__(self) -> None:
        self._failed: dict[str, tuple[int, int]] = {}

    def wait_ms(self, name: str, now_ms: int) -> int:
        """How long this name has to wait before the next try; 0 when it may try."""
        _, until_ms = self._failed.get(name, (0, 0))
        return max(0, until_ms - now_ms)

    def failed(self, name: str, now_ms: int) -> None:
        """A try failed. Names that failed longest ago are forgotten when there are too many."""
        count, _ = self._failed.pop(name, (0, 0))
        exponent = min(count + 1 - FREE_FAILURES, 6)
        wait_ms = min(LONGEST_WAIT_MS, 1_000 << exponent) if exponent >= 0 else 0
        self._failed[name] = (count + 1, now_ms + wait_ms)
        if len(self._failed) > MOST_NAMES:
            del self._failed[next(iter(self._failed))]

    def succeeded(self, name: str) -> None:
        """Forget the failures of a name."""
        self._failed.pop(name, None)
