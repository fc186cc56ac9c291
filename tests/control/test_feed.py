"""Fan-out of changes: shared bytes, bounded memory, resume without a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from dure.control.feed import EVERYTHING, Change, Feed


class Told(Struct, frozen=True):
    """A change as the feed sees it."""

    organisation: str
    full: Callable[[], bytes]
    public: Callable[[], bytes]
    name: str = "job"


def change(number: int, organisation: str = "hanbit") -> Change:
    return Told(
        organisation=organisation,
        full=lambda: b'{"full":%d}' % number,
        public=lambda: b'{"public":%d}' % number,
    )


async def first_frames(feed: Feed, audience: str, last_seen: int | None) -> bytes:
    """What a subscriber is sent after the greeting."""
    stream = feed.subscribe(audience, last_seen)
    await anext(stream)
    return await asyncio.wait_for(anext(stream), 5)


def test_a_subscriber_who_was_away_gets_what_it_missed() -> None:
    async def story() -> bytes:
        feed = Feed(10)
        feed.publish(11, (change(1),))
        feed.publish(13, (change(2), change(3)))
        return await first_frames(feed, EVERYTHING, 11)

    frames = asyncio.run(story())
    assert frames == b'event: job\ndata: {"full":2}\n\nid: 13\nevent: job\ndata: {"full":3}\n\n'


def test_each_audience_sees_its_own_in_full_and_the_others_outline() -> None:
    async def story() -> bytes:
        feed = Feed(0)
        feed.publish(1, (change(1, "hanbit"), change(2, "ministry")))
        return await first_frames(feed, "ministry", 0)

    frames = asyncio.run(story())
    assert b'{"public":1}' in frames
    assert b'{"full":2}' in frames
    assert b'{"full":1}' not in frames


def test_a_subscriber_that_fell_out_of_the_buffer_is_told_to_reload() -> None:
    async def story(last_seen: int) -> bytes:
        feed = Feed(0, longest=2)
        for number in range(1, 5):
            feed.publish(number, (change(number),))
        return await first_frames(feed, EVERYTHING, last_seen)

    assert asyncio.run(story(1)) == b"id: 4\nevent: reload\ndata: {}\n\n"
    assert asyncio.run(story(9)) == b"id: 4\nevent: reload\ndata: {}\n\n", "an id from another ledger"
    assert asyncio.run(story(2)).count(b"data:") == 2


def test_a_waiting_subscriber_hears_the_next_change_and_the_end() -> None:
    async def story() -> list[bytes]:
        feed = Feed(0)
        heard = []

        async def listen() -> None:
            async for frames in feed.subscribe(EVERYTHING, None):
                heard.append(frames)  # noqa: PERF401 - what was heard before a failure counts too

        listener = asyncio.create_task(listen())
        await asyncio.sleep(0.01)
        feed.publish(1, (change(1),))
        feed.publish(2, (change(2),))
        await asyncio.sleep(0.1)
        feed.close()
        await asyncio.wait_for(listener, 5)
        return heard

    greeting, changes = asyncio.run(story())
    assert greeting.startswith(b":")
    assert changes.count(b"data:") == 2


def test_audiences_share_the_bytes_of_a_batch() -> None:
    feed = Feed(0)
    feed.publish(1, (change(1),))
    found = feed.since(0)
    assert found is not None
    [batch] = found
    assert batch.bytes_for("ministry") is batch.bytes_for("ministry")


def test_what_nobody_takes_is_never_written() -> None:
    written = []

    def write() -> bytes:
        written.append("once more")
        return b"{}"

    feed = Feed(0)
    feed.publish(1, (Told(organisation="hanbit", full=write, public=write),))
    assert not written
    [batch] = feed.since(0) or []
    batch.bytes_for("ministry")
    batch.bytes_for("startup")
    assert len(written) == 1, "two audiences that see the same share what was written"
