"""Fan-out of job changes to everyone who watches, as server-sent events.

A change is encoded when the first subscriber takes it, and the bytes are shared by all that may see the same; without
subscribers nothing is encoded. A subscriber is a position in one bounded buffer, not a queue of its own, so a slow
reader costs nothing: it is told to reload when it fell out. The id of a batch is the size of the ledger it became
durable at, which stays meaningful across restarts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from functools import cached_property
from typing import Protocol

LONGEST_FEED = 4_096
FLUSH_S = 0.02
"""Changes that follow each other closely are sent together."""
HEARTBEAT_S = 15.0
"""A comment this often lets both ends notice a dead connection."""

EVERYTHING = "*"
"""The audience that sees every organisation's jobs in full."""

RELOAD = b"id: %d\nevent: reload\ndata: {}\n\n"
HEARTBEAT = b": still here\n\n"


class Change(Protocol):
    """One change, of a job most often, that is not written out before somebody watches."""

    @property
    def name(self) -> str:
        """What changed: the name of the event."""
        ...

    @property
    def organisation(self) -> str:
        """Whose members see it in full."""
        ...

    def full(self) -> bytes:
        """What its own organisation may see of it, as JSON."""
        ...

    def public(self) -> bytes:
        """What everybody may see of it, as JSON."""
        ...


class Batch:
    """The changes of one durable append, turned into bytes once per audience."""

    def __init__(self, position: int, changes: tuple[Change, ...]) -> None:
        self.position = position
        self._changes = changes
        self._bytes: dict[str, bytes] = {}

    def bytes_for(self, audience: str) -> bytes:
        """All frames of the batch for an organisation, or for `EVERYTHING`.

        Only the last frame carries the id: whoever is cut off in the middle of a batch gets the whole of it again.
        """
        if audience not in self._bytes:
            self._bytes[audience] = b"".join(self._frames(audience))
        return self._bytes[audience]

    def _frames(self, audience: str) -> list[bytes]:
        frames = []
        last = len(self._changes) - 1
        for index, change in enumerate(self._changes):
            data = self._full[index] if audience in (EVERYTHING, change.organisation) else self._public[index]
            position = b"id: %d\n" % self.position if index == last else b""
            frames.append(b"%sevent: %s\ndata: %s\n\n" % (position, change.name.encode(), data))
        return frames

    @cached_property
    def _full(self) -> list[bytes]:
        return [change.full() for change in self._changes]

    @cached_property
    def _public(self) -> list[bytes]:
        return [change.public() for change in self._changes]


class Feed:
    """The bounded buffer of recent batches, and the wake-up of those who wait for the next one."""

    def __init__(self, position: int, longest: int = LONGEST_FEED) -> None:
        self.position = position
        """Ledger size of the latest batch; a client that saw it has missed nothing."""
        self._dropped_to = position
        self._batches: deque[Batch] = deque()
        self._longest = longest
        self._news = asyncio.Event()
        self._closed = False

    def publish(self, position: int, changes: tuple[Change, ...]) -> None:
        """Add the changes that became durable when the ledger reached `position`; call on the event loop."""
        self.position = position
        if not changes:
            return
        self._batches.append(Batch(position, changes))
        if len(self._batches) > self._longest:
            self._dropped_to = self._batches.popleft().position
        self._wake()

    @property
    def is_closed(self) -> bool:
        """True once the platform is going down; streams end then."""
        return self._closed

    def close(self) -> None:
        """End every subscription."""
        self._closed = True
        self._wake()

    def since(self, position: int) -> list[Batch] | None:
        """Batches after `position`, oldest first; None when the buffer no longer reaches back so far."""
        if position < self._dropped_to or position > self.position:
            return None
        newer: list[Batch] = []
        for batch in reversed(self._batches):
            if batch.position <= position:
                break
            newer.append(batch)
        newer.reverse()
        return newer

    async def subscribe(self, audience: str, last_seen: int | None) -> AsyncGenerator[bytes, None]:
        """Frames from after `last_seen` (None: from now) until the feed is closed."""
        position = self.position if last_seen is None else last_seen
        yield HEARTBEAT
        while not self._closed:
            news = self._news
            batches = self.since(position)
            if batches is None:
                yield RELOAD % self.position
                position = self.position
            elif batches:
                position = batches[-1].position
                yield b"".join(batch.bytes_for(audience) for batch in batches)
            elif not await _heard(news):
                yield HEARTBEAT

    def _wake(self) -> None:
        # Waiters hold the old event, so setting it and putting a fresh one in its place loses nobody.
        news, self._news = self._news, asyncio.Event()
        news.set()


async def _heard(news: asyncio.Event) -> bool:
    """Wait for news, then a moment longer for what follows closely; False when it is time for a heartbeat."""
    try:
        await asyncio.wait_for(news.wait(), HEARTBEAT_S)
    except TimeoutError:
        return False
    await asyncio.sleep(FLUSH_S)
    return True
