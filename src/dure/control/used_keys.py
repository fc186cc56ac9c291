"""Which idempotency keys may have been used before, so that the ledger is asked only about those.

Nearly every key is new, and asking costs a question to the ledger in every step. A Bloom filter (Bloom 1970,
doi:10.1145/362686.362692) may take a new key for a used one, and then the ledger is asked; it never takes a used one
for new. It is read from the ledger on a thread while the platform serves already; until then all keys are in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from dure.control.ports import Ledger

if TYPE_CHECKING:
    from rbloom import Bloom

LEAST_ROOM = 4_000_000
FALSE_RATE = 0.001
"""With as many keys as there is room for, which takes 14 bits a key."""


class Reading(Struct, frozen=True, kw_only=True):
    """The keys that a ledger had, and how many more there is room for."""

    keys: Bloom
    room: int


class UsedKeys:
    """What is known of the rows `requests` without asking. Every method is for the loop's thread."""

    def __init__(self) -> None:
        self._keys: Bloom | None = None
        self._room = 0
        self._used_meanwhile: list[str] | None = None
        """Keys used since a reading began; None while there is none."""

    @property
    def must_be_read(self) -> bool:
        """Nothing is known, or there is no more room, and nobody reads them yet."""
        return self._room <= 0 and self._used_meanwhile is None

    def may_have(self, key: str) -> bool:
        """False when the key was certainly never used."""
        return self._keys is None or key in self._keys

    def note(self, keys: Iterable[str]) -> None:
        """These are about to be used."""
        for key in keys:
            self._room -= 1
            if self._keys is not None:
                self._keys.add(key)
            if self._used_meanwhile is not None:
                self._used_meanwhile.append(key)

    def begin_reading(self) -> None:
        """From now on `read_used_keys` may be called, on another thread. No step may be half done."""
        assert self._used_meanwhile is None, "the keys are being read already"
        self._used_meanwhile = []

    def end_reading(self, reading: Reading | None) -> None:
        """What was read; None when it could not be, and must be tried again."""
        used_meanwhile, self._used_meanwhile = self._used_meanwhile or [], None
        if reading is not None:
            self._keys, self._room = reading.keys, reading.room
            self.note(used_meanwhile)


def read_used_keys(ledger: Ledger, goes_on: Callable[[], bool]) -> Reading | None:
    """Read all keys there are, from any thread; None when it is not to go on. Raises `LedgerError`."""
    from rbloom import Bloom

    room = LEAST_ROOM
    while True:
        keys, count = Bloom(room, FALSE_RATE), 0
        for some in ledger.keys("requests"):
            if not goes_on():
                return None
            keys.update(some)
            count += len(some)
            if 2 * count > room:
                break
        else:
            return Reading(keys=keys, room=room - count)
        room *= 4
